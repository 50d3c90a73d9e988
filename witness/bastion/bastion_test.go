package bastion_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pauselog/pauselog/witness/bastion"
)

// limit is far longer than anything here takes.
const limit = 30 * time.Second

var backendKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// A fakeBastion accepts backends on 127.0.0.1 as C2SP https-bastion says.
type fakeBastion struct {
	address string
	roots   *x509.CertPool
	config  *tls.Config
	arrived chan *backendSide
}

// A backendSide is the connection of a backend, as the bastion has it.
type backendSide struct {
	conn *tls.Conn
	http *http.Transport
}

func newBastion(t *testing.T, change func(*tls.Config)) *fakeBastion {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bastion"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBastion{roots: x509.NewCertPool(), arrived: make(chan *backendSide, 16)}
	b.roots.AddCert(cert)
	b.config = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"bastion/0"}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
	}
	if change != nil {
		change(b.config)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, b.config)
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				if conn.HandshakeContext(ctx) != nil {
					raw.Close()
					return
				}
				side := &backendSide{conn: conn, http: overHTTP2(conn)}
				t.Cleanup(side.drop)
				b.arrived <- side
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return b
}

// overHTTP2 sends HTTP/2 on this one connection.
func overHTTP2(conn net.Conn) *http.Transport {
	once := make(chan net.Conn, 1)
	once <- struct{ net.Conn }{conn}
	t := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		select {
		case c := <-once:
			return c, nil
		default:
			return nil, errors.New("the backend is gone")
		}
	}, Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

func (s *backendSide) drop() {
	s.http.CloseIdleConnections()
	s.conn.NetConn().Close()
}

func (s *backendSide) send(t *testing.T, method, path, body string, header http.Header) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://bastion.example"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	resp, err := s.http.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (b *fakeBastion) await(t *testing.T) *backendSide {
	t.Helper()
	select {
	case s := <-b.arrived:
		return s
	case <-time.After(limit):
		t.Fatal("no backend came")
		return nil
	}
}

// messages is a log that can be waited for.
type messages struct{ lines chan string }

func (m *messages) Write(p []byte) (int, error) {
	select {
	case m.lines <- string(p):
	default: // nobody waits for so many
	}
	return len(p), nil
}

func (m *messages) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case line := <-m.lines:
			if strings.Contains(line, want) {
				return
			}
			if strings.Contains(line, "retry=") {
				t.Fatalf("logged %q, want %q", line, want)
			}
		case <-timeout:
			t.Fatalf("nothing logged with %q", want)
		}
	}
}

// serve runs bastion.Serve until stop is called or the test ends; stop returns Serve's error.
func serve(t *testing.T, c bastion.Config) (log *messages, stop func() error) {
	t.Helper()
	log = &messages{lines: make(chan string, 1000)}
	c.Log = slog.New(slog.NewTextHandler(log, nil))
	c.Wait, c.MaxWait = time.Millisecond, 10*time.Millisecond
	if c.Key == nil {
		c.Key = backendKey
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- bastion.Serve(ctx, c) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-result:
			return err
		case <-time.After(limit):
			t.Error("Serve does not end")
			return nil
		}
	})
	t.Cleanup(func() { stop() })
	return log, stop
}

// echo answers with what it got.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(body)+" from "+r.RemoteAddr+strings.Join(r.Header.Values("X-Forwarded-For"), "?"))
})

func TestRequestsGoThrough(t *testing.T) {
	b := newBastion(t, nil)
	serve(t, bastion.Config{Address: b.address, Handler: echo, RootCAs: b.roots})
	s := b.await(t)

	state := s.conn.ConnectionState()
	if state.NegotiatedProtocol != "bastion/0" || state.Version != tls.VersionTLS13 {
		t.Errorf("it speaks %q over TLS %x", state.NegotiatedProtocol, state.Version)
	}
	cert := state.PeerCertificates[0]
	if !backendKey.Public().(ed25519.PublicKey).Equal(cert.PublicKey) {
		t.Errorf("its certificate has the key %v", cert.PublicKey)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Errorf("its certificate is not signed by itself: %v", err)
	}

	status, answer := s.send(t, "POST", "/add-checkpoint", "old 0\n", http.Header{"X-Forwarded-For": {"192.0.2.7"}})
	if want := "POST /add-checkpoint old 0\n from 192.0.2.7:0"; status != 202 || answer != want {
		t.Errorf("%d %q, want %q", status, answer, want)
	}
	// Many at a time, of the largest size: more than one window of flow control.
	big := strings.Repeat("x", 131<<10)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if status, answer := s.send(t, "POST", "/", big, nil); status != 202 || !strings.Contains(answer, big) {
				t.Errorf("%d with %d bytes", status, len(answer))
			}
		})
	}
	wg.Wait()
}

func TestClientAddress(t *testing.T) {
	b := newBastion(t, nil)
	serve(t, bastion.Config{Address: b.address, Handler: echo, RootCAs: b.roots})
	s := b.await(t)
	for _, test := range []struct {
		name string
		said []string
		want string
	}{
		{"IPv4", []string{"192.0.2.7"}, "192.0.2.7:0"},
		{"IPv6", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{"IPv4 in IPv6", []string{"::ffff:192.0.2.7"}, "192.0.2.7:0"},
		{"none", nil, b.address},
		{"two headers", []string{"192.0.2.7", "192.0.2.8"}, b.address},
		{"two in one", []string{"192.0.2.7, 192.0.2.8"}, b.address},
		{"a name", []string{"client.example"}, b.address},
		{"empty", []string{""}, b.address},
		{"with a zone", []string{"fe80::1%eth0"}, b.address},
		{"loopback, which has no limits", []string{"127.0.0.1"}, b.address},
		{"loopback of IPv6", []string{"::1"}, b.address},
		{"loopback in disguise", []string{"::ffff:127.0.0.1"}, b.address},
		{"unspecified", []string{"0.0.0.0"}, b.address},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			if test.said != nil {
				h["X-Forwarded-For"] = test.said
			}
			if _, answer := s.send(t, "GET", "/", "", h); answer != "GET /  from "+test.want {
				t.Errorf("%q, want it from %s", answer, test.want)
			}
		})
	}
}

