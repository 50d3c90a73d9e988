package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	c := a.certificate(t, "authority", x509.ExtKeyUsageAny)
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// certificate issues a certificate; the first one is the authority's own.
func (a *authority) certificate(t *testing.T, name string, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// With TLS readers need nothing, and a submitter a token or a client certificate.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	submitter := a.certificate(t, "PAUSE", x509.ExtKeyUsageClientAuth)
	stranger := a.certificate(t, "a stranger", x509.ExtKeyUsageClientAuth) // of the same authority
	forged := newAuthority(t).certificate(t, "PAUSE", x509.ExtKeyUsageClientAuth)
	c := config(newFolder(t))
	c.GRPC, c.HTTP = "0.0.0.0:0", "0.0.0.0:0" // no loopback is needed
	c.Auth = permits{submitter.Leaf}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.certificate(t, "log", x509.ExtKeyUsageServerAuth)},
		ClientCAs: a.pool(), ClientAuth: tls.VerifyClientCertIfGiven}
	s := start(t, c)
	_, port, _ := net.SplitHostPort(s.GRPC)
	s.GRPC = "127.0.0.1:" + port
	_, port, _ = net.SplitHostPort(s.HTTP)
	s.HTTP = "127.0.0.1:" + port

	for i, who := range []struct {
		name   string
		config *tls.Config
		token  string
		code   codes.Code // of a submission
		status int
	}{
		{"nobody", &tls.Config{RootCAs: a.pool()}, "", codes.Unauthenticated, 401},
		{"a token", &tls.Config{RootCAs: a.pool()}, secret, codes.OK, 200},
		{"a wrong token", &tls.Config{RootCAs: a.pool()}, "x", codes.Unauthenticated, 401},
		{"a certificate", &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{submitter}}, "", codes.OK, 200},
		{"another certificate", &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{stranger}}, "", codes.Unauthenticated, 401},
		{"another certificate and a token", &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{stranger}}, secret, codes.OK, 200},
		// What is presented by name counts; a wrong token is not made up for.
		{"a certificate and a wrong token", &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{submitter}}, "x", codes.Unauthenticated, 401},
	} {
		t.Run(who.name, func(t *testing.T) {
			var opts []grpc.DialOption
			if who.token != "" {
				opts = append(opts, grpc.WithPerRPCCredentials(bearer(who.token)))
			}
			client := pb.NewLogClient(s.dial(t, who.config, opts...))
			if _, err := client.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(i)}); status.Code(err) != who.code {
				t.Errorf("gRPC: %v, want %v", err, who.code)
			}
			if _, err := client.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{}); err != nil {
				t.Errorf("reading over gRPC: %v", err)
			}
			transport := &http.Transport{TLSClientConfig: who.config}
			defer transport.CloseIdleConnections()
			httpClient := &http.Client{Transport: transport}
			q, err := http.NewRequest(http.MethodPost, "https://"+s.HTTP+"/pauselog.v1.Log/Submit", strings.NewReader(submission(t, i)))
			if err != nil {
				t.Fatal(err)
			}
			if who.token != "" {
				q.Header.Set("Authorization", "Bearer "+who.token)
			}
			r, err := httpClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if b, _ := io.ReadAll(r.Body); r.StatusCode != who.status {
				t.Errorf("HTTP: %d %s, want %d", r.StatusCode, b, who.status)
			}
			if r, err := httpClient.Get("https://" + s.HTTP + "/checkpoint"); err != nil || r.StatusCode != 200 {
				t.Errorf("reading over HTTP: %v", err)
			} else {
				r.Body.Close()
			}
		})
	}
	// A certificate of another authority, or a client that trusts another, does not get through the handshake.
	for name, config := range map[string]*tls.Config{
		"a forged certificate": {RootCAs: a.pool(), Certificates: []tls.Certificate{forged}},
		"another server":       {RootCAs: newAuthority(t).pool()},
	} {
		if _, err := pb.NewLogClient(s.dial(t, config)).GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
		transport := &http.Transport{TLSClientConfig: config}
		if r, err := (&http.Client{Transport: transport}).Get("https://" + s.HTTP + "/checkpoint"); err == nil {
			t.Errorf("%s over HTTP: %s", name, r.Status)
		}
		transport.CloseIdleConnections()
	}
	// And plaintext is not served beside it.
	if _, err := s.client(t).GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("plaintext gRPC: %v", err)
	}
	if status, body := read(t, "http://"+s.HTTP+"/checkpoint"); status != 400 {
		t.Errorf("plaintext HTTP: %d %s", status, body)
	}
}

// submission is a request as JSON.
func submission(t testing.TB, n int) string {
	t.Helper()
	u := upload(n)
	b, err := json.Marshal(map[string]any{"submission": map[string]any{"kind": u.Kind, "path": u.Path, "sha256": u.Sha256, "size": u.Size, "time": u.Time, "by": u.By, "seen": u.Seen}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
