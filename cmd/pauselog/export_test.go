package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// sameTree checks that each file of a proof tree is what the log serves under its name.
func sameTree(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	n := 0
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r, err := http.Get(ts.Getenv("HTTP") + "/" + filepath.ToSlash(name))
		if err != nil {
			return err
		}
		got, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return err
		}
		if n++; r.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
			ts.Fatalf("%s: the log answers %d %q, the file is %q", name, r.StatusCode, got, want)
		}
		return nil
	}))
	if n < 257 {
		ts.Fatalf("there are only %d files", n)
	}
}

func serveTree(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(s.Close)
	ts.Setenv("TREE", s.URL)
}

// serveTLS serves a folder over TLS, with a certificate that only the authority in the file CA vouches for. OTHERCA has another.
func serveTLS(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewTLSServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(server.Close)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that end the handshake
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	other, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	for name, der := range map[string][]byte{"ca.pem": server.Certificate().Raw, "other.pem": other} {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	}
	ts.Setenv("TLSTREE", server.URL)
	policy, err := os.ReadFile(ts.Getenv("POLICY"))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("tls-policy"), bytes.Replace(policy, []byte(ts.Getenv("HTTP")), []byte(server.URL), 1), 0o600))
}
