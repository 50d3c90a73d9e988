package conformance

import (
	"context"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// A defect makes a request wrong in one way. s.log is at size 3 or new, and r its honest request to size 8.
type defect func(s *session, r *request) error

func malformed(_ *session, r *request) error {
	r.head = strings.Replace(r.head, "old ", "old 0", 1)
	return nil
}

func unknownOrigin(_ *session, r *request) error {
	log, err := stranger()
	if err != nil {
		return err
	}
	r.text = log.Origin + r.text[strings.IndexByte(r.text, '\n'):]
	r.log = log
	return nil
}

func forged(_ *session, r *request) error { r.forged = true; return nil }

func extended(_ *session, r *request) error { r.text += "an extension\n"; return nil }

func oldBeyond(_ *session, r *request) error { r.head = oldLine(9); return nil }

// emptyOtherRoot is a checkpoint of size 0 with the root of another tree.
func emptyOtherRoot(_ *session, r *request) error {
	r.proof = nil
	r.text = r.log.Origin + "\n0\n" + honest.root(8).String() + "\n"
	return nil
}

func oldZero(_ *session, r *request) error { r.head, r.proof = oldLine(0), nil; return nil }

func oldBehind(_ *session, r *request) error {
	r.head, r.proof = oldLine(2), honest.proof(2, 8)
	return nil
}

func oldAhead(_ *session, r *request) error {
	r.head, r.proof = oldLine(5), honest.proof(5, 8)
	return nil
}

func needlessProof(_ *session, r *request) error { r.proof = honest.proof(3, 8); return nil }

func otherRootAt(size uint64) defect {
	return func(_ *session, r *request) error {
		r.head, r.proof = oldLine(size), nil
		other := history{"fork", 1}
		r.text = checkpoint.Checkpoint{Origin: r.log.Origin, Size: size, Root: other.root(size)}.Text()
		return nil
	}
}

func wrongProof(_ *session, r *request) error {
	r.proof = append(filler(1), r.proof[min(1, len(r.proof)):]...)
	return nil
}

// refused makes the check that a request with these defects is answered so.
func refused(id string, level Level, name string, stored uint64, status int, defects ...defect) Check {
	return one(id, level, name, func(ctx context.Context, s *session) error {
		r := s.log.request(honest, stored, 8)
		for _, d := range defects {
			if err := d(s, r); err != nil {
				return err
			}
		}
		return s.refuses(ctx, stored, r, status)
	})
}

// statusChecks are one defect each.
func statusChecks() []Check {
	proof := func(edit func([]string) []string) defect {
		return func(_ *session, r *request) error { r.proof = edit(r.proof); return nil }
	}
	return []Check{
		refused("WS-2", Must, "unknown origin: 404", 0, 404, unknownOrigin),
		refused("WS-3", Must, "signature that does not verify: 403", 3, 403, forged),
		refused("CP-4", Derived, "extension line: 400", 3, 400, extended),
		refused("WS-4", Must, "old larger than the checkpoint: 400", 3, 400, oldBeyond),
		refused("WS-5", Must, "size 0 with another root: 422", 0, 422, emptyOtherRoot),
		refused("WS-6", Must, "old behind the size cosigned last: 409 and that size", 3, 409, oldBehind),
		refused("WS-6", Must, "old ahead of the size cosigned last: 409 and that size", 3, 409, oldAhead),
		refused("WS-6", Must, "old 0 once something was cosigned: 409 and the size", 3, 409, oldZero),
		refused("WS-18", Derived, "first contact with old 2: 409 and 0", 0, 409, oldBehind),
		refused("WS-18", Derived, "first contact with old equal to the size: 409 and 0", 0, 409, otherRootAt(3)),
		refused("WS-7", Must, "old 0 with a proof: 422", 0, 422, needlessProof),
		refused("WS-8", Must, "equal sizes with another root: 422", 3, 422, otherRootAt(3)),
		refused("WS-9", Must, "proof with a wrong hash: 422", 3, 422, wrongProof),
		refused("WS-9", Must, "no proof: 422", 3, 422, proof(func([]string) []string { return nil })),
		refused("WS-9", Must, "proof with a hash too few: 422", 3, 422,
			proof(func(p []string) []string { return p[:len(p)-1] })),
		refused("WS-9", Must, "proof with a hash too many: 422", 3, 422,
			proof(func(p []string) []string { return append(p, p[0]) })),
		refused("WS-9", Must, "proof with its hashes in another order: 422", 3, 422,
			proof(func(p []string) []string { return append(p[1:], p[0]) })),
		refused("WS-9", Must, "63 proof lines are read, and prove nothing: 422", 3, 422,
			proof(func([]string) []string { return filler(63) })),
		one("WS-9", Must, "equal sizes, equal roots, with a proof: 422", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 3, 3)
			r.proof = filler(1)
			return s.refuses(ctx, 3, r, 422)
		}),
		one("WS-9", Must, "a fork with a proof of its own tree: 422", func(ctx context.Context, s *session) error {
			return s.refuses(ctx, 3, s.log.request(history{"fork", 1}, 3, 8), 422)
		}),
		one("WS-9", Must, "a fork after a power of two, where proofs leave out the old root: 422",
			func(ctx context.Context, s *session) error {
				return s.refuses(ctx, 4, s.log.request(history{"fork", 1}, 4, 8), 422)
			}),
		one("WS-6", Must, "the empty tree once something was cosigned: 409 and the size", func(ctx context.Context, s *session) error {
			return s.refuses(ctx, 3, s.log.request(honest, 0, 0), 409)
		}),
		one("WS-4", Must, "the empty tree with the size cosigned last as old: 400", func(ctx context.Context, s *session) error {
			return s.refuses(ctx, 3, s.log.request(honest, 3, 0), 400)
		}),
		one("WS-7", Must, "the empty tree with a proof: 422", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 0)
			r.proof = filler(1)
			return s.refuses(ctx, 0, r, 422)
		}),
		one("WS-6", Must, "a replayed older checkpoint: 409 and the size", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			if err := s.advance(ctx, 3, 8); err != nil {
				return err
			}
			if err := s.expect(ctx, s.log.request(honest, 0, 3).bytes(), 8, 409); err != nil {
				return err
			}
			return s.expect(ctx, s.log.request(honest, 3, 3).bytes(), 8, 409)
		}),
		one("WS-6", Must, "the request just answered, again: 409 and the new size", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			if err := s.advance(ctx, 3, 8); err != nil {
				return err
			}
			return s.expect(ctx, s.log.request(honest, 3, 8).bytes(), 8, 409)
		}),
	}
}