func TestItComesBackWhenDropped(t *testing.T) {
	b := newBastion(t, nil)
	serve(t, bastion.Config{Address: b.address, Handler: echo, RootCAs: b.roots})
	for range 5 {
		s := b.await(t)
		if status, _ := s.send(t, "GET", "/", "", nil); status != 202 {
			t.Fatal(status)
		}
		s.drop()
	}
}

// It serves nobody who is not the bastion, and says why in its log.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*tls.Config)
		roots  *x509.CertPool // nil for the bastion's
		want   string
	}{
		"another ALPN": {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, nil, "no application protocol"},
		"no ALPN":      {func(c *tls.Config) { c.NextProtos = nil }, nil, `expected a server that speaks bastion/0, found one that speaks`},
		"TLS 1.2": {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, nil,
			"protocol version"},
		"a certificate that is not trusted": {nil, x509.NewCertPool(), "certificate signed by unknown authority"},
		"the bastion does not know the key": {func(c *tls.Config) {
			c.VerifyConnection = func(tls.ConnectionState) error { return errors.New("unknown key") }
		}, nil, "bad certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t, test.change)
			roots := test.roots
			if roots == nil {
				roots = b.roots
			}
			served := false
			log, stop := serve(t, bastion.Config{Address: b.address, RootCAs: roots, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true })})
			log.await(t, test.want)
			log.await(t, test.want) // it goes on
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if served {
				t.Error("it served")
			}
		})
	}
}

func TestAnotherHostsCertificate(t *testing.T) {
	b := newBastion(t, nil)
	_, port, _ := net.SplitHostPort(b.address)
	log, _ := serve(t, bastion.Config{Address: "localhost:" + port, RootCAs: b.roots, Handler: echo})
	log.await(t, "certificate is not valid for any names, but wanted to match localhost")
}

// When ctx ends, a request that is being answered still is.
func TestTheEndDrains(t *testing.T) {
	b := newBastion(t, nil)
	asked, goOn := make(chan struct{}), make(chan struct{})
	log, stop := serve(t, bastion.Config{Address: b.address, RootCAs: b.roots, Drain: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-goOn
		if r.Context().Err() != nil {
			t.Error("the request's context ended with the server's")
		}
		io.WriteString(w, "done")
	})})
	s := b.await(t)
	log.await(t, "connected to the bastion")
	answer := make(chan string)
	go func() {
		_, body := s.send(t, "GET", "/", "", nil)
		answer <- body
	}()
	<-asked
	ended := make(chan error)
	go func() { ended <- stop() }()
	// The bastion learns that there will be no more: its next request finds no connection.
	for {
		r, _ := http.NewRequestWithContext(t.Context(), "OPTIONS", "http://bastion.example/", nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		resp, err := s.http.RoundTrip(r.WithContext(ctx))
		cancel()
		if err == nil {
			resp.Body.Close()
		} else if strings.Contains(err.Error(), "the backend is gone") {
			break
		}
	}
	close(goOn)
	if got := <-answer; got != "done" {
		t.Errorf("the answer is %q", got)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A request that never ends does not keep Serve from ending.
func TestTheEndDoesNotWaitForever(t *testing.T) {
	b := newBastion(t, nil)
	asked := make(chan struct{})
	_, stop := serve(t, bastion.Config{Address: b.address, RootCAs: b.roots, Drain: time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})})
	s := b.await(t)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r, _ := http.NewRequest("GET", "http://bastion.example/", nil)
		if resp, err := s.http.RoundTrip(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-asked
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-answered
}

func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("used", func(t *testing.T) {
		b := newBastion(t, nil)
		_, stop := serve(t, bastion.Config{Address: b.address, Handler: echo, RootCAs: b.roots})
		for range 3 {
			s := b.await(t)
			s.send(t, "POST", "/", "x", nil)
			s.drop()
		}
		b.await(t)
		stop()
	})
	for began := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(began) > limit {
			var stacks [1 << 16]byte
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks[:], true)])
		}
	}
}

func TestConfig(t *testing.T) {
	good := bastion.Config{Address: "bastion.example:443", Key: backendKey, Handler: echo}
	for name, test := range map[string]struct {
		change func(*bastion.Config)
		want   string
	}{
		"no handler":    {func(c *bastion.Config) { c.Handler = nil }, "handler"},
		"no key":        {func(c *bastion.Config) { c.Key = nil }, "Ed25519 key of 64 bytes, found 0"},
		"a short key":   {func(c *bastion.Config) { c.Key = c.Key[:32] }, "found 32"},
		"no port":       {func(c *bastion.Config) { c.Address = "bastion.example" }, "missing port"},
		"no host":       {func(c *bastion.Config) { c.Address = ":443" }, `found ":443"`},
		"negative wait": {func(c *bastion.Config) { c.Wait = -1 }, "above 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			test.change(&c)
			if err := bastion.Serve(t.Context(), c); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestKeyHash(t *testing.T) {
	// The SHA-256 of 32 zero bytes.
	const want = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
	if got := bastion.KeyHash(make(ed25519.PublicKey, 32)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
