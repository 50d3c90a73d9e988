package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

var (
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	all    = []entry.Kind{entry.Upload, entry.Index, entry.Delete}
	direct = []entry.Seen{entry.SeenUpload}
)

func TestAllows(t *testing.T) {
	hook := Token{ID: "aaaaaaaaaa", Name: "the hook", Kinds: []entry.Kind{entry.Delete, entry.Index, entry.Upload}, Seen: direct}
	follower := Token{ID: "bbbbbbbbbb", Name: "follower", Kinds: []entry.Kind{entry.Upload}, Seen: []entry.Seen{entry.SeenBackfill, entry.SeenFollow}}
	indexer := Token{ID: "cccccccccc", Name: "indexer", Kinds: []entry.Kind{entry.Index}}
	revoked := hook
	revoked.Revoked = noon
	for _, tt := range []struct {
		token Token
		kind  entry.Kind
		seen  entry.Seen
		want  string // what the refusal says; "" allowed
	}{
		{hook, entry.Upload, entry.SeenUpload, ""},
		{hook, entry.Delete, entry.SeenUpload, ""},
		{hook, entry.Index, "", ""},
		{hook, entry.Upload, entry.SeenFollow, `may submit kind delete, index or upload with seen upload; this is kind "upload" with seen "follow"`},
		{hook, entry.Upload, "", `this is kind "upload":`},
		{hook, entry.Index, entry.SeenFollow, `kind "index" with seen "follow"`},
		{hook, entry.Conflict, "", `this is kind "conflict"`},
		{hook, entry.Void, entry.SeenUpload, `this is kind "void"`},
		{hook, "", "", `this is kind ""`},
		{hook, entry.Kind(strings.Repeat("x", 5000)), "", `this is kind "xxxxxxxxxxxxxxxxxxxx":`},
		{follower, entry.Upload, entry.SeenBackfill, ""},
		{follower, entry.Index, "", "token bbbbbbbbbb (follower) may submit kind upload with seen backfill or follow"},
		{follower, entry.Delete, entry.SeenFollow, `this is kind "delete" with seen "follow"`},
		{indexer, entry.Index, "", ""},
		{indexer, entry.Upload, entry.SeenUpload, "may submit kind index; this is"},
		{indexer, entry.Upload, "", "may submit kind index; this is"},
		{revoked, entry.Upload, entry.SeenUpload, "was revoked at 2026-11-22T12:00:00Z"},
		{Token{}, entry.Upload, entry.SeenUpload, "may submit nothing"},
		{Token{}, entry.Index, "", "may submit nothing"},
	} {
		err := tt.token.Allows(tt.kind, tt.seen)
		if tt.want == "" && err == nil {
			continue
		}
		if tt.want == "" || !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %.20q with seen %q: %v, want %q", tt.token.Name, tt.kind, tt.seen, err, tt.want)
		}
	}
}

func TestASecretHasOneForm(t *testing.T) {
	good := formatSecret("abcdefgh27", [32]byte{31: 0xfc})
	id, hash, ok := parseSecret(good)
	if !ok || id != "abcdefgh27" || hash != sha256.Sum256([]byte(good)) {
		t.Fatalf("parseSecret(%s) = %s, %x, %v", good, id, hash, ok)
	}
	body := good[len("pauselog_abcdefgh27_"):]
	for name, bad := range map[string]string{
		"empty":                       "",
		"prefix only":                 "pauselog_",
		"other prefix":                "pauselog-abcdefgh27_" + body,
		"capital prefix":              "PAUSELOG_abcdefgh27_" + body,
		"capital id":                  "pauselog_ABCDEFGH27_" + body,
		"digit that base32 lacks":     "pauselog_abcdefgh01_" + body,
		"other separator":             "pauselog_abcdefgh27-" + body,
		"one short":                   good[:len(good)-1],
		"one long":                    good + "A",
		"space before":                " " + good,
		"line feed after":             good + "\n",
		"line feed for the last":      good[:len(good)-1] + "\n",
		"line feeds within":           good[:len(good)-4] + "\n\r\n\r",
		"padding":                     good[:len(good)-1] + "=",
		"standard alphabet":           good[:len(good)-1] + "+",
		"spare bits set":              good[:len(good)-1] + "B",
		"not ASCII":                   good[:len(good)-2] + "é",
		"a megabyte":                  strings.Repeat(good, 1<<20/len(good)),
		"a megabyte after the secret": good + strings.Repeat("A", 1<<20),
	} {
		if id, _, ok := parseSecret(bad); ok || id != "" {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestATokenPrintsNoSecret(t *testing.T) {
	file := t.TempDir() + "/tokens.json"
	secret, token, err := Create(file, "hook", all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	set.Bearer(secret)
	random := secret[len(secret)-43:]
	for _, v := range []any{token, &token, []Token{token}, set, set.view.Load()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if strings.Contains(fmt.Sprintf(verb, v), random) {
				t.Errorf("%s of a %T has the secret", verb, v)
			}
		}
	}
}

// certificate returns a new self-signed certificate for key, or for a new key.
func certificate(t *testing.T, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "pause"}, NotBefore: noon, NotAfter: noon.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// same compares tokens by value; they hold slices.
func same(a, b Token) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Hash == b.Hash && a.Cert == b.Cert &&
		slices.Equal(a.Kinds, b.Kinds) && slices.Equal(a.Seen, b.Seen) &&
		a.Created.Equal(b.Created) && a.Revoked.Equal(b.Revoked)
}
