package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/protocol"
)

const (
	goldenOrigin = "log.example/pause"
	goldenText   = goldenOrigin + "\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n"
	goldenNote   = goldenText + "\n— log.example/pause E4ML+w735cVr/gE+CegSY4yMIvBKxxRkxMfu91Bnzm/zr/l3vZD2BLENdYX+qKLiCgvFokfmSRhYFMO2YG0mdKMJvAI=\n"

	witnessKey  = "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"
	witnessLine = "— witness.example/w1 3xwKNQAAAABpVbkAW4fOruII1FTBO8+YtN57Gnj9UIOM1mnUFnoy03wE1QzpTRqT5JmN/NunviJR7LqPKzXnlJZc317ao13JlXe/CQ==\n"
)

// request is one whose form is good; the fake witnesses look at nothing else.
var request = &protocol.AddCheckpoint{Old: 3, Proof: make([]tree.Hash, 4), Note: []byte(goldenNote)}

// fake starts a witness that answers with handler.
func fake(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// clientOf returns a client of its own for a server.
func clientOf(t *testing.T, prefix string) *Client {
	t.Helper()
	c, err := New(prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.HTTP.CloseIdleConnections)
	return c
}

// says is a witness that always gives the same answer.
func says(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestAddCheckpointSendsTheRequestAndReturnsTheLines(t *testing.T) {
	c := clientOf(t, fake(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(b, request.Marshal()) {
			t.Errorf("body = %q, %v", b, err)
		}
		if r.Method != "POST" || r.RequestURI != "/a/b/add-checkpoint" || r.ContentLength != int64(len(b)) {
			t.Errorf("%s %s of %d bytes", r.Method, r.RequestURI, r.ContentLength)
		}
		if got := r.Header["Accept-Encoding"]; !slices.Equal(got, []string{"identity"}) {
			t.Errorf("Accept-Encoding = %q", got)
		}
		if got := r.Header["User-Agent"]; !slices.Equal(got, []string{"pauselogd/1"}) {
			t.Errorf("User-Agent = %q", got)
		}
		if got, ok := r.Header["Idempotency-Key"]; ok {
			t.Errorf("Idempotency-Key = %q, expected none on the wire", got)
		}
		io.WriteString(w, witnessLine+"— other.example/w AAAAAXNpZ25hdHVyZQ==\n")
	}).URL+"/a/b/")
	c.UserAgent = "pauselogd/1"
	sigs, err := c.AddCheckpoint(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if len(sigs) != 2 || sigs[0].Line() != witnessLine || sigs[1].Name != "other.example/w" {
		t.Fatalf("signatures = %+v", sigs)
	}
	// What the caller does with them.
	key, err := checkpoint.ParseVerifierKey(witnessKey)
	if err != nil {
		t.Fatal(err)
	}
	if time, err := key.Verify(goldenText, sigs[0]); time != 1767225600 || err != nil {
		t.Errorf("Verify = %d, %v", time, err)
	}
}

// The client does not verify: a signature that is no good comes back as it is.
func TestAddCheckpointVerifiesNothing(t *testing.T) {
	c := clientOf(t, fake(t, says(200, nil, "— witness.example/w1 3xwKNQAAAABpVbkA\n")).URL)
	sigs, err := c.AddCheckpoint(t.Context(), request)
	if err != nil || len(sigs) != 1 || sigs[0].KeyID != 0xdf1c0a35 {
		t.Errorf("AddCheckpoint = %+v, %v", sigs, err)
	}
}

func TestStatuses(t *testing.T) {
	size := http.Header{"Content-Type": {protocol.SizeType}}
	for _, tt := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   error
		text   string
	}{
		{"bad request", 400, nil, "old is over the size\n", ErrBadRequest, `status 400: "old is over the size"`},
		{"too large", 413, nil, "", ErrBadRequest, "status 413"},
		{"forbidden", 403, nil, "no signature of a known key\n", ErrForbidden, `status 403: "no signature of a known key"`},
		{"unknown log", 404, nil, "", ErrUnknownLog, "status 404"},
		{"unprocessable", 422, nil, "fork", ErrUnprocessable, `status 422: "fork"`},
		{"other roots, the older way", 409, nil, "roots differ", ErrUnprocessable, `status 409: "roots differ"`},
		{"a size without its type", 409, nil, "5\n", ErrUnprocessable, `status 409: "5"`},
		{"no type", 409, http.Header{"Content-Type": nil}, "5\n", ErrUnprocessable, `status 409: "5"`},
		{"unspecified 4xx", 405, nil, "", ErrAnswer, "status 405"},
		{"unauthorized", 401, nil, "log in", ErrAnswer, `status 401: "log in"`},
		{"created", 201, nil, witnessLine, ErrAnswer, "status 201"},
		{"no content", 204, nil, "", ErrAnswer, "status 204"},
		{"not modified", 304, nil, "", ErrAnswer, "status 304"},
		{"unknown", 799, nil, "", ErrAnswer, "status 799"},
		{"size with a leading zero", 409, size, "05\n", ErrAnswer, "expected a size"},
		{"size without a newline", 409, size, "5", ErrAnswer, "expected a size"},
		{"size and more", 409, size, "5\n6\n", ErrAnswer, "expected a size"},
		{"size of 2^63", 409, size, "9223372036854775808\n", ErrAnswer, "expected a size"},
		{"no size", 409, size, "", ErrAnswer, "expected a size"},
		{"size in gzip", 409, http.Header{"Content-Type": {protocol.SizeType}, "Content-Encoding": {"gzip"}}, "5\n", ErrAnswer, "expected a size"},
		{"endless size", 409, size, strings.Repeat("5", maxAnswer+1), ErrAnswer, "expected a size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clientOf(t, fake(t, says(tt.status, tt.header, tt.body)).URL)
			sigs, err := c.AddCheckpoint(t.Context(), request)
			if sigs != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("AddCheckpoint = %v, %v; want %v with %s", sigs, err, tt.want, tt.text)
			}
			for _, other := range []error{ErrForbidden, ErrUnknownLog, ErrUnprocessable, ErrBadRequest, ErrAnswer} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("%v is also %v", err, other)
				}
			}
		})
	}
}

