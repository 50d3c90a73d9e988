package daemon

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// patient serves a handler to one request whose body is announced, begun and not ended.
func patient(t *testing.T, stall time.Duration, h http.HandlerFunc) *http.Response {
	t.Helper()
	server := httptest.NewServer(patience(stall, h))
	body, begin := io.Pipe()
	t.Cleanup(func() {
		begin.Close()
		server.Close()
	})
	go io.WriteString(begin, "x")
	r, err := http.Post(server.URL, "application/x-ndjson", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r
}

// A handler that ends the reading of its request has the last word: the time that each read
// gets must not give it more.
func TestAHandlerCanEndTheReading(t *testing.T) {
	result := make(chan error, 1)
	patient(t, time.Hour, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
		_, err := r.Body.Read(make([]byte, 1))
		result <- err
	})
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read ended with %v", err)
	}
}

// Whoever is answered before the request was read to its end must be able to read the answer: the
// connection is closed the careful way, and not used again.
func TestAnAnswerBeforeTheRequestsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		closed  bool
	}{
		"not read": {func(http.ResponseWriter, *http.Request) {}, true},
		"begun":    {func(_ http.ResponseWriter, r *http.Request) { r.Body.Read(make([]byte, 1)) }, true},
		"read":     {func(_ http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body) }, false},
	} {
		server := httptest.NewServer(patience(time.Hour, c.handler))
		r, err := http.Post(server.URL, "text/plain", strings.NewReader("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.Close != c.closed {
			t.Errorf("%s: the connection is closed: %v, want %v", name, r.Close, c.closed)
		}
		server.Close()
	}
}
