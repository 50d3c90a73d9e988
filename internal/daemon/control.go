package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/internal/controlsocket"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
)

// Whoever may write to the data folder may void an entry, back the log up and ask how its store is: while the log
// runs through a socket in the folder, otherwise by opening the log.

// A Voided is the answer to a void.
type Voided struct {
	Index    uint64 `json:"index"` // of the void entry
	Repeated bool   `json:"repeated"`
	Entry    string `json:"entry"`
}

func listenControl(dir string) (net.Listener, error) { return controlsocket.Listen(dir) }

func controlHandler(f *datafolder.Folder, log *running, scrub *scrubbing) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("POST /snapshot", func(w http.ResponseWriter, r *http.Request) {
		// It is always in the same place: whoever asks says nothing about where the log writes to.
		err := os.RemoveAll(f.SnapshotDir())
		if err == nil {
			err = log.store.Snapshot(f.SnapshotDir())
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, struct{}{})
	})
	mux.HandleFunc("GET /scrub", func(w http.ResponseWriter, r *http.Request) { answer(w, scrub.status()) })
	mux.HandleFunc("POST /void", func(w http.ResponseWriter, r *http.Request) {
		index, err := entry.ParseNumber(r.URL.Query().Get("index"))
		if err != nil {
			http.Error(w, "index: "+err.Error(), http.StatusBadRequest)
			return
		}
		v, err := void(r.Context(), log.sequencer, index)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		answer(w, v)
	})
	return mux
}

func void(ctx context.Context, s *sequencer.Sequencer, index uint64) (*Voided, error) {
	r, err := s.Void(ctx, index)
	if err != nil {
		return nil, err
	}
	return &Voided{Index: r.Index, Repeated: r.Repeated, Entry: string(r.Entry)}, nil
}

// Void logs that the upload entry with this index must not be trusted.
func Void(ctx context.Context, f *datafolder.Folder, index uint64) (*Voided, error) {
	b, err := RecordedPolicy(f)
	if err != nil {
		return nil, err
	}
	var p *checkpoint.Policy
	if b != nil {
		if p, err = checkpoint.ParsePolicy(b); err != nil {
			return nil, fmt.Errorf("%s: %w", policyFile(f), err)
		}
	}
	log, err := open(f, opening{witnessed: witnessed(p), log: slog.New(slog.DiscardHandler)})
	if errors.Is(err, head.ErrLocked) {
		return askRunning(ctx, f.Dir, index)
	}
	if err != nil {
		return nil, err
	}
	if witnessed(p) {
		return nil, errors.Join(errors.New("this log has witnesses, and signs nothing before they have said that they saw nothing newer: start it, and void while it runs"), log.close())
	}
	v, err := void(ctx, log.sequencer, index)
	return v, errors.Join(err, log.close())
}

func askRunning(ctx context.Context, dir string, index uint64) (*Voided, error) {
	v := new(Voided)
	return v, control(ctx, dir, http.MethodPost, "/void", "index="+strconv.FormatUint(index, 10), v)
}

// control asks the log that runs on a data folder.
func control(ctx context.Context, dir, method, path, query string, answer any) error {
	u := url.URL{Scheme: "http", Host: "control", Path: path, RawQuery: query}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := controlsocket.Client(dir).Do(req)
	if err != nil {
		return fmt.Errorf("asking the running log: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	return json.Unmarshal(b, answer)
}