func TestSizeError(t *testing.T) {
	for name, tt := range map[string]struct {
		media, body string
		want        uint64
	}{
		"never cosigned": {protocol.SizeType, "0\n", 0},
		"a size":         {protocol.SizeType, "5\n", 5},
		"the largest":    {protocol.SizeType, "9223372036854775807\n", 1<<63 - 1},
		"parameters":     {protocol.SizeType + "; charset=utf-8", "5\n", 5},
	} {
		c := clientOf(t, fake(t, says(409, http.Header{"Content-Type": {tt.media}}, tt.body)).URL)
		_, err := c.AddCheckpoint(t.Context(), request)
		var size *SizeError
		if !errors.As(err, &size) || size.Size != tt.want || !strings.Contains(err.Error(), "409") {
			t.Errorf("%s: %v, want size %d", name, err, tt.want)
		}
	}
}

func TestBusyError(t *testing.T) {
	for _, tt := range []struct {
		status int
		after  []string
		want   time.Duration
	}{
		{429, nil, 0}, {503, nil, 0}, {500, nil, 0}, {502, nil, 0}, {504, nil, 0}, {599, nil, 0}, {408, nil, 0},
		{429, []string{"0"}, 0},
		{503, []string{"7"}, 7 * time.Second},
		{500, []string{"3600"}, time.Hour},
		{503, []string{"3601"}, time.Hour},
		{503, []string{"18446744073709551615"}, time.Hour},
		{503, []string{strings.Repeat("9", 1000)}, time.Hour},
		{503, []string{"-5"}, 0}, {503, []string{"+5"}, 0}, {503, []string{"1.5"}, 0}, {503, []string{"5 s"}, 0}, {503, []string{""}, 0},
		{503, []string{"Wed, 21 Oct 2026 07:28:00 GMT"}, 0},
	} {
		c := clientOf(t, fake(t, says(tt.status, http.Header{"Retry-After": tt.after}, "later\n")).URL)
		_, err := c.AddCheckpoint(t.Context(), request)
		var busy *BusyError
		if !errors.As(err, &busy) || busy.Status != tt.status || busy.Retry != tt.want || !strings.Contains(err.Error(), `"later"`) {
			t.Errorf("status %d, Retry-After %.30q: %v, want %v", tt.status, tt.after, err, tt.want)
		}
	}
}

