package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// signedBy is the honest first request, size 5, with these lines in place of the log's.
func (s *session) signedBy(edit func(c checkpoint.Checkpoint, ed, pq checkpoint.Signature) []checkpoint.Signature) (*request, error) {
	r := s.log.request(honest, 0, 5)
	c := checkpoint.Checkpoint{Origin: s.log.Origin, Size: 5, Root: honest.root(5)}
	ed, err := s.log.sign(checkpoint.Ed25519, c)
	if err != nil {
		return nil, err
	}
	pq, err := s.log.sign(checkpoint.MLDSA44, c)
	if err != nil {
		return nil, err
	}
	r.sigs = []string{}
	for _, sig := range edit(c, ed, pq) {
		r.sigs = append(r.sigs, sig.Line())
	}
	return r, nil
}

type signatures = []checkpoint.Signature

// flip returns the line with a bit of its last byte changed.
func flip(s checkpoint.Signature) checkpoint.Signature {
	s.Blob = bytes.Clone(s.Blob)
	s.Blob[len(s.Blob)-1] ^= 1
	return s
}

func withBlob(s checkpoint.Signature, blob []byte) checkpoint.Signature {
	s.Blob = blob
	return s
}

func keyChecks() []Check {
	var checks []Check
	add := func(id string, level Level, name string, status int,
		edit func(c checkpoint.Checkpoint, ed, pq checkpoint.Signature) []checkpoint.Signature) {
		checks = append(checks, one(id, level, name, func(ctx context.Context, s *session) error {
			r, err := s.signedBy(edit)
			if err != nil {
				return err
			}
			if status != http.StatusOK {
				return s.refuses(ctx, 0, r, status)
			}
			if _, err := s.cosign(ctx, r); err != nil {
				return err
			}
			return s.storedIs(ctx, 5)
		}))
	}
	type cp = checkpoint.Checkpoint
	type sig = checkpoint.Signature
	add("WS-1", Must, "the log's Ed25519 key alone suffices", 200, func(_ cp, ed, _ sig) signatures { return signatures{ed} })
	add("WS-1", Must, "the log's ML-DSA-44 key alone suffices", 200, func(_ cp, _, pq sig) signatures { return signatures{pq} })
	add("WS-1", Must, "both keys of the log, in either order", 200, func(_ cp, ed, pq sig) signatures { return signatures{pq, ed} })
	add("SN-5", Must, "a stranger's line before the log's is ignored", 200, func(_ cp, ed, _ sig) signatures {
		return signatures{{Name: "stranger.example", KeyID: 1, Blob: make([]byte, 64)}, ed}
	})
	add("SN-5", Must, "the log's name with another key id is ignored", 200, func(_ cp, ed, _ sig) signatures {
		other := flip(ed)
		other.KeyID ^= 0x10000
		return signatures{other, ed}
	})
	add("SN-5", Must, "another name with the log's key id is ignored", 200, func(_ cp, ed, _ sig) signatures {
		other := flip(ed)
		other.Name = "stranger.example"
		return signatures{other, ed}
	})
	add("SN-5", Must, "a line of any length by a stranger is ignored", 200, func(_ cp, ed, _ sig) signatures {
		return signatures{{Name: "a.example", KeyID: 1, Blob: []byte{1}}, ed, {Name: "b.example", KeyID: 2, Blob: make([]byte, 5000)}}
	})
	for _, name := range []string{"stran\x7fger.example", "\u00e9tranger.example", "stran\u200dger", "stran\u0081ger", strings.Repeat("a", 300), "\u2014"} {
		add("SN-5", Must, fmt.Sprintf("a stranger's line with the name %.20q is ignored", name), 200, func(_ cp, ed, _ sig) signatures {
			return signatures{ed, {Name: name, KeyID: 1, Blob: make([]byte, 64)}}
		})
	}
	add("WS-3", Must, "only the log's name with another key id: 403", 403, func(_ cp, ed, _ sig) signatures {
		ed.KeyID ^= 1
		return signatures{ed}
	})
	add("WS-3", Must, "only another name with the log's key id: 403", 403, func(_ cp, ed, _ sig) signatures {
		ed.Name = "stranger.example"
		return signatures{ed}
	})
	add("WS-3", Must, "only a stranger's line: 403", 403, func(cp, sig, sig) signatures {
		return signatures{{Name: "stranger.example", KeyID: 1, Blob: make([]byte, 64)}}
	})
	add("SN-6", Must, "a bad Ed25519 line of the log next to a good ML-DSA-44 line: 403", 403,
		func(_ cp, ed, pq sig) signatures { return signatures{flip(ed), pq} })
	add("SN-6", Must, "a bad ML-DSA-44 line of the log next to a good Ed25519 line: 403", 403,
		func(_ cp, ed, pq sig) signatures { return signatures{ed, flip(pq)} })
	add("SN-6", Must, "an Ed25519 signature under the ML-DSA-44 key's id: 403", 403,
		func(_ cp, ed, pq sig) signatures { return signatures{withBlob(pq, ed.Blob)} })
	add("SN-6", Must, "an ML-DSA-44 signature under the Ed25519 key's id: 403", 403,
		func(_ cp, ed, pq sig) signatures { return signatures{withBlob(ed, pq.Blob)} })
	add("SN-6", Must, "an Ed25519 signature a byte too long: 403", 403,
		func(_ cp, ed, _ sig) signatures { return signatures{withBlob(ed, append(bytes.Clone(ed.Blob), 0))} })
	add("SN-6", Must, "an Ed25519 signature behind a time, as cosignatures have it: 403", 403,
		func(_ cp, ed, _ sig) signatures { return signatures{withBlob(ed, append(make([]byte, 8), ed.Blob...))} })
	add("CS-11", Derived, "an ML-DSA-44 line a byte too short: 403", 403,
		func(_ cp, _, pq sig) signatures { return signatures{withBlob(pq, pq.Blob[:len(pq.Blob)-1])} })
	add("CS-11", Derived, "an ML-DSA-44 line a byte too long: 403", 403,
		func(_ cp, _, pq sig) signatures { return signatures{withBlob(pq, append(bytes.Clone(pq.Blob), 0))} })
	add("CS-11", Derived, "an ML-DSA-44 line with another time than it signs: 403", 403, func(_ cp, _, pq sig) signatures {
		blob := bytes.Clone(pq.Blob)
		blob[7] ^= 1
		return signatures{withBlob(pq, blob)}
	})
	add("CS-3", Must, "an ML-DSA-44 line with the time 2^63: 403", 403, func(_ cp, _, pq sig) signatures {
		blob := bytes.Clone(pq.Blob)
		binary.BigEndian.PutUint64(blob, 1<<63)
		return signatures{withBlob(pq, blob)}
	})
	return append(checks,
		one("WS-3", Must, "the log's signature of another checkpoint: 403", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			r.sigs = []string{s.log.signText(s.log.request(honest, 0, 6).text).Line()}
			return s.refuses(ctx, 0, r, 403)
		}),
		one("WS-1", Must, "another configured log's key, under its own name, its id, and this log's: 403", otherLogsKey),
		one("WS-1", Must, "a line of the witness itself, from the answer before, is no harm", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			sigs, err := s.cosign(ctx, r)
			if err != nil {
				return err
			}
			again := s.log.request(honest, 5, 5)
			again.sigs = again.signatures()
			for _, sig := range sigs {
				again.sigs = append(again.sigs, sig.Line())
			}
			_, err = s.cosign(ctx, again)
			return err
		}),
		one("SN-7", Must, "16 ML-DSA-44 lines, the log's the last: 200", func(ctx context.Context, s *session) error {
			return s.manyLines(ctx, 15)
		}),
		one("WS-17", Derived, "16 ML-DSA-44 lines of strangers and the log's: 200", func(ctx context.Context, s *session) error {
			return s.manyLines(ctx, 16)
		}),
		one("WS-17", Derived, "16 ML-DSA-44 lines and 63 proof lines are read, and prove nothing: 422", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 3, 8)
			r.proof = filler(63)
			r.sigs = r.signatures()
			for i := range 16 {
				r.sigs = append(r.sigs, strangerLine(i))
			}
			return s.refuses(ctx, 3, r, 422)
		}),
	)
}

