package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// eventually repeats, for as long as the witness may lag, what may take it a moment, and returns its last error.
func (s *session) eventually(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(s.target.lag())
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// shows checks what the witness publishes: the request's checkpoint, its log lines, in any order, and the witness's own
// lines of the answer. Other lines are a stranger's.
func (s *session) shows(ctx context.Context, r *request, logLines []string, sigs []checkpoint.Signature) error {
	want := slices.Clone(logLines)
	for _, sig := range sigs {
		want = append(want, sig.Line())
	}
	slices.Sort(want)
	return s.eventually(ctx, func() error {
		a, err := s.do(ctx, http.MethodGet, s.path(), "")
		if err != nil {
			return err
		}
		request := "GET " + s.path()
		if a.status != http.StatusOK {
			return deviation(request, "200", a)
		}
		note, err := checkpoint.ParseNote(a.body)
		if err != nil {
			return deviation(request, "a signed note", fmt.Errorf("%v: %w", a, err))
		}
		var found []string
		for _, sig := range note.Signatures {
			found = append(found, sig.Line())
		}
		slices.Sort(found)
		if note.Text != r.text || !slices.Equal(found, want) {
			return fmt.Errorf("GET %s: expected %s with %d lines %s, found %s with %d lines %s", s.path(),
				excerpt(r.text), len(want), excerpt(strings.Join(want, "")), excerpt(note.Text), len(found), excerpt(strings.Join(found, "")))
		}
		return nil
	})
}

// cosignedAndShown has a request cosigned and then shown.
func (s *session) cosignedAndShown(ctx context.Context, r *request, logLines []string) error {
	sigs, err := s.cosign(ctx, r)
	if err != nil {
		return err
	}
	return s.shows(ctx, r, logLines, sigs)
}

func monitoringChecks() []Check {
	return []Check{
		one("WS-15", Must, "a log that was never cosigned: GET 404", func(ctx context.Context, s *session) error {
			return s.getIs(ctx, s.path(), 404)
		}),
		one("WS-15", Must, "a log whose requests were all refused: GET 404", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			r.forged = true
			if err := s.refuses(ctx, 0, r, 403); err != nil {
				return err
			}
			return errors.Join(s.refuses(ctx, 0, s.log.request(honest, 3, 5), 409), s.getIs(ctx, s.path(), 404))
		}),
		one("WS-15", Must, "an unknown log: GET 404", func(ctx context.Context, s *session) error {
			log, err := stranger()
			if err != nil {
				return err
			}
			return s.getIs(ctx, checkpointPath(log.Origin), 404)
		}),
		one("WS-15", Should, "GET shows the checkpoint with the log's line and the cosignatures of the answer",
			func(ctx context.Context, s *session) error {
				r := s.log.request(honest, 0, 5)
				return s.cosignedAndShown(ctx, r, r.signatures())
			}),
		one("WS-15", Should, "GET shows both lines of the log", func(ctx context.Context, s *session) error {
			r, err := s.signedBy(func(_ checkpoint.Checkpoint, ed, pq checkpoint.Signature) []checkpoint.Signature {
				return signatures{ed, pq}
			})
			if err != nil {
				return err
			}
			return s.cosignedAndShown(ctx, r, r.sigs)
		}),
		one("WS-15", Should, "GET follows growth and refreshes", func(ctx context.Context, s *session) error {
			for _, step := range [][2]uint64{{0, 3}, {3, 8}, {8, 8}} {
				r := s.log.request(honest, step[0], step[1])
				if err := s.cosignedAndShown(ctx, r, r.signatures()); err != nil {
					return err
				}
			}
			return nil
		}),
		one("WS-15", Should, "GET of a cosigned empty tree", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 0)
			return s.cosignedAndShown(ctx, r, r.signatures())
		}),
		one("CS-12", Derived, "strangers' lines are not shown", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			lines := r.signatures()
			r.sigs = append([]string{strangerLine(1)}, append(lines, strangerLine(2))...)
			return s.cosignedAndShown(ctx, r, lines)
		}),
		one("CS-12", Derived, "a forged line of the witness's own key is not shown", forgedCosignature),
		one("CS-12", Derived, "an old line of the witness's own key is not shown next to the new one", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			lines := r.signatures()
			sigs, err := s.cosign(ctx, r)
			if err != nil {
				return err
			}
			again := s.log.request(honest, 5, 5)
			again.sigs = slices.Clone(lines)
			for _, sig := range sigs {
				again.sigs = append(again.sigs, sig.Line())
			}
			return s.cosignedAndShown(ctx, again, lines)
		}),
		one("WS-15", Must, "refused requests do not change what is shown", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 3)
			sigs, err := s.cosign(ctx, r)
			if err != nil {
				return err
			}
			fork := history{"fork", 1}
			err = errors.Join(s.expect(ctx, s.log.request(fork, 3, 8).bytes(), 3, 422),
				s.expect(ctx, s.log.request(fork, 3, 3).bytes(), 3, 422),
				s.expect(ctx, s.log.request(honest, 0, 8).bytes(), 3, 409))
			return errors.Join(err, s.shows(ctx, r, r.signatures(), sigs))
		}),
		one("WS-15", Derived, "GET while a log grows is a whole note each time, and never goes back", shownInGrowth),
		one("WS-15", Derived, "GET is plain text in UTF-8", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			return s.eventually(ctx, func() error {
				a, err := s.do(ctx, http.MethodGet, s.path(), "")
				if err == nil && (a.status != 200 || a.header.Get("Content-Type") != "text/plain; charset=utf-8") {
					err = deviation("GET "+s.path(), "200 text/plain; charset=utf-8", a)
				}
				return err
			})
		}),
		one("HTTP", Derived, "HEAD of a shown checkpoint: 200 without a body", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			return s.eventually(ctx, func() error {
				a, err := s.do(ctx, http.MethodHead, s.path(), "")
				if err == nil && (a.status != 200 || len(a.body) != 0) {
					err = deviation("HEAD "+s.path(), "200 without a body", a)
				}
				return err
			})
		}),
	}
}