func TestAnswersThatAreNotAsSpecified(t *testing.T) {
	long := "— witness.example/w1 " + strings.Repeat("AAAA", 5000) + "\n"
	for name, tt := range map[string]struct {
		header http.Header
		body   string
	}{
		"nothing":                  {nil, ""},
		"a newline":                {nil, "\n"},
		"a page":                   {nil, "<html><body>Welcome</body></html>\n"},
		"a line without prefix":    {nil, witnessLine + "witness.example/w1 3xwKNQAAAABpVbkA\n"},
		"a hyphen for the dash":    {nil, "- witness.example/w1 3xwKNQAAAABpVbkA\n"},
		"a whole note":             {nil, goldenText + "\n" + witnessLine},
		"blank line first":         {nil, "\n" + witnessLine},
		"blank line last":          {nil, witnessLine + "\n"},
		"text after":               {nil, witnessLine + "ok\n"},
		"no newline":               {nil, strings.TrimSuffix(witnessLine, "\n")},
		"CR LF":                    {nil, strings.ReplaceAll(witnessLine, "\n", "\r\n")},
		"CR":                       {nil, strings.Replace(witnessLine, "3xwK", "3xwK\r", 1)},
		"NUL":                      {nil, witnessLine + "\x00"},
		"not UTF-8":                {nil, witnessLine + "\xff\n"},
		"pad bits not zero":        {nil, strings.Replace(witnessLine, "CQ==", "CR==", 1)},
		"a key twice":              {nil, witnessLine + witnessLine},
		"too large":                {nil, strings.Repeat(long, 4)},
		"gzip":                     {http.Header{"Content-Encoding": {"gzip"}}, witnessLine},
		"gzip behind identity":     {http.Header{"Content-Encoding": {"identity", "gzip"}}, witnessLine},
		"more lines than allowed":  {nil, manyLines(checkpoint.MaxSignatures + 1)},
		"a line of a key of space": {nil, "—  3xwKNQAAAABpVbkA\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, fake(t, says(200, tt.header, tt.body)).URL)
			sigs, err := c.AddCheckpoint(t.Context(), request)
			if sigs != nil || !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), "status 200") {
				t.Errorf("AddCheckpoint = %v, %v; want ErrAnswer", sigs, err)
			}
		})
	}
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(checkpoint.Signature{Name: "w", KeyID: uint32(i), Blob: []byte{1}}.Line())
	}
	return b.String()
}

func TestLargestAnswerIsAccepted(t *testing.T) {
	line := "— w AAAAAQ" // and as much base64 as the limit leaves
	line += strings.Repeat("A", (maxAnswer-len(line)-3)/4*4+2) + "\n"
	if len(line) > maxAnswer || len(line) < maxAnswer-4 {
		t.Fatalf("line of %d bytes", len(line))
	}
	c := clientOf(t, fake(t, says(200, nil, line)).URL)
	if sigs, err := c.AddCheckpoint(t.Context(), request); err != nil || sigs[0].Line() != line {
		t.Errorf("AddCheckpoint = %d signatures, %v", len(sigs), err)
	}
}

// An endless body, of a good or a bad status, ends the exchange at the limit.
func TestEndlessAnswers(t *testing.T) {
	for _, status := range []int{200, 404, 409, 503} {
		gone := make(chan struct{})
		c := clientOf(t, fake(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			io.Copy(io.Discard, r.Body)
			if status == 409 {
				w.Header().Set("Content-Type", protocol.SizeType)
			}
			w.WriteHeader(status)
			for {
				if _, err := io.WriteString(w, strings.Repeat("5", 4096)); err != nil {
					return
				}
			}
		}).URL)
		_, err := c.AddCheckpoint(t.Context(), request)
		var busy *BusyError
		switch status {
		case 200, 409:
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("status %d: %v, want ErrAnswer", status, err)
			}
		case 404:
			if !errors.Is(err, ErrUnknownLog) {
				t.Errorf("status %d: %v, want ErrUnknownLog", status, err)
			}
		case 503:
			if !errors.As(err, &busy) {
				t.Errorf("status %d: %v, want a BusyError", status, err)
			}
		}
		if len(err.Error()) > 700 {
			t.Errorf("status %d: error of %d bytes", status, len(err.Error()))
		}
		<-gone // the connection was closed, or the fake would write on
	}
}

