package publisher

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Who runs a witness sees in its access log what program asks.
func TestWitnessesAreToldWhoAsks(t *testing.T) {
	agents := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		http.NotFound(w, r)
	}))
	defer server.Close()
	w, err := connectHTTP()(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Checkpoint(t.Context(), "log.example"); err == nil {
		t.Error("a checkpoint from a server that has none")
	}
	if got := <-agents; !strings.HasPrefix(got, "pauselogd/") {
		t.Errorf("User-Agent %q", got)
	}
}
