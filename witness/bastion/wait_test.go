package bastion

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextWait(t *testing.T) {
	const first, most = time.Second, time.Minute
	for _, test := range []struct {
		name               string
		last, lasted, want time.Duration
	}{
		{"the first failure", 0, 0, time.Second},
		{"the second", time.Second, 0, 2 * time.Second},
		{"it doubles", 16 * time.Second, time.Second, 32 * time.Second},
		{"but not for ever", 32 * time.Second, 0, time.Minute},
		{"nor from the most", time.Minute, 59 * time.Second, time.Minute},
		{"a connection that lasted", time.Minute, time.Minute, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := nextWait(test.last, test.lasted, first, most); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// A bastion that is away is asked with growing pauses, none of them longer than a minute.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := newBackend(Config{
			Address: "bastion.example:443", Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler),
			Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)),
		})
		if err != nil {
			t.Fatal(err)
		}
		var dials []time.Time
		b.dial = func(context.Context) (net.Conn, error) {
			dials = append(dials, time.Now())
			return nil, errors.New("away")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := b.serve(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		want := time.Second
		for i := 1; i < len(dials); i++ {
			pause := dials[i].Sub(dials[i-1])
			if pause < want/2 || pause > want {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, want/2, want)
			}
			want = min(2*want, time.Minute)
		}
		if len(dials) < 60 || len(dials) > 130 {
			t.Errorf("%d dials in an hour", len(dials))
		}
	})
}

// A bastion that is gone without a word is left, and one that just has nothing to say is not.
func TestSilence(t *testing.T) {
	for _, test := range []struct {
		name    string
		bastion func(context.Context, *testing.T, net.Conn)
		want    time.Duration // 0: it stays
	}{
		{"from the beginning", func(_ context.Context, _ *testing.T, c net.Conn) { io.Copy(io.Discard, c) }, dialTime},
		{"after a while", func(_ context.Context, _ *testing.T, c net.Conn) {
			go io.Copy(io.Discard, c)
			io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		}, 2 * silence},
		{"of a bastion that lives", func(ctx context.Context, t *testing.T, c net.Conn) {
			tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
			tr.Protocols.SetUnencryptedHTTP2(true)
			resp, err := tr.RoundTrip(httptest.NewRequestWithContext(ctx, "GET", "http://bastion.example/", nil))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			<-ctx.Done()
			tr.CloseIdleConnections()
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				b := &backend{Config: Config{Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler), Drain: time.Second}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				go test.bastion(ctx, t, theirs)
				began := time.Now()
				err := b.serveConn(ctx, ours)
				lasted := time.Since(began)
				if test.want > 0 && (lasted != test.want || err == nil) || test.want == 0 && lasted < time.Hour {
					t.Errorf("left after %v: %v, want %v", lasted, err, test.want)
				}
				theirs.Close()
				cancel()
				time.Sleep(time.Minute) // what does not end is reported
			})
		})
	}
}