// A redirect is an answer that is not as specified, whether or not it would keep the method.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int32
	elsewhere := fake(t, func(w http.ResponseWriter, r *http.Request) {
		followed.Add(1)
		io.WriteString(w, witnessLine)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := fake(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		for name, given := range map[string]*http.Client{"own": nil, "given": s.Client()} {
			c, err := New(s.URL, given)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.AddCheckpoint(t.Context(), request); !errors.Is(err, ErrAnswer) {
				t.Errorf("%s client, status %d: %v, want ErrAnswer", name, status, err)
			}
			if _, err := c.Checkpoint(t.Context(), goldenOrigin); !errors.Is(err, ErrAnswer) {
				t.Errorf("%s client, GET, status %d: %v, want ErrAnswer", name, status, err)
			}
			c.HTTP.CloseIdleConnections()
		}
		if s.Client().CheckRedirect != nil {
			t.Error("New changed the client that it was given")
		}
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d redirects followed", n)
	}
}

// What a witness says cannot steer a terminal, break a line of a journal, or fill it.
func TestErrorsQuoteTheAnswer(t *testing.T) {
	body := "first\r\n\x1b[2J\u202e\x00" + strings.Repeat("x", 5000)
	c := clientOf(t, fake(t, says(403, nil, body)).URL)
	_, err := c.AddCheckpoint(t.Context(), request)
	if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), `"first\r\n\x1b[2J\u202e\x00xxx`) {
		t.Fatalf("%v", err)
	}
	if strings.ContainsAny(err.Error(), "\r\n\x1b\x00\u202e") || len(err.Error()) > 400 || !strings.HasSuffix(err.Error(), `x" and more`) {
		t.Errorf("error of %d bytes: %q", len(err.Error()), err)
	}
}

// All calls, whatever their answer, share one connection.
func TestConnectionIsKept(t *testing.T) {
	var opened atomic.Int32
	answers := make(chan http.HandlerFunc, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		(<-answers)(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := clientOf(t, s.URL)
	handlers := []http.HandlerFunc{
		says(200, nil, witnessLine), says(200, nil, "rubbish"), says(409, http.Header{"Content-Type": {protocol.SizeType}}, "5\n"),
		says(422, nil, "no"), says(503, nil, strings.Repeat("x", maxAnswer)), says(404, nil, ""), says(200, nil, manyLines(64)),
		func(w http.ResponseWriter, r *http.Request) { // in chunks
			io.WriteString(w, witnessLine[:20])
			w.(http.Flusher).Flush()
			io.WriteString(w, witnessLine[20:])
		},
	}
	for range 2 {
		for i, h := range handlers {
			answers <- h
			_, err := c.AddCheckpoint(t.Context(), request)
			if ok := i == 0 || i >= 6; (err == nil) != ok {
				t.Errorf("answer %d: %v", i, err)
			}
		}
		answers <- says(200, nil, goldenNote)
		if _, err := c.Checkpoint(t.Context(), goldenOrigin); err != nil {
			t.Error(err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// A witness that closes a kept connection under a request, as one does that is restarted, gets the
// request again on a new one.
func TestBrokenKeptConnectionIsReplaced(t *testing.T) {
	var calls atomic.Int32
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(b, request.Marshal()) {
			t.Errorf("call %d: body of %d bytes, %v", calls.Load(), len(b), err)
		}
		if calls.Add(1) == 2 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		io.WriteString(w, witnessLine)
	})
	c := clientOf(t, s.URL)
	for i := range 2 {
		if _, err := c.AddCheckpoint(t.Context(), request); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("the witness was asked %d times, want 3", n)
	}
}

func TestUnreachableWitnessIsTheTransportsError(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	c := clientOf(t, s.URL)
	s.Close()
	_, err := c.AddCheckpoint(t.Context(), request)
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("%v, want a net.OpError", err)
	}
}

func TestAnswerThatBreaksOff(t *testing.T) {
	c := clientOf(t, fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, witnessLine)
	}).URL)
	if sigs, err := c.AddCheckpoint(t.Context(), request); sigs != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("AddCheckpoint = %v, %v; want io.ErrUnexpectedEOF", sigs, err)
	}
}