func (s *session) manyLines(ctx context.Context, strangers int) error {
	r, err := s.signedBy(func(_ checkpoint.Checkpoint, _, pq checkpoint.Signature) []checkpoint.Signature {
		return signatures{pq}
	})
	if err != nil {
		return err
	}
	var all []string
	for i := range strangers {
		all = append(all, strangerLine(i))
	}
	r.sigs = append(all, r.sigs...)
	_, err = s.cosign(ctx, r)
	return err
}

// otherLogsKey signs this log's checkpoint with the key of another log that the witness knows.
func otherLogsKey(ctx context.Context, s *session) error {
	o, err := s.another()
	if err != nil {
		return err
	}
	r := s.log.request(honest, 0, 5)
	line := o.log.signText(r.text)
	var errs []error
	for _, change := range []func(*checkpoint.Signature){
		func(*checkpoint.Signature) {},
		func(l *checkpoint.Signature) { l.Name = s.log.Origin },
		func(l *checkpoint.Signature) { l.KeyID = s.log.key(checkpoint.Ed25519).Verifier().KeyID() },
		func(l *checkpoint.Signature) {
			l.Name, l.KeyID = s.log.Origin, s.log.key(checkpoint.Ed25519).Verifier().KeyID()
		},
	} {
		changed := line
		change(&changed)
		r.sigs = []string{changed.Line()}
		errs = append(errs, s.refuses(ctx, 0, r, 403))
	}
	// And this log's request under the other's origin: the signature is good, for another log.
	r = s.log.request(honest, 0, 5)
	r.text = o.log.Origin + strings.TrimPrefix(r.text, s.log.Origin)
	errs = append(errs, o.refuses(ctx, 0, r, 403))
	return errors.Join(errs...)
}
