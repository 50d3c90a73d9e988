package hostile

import (
	"context"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

func TestCampaign(t *testing.T) {
	began := time.Now()
	r, err := Campaign.Run(t.Context(), campaign.Options{Seed: 1, Dir: t.TempDir(), Progress: t.Logf})
	t.Logf("%v: %+v", time.Since(began), r)
	if err != nil {
		t.Fatal(err)
	}
	if r.Inputs < 1000 || r.Refused == 0 || r.Acknowledged == 0 {
		t.Errorf("too little was done: %+v", r)
	}
}

// A campaign that is ended says what it did until then, and leaves no server behind.
func TestACampaignThatIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Campaign.Run(ctx, campaign.Options{Dir: t.TempDir(), Progress: t.Logf})
	if err != nil || r.Inputs != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