// after calls then once the header of an answer is there.
type after struct {
	http.RoundTripper
	then func()
}

func (a after) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(r)
	a.then()
	return resp, err
}

func TestCancel(t *testing.T) {
	for name, status := range map[string]int{"within an answer": 200, "within a refusal": 404, "within an error": 503} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := fake(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
				io.WriteString(w, witnessLine)
				w.(http.Flusher).Flush()
				<-r.Context().Done() // the client hangs up
			})
			c, err := New(s.URL, &http.Client{Transport: after{s.Client().Transport, cancel}})
			if err != nil {
				t.Fatal(err)
			}
			if sigs, err := c.AddCheckpoint(ctx, request); sigs != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("AddCheckpoint = %v, %v; want context.Canceled", sigs, err)
			}
		})
	}
	t.Run("before the header", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := fake(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
		})
		if sigs, err := clientOf(t, s.URL).AddCheckpoint(ctx, request); sigs != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("AddCheckpoint = %v, %v; want context.Canceled", sigs, err)
		}
	})
	t.Run("before the request", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := fake(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
		if _, err := clientOf(t, s.URL).AddCheckpoint(ctx, request); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	})
}

func TestMalformedRequestsAreNotSent(t *testing.T) {
	c := clientOf(t, fake(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("sent to %s", r.URL) }).URL)
	note := []byte(goldenNote)
	for name, r := range map[string]*protocol.AddCheckpoint{
		"64 hashes":      {Old: 1, Proof: make([]tree.Hash, 64), Note: note},
		"old over 2^63":  {Old: 1 << 63, Note: note},
		"no note":        {Old: 1},
		"note too large": {Old: 1, Note: make([]byte, checkpoint.MaxNoteSize+1)},
	} {
		if _, err := c.AddCheckpoint(t.Context(), r); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := c.SignSubtree(t.Context(), &protocol.SignSubtree{Start: 2, End: 5, Note: note}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("no subtree: %v, want ErrMalformed", err)
	}
}

func TestCheckpoint(t *testing.T) {
	const path = "/w/3af5d5cc1da6da5787550f69c4eacb33ca891c0a6a73bb50c09bf0f4499deeb6/checkpoint"
	c := clientOf(t, fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.ContentLength != 0 || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s of %d bytes, %v", r.Method, r.ContentLength, r.Header)
		}
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, goldenNote)
	}).URL+"/w")
	if b, err := c.Checkpoint(t.Context(), goldenOrigin); string(b) != goldenNote || err != nil {
		t.Errorf("Checkpoint = %q, %v", b, err)
	}
	if b, err := c.Checkpoint(t.Context(), "log.example/other"); b != nil || !errors.Is(err, ErrUnknownLog) {
		t.Errorf("of another log: %q, %v; want ErrUnknownLog", b, err)
	}
}

func TestCheckpointIsBounded(t *testing.T) {
	for _, tt := range []struct {
		n  int
		ok bool
	}{{checkpoint.MaxNoteSize, true}, {checkpoint.MaxNoteSize + 1, false}} {
		c := clientOf(t, fake(t, says(200, nil, strings.Repeat("x", tt.n))).URL)
		b, err := c.Checkpoint(t.Context(), goldenOrigin)
		if tt.ok && (len(b) != tt.n || err != nil) || !tt.ok && (b != nil || !errors.Is(err, ErrAnswer)) {
			t.Errorf("%d bytes: got %d, %v", tt.n, len(b), err)
		}
	}
}

