package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// fake are campaigns of each kind of end.
func fake(seen *[]campaign.Options) []campaign.Campaign {
	of := func(name string, r campaign.Report, err error) campaign.Campaign {
		return campaign.Campaign{Name: name, About: "about " + name, Run: func(_ context.Context, o campaign.Options) (campaign.Report, error) {
			o.Progress("step %d", 1)
			*seen = append(*seen, o)
			return r, err
		}}
	}
	return []campaign.Campaign{
		of("sound", campaign.Report{Faults: 3, Acknowledged: 7, Notes: []string{"a note"}}, nil),
		of("broken", campaign.Report{Faults: 1}, errors.New("entry 3 is gone; -seed 9")),
		of("counted", campaign.Report{Lost: 2}, nil), // forgot its error
	}
}

func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		ran  int
		err  string
		out  []string
	}{
		"one that is sound":         {[]string{"-campaigns", "sound", "-seed", "5"}, 1, "", []string{"sound: a note", "seed 5"}},
		"one that is broken":        {[]string{"-campaigns", "broken"}, 1, "broken", []string{"broken: FAILED: entry 3 is gone; -seed 9"}},
		"one that counts losses":    {[]string{"-campaigns", "counted"}, 1, "counted", []string{"counted: FAILED: entries lost: 2, forks: 0"}},
		"all, after a failure":      {nil, 3, "broken", []string{"sound", "broken", "counted", "all"}},
		"an unknown one":            {[]string{"-campaigns", "sound,none"}, 0, `no campaign "none"`, nil},
		"a list":                    {[]string{"-list"}, 0, "", []string{"sound    about sound"}},
		"an argument that is none":  {[]string{"sound"}, 0, "unknown argument", nil},
		"a flag that is none":       {[]string{"-x"}, 0, "not defined", nil},
		"how it goes on, for -v":    {[]string{"-v", "-campaigns", "sound"}, 1, "", nil},
		"a scratch folder not made": {[]string{"-dir", "/nonexistent"}, 0, "no such file", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []campaign.Options
			var out, errs bytes.Buffer
			err := run(context.Background(), fake(&seen), c.args, &out, &errs)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q\n%s", err, c.err, out.String())
			}
			if len(seen) != c.ran {
				t.Errorf("%d campaigns ran, want %d", len(seen), c.ran)
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			for _, o := range seen {
				if o.Seed == 0 {
					t.Error("a campaign without a seed")
				}
				if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("scratch data is left: %v", err)
				}
			}
			if strings.Contains(errs.String(), "sound: step 1") != strings.Contains(name, "-v") {
				t.Errorf("standard error: %s", errs.String())
			}
		})
	}
}

func TestJSON(t *testing.T) {
	var seen []campaign.Options
	file := filepath.Join(t.TempDir(), "outcomes.json")
	err := run(context.Background(), fake(&seen), []string{"-json", file, "-seed", "9", "-long"}, new(bytes.Buffer), new(bytes.Buffer))
	if err == nil {
		t.Fatal("no error")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Seed      uint64
		Long      bool
		Campaigns []outcome
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Seed != 9 || !got.Long || len(got.Campaigns) != 3 || got.Campaigns[0].Report.Faults != 3 || got.Campaigns[1].Error == "" || got.Campaigns[2].Error == "" {
		t.Errorf("%s", text)
	}
	if !seen[0].Long || seen[0].Seed != 9 {
		t.Errorf("the campaign got %+v", seen[0])
	}
}

func TestEndsEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var seen []campaign.Options
	if err := run(ctx, fake(&seen), nil, new(bytes.Buffer), new(bytes.Buffer)); !errors.Is(err, context.Canceled) || len(seen) != 0 {
		t.Errorf("%v after %d campaigns", err, len(seen))
	}
}

func TestNamesAreWordsAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range campaigns {
		if seen[c.Name] || c.Name == "" || strings.ContainsAny(c.Name, " ,") || c.About == "" || c.Run == nil {
			t.Errorf("%+v", c)
		}
		seen[c.Name] = true
	}
}
