package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/protocol"
)

const (
	textType = "text/plain; charset=utf-8"

	// maxSentence bounds what a client is told of a refusal's cause, in bytes.
	maxSentence = 1000
)

// Handler returns what Serve serves, for requests that come another way: under the same limits
// per client, of bodies and of turns, but not of connections and heads. The client of a request is its
// RemoteAddr.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	e := &exchange{s: s, w: w, r: r, control: http.NewResponseController(w), connection: connectionOf(r.Context()), kind: Other, began: time.Now()}
	defer e.end()
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler {
			panic(v)
		}
		s.counters.add(&s.counters.panics)
		s.config.Log.Error("a request made the witness panic", "kind", string(e.kind), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if e.status == 0 {
			e.internal()
		}
	}()
	e.route()
}

// An exchange is a request and its answer.
type exchange struct {
	s          *Server
	w          http.ResponseWriter
	r          *http.Request
	control    *http.ResponseController
	connection *connection
	kind       Kind
	began      time.Time
	whole      bool // the body was read to its end
	status     int  // of the answer; 0 until there is one
}

func (e *exchange) end() {
	took := time.Since(e.began)
	e.s.counters.answered(e.kind, e.status, took)
	e.s.config.Log.Debug("request", "client", e.r.RemoteAddr, "method", e.r.Method, "kind", string(e.kind), "status", e.status, "took", took)
}

// route takes paths as they were sent. There is no mux, since it would answer one that is not
// clean with a redirect, and one with needless escapes as if it had none.
func (e *exchange) route() {
	path, ok := strings.CutPrefix(e.r.URL.EscapedPath(), e.s.config.Prefix+"/")
	var hash string
	switch {
	case !ok:
	case path == protocol.AddCheckpointPath:
		e.kind = AddCheckpoint
	case path == protocol.SignSubtreePath:
		e.kind = SignSubtree
	default:
		var rest string
		if hash, rest, ok = strings.Cut(path, "/"); ok && rest == "checkpoint" && isOriginHash(hash) {
			e.kind = Checkpoint
		}
	}

	if !e.s.rates.allow(clientOf(e.r.RemoteAddr)) {
		e.refuse(&witness.Refusal{Status: http.StatusTooManyRequests, Retry: time.Second, Cause: errors.New("too many requests from this address")})
		return
	}

	switch e.kind {
	case AddCheckpoint:
		e.post(e.s.config.Cosigner.AddCheckpoint)
	case SignSubtree:
		e.post(e.s.config.Cosigner.SignSubtree)
	case Checkpoint:
		e.checkpoint(hash)
	default:
		e.fail(http.StatusNotFound, "there is nothing at this path")
	}
}

func isOriginHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// checkpoint answers a monitor. Browsers may read it from anywhere: it is public.
func (e *exchange) checkpoint(hash string) {
	e.w.Header().Set("Access-Control-Allow-Origin", "*")
	if e.r.Method != http.MethodGet && e.r.Method != http.MethodHead {
		e.w.Header().Set("Allow", "GET, HEAD")
		e.fail(http.StatusMethodNotAllowed, "expected a GET or HEAD request")
		return
	}
	note, ok := e.s.config.Cosigner.Checkpoint(hash)
	if !ok {
		// It may be there in a moment: no-store, as for all that fails.
		e.fail(http.StatusNotFound, "no checkpoint of such a log was cosigned here")
		return
	}
	e.w.Header().Set("Cache-Control", "no-cache")
	e.answer(http.StatusOK, textType, note)
}

func (e *exchange) post(cosign func(context.Context, []byte) ([]byte, error)) {
	if e.r.Method != http.MethodPost {
		e.w.Header().Set("Allow", "POST")
		e.fail(http.StatusMethodNotAllowed, "expected a POST request")
		return
	}
	for _, coding := range e.r.Header.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			e.fail(http.StatusUnsupportedMediaType, "expected a body without a content encoding")
			return
		}
	}
	if e.r.ContentLength > e.s.config.MaxBody {
		e.tooLarge()
		return
	}
	content, b, ok := e.read()
	if !ok {
		return
	}
	lines, err := e.cosign(b, content, cosign)
	var refusal *witness.Refusal
	switch {
	case err == nil:
		e.w.Header().Set("Cache-Control", "no-store")
		e.answer(http.StatusOK, textType, lines)
	case errors.As(err, &refusal):
		e.refuse(refusal)
	default:
		e.s.config.Log.Error("the witness could not answer", "kind", string(e.kind), "error", err)
		e.internal()
	}
}

// firstBuffer is what a body gets in bytes before anything of it is there: most need no more.
const firstBuffer = 4 << 10

var errTooLarge = errors.New("the body is too large")

// read returns the whole body, or answers why not. If it returns one, that must be released.
func (e *exchange) read() (_ []byte, _ *body, ok bool) {
	// A connection that knows no deadlines has limits of its own, hence no error is of interest.
	_ = e.control.SetReadDeadline(time.Now().Add(e.s.config.BodyTime))
	b := e.s.memory.enter(clientOf(e.r.RemoteAddr), func() { _ = e.control.SetReadDeadline(past) })
	defer func() {
		if !ok {
			b.release() // again, unless it was a panic that got here
		}
	}()
	content, err := e.readInto(b)
	if !b.complete() {
		// Even if it became complete meanwhile: net/http watches the connection from then on, and
		// may have taken the deadline for the client's end.
		err = errCut
	}
	if err == nil {
		e.whole = true
		_ = e.control.SetReadDeadline(time.Time{}) // for the same reason
		return content, b, true
	}
	b.release() // before the answer, which the client need not take
	if e.connection.isEvicted() {
		e.abort()
	}
	switch {
	case errors.Is(err, errCut):
		e.s.counters.add(&e.s.counters.cut)
		e.fail(http.StatusRequestTimeout, errCut.Error())
	case errors.Is(err, errTooLarge):
		e.tooLarge()
	case errors.Is(err, errNoMemory):
		e.refuse(&witness.Refusal{Status: http.StatusServiceUnavailable, Retry: time.Second, Cause: errNoMemory})
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.fail(http.StatusRequestTimeout, fmt.Sprintf("expected the whole body within %v", e.s.config.BodyTime))
	default:
		e.fail(http.StatusBadRequest, "expected a whole body")
	}
	return nil, nil, false
}

