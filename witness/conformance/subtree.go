package conformance

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// A subtreeRequest is a sign-subtree request in parts that can each be made wrong.
type subtreeRequest struct {
	head, hash string
	proof      []string
	text       string
	sigs       []string
}

func (r *subtreeRequest) bytes() string {
	return strings.Join(append([]string{r.head, r.hash}, r.proof...), "\n") + "\n\n" + r.text + "\n" + strings.Join(r.sigs, "")
}

// subtreeSession has the honest log cosigned at size 8, and returns the request for its entries from 4 to before 7. The
// reference checkpoint carries one signature, of the witness's ML-DSA-44 key.
func subtreeSession(ctx context.Context, s *session) (*subtreeRequest, []checkpoint.Signature, error) {
	a, err := s.do(ctx, http.MethodPost, "sign-subtree", "")
	if err != nil {
		return nil, nil, err
	}
	if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotImplemented {
		return nil, nil, fmt.Errorf("%w: sign-subtree is not offered: %v", ErrNotApplicable, a)
	}
	sigs, err := s.cosign(ctx, s.log.request(honest, 0, 8))
	if err != nil {
		return nil, nil, err
	}
	key := s.subtreeKey()
	if key == nil {
		return nil, nil, fmt.Errorf("%w: the witness has no ML-DSA-44 key", ErrNotApplicable)
	}
	r := s.subtreeRequest(4, 7, 8)
	for _, sig := range sigs {
		if key.Matches(sig) {
			r.sigs = []string{sig.Line()}
		}
	}
	return r, sigs, nil
}

func (s *session) subtreeKey() *checkpoint.VerifierKey {
	for _, k := range s.target.Witness {
		if k.Algorithm() == checkpoint.MLDSA44 {
			return k
		}
	}
	return nil
}

func (s *session) subtreeRequest(start, end, size uint64) *subtreeRequest {
	hash, _ := honest.node(start, end) // node never fails
	return &subtreeRequest{
		head:  fmt.Sprintf("subtree %d %d", start, end),
		hash:  hash.String(),
		proof: honest.subtreeProof(start, end, size),
		text:  s.log.request(honest, size, size).text,
	}
}

