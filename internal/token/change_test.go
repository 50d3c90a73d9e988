package token

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pauselog/pauselog/log/entry"
)

func TestCreateThenList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	local := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 22, 13, 0, 0, 999, local)
	secret, hook, err := Create(file, "hook", []entry.Kind{"upload", "index", "upload", "delete"}, []entry.Seen{"upload", "follow", "upload"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "pauselog_"+hook.ID+"_") || len(secret) != secretLength {
		t.Errorf("the secret has %d characters, the id is %s", len(secret), hook.ID)
	}
	if !slices.Equal(hook.Kinds, []entry.Kind{"delete", "index", "upload"}) || !slices.Equal(hook.Seen, []entry.Seen{"follow", "upload"}) {
		t.Errorf("the scope is %v %v, want it sorted and without repetition", hook.Kinds, hook.Seen)
	}
	if !hook.Created.Equal(noon) || !hook.Revoked.IsZero() || hook.Cert != "" {
		t.Errorf("created %+v", hook)
	}
	cert, _ := certificate(t, nil)
	indexer, err := CreateForCertificate(file, "indexer", cert, []entry.Kind{entry.Index}, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(indexer.Cert) != 64 || indexer.Hash != [32]byte{} {
		t.Errorf("created %+v", indexer)
	}

	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secret[len(secret)-43:]) {
		t.Error("the secret is in the file")
	}
	tokens, err := List(file)
	if err != nil || len(tokens) != 2 || !same(tokens[0], hook) || !same(tokens[1], indexer) {
		t.Errorf("List: %+v, %v", tokens, err)
	}
	checkFile(t, file)
}

