package witnessd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/witness/bastion"
	"github.com/pauselog/pauselog/witness/client"
)

// A fakeBastion waits for one witness, and is then a transport to it.
type fakeBastion struct {
	address string
	roots   *x509.CertPool
	arrived chan *tls.Conn
}

func newBastion(t *testing.T) *fakeBastion {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBastion{roots: x509.NewCertPool(), arrived: make(chan *tls.Conn, 1)}
	b.roots.AddCert(cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"bastion/0"}, ClientAuth: tls.RequireAnyClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b.address = l.Addr().String()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if c := conn.(*tls.Conn); c.HandshakeContext(context.Background()) == nil {
			b.arrived <- c
		}
	}()
	return b
}

// client asks the witness that arrived, and returns the hash of its key.
func (b *fakeBastion) client(t *testing.T) (c *client.Client, keyHash string) {
	t.Helper()
	conn := <-b.arrived
	t.Cleanup(func() { conn.Close() })
	once := make(chan net.Conn, 1)
	once <- struct{ net.Conn }{conn} // without TLS, as far as net/http sees
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
		select {
		case c := <-once:
			return c, nil
		default:
			return nil, errors.New("the witness is gone")
		}
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	c, err := client.New("http://"+b.address+"/w", &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c, bastion.KeyHash(conn.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey))
}

// A witness that nobody can connect to is reached through its bastion alone.
func TestBastion(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	b := newBastion(t)
	s := run(t, f, func(c *Config) {
		c.Listen, c.Bastion, c.BastionRoots, c.Limits.Prefix = "", b.address, b.roots, "/w"
	})
	c, hash := b.client(t)
	if err := l.Ask(t.Context(), t, c, f.Verifiers(), 0, 4); err != nil {
		t.Fatal(err)
	}
	status, err := f.Status(t.Context())
	if err != nil || status.BastionKey != hash {
		t.Errorf("the bastion knows it as %s, its status says %+v, %v", hash, status, err)
	}
	if want := "https://" + b.address + "/" + hash + "/w"; s.Bastion != want || s.Listen != "" {
		t.Errorf("its addresses are %+v, want %s", s.Addresses, want)
	}
}

// A key of its own for the bastion, in the same form.
func TestBastionKeyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	write(t, name, hex.EncodeToString(seed)+"\n", 0o600)
	k, err := ReadBastionKey(name)
	if err != nil || !k.Equal(ed25519.NewKeyFromSeed(seed)) {
		t.Errorf("%v", err)
	}
	for content, want := range map[string]string{
		strings.ToUpper(hex.EncodeToString(bytes.Repeat([]byte{0xab}, 32))): "expected an Ed25519 seed",
		hex.EncodeToString(seed[1:]):                                        "expected an Ed25519 seed",
		hex.EncodeToString(seed) + "\n\n":                                   "expected an Ed25519 seed",
		"":                                                                  "expected an Ed25519 seed",
	} {
		write(t, name, content, 0o600)
		if _, err := ReadBastionKey(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadBastionKey(name); err == nil || !strings.Contains(err.Error(), "can be read by others") {
		t.Errorf("%v", err)
	}
}