func (s *session) getIs(ctx context.Context, path string, status int) error {
	a, err := s.do(ctx, http.MethodGet, path, "")
	if err == nil && a.status != status {
		err = deviation("GET "+path, fmt.Sprint(status), a)
	}
	return err
}

// forgedCosignature sends a line that claims to be the witness's and is not. The key is no key of the log, so the
// line is a stranger's to be ignored; a witness that refuses the note is as safe.
func forgedCosignature(ctx context.Context, s *session) error {
	for i, k := range s.target.Witness {
		size := uint64(5 + i)
		r := s.log.request(honest, size-1, size)
		if i == 0 {
			r = s.log.request(honest, 0, size)
		}
		lines := r.signatures()
		blob := make([]byte, 8+64)
		if k.Algorithm() == checkpoint.MLDSA44 {
			blob = make([]byte, 8+2420)
		}
		blob[7] = 1
		r.sigs = append([]string{checkpoint.Signature{Name: k.Name(), KeyID: k.KeyID(), Blob: blob}.Line()}, lines...)
		a, err := s.post(ctx, r.bytes())
		if err != nil {
			return err
		}
		if a.status == http.StatusForbidden {
			r.sigs = nil
			if a, err = s.post(ctx, r.bytes()); err != nil {
				return err
			}
		}
		sigs, err := s.cosigned(r, a)
		if err != nil {
			return err
		}
		if err := s.shows(ctx, r, lines, sigs); err != nil {
			return err
		}
	}
	return nil
}

// shownInGrowth reads all the time while the log grows.
func shownInGrowth(ctx context.Context, s *session) error {
	if err := s.advance(ctx, 0, 1); err != nil {
		return err
	}
	if err := s.eventually(ctx, func() error { return s.getIs(ctx, s.path(), 200) }); err != nil {
		return err
	}
	grown := make(chan error, 1)
	go func() {
		for size := uint64(1); size < 30; size++ {
			if err := s.advance(ctx, size, size+1); err != nil {
				grown <- err
				return
			}
		}
		grown <- nil
	}()
	var shown uint64
	for {
		a, err := s.do(ctx, http.MethodGet, s.path(), "")
		if err != nil {
			return err
		}
		note, err := checkpoint.ParseNote(a.body)
		if err != nil {
			return deviation("GET "+s.path(), "a signed note", fmt.Errorf("%v: %w", a, err))
		}
		c, err := checkpoint.ParseText(note.Text)
		if err != nil || c.Size < shown {
			return deviation("GET "+s.path(), fmt.Sprintf("a checkpoint of size %d or more", shown), a)
		}
		shown = c.Size
		for _, sig := range note.Signatures {
			key := s.log.key(checkpoint.Ed25519).Verifier()
			if key.Matches(sig) {
				_, err = key.Verify(note.Text, sig)
			} else {
				_, err = s.verify(note.Text, sig)
			}
			if err != nil {
				return deviation("GET "+s.path(), "lines that verify", fmt.Errorf("%v: %w", a, err))
			}
		}
		select {
		case err := <-grown:
			return err
		default:
		}
	}
}
