package witnessd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/internal/controlsocket"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/witness/state"
)

// Whoever may write to the data folder may change what the witness knows: while it runs through
// a socket in the folder, otherwise by opening the state under its lock.

// maxAnswer bounds an answer of the control socket in bytes: a status of as many logs as there
// can be.
const maxAnswer = 64 << 20

// maxChange bounds a Change in bytes.
const maxChange = 64 << 10

// An answer is the answer to a Change.
type answer struct {
	Outcome Outcome `json:"outcome,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// err returns the error as the witness had it, as far as callers ask.
func (a answer) err() error {
	switch {
	case a.Error == "":
		return nil
	case a.Outcome == OtherKeys:
		return otherKeys(a.Error)
	}
	return errors.New(a.Error)
}

type otherKeys string

func (e otherKeys) Error() string { return string(e) }
func (e otherKeys) Unwrap() error { return state.ErrOtherKeys }

func controlHandler(c changes, status func() *Status) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /change", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChange))
		var ch Change
		if err == nil {
			err = decodeOne(b, &ch)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var a answer
		if a.Outcome, err = c.make(ch); err != nil {
			a.Error = err.Error()
		}
		writeJSON(w, a)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, status()) })
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// ask sends a request to the running witness and decodes its answer.
func (f *Folder) ask(ctx context.Context, method, path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := controlsocket.Client(f.Dir).Do(req)
	if err != nil {
		return fmt.Errorf("asking the running witness: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("asking the running witness: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the running witness answered %s: %.200s", resp.Status, b)
	}
	return json.Unmarshal(b, v)
}

// lockRetry and lockTries are for the moments in which the state is locked and nobody answers:
// a witness that starts or ends, or another command.
const (
	lockRetry = 50 * time.Millisecond
	lockTries = 100
)

// again waits before the next try. It returns an error if ctx ends first.
func again(ctx context.Context) error {
	timer := time.NewTimer(lockRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openWhenFree is openState for a witness that starts: it waits while a command has the state for a
// moment. Another witness that runs it takes for what it is.
func (f *Folder) openWhenFree(ctx context.Context, fatal func(error)) (st *state.State, err error) {
	for range lockTries {
		if st, err = f.openState(fatal); !errors.Is(err, head.ErrLocked) {
			return st, err
		}
		asked := f.ask(ctx, http.MethodGet, "/status", nil, new(Status))
		if !nobody(asked) && ctx.Err() == nil {
			return nil, err
		}
		if err := again(ctx); err != nil {
			return nil, err
		}
	}
	return st, err
}

// Change makes changes, one after the other, and tells each outcome; it stops when tell returns an
// error, which it returns. The running witness makes them, if there is one.
func (f *Folder) Change(ctx context.Context, list []Change, tell func(Change, Outcome, error) error) error {
	for range lockTries {
		err := f.tryChange(ctx, list, tell)
		if !errors.Is(err, errNobody) {
			return err
		}
		if err := again(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: another command has the state, or a witness that neither starts nor ends", errNobody)
}

// errNobody says that the state is locked, and that who has it does not answer.
var errNobody = errors.New("the state is in use and nobody answers for it")

func (f *Folder) tryChange(ctx context.Context, list []Change, tell func(Change, Outcome, error) error) error {
	s, err := f.openState(nil)
	switch {
	case errors.Is(err, head.ErrLocked), err != nil && f.checkOwner() != nil:
		// With another user's files it can only be asked for, which needs no lock.
		return f.askChanges(ctx, list, tell, err)
	case err != nil:
		return err
	}
	c := changes{s, func() error { return acceptNow(s, time.Now()) }}
	for _, ch := range list {
		outcome, err := c.make(ch)
		if err = tell(ch, outcome, err); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}

// acceptNow is witness.AcceptClock without a witness.
func acceptNow(s *state.State, now time.Time) error {
	if now.Unix() < 1 {
		return fmt.Errorf("the clock says %s, which cannot be right", now.UTC().Format(time.RFC3339))
	}
	return s.AcceptTime(uint64(now.Unix()))
}

// askChanges has the running witness make changes. Nobody there is an errNobody if the state was
// locked; otherwise it is why the state could not be opened.
func (f *Folder) askChanges(ctx context.Context, list []Change, tell func(Change, Outcome, error) error, opening error) error {
	for i, ch := range list {
		body, err := json.Marshal(ch)
		if err != nil {
			return err
		}
		var a answer
		err = f.ask(ctx, http.MethodPost, "/change", body, &a)
		if i == 0 && nobody(err) {
			if errors.Is(opening, head.ErrLocked) {
				return fmt.Errorf("%w: %w", errNobody, err)
			}
			return opening
		}
		if err != nil {
			return err
		}
		if err := tell(ch, a.Outcome, a.err()); err != nil {
			return err
		}
	}
	return nil
}

// nobody reports that no process listens on the control socket.
func nobody(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

// AddLog makes a log with these vkeys known, whose name is the log's origin. A log that is known
// with these keys is no error.
func (f *Folder) AddLog(vkeys ...string) error {
	ch, err := NewLog("", vkeys...)
	if err != nil {
		return err
	}
	return f.Change(context.Background(), []Change{ch}, func(_ Change, _ Outcome, err error) error { return err })
}