func subtreeChecks() []Check {
	refused := func(level Level, name string, edit func(s *session, r *subtreeRequest), statuses ...int) Check {
		return one("6.4", level, "sign-subtree: "+name+fmt.Sprintf(": %d", statuses[0]), func(ctx context.Context, s *session) error {
			r, _, err := subtreeSession(ctx, s)
			if err != nil {
				return err
			}
			edit(s, r)
			a, err := s.do(ctx, http.MethodPost, "sign-subtree", r.bytes())
			if err != nil {
				return err
			}
			if err := a.refusal(r.bytes(), 8, statuses...); err != nil {
				return err
			}
			return s.storedIs(ctx, 8)
		})
	}
	head := func(head string) func(*session, *subtreeRequest) {
		return func(_ *session, r *subtreeRequest) { r.head = head }
	}
	checks := []Check{
		one("6.4", Must, "sign-subtree: each subtree of a cosigned tree is signed, bare and verifiable", func(ctx context.Context, s *session) error {
			r, _, err := subtreeSession(ctx, s)
			if err != nil {
				return err
			}
			for _, sub := range [][2]uint64{{4, 7}, {0, 4}, {5, 6}, {0, 8}, {6, 8}, {0, 3}} {
				sr := s.subtreeRequest(sub[0], sub[1], 8)
				sr.sigs = r.sigs
				if err := s.signsSubtree(ctx, sr, sub[0], sub[1]); err != nil {
					return err
				}
			}
			return s.storedIs(ctx, 8)
		}),
		one("6.4", Derived, "sign-subtree: a tree cosigned before the newest still serves", func(ctx context.Context, s *session) error {
			r, _, err := subtreeSession(ctx, s)
			if err != nil {
				return err
			}
			if err := s.advance(ctx, 8, 13); err != nil {
				return err
			}
			return s.signsSubtree(ctx, r, 4, 7)
		}),
		one("6.4", Must, "sign-subtree: two signatures on the reference checkpoint: 400 or 403", func(ctx context.Context, s *session) error {
			r, _, err := subtreeSession(ctx, s)
			if err != nil {
				return err
			}
			r.sigs = append(r.sigs, s.log.signText(r.text).Line())
			a, err := s.do(ctx, http.MethodPost, "sign-subtree", r.bytes())
			if err != nil {
				return err
			}
			return a.refusal(r.bytes(), 8, 400, 403)
		}),
		refused(Must, "only the log's signature", func(s *session, r *subtreeRequest) {
			r.sigs = []string{s.log.signText(r.text).Line()}
		}, 403),
		refused(Must, "only a stranger's signature", func(_ *session, r *subtreeRequest) { r.sigs = []string{strangerLine(1)} }, 403),
		refused(Must, "a cosignature of another tree", func(s *session, r *subtreeRequest) {
			r.text = s.log.request(history{"fork", 1}, 8, 8).text
		}, 403),
		refused(Must, "a cosignature that does not verify", func(s *session, r *subtreeRequest) {
			k := s.subtreeKey()
			blob := make([]byte, 8+2420)
			blob[7] = 1
			r.sigs = []string{checkpoint.Signature{Name: k.Name(), KeyID: k.KeyID(), Blob: blob}.Line()}
		}, 403),
		refused(Must, "unknown origin", func(s *session, r *subtreeRequest) {
			r.text = "unknown." + r.text
		}, 404),
		refused(Must, "another hash", func(_ *session, r *subtreeRequest) { r.hash = honest.root(1).String() }, 422),
		refused(Must, "no proof", func(_ *session, r *subtreeRequest) { r.proof = nil }, 422),
		refused(Must, "a proof with a hash too many", func(_ *session, r *subtreeRequest) { r.proof = append(r.proof, r.hash) }, 422),
		refused(Must, "63 proof lines that prove nothing", func(_ *session, r *subtreeRequest) { r.proof = filler(63) }, 422),
		refused(Must, "64 proof lines", func(_ *session, r *subtreeRequest) { r.proof = filler(64) }, 400),
		refused(Must, "the end beyond the checkpoint", head("subtree 8 16"), 400),
		refused(Must, "no subtree, as its start is no multiple", head("subtree 3 5"), 400),
		refused(Must, "an end before the start", head("subtree 4 3"), 400),
		refused(Derived, "an empty subtree", head("subtree 4 4"), 400, 422),
		refused(Must, "a hash that is not canonical base64", func(_ *session, r *subtreeRequest) { r.hash = notCanonical(r.hash) }, 400),
		refused(Derived, "an extension line", func(_ *session, r *subtreeRequest) { r.text += "extension\n" }, 400, 403),
		refused(Derived, "invalid syntax and unknown origin", func(_ *session, r *subtreeRequest) {
			r.head, r.text = "subtree 04 7", "unknown."+r.text
		}, 400),
	}
	for _, h := range []string{
		"subtree 04 7", "subtree 4 +7", "subtree  4 7", "subtree 4 7 ", "subtree 4", "subtree", "subtree 4 7 8", "tree 4 7", "old 4",
		"subtree 4 7\r", "subtree 0 18446744073709551616",
	} {
		checks = append(checks, refused(Must, fmt.Sprintf("first line %q", h), head(h), 400))
	}
	return checks
}

// signsSubtree checks the answer that v1.1.0 specifies: the bare signature in base64 on one line.
func (s *session) signsSubtree(ctx context.Context, r *subtreeRequest, start, end uint64) error {
	body := r.bytes()
	a, err := s.do(ctx, http.MethodPost, "sign-subtree", body)
	if err != nil {
		return err
	}
	line, ok := strings.CutSuffix(string(a.body), "\n")
	signature, err := base64.StdEncoding.Strict().DecodeString(line)
	if a.status != http.StatusOK || !ok || err != nil || strings.ContainsAny(line, "\r\n") {
		return deviation(body, "200 and one line of base64", a)
	}
	hash, _ := honest.node(start, end) // node never fails
	if err := s.subtreeKey().VerifySubtree(s.log.Origin, start, end, hash, signature); err != nil {
		return deviation(body, "a signature over the subtree with time 0", err)
	}
	return nil
}