// orderChecks are two defects each: the earlier row of the package comment's table is answered.
func orderChecks() []Check {
	pair := func(rows string, stored uint64, status int, defects ...defect) Check {
		return refused("6.2", Derived, "two defects, the first is answered: "+rows, stored, status, defects...)
	}
	return []Check{
		pair("malformed, unknown origin", 3, 400, malformed, unknownOrigin),
		pair("malformed, forged", 3, 400, malformed, forged),
		pair("malformed, old behind", 3, 400, oldBehind, malformed),
		pair("malformed, wrong proof", 3, 400, malformed, wrongProof),
		pair("unknown origin, forged", 0, 404, unknownOrigin, forged),
		pair("unknown origin, extension", 0, 404, unknownOrigin, extended),
		pair("unknown origin, old beyond", 0, 404, unknownOrigin, oldBeyond),
		pair("unknown origin, empty with another root", 0, 404, unknownOrigin, emptyOtherRoot),
		pair("unknown origin, old behind", 0, 404, unknownOrigin, oldBehind),
		pair("unknown origin, needless proof", 0, 404, unknownOrigin, needlessProof),
		pair("forged, extension", 3, 403, forged, extended),
		pair("forged, old beyond", 3, 403, forged, oldBeyond),
		pair("forged, empty with another root", 0, 403, forged, emptyOtherRoot),
		pair("forged, old behind", 3, 403, forged, oldBehind),
		pair("forged, needless proof", 0, 403, forged, needlessProof),
		pair("forged, another root", 3, 403, forged, otherRootAt(3)),
		pair("forged, wrong proof", 3, 403, forged, wrongProof),
		pair("extension, empty with another root", 0, 400, emptyOtherRoot, extended),
		pair("extension, old behind", 3, 400, oldBehind, extended),
		pair("extension, another root", 3, 400, otherRootAt(3), extended),
		pair("extension, wrong proof", 3, 400, wrongProof, extended),
		pair("old beyond, empty with another root", 3, 400, emptyOtherRoot),
		pair("old beyond, not the size cosigned last", 0, 400, oldBeyond),
		pair("old beyond, wrong proof", 3, 400, oldBeyond, wrongProof),
		pair("empty with another root, not the size cosigned last", 3, 422, emptyOtherRoot, func(_ *session, r *request) error {
			r.head = oldLine(0)
			return nil
		}),
		pair("not the size cosigned last, needless proof", 3, 409, oldZero, needlessProof),
		pair("not the size cosigned last, another root", 3, 409, otherRootAt(2)),
		pair("not the size cosigned last, wrong proof", 3, 409, oldBehind, wrongProof),
	}
}
