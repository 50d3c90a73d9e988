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
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
)

// Whoever may write to the data folder may void an entry: while the log runs through a
// socket in the folder, otherwise by opening the log.

// A Voided is the answer to a void.
type Voided struct {
	Index    uint64 `json:"index"` // of the void entry
	Repeated bool   `json:"repeated"`
	Entry    string `json:"entry"`
}

// controlName is the socket in the data folder. Its path is taken through an open folder, because
// a socket's path may have 107 bytes only.
const controlName = "control"

func listenControl(dir string) (net.Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	name := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlName)
	// The log's lock is held: a socket that is there was left by a crash.
	os.Remove(filepath.Join(dir, controlName))
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", filepath.Join(dir, controlName), err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by then the name leads nowhere
	if err := os.Chmod(filepath.Join(dir, controlName), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func controlHandler(s *sequencer.Sequencer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /void", func(w http.ResponseWriter, r *http.Request) {
		index, err := entry.ParseNumber(r.URL.Query().Get("index"))
		if err != nil {
			http.Error(w, "index: "+err.Error(), http.StatusBadRequest)
			return
		}
		v, err := void(r.Context(), s, index)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
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
	log, err := open(f, slog.New(slog.DiscardHandler), nil, nil)
	if errors.Is(err, head.ErrLocked) {
		return askRunning(ctx, f.Dir, index)
	}
	if err != nil {
		return nil, err
	}
	v, err := void(ctx, log.sequencer, index)
	return v, errors.Join(err, log.close())
}

func askRunning(ctx context.Context, dir string, index uint64) (*Voided, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d, err := os.Open(dir)
			if err != nil {
				return nil, err
			}
			defer d.Close()
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlName))
		}}}
	u := url.URL{Scheme: "http", Host: "control", Path: "/void", RawQuery: "index=" + strconv.FormatUint(index, 10)}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the running log: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(b)))
	}
	v := new(Voided)
	return v, json.Unmarshal(b, v)
}