// checkFile checks what a change leaves in its folder.
func checkFile(t *testing.T, file string) {
	t.Helper()
	var st, dir unix.Stat_t
	if err := errors.Join(unix.Stat(file, &st), unix.Stat(filepath.Dir(file), &dir)); err != nil {
		t.Fatal(err)
	}
	if st.Mode != unix.S_IFREG|0o600 {
		t.Errorf("the file's mode is %#o", st.Mode)
	}
	if st.Uid != dir.Uid {
		t.Errorf("the file is owned by %d, its folder by %d", st.Uid, dir.Uid)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	for _, tt := range []struct {
		name  string
		label string
		kinds []entry.Kind
		seen  []entry.Seen
		now   time.Time
		want  string
	}{
		{"no name", "", all, direct, noon, "a new token: its name has to be 1 to 60 bytes"},
		{"a line feed", "a\nb", all, direct, noon, "its name"},
		{"a secret as name", formatSecret("aaaaaaaaaa", [32]byte{}), all, direct, noon, "its name"},
		{"no kinds", "x", nil, direct, noon, "it has no kind"},
		{"an operator's kind", "x", []entry.Kind{entry.Void}, direct, noon, "none of upload, index, delete"},
		{"no seen", "x", all, nil, noon, "need a seen"},
		{"another seen", "x", all, []entry.Seen{"heard"}, noon, "none of upload, follow, backfill"},
		{"before 1970", "x", all, direct, time.Unix(-1, 0), "created: expected a time"},
	} {
		secret, token, err := Create(file, tt.label, tt.kinds, tt.seen, tt.now)
		if err == nil || secret != "" || token.ID != "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused token left a file: %v", err)
	}
	if _, err := CreateForCertificate(file, "x", nil, all, direct, noon); err == nil {
		t.Error("no certificate: accepted")
	}
	if _, _, err := Create(filepath.Join(t.TempDir(), "gone", "tokens.json"), "x", all, direct, noon); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestAKeyHasOneTokenEver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	cert, key := certificate(t, nil)
	first, err := CreateForCertificate(file, "first", cert, all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	renewed, _ := certificate(t, key)
	if _, err := CreateForCertificate(file, "second", renewed, all, direct, noon); err == nil || !strings.Contains(err.Error(), "that of token "+first.ID+" already") {
		t.Errorf("a second token for a key: %v", err)
	}
	if err := Revoke(file, first.ID, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateForCertificate(file, "second", renewed, all, direct, noon); err == nil || !strings.Contains(err.Error(), "needs a new key") {
		t.Errorf("a token for a revoked key: %v", err)
	}
	fresh, _ := certificate(t, nil)
	if _, err := CreateForCertificate(file, "second", fresh, all, direct, noon); err != nil {
		t.Errorf("a new key: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	if err := Revoke(file, "aaaaaaaaaa", noon); !errors.Is(err, ErrUnknown) {
		t.Errorf("no file: %v", err)
	}
	secret, token, err := Create(file, "hook", all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := Revoke(file, secret, noon); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), secret) {
		t.Errorf("the secret for the id: %v", err)
	}
	for hours := range 2 { // the first one counts
		if err := Revoke(file, token.ID, noon.Add(time.Duration(hours)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := List(file)
	if err != nil || len(tokens) != 1 || !tokens[0].Revoked.Equal(noon) {
		t.Errorf("List: %+v, %v", tokens, err)
	}
	checkFile(t, file)
}

func TestConcurrentChangesLoseNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	const writers, each = 8, 5
	secrets := make([][]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				secret, token, err := Create(file, "hook", all, direct, noon)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				if i == 0 {
					if err := Revoke(file, token.ID, noon); err != nil {
						t.Errorf("writer %d: %v", w, err)
					}
					continue
				}
				secrets[w] = append(secrets[w], secret)
			}
		})
	}
	wg.Wait()
	tokens, err := List(file)
	if err != nil || len(tokens) != writers*each {
		t.Fatalf("%d tokens, %v", len(tokens), err)
	}
	set, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range slices.Concat(secrets...) {
		if _, err := set.Bearer(secret); err != nil {
			t.Error(err)
		}
	}
	checkFile(t, file)
}

func TestWhatACrashLeftIsReplaced(t *testing.T) {
	for name, plant := range map[string]func(next, elsewhere string) error{
		"a torn file":       func(next, _ string) error { return os.WriteFile(next, []byte(`{"form`), 0o666) },
		"a link to a file":  func(next, elsewhere string) error { return os.Symlink(elsewhere, next) },
		"a link to nowhere": func(next, elsewhere string) error { return os.Symlink(elsewhere+"2", next) },
	} {
		t.Run(name, func(t *testing.T) {
			file, elsewhere := filepath.Join(t.TempDir(), "tokens.json"), filepath.Join(t.TempDir(), "precious")
			if err := errors.Join(os.WriteFile(elsewhere, []byte("precious"), 0o600), plant(file+".new", elsewhere)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Create(file, "hook", all, direct, noon); err != nil {
				t.Fatal(err)
			}
			checkFile(t, file)
			if b, err := os.ReadFile(elsewhere); err != nil || string(b) != "precious" {
				t.Errorf("a file elsewhere is now %q, %v", b, err)
			}
			if _, err := os.Lstat(elsewhere + "2"); err == nil {
				t.Error("a file was made elsewhere")
			}
		})
	}
}

func TestABrokenFileIsLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	const broken = `{"format":"pauselog-tokens/v1","tokens":[`
	if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Create(file, "hook", all, direct, noon); err == nil || !strings.Contains(err.Error(), "left as it is") {
		t.Errorf("Create: %v", err)
	}
	if err := Revoke(file, "aaaaaaaaaa", noon); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("Revoke: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != broken {
		t.Errorf("the file is now %q, %v", b, err)
	}
	checkFile(t, file)
}

// A command run by root must leave a file that the server's user can read.
func TestTheFileBelongsToTheFoldersOwner(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 { // others own their folders anyway
		if err := os.Chown(dir, 4321, 4321); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "tokens.json")
	if _, _, err := Create(file, "hook", all, direct, noon); err != nil {
		t.Fatal(err)
	}
	checkFile(t, file)
}
