package conformance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// sizeType is the media type of the answer that names the size cosigned last.
const sizeType = "text/x.tlog.size"

// clockTolerance is by how much the witness's clock may differ from this one, in seconds.
const clockTolerance = 600

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func now() uint64 { return uint64(time.Now().Unix()) }

// A session is one check's dealings with the witness about one log.
type session struct {
	target *Target
	log    *Log
	times  map[uint32]uint64 // by key id: the latest time that the witness signed with
}

func newSession(t *Target) (*session, error) {
	log, err := t.log()
	if err != nil {
		return nil, err
	}
	return &session{target: t, log: log, times: make(map[uint32]uint64)}, nil
}

// An answer is what the witness said.
type answer struct {
	status int
	header http.Header
	body   []byte
	proto  string
	close  bool
}

func (a answer) String() string {
	return fmt.Sprintf("%d %q %s", a.status, a.header.Get("Content-Type"), excerpt(string(a.body)))
}

// excerpt quotes what is reported, so that a report can be read and its bytes can be sent again.
func excerpt(s string) string {
	const most = 700
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
}

func deviation(sent, want string, found any) error {
	return fmt.Errorf("expected %s, found %v; sent %s", want, found, excerpt(sent))
}

// client returns the target's client. It follows no redirects: they would hide what a witness answers.
func (t *Target) client() *http.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.http == nil {
		t.http = &http.Client{
			Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return t.http
}

// do sends a request and waits out a witness that is busy.
func (s *session) do(ctx context.Context, method, path, body string) (answer, error) {
	for range 20 {
		a, err := s.doOnce(ctx, method, path, body)
		if err != nil || a.status != http.StatusTooManyRequests {
			return a, err
		}
		wait := time.Second
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil && n > 0 && n < 10 {
			wait = time.Duration(n) * time.Second
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(wait):
		}
	}
	return answer{}, errors.New("the witness kept answering 429")
}

func (s *session) doOnce(ctx context.Context, method, path, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.target.Prefix+"/"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := s.target.client().Do(req)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(resp)
}

func readAnswer(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{resp.StatusCode, resp.Header, body, resp.Proto, resp.Close}, err
}

func (s *session) post(ctx context.Context, body string) (answer, error) {
	return s.do(ctx, http.MethodPost, "add-checkpoint", body)
}

// expect posts a request that is to be refused, and then finds the witness's mind unchanged: it still
// names the size stored.
func (s *session) expect(ctx context.Context, body string, stored uint64, statuses ...int) error {
	a, err := s.post(ctx, body)
	if err != nil {
		return fmt.Errorf("no answer to %s: %w", excerpt(body), err)
	}
	if err := a.refusal(body, stored, statuses...); err != nil {
		return err
	}
	return s.storedIs(ctx, stored)
}

// refusal checks the answer to a request that is to be refused with one of the statuses.
func (a answer) refusal(sent string, stored uint64, statuses ...int) error {
	ok := false
	for _, status := range statuses {
		ok = ok || a.status == status
	}
	if !ok {
		return deviation(sent, fmt.Sprintf("status %d", statuses), a)
	}
	size := fmt.Sprintf("%d\n", stored)
	switch isSize := a.header.Get("Content-Type") == sizeType; {
	case a.status == http.StatusConflict && (!isSize || string(a.body) != size):
		return deviation(sent, fmt.Sprintf("409 with %q as %s", size, sizeType), a)
	case a.status != http.StatusConflict && isSize:
		return deviation(sent, "the type "+sizeType+" with 409 only", a)
	case strings.HasPrefix(string(a.body), "\u2014 "):
		return deviation(sent, "no signature in a refusal", a)
	}
	return nil
}

// size asks which size the witness cosigned last, by a request that cannot succeed: its old size and
// its checkpoint are far beyond any that a check uses.
func (s *session) size(ctx context.Context) (uint64, error) {
	const far = 1 << 40
	body := s.probe(far).bytes()
	a, err := s.post(ctx, body)
	if err != nil {
		return 0, fmt.Errorf("no answer to %s: %w", excerpt(body), err)
	}
	size, err := strconv.ParseUint(strings.TrimSuffix(string(a.body), "\n"), 10, 64)
	if a.status != http.StatusConflict || err != nil {
		return 0, deviation(body, "409 with a size", a)
	}
	return size, a.refusal(body, size, http.StatusConflict)
}

func (s *session) probe(size uint64) *request {
	r := s.log.request(honest, 1, 1)
	r.head = oldLine(size)
	r.text = checkpoint.Checkpoint{Origin: s.log.Origin, Size: size, Root: honest.root(1)}.Text()
	return r
}

func (s *session) storedIs(ctx context.Context, want uint64) error {
	switch size, err := s.size(ctx); {
	case err != nil:
		return err
	case size != want:
		return fmt.Errorf("expected the witness to be at size %d, found %d", want, size)
	}
	return nil
}

// cosign posts a request that is to succeed and returns the answer's lines.
func (s *session) cosign(ctx context.Context, r *request) ([]checkpoint.Signature, error) {
	body := r.bytes()
	a, err := s.post(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("no answer to %s: %w", excerpt(body), err)
	}
	return s.cosigned(r, a)
}

// cosigned checks an answer that is to hold cosignatures of the request's checkpoint, and nothing else.
func (s *session) cosigned(r *request, a answer) ([]checkpoint.Signature, error) {
	body := r.bytes()
	if a.status != http.StatusOK {
		return nil, deviation(body, "200 and signature lines", a)
	}
	sigs, err := checkpoint.ParseSignatures(a.body)
	if err != nil {
		return nil, deviation(body, "signature lines only", fmt.Errorf("%v: %w", a, err))
	}
	for _, sig := range sigs {
		time, err := s.verify(r.text, sig)
		if err != nil {
			return nil, deviation(body, "signatures of the witness's keys", fmt.Errorf("%v: %w", a, err))
		}
		if t := now(); time+clockTolerance < t || time > t+clockTolerance {
			return nil, deviation(body, fmt.Sprintf("a time near %d", t), time)
		}
		if time < s.times[sig.KeyID] {
			return nil, deviation(body, fmt.Sprintf("a time not before %d", s.times[sig.KeyID]), time)
		}
		s.times[sig.KeyID] = time
	}
	return sigs, nil
}

// verify checks a line against the witness's key that it names. An ML-DSA line is over start 0 and the
// size as end, as VerifierKey.Verify has it, and a time of 0 is refused there.
func (s *session) verify(text string, sig checkpoint.Signature) (uint64, error) {
	for _, k := range s.target.Witness {
		if k.Matches(sig) {
			return k.Verify(text, sig)
		}
	}
	return 0, fmt.Errorf("a line of %s %08x, which is no key of the witness", sig.Name, sig.KeyID)
}

// advance has the honest log cosigned from one size to the next; to size 0 is no step at all.
func (s *session) advance(ctx context.Context, old, size uint64) error {
	if size == 0 {
		return nil
	}
	if _, err := s.cosign(ctx, s.log.request(honest, old, size)); err != nil {
		return fmt.Errorf("honest step from %d to %d: %w", old, size, err)
	}
	return nil
}

// refuses is the commonest check: with the honest log at size stored, body is refused with one of the
// statuses, and changes nothing.
func (s *session) refuses(ctx context.Context, stored uint64, r *request, statuses ...int) error {
	return s.refusesBody(ctx, stored, r.bytes(), statuses...)
}

func (s *session) refusesBody(ctx context.Context, stored uint64, body string, statuses ...int) error {
	if err := s.advance(ctx, 0, stored); err != nil {
		return err
	}
	return s.expect(ctx, body, stored, statuses...)
}

// path is where the witness serves what it cosigned last.
func (s *session) path() string { return checkpointPath(s.log.Origin) }

func checkpointPath(origin string) string {
	hash := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(hash[:]) + "/checkpoint"
}

// another returns a session about another log.
func (s *session) another() (*session, error) { return newSession(s.target) }

// stranger returns a log that the witness does not know.
func stranger() (*Log, error) {
	logs, err := GenerateLogs(1)
	if err != nil {
		return nil, err
	}
	return &logs[0], nil
}
