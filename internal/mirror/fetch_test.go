package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

// What an upstream does wrong is the upstream's fault, and another one has the file.
func TestHostileUpstreams(t *testing.T) {
	redirected := 0
	good := func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" {
			http.Error(rw, "asked for an encoding", 500)
			return
		}
		rw.Write(goodFile)
	}
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		line string // with this upstream alone
	}{
		{"missing", http.NotFound, "404 Not Found"},
		{"a web page", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "<!DOCTYPE html><p>log in") }, "503 Cannot Verify: no mirror sent the whole file"},
		{"a page by its type", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(rw, "log in")
		}, "503 Cannot Verify: no mirror sent the whole file"},
		{"cut short", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", fmt.Sprint(len(goodFile)))
			rw.Write(goodFile[:10])
		}, "503 Cannot Verify: no mirror sent the whole file"},
		{"an end of the connection alone", func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, _ := rw.(http.Hijacker).Hijack()
			fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\n\r\n%s", goodFile[:10])
			conn.Close()
		}, "503 Cannot Verify: no mirror sent the whole file"},
		{"an error", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }, "503 Cannot Verify: no mirror sent the whole file"},
		{"redirects without end", func(rw http.ResponseWriter, r *http.Request) {
			redirected++
			http.Redirect(rw, r, "/again", http.StatusFound)
		}, "503 Cannot Verify: no mirror sent the whole file"},
		{"other bytes", func(rw http.ResponseWriter, _ *http.Request) { rw.Write(flipped(goodFile)) }, "403 Not In Transparency Log: digest differs"},
		{"fewer bytes", func(rw http.ResponseWriter, _ *http.Request) { rw.Write(goodFile[:20]) }, "403 Not In Transparency Log: digest differs"},
		{"no end", func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "403 Not In Transparency Log: digest differs"},
		{"inflated on the way", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			rw.Write(zipped(string(goodFile)))
		}, "503 Cannot Verify: no mirror sent the whole file"},
		{"the file itself, called an encoding", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "x-gzip")
			rw.Write(goodFile)
		}, "200 OK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, from(t, tt.h))
			w.wantLine(goodPath, tt.line)
			w = newWorld(t, from(t, tt.h, good))
			w.wantServed(goodPath, goodFile)
			if redirected > 2*(maxRedirects+2) {
				t.Errorf("%d redirects were followed", redirected)
			}
			redirected = 0
			// Without a proof only a file that is beyond doubt passes, even where proofs may be missing.
			if strings.Contains(tt.line, "whole file") || strings.Contains(tt.name, "encoding") {
				w = newWorld(t, from(t, tt.h), prefer)
				delete(w.evidence, goodPath)
				w.wantRefused(goodPath, "503 Cannot Verify: no mirror sent the whole file")
			}
		})
	}
}

// A client that gives up does not end the fetch, and its next request joins it.
func TestFetchOutlivesItsRequest(t *testing.T) {
	started, release, fetches := make(chan bool, 8), make(chan bool), 0
	w := newWorld(t, from(t, func(rw http.ResponseWriter, _ *http.Request) {
		fetches++
		started <- true
		<-release
		rw.Write(goodFile)
	}))
	ctx, giveUp := context.WithCancel(t.Context())
	r := must(http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/"+goodPath, nil))
	gone := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(r)
		gone <- err
	}()
	<-started
	giveUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { w.wantServed(goodPath, goodFile) })
	}
	close(release)
	both.Wait()
	if fetches != 1 {
		t.Errorf("%d fetches, want 1", fetches)
	}
}

// The cache is neither trusted nor needed.
func TestCache(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, func(o *Options) { o.Cache = dir })
	w.wantServed(goodPath, goodFile)
	name := w.mirror.cache.name(digest(goodFile))
	for _, damage := range []func() error{
		func() error { return os.WriteFile(name, otherFile, 0o600) },
		func() error { return os.WriteFile(name, goodFile[:5], 0o600) },
		func() error { return os.RemoveAll(filepath.Join(dir, "sha256")) },
		func() error { return os.RemoveAll(dir) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		w.wantServed(goodPath, goodFile)
	}
	// Another process finds it there, with no upstream that works.
	again := newWorld(t, func(o *Options) { o.Cache = dir }, from(t, http.NotFound))
	again.wantServed(goodPath, goodFile)
	left := must(filepath.Glob(filepath.Join(dir, "partial", "*")))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What is logged and not published yet is waited for.
func TestPendingIsHeld(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Hold = time.Hour })
	good := w.evidence[goodPath]
	w.evidence[goodPath] = &client.Evidence{Absence: verify.SaidPending}
	served := make(chan bool)
	go func() {
		w.wantServed(goodPath, goodFile)
		close(served)
	}()
	for published := false; !published; {
		select {
		case <-served:
			t.Fatal("served before it was published")
		default:
		}
		w.mu.Lock()
		if published = w.asked > 0; published {
			w.evidence[goodPath] = good
		}
		w.mu.Unlock()
	}
	<-served
}