// readInto reads the body into a buffer that grows with it, for which b asks.
func (e *exchange) readInto(b *body) (content []byte, err error) {
	// One byte more shows that there are too many.
	limit := e.s.config.MaxBody + 1
	for {
		if size := int64(cap(content)); int64(len(content)) == size {
			larger := min(max(firstBuffer, 2*size), limit)
			if announced := e.r.ContentLength; announced >= size {
				larger = min(larger, announced+1) // for the end to be found without growing
			}
			// For a moment there are both buffers. The old one is garbage then.
			if err := b.grow(e.r.Context(), larger-size); err != nil {
				return nil, err
			}
			content = append(make([]byte, 0, larger), content...)
		}
		n, err := e.r.Body.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]
		switch {
		case int64(len(content)) == limit:
			return nil, errTooLarge
		case err == io.EOF:
			return content, nil
		case err != nil:
			return nil, err
		}
	}
}

// cosign takes a whole body to the cosigner, in its turn, and releases it.
func (e *exchange) cosign(b *body, content []byte, cosign func(context.Context, []byte) ([]byte, error)) ([]byte, error) {
	defer b.release()
	if !e.connection.keep() {
		e.abort()
	}
	defer e.connection.engage()
	giveBack, err := e.s.turns.take(e.r.Context(), clientOf(e.r.RemoteAddr))
	if err != nil {
		return nil, &witness.Refusal{Status: http.StatusServiceUnavailable, Retry: time.Second, Cause: errNoTurn}
	}
	defer giveBack()
	return cosign(e.r.Context(), content)
}

// abort ends a request whose connection was closed for another. An answer would only keep the
// connection's slot for half a second more, in which net/http lets it arrive.
func (e *exchange) abort() {
	e.s.counters.add(&e.s.counters.cut)
	e.status = http.StatusRequestTimeout
	panic(http.ErrAbortHandler)
}

func (e *exchange) tooLarge() {
	e.fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("expected a body of at most %d bytes", e.s.config.MaxBody))
}

func (e *exchange) internal() {
	e.fail(http.StatusInternalServerError, "the witness is in trouble; its operator can find the cause in its log")
}

// refuse answers what C2SP tlog-witness gives a status for.
func (e *exchange) refuse(r *witness.Refusal) {
	if r.Retry > 0 {
		seconds := (r.Retry + time.Second - 1) / time.Second
		e.w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	switch r.Status {
	case http.StatusConflict:
		e.w.Header().Set("Cache-Control", "no-store")
		e.answer(r.Status, protocol.SizeType, protocol.FormatSize(r.Size))
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity,
		http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.fail(r.Status, sentence(r.Cause))
	default:
		e.s.config.Log.Error("the witness refused with an unknown status", "kind", string(e.kind), "status", r.Status, "error", r.Cause)
		e.internal()
	}
}

// sentence makes one line of an error: a cause may repeat what a client sent.
func sentence(err error) string {
	if err == nil {
		return "refused"
	}
	s := err.Error()
	if len(s) > maxSentence {
		s = s[:maxSentence]
	}
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

// fail answers with a sentence.
func (e *exchange) fail(status int, sentence string) {
	e.w.Header().Set("Cache-Control", "no-store")
	e.answer(status, textType, []byte(sentence+"\n"))
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// answer writes the one answer. If not all of the body was read, nothing more is.
func (e *exchange) answer(status int, contentType string, body []byte) {
	e.status = status
	h := e.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if e.r.ProtoMajor == 1 {
		e.closeHTTP1()
	}
	_ = e.control.SetWriteDeadline(time.Now().Add(e.s.config.WriteTime))
	e.w.WriteHeader(status)
	_, err := e.w.Write(body)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		err = nil
	}
	if e.r.ProtoMajor == 1 && !e.whole && err == nil {
		err = e.control.Flush() // to know now
	}
	if e.connection.isEvicted() {
		panic(http.ErrAbortHandler) // see abort
	}
	if err != nil {
		e.s.config.Log.Debug("an answer could not be written", "client", e.r.RemoteAddr, "error", err)
	}
}

// closeHTTP1 ends the connection after the answer if it must not go on. Over HTTP/2 a request has
// a stream of its own, which ends with its answer.
func (e *exchange) closeHTTP1() {
	if !e.whole && e.r.Body != nil && e.r.Body != http.NoBody {
		// net/http would read up to 256 KiB more, as fast as the client likes, to be able to go
		// on. And the client may still be sending, so to close on it could cost it the answer: a
		// body over a limit is net/http's only case in which it ends its own side first.
		e.w.Header().Set("Connection", "close")
		http.MaxBytesReader(e.w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
		_ = e.control.SetReadDeadline(past)
	}
	if len(e.r.TransferEncoding) > 0 {
		// RFC 9112, 6.1: after a request with both a Transfer-Encoding and a Content-Length the
		// connection must be closed, since what stands before this server may have taken it to
		// end elsewhere. net/http does not tell, so it is closed after each of the first kind.
		// What logs send has a length.
		e.w.Header().Set("Connection", "close")
	}
}