func TestSignSubtree(t *testing.T) {
	key, err := checkpoint.GenerateSigner(checkpoint.MLDSA44, "witness.example/w1", bytes.NewReader(bytes.Repeat([]byte{4}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := hex.DecodeString("837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e")
	if err != nil {
		t.Fatal(err)
	}
	r := &protocol.SignSubtree{Start: 4, End: 7, Hash: tree.Hash(h), Proof: make([]tree.Hash, 4), Note: []byte(goldenNote)}
	sig, err := key.SignSubtree(goldenOrigin, r.Start, r.End, r.Hash)
	if err != nil {
		t.Fatal(err)
	}
	legacy := func(time byte) string {
		blob := append([]byte{0, 0, 0, 0, 0, 0, 0, time}, sig...)
		return checkpoint.Signature{Name: key.Verifier().Name(), KeyID: key.Verifier().KeyID(), Blob: blob}.Line()
	}
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"bare signature", 200, string(protocol.FormatSubtreeSignature(sig)), nil},
		{"signature line", 200, legacy(0), nil},
		{"signature line with a time", 200, legacy(1), ErrAnswer},
		{"two signature lines", 200, legacy(0) + "— w AAAAAQAAAAAAAAAAAQ==\n", ErrAnswer},
		{"signature line with nothing behind the time", 200, "— w AAAAAQAAAAAAAAAA\n", ErrAnswer},
		{"signature line with CR", 200, strings.Replace(legacy(0), "\n", "\r\n", 1), ErrAnswer},
		{"no newline", 200, strings.TrimSpace(string(protocol.FormatSubtreeSignature(sig))), ErrAnswer},
		{"two signatures", 200, strings.Repeat(string(protocol.FormatSubtreeSignature(sig)), 2), ErrAnswer},
		{"nothing", 200, "", ErrAnswer},
		{"a page", 200, "<html>\n", ErrAnswer},
		{"too large", 200, strings.Repeat("A", maxAnswer) + "\n", ErrAnswer},
		{"invalid", 400, "", ErrBadRequest},
		{"not cosigned", 403, "", ErrForbidden},
		{"no such page", 404, "", ErrUnknownLog},
		{"bad proof", 422, "", ErrUnprocessable},
		{"conflict", 409, "", ErrAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clientOf(t, fake(t, func(w http.ResponseWriter, req *http.Request) {
				b, err := io.ReadAll(req.Body)
				if err != nil || req.URL.Path != "/sign-subtree" || req.Method != "POST" || !bytes.Equal(b, r.Marshal()) {
					t.Errorf("%s %s: %q, %v", req.Method, req.URL.Path, b, err)
				}
				says(tt.status, nil, tt.body)(w, req)
			}).URL)
			got, err := c.SignSubtree(t.Context(), r)
			if tt.want != nil {
				if got != nil || !errors.Is(err, tt.want) {
					t.Errorf("SignSubtree = %d bytes, %v; want %v", len(got), err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := key.Verifier().VerifySubtree(goldenOrigin, r.Start, r.End, r.Hash, got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for prefix, want := range map[string]string{
		"https://witness.example":            "https://witness.example",
		"https://witness.example/":           "https://witness.example",
		"http://127.0.0.1:8080/w1":           "http://127.0.0.1:8080/w1",
		"http://[::1]:8080/w1//":             "http://[::1]:8080/w1",
		"https://bastion.example/d4e5/w%2F1": "https://bastion.example/d4e5/w%2F1",
	} {
		if c, err := New(prefix, nil); err != nil || c.Prefix != want {
			t.Errorf("New(%q) = %+v, %v; want %q", prefix, c, err, want)
		}
	}
	for name, prefix := range map[string]string{
		"nothing":        "",
		"no scheme":      "witness.example/w1",
		"ftp":            "ftp://witness.example",
		"gRPC":           "grpcs://witness.example",
		"file":           "file:///etc/passwd",
		"opaque":         "https:witness.example",
		"no host":        "https:///w1",
		"only a port":    "https://:443/w1",
		"query":          "https://witness.example/w1?key=1",
		"empty query":    "https://witness.example/w1?",
		"fragment":       "https://witness.example/w1#a",
		"empty fragment": "https://witness.example/w1#",
		"user":           "https://user@witness.example",
		"password":       "https://user:secret@witness.example",
		"not parsed":     "https://user:secret@witness.example/%zz",
		"newline":        "https://witness.example/\nw1",
		"space in host":  "https://witness example/",
	} {
		if _, err := New(prefix, nil); !errors.Is(err, ErrPrefix) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: New(%q): %v, want ErrPrefix", name, prefix, err)
		}
	}
}
