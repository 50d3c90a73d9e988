package conformance

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// answerChecks are about what a witness says when it cosigns. That every line is of a key of the witness, over the
// checkpoint, and of a time that is near and does not go back, each successful request of each check asks.
func answerChecks() []Check {
	return []Check{
		one("WS-11", Must, "200 with signature lines and nothing else", func(ctx context.Context, s *session) error {
			return errors.Join(s.advance(ctx, 0, 3), s.advance(ctx, 3, 8), s.advance(ctx, 8, 9))
		}),
		one("WS-12", Should, "an ML-DSA-44 cosignature (0x06)", signsWith(checkpoint.MLDSA44)),
		one("WS-12", Derived, "an Ed25519 cosignature (0x04)", signsWith(checkpoint.CosignatureV1)),
		one("WS-12", Derived, "one line of each key of the witness", func(ctx context.Context, s *session) error {
			sigs, err := s.cosign(ctx, s.log.request(honest, 0, 5))
			if err == nil && len(sigs) != len(s.target.Witness) {
				err = fmt.Errorf("expected %d lines, found %d", len(s.target.Witness), len(sigs))
			}
			return err
		}),
		one("WS-11", Must, "an unchanged checkpoint is cosigned again, at a time not before", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			for range 5 {
				if err := s.advance(ctx, 5, 5); err != nil {
					return err
				}
			}
			return s.storedIs(ctx, 5)
		}),
		one("WS-11", Must, "an unchanged checkpoint is cosigned at the new time once the clock went on", refreshes),
		one("WS-19", Derived, "the empty tree is cosigned, again, and grown from", func(ctx context.Context, s *session) error {
			for range 2 {
				if _, err := s.cosign(ctx, s.log.request(honest, 0, 0)); err != nil {
					return err
				}
				if err := s.storedIs(ctx, 0); err != nil {
					return err
				}
			}
			return s.advance(ctx, 0, 3)
		}),
		one("WS-10", Must, "a log grows by one entry at a time", func(ctx context.Context, s *session) error {
			for size := range uint64(20) {
				if err := s.advance(ctx, size, size+1); err != nil {
					return err
				}
			}
			return s.storedIs(ctx, 20)
		}),
		one("PR-3", Derived, "the largest size, 2^63-1, by the longest proof, of 63 hashes", largest),
		one("WS-9", Must, "the largest size with a proof that is none: 422", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 3, 8)
			r.text = checkpoint.Checkpoint{Origin: s.log.Origin, Size: tree.MaxSize, Root: honest.root(8)}.Text()
			r.proof = filler(63)
			return s.refuses(ctx, 3, r, 422)
		}),
		one("WS-1", Must, "two logs do not meet", func(ctx context.Context, s *session) error {
			o, err := s.another()
			if err != nil {
				return err
			}
			return errors.Join(s.advance(ctx, 0, 5), o.storedIs(ctx, 0), o.advance(ctx, 0, 3), s.storedIs(ctx, 5), o.storedIs(ctx, 3))
		}),
		one("6.1", Derived, "200 is plain text", func(ctx context.Context, s *session) error {
			return s.plain(ctx, s.log.request(honest, 0, 5), 200)
		}),
		one("6.1", Derived, "a refusal is plain text", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			r.forged = true
			return s.plain(ctx, r, 403)
		}),
		one("6.1", Derived, "a refusal is short and does not repeat the request", func(ctx context.Context, s *session) error {
			const mark = "<script>alert(7)</script>"
			r := s.log.request(honest, 0, 5)
			r.head = "old " + strings.Repeat(mark, 1000)
			a, err := s.post(ctx, r.bytes())
			if err == nil && (len(a.body) > 4096 || strings.HasPrefix(a.header.Get("Content-Type"), "text/html")) {
				err = deviation(r.bytes(), "at most 4 KiB, not HTML", a)
			}
			return err
		}),
	}
}

// plain posts a request and checks that the answer's type is that of plain text, in UTF-8 if it says.
func (s *session) plain(ctx context.Context, r *request, status int) error {
	a, err := s.post(ctx, r.bytes())
	if err != nil {
		return err
	}
	kind, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if charset := strings.ToLower(params["charset"]); err != nil || a.status != status || kind != "text/plain" ||
		(charset != "" && charset != "utf-8") {
		return deviation(r.bytes(), fmt.Sprintf("%d as text/plain", status), a)
	}
	return nil
}

func signsWith(alg checkpoint.Algorithm) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		sigs, err := s.cosign(ctx, s.log.request(honest, 0, 5))
		if err != nil {
			return err
		}
		for _, k := range s.target.Witness {
			for _, sig := range sigs {
				if k.Algorithm() == alg && k.Matches(sig) {
					return nil
				}
			}
		}
		return fmt.Errorf("expected a line of type %v, found %d lines of other types", alg, len(sigs))
	}
}

// refreshes asks until the time in the answer has moved on: a witness that repeats a stored answer never does.
func refreshes(ctx context.Context, s *session) error {
	if err := s.advance(ctx, 0, 5); err != nil {
		return err
	}
	first := make(map[uint32]uint64)
	for id, t := range s.times {
		first[id] = t
	}
	return s.eventually(ctx, func() error {
		if err := s.advance(ctx, 5, 5); err != nil {
			return err
		}
		for id, t := range s.times {
			if t <= first[id] {
				return fmt.Errorf("expected key %08x to sign at a time after %d, found %d", id, first[id], t)
			}
		}
		return nil
	})
}

// largest goes from size 1 to 2^63-1 at once. All 63 hashes of that proof are right siblings on the way from the first
// leaf to the root, so any 63 hashes are the proof of some root.
func largest(ctx context.Context, s *session) error {
	if err := s.advance(ctx, 0, 1); err != nil {
		return err
	}
	root := honest.root(1)
	r := s.log.request(honest, 1, 1)
	r.proof = filler(63)
	for i := range 63 {
		root = tree.NodeHash(root, tree.LeafHash([]byte(strconv.Itoa(i))))
	}
	r.text = checkpoint.Checkpoint{Origin: s.log.Origin, Size: tree.MaxSize, Root: root}.Text()
	if _, err := s.cosign(ctx, r); err != nil {
		return err
	}
	if err := s.expect(ctx, s.log.request(honest, 1, 2).bytes(), tree.MaxSize, 409); err != nil {
		return err
	}
	r.head, r.proof = oldLine(tree.MaxSize), nil
	_, err := s.cosign(ctx, r)
	return err
}
