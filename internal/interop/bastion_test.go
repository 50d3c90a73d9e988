package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Our log reaches our witness, which listens nowhere, through Torchwood's bastion. The bastion lets the witness
// in only when its key is listed.
func TestBastion(t *testing.T) {
	cert, key := certificate(t)
	roots := "SSL_CERT_FILE=" + cert
	backends := writeFile(t, "backends", "")
	address := freeAddress(t)
	bastion := start(t, environment(t), "litebastion", "-listen", address,
		"-tls-cert", cert, "-tls-key", key, "-backends", backends)
	bastion.listens(t, address)

	log := newPauselogd(t, "log.example/pause")
	w := newPausewitness(t, "witness.example/inside")
	w.addLog(log.vkeys...)
	w.env = append(w.env, roots)
	w.serve("--bastion", address)
	if w.listen != "" {
		t.Errorf("the witness listens on %s", w.listen)
	}
	client := httpsClient(t, cert)
	if status, body, err := post(client, w.bastion+"/add-checkpoint"); err != nil || status != http.StatusBadGateway {
		t.Errorf("before the witness's key is listed, the bastion answers %d %q: %v", status, body, err)
	}
	if err := os.WriteFile(backends, []byte(path.Base(w.bastion)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bastion.cmd.Process.Signal(syscall.SIGHUP); err != nil { // reads the list again
		t.Fatal(err)
	}
	eventually(t, "the witness answers through the bastion", func() error {
		// An empty body is malformed, as the witness says.
		if status, body, err := post(client, w.bastion+"/add-checkpoint"); err != nil || status != http.StatusBadRequest {
			return fmt.Errorf("%d %q: %v", status, body, err)
		}
		return nil
	})

	log.env = append(log.env, roots)
	log.serve(fmt.Sprintf("witness ed %s %[3]s\nwitness ml %[2]s %[3]s\ngroup inside any ed ml\nquorum inside\n",
		w.vkeys[0], w.vkeys[1], w.bastion))
	for n := range 3 {
		log.publish(n)
	}
	checkAllSignatures(t, log, w)
}

// checkAllSignatures verifies the four signatures of a published checkpoint with x/mod and formats: the log's and the
// witness's, each with Ed25519 and with ML-DSA-44.
func checkAllSignatures(t *testing.T, log *pauselogd, w *pausewitness) {
	t.Helper()
	var keys []note.Verifier
	for _, k := range []struct {
		vkey  string
		parse func(string) (note.Verifier, error)
	}{
		{log.vkeys[0], note.NewVerifier},
		{log.vkeys[1], parseMLDSA},
		{w.vkeys[0], fnote.NewVerifierForCosignatureV1},
		{w.vkeys[1], parseMLDSA},
	} {
		v, err := k.parse(k.vkey)
		if err != nil {
			t.Fatalf("%s: %v", k.vkey, err)
		}
		keys = append(keys, v)
	}
	raw := get(t, log.url+"/checkpoint")
	n, err := note.Open(raw, note.VerifierList(keys...))
	if err != nil || len(n.Sigs) != len(keys) || len(n.UnverifiedSigs) != 0 {
		t.Errorf("%d signatures are needed: %v\n%s", len(keys), err, raw)
	}
}

func parseMLDSA(vkey string) (note.Verifier, error) { return fnote.NewMLDSAVerifier(vkey) }

// certificate makes a certificate for the loopback address and returns the files of it and of its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "bastion of a test"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))),
		writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

func httpsClient(t *testing.T, cert string) *http.Client {
	t.Helper()
	b, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		t.Fatalf("%s has no certificate", cert)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// post sends an empty body.
func post(client *http.Client, url string) (status int, body string, err error) {
	resp, err := client.Post(url, "text/plain", strings.NewReader(""))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return resp.StatusCode, string(b), err
}
