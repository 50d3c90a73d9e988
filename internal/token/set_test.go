package token

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

func TestBearerAndCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	set, err := Open(file, nil) // no file yet: an empty set
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Bearer(formatSecret("aaaaaaaaaa", [32]byte{})); !errors.Is(err, ErrUnknown) {
		t.Errorf("an empty set: %v", err)
	}
	cert, key := certificate(t, nil)
	if _, err := set.Certificate(cert); !errors.Is(err, ErrUnknown) {
		t.Errorf("an empty set: %v", err)
	}

	secret, hook, err := Create(file, "hook", all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := set.Bearer(secret); err != nil || !same(got, hook) {
		t.Errorf("Bearer: %+v, %v", got, err)
	}
	client, err := CreateForCertificate(file, "client", cert, all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	renewed, _ := certificate(t, key)
	other, _ := certificate(t, nil)
	if got, err := set.Certificate(renewed); err != nil || !same(got, client) {
		t.Errorf("a certificate for the same key: %+v, %v", got, err)
	}
	if _, err := set.Certificate(other); !errors.Is(err, ErrUnknown) {
		t.Errorf("a certificate for another key: %v", err)
	}
	if _, err := set.Certificate(nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("no certificate: %v", err)
	}

	random := [32]byte{1}
	for name, wrong := range map[string]string{
		"the right id":           formatSecret(hook.ID, random),
		"a certificate's id":     formatSecret(client.ID, random),
		"an unknown id":          formatSecret("aaaaaaaaaa", random),
		"another id":             strings.Replace(secret, hook.ID, client.ID, 1),
		"the hash for a secret":  "pauselog_" + hook.ID + "_" + encoding.EncodeToString(hook.Hash[:]),
		"nothing":                "",
		"only the secret's half": secret[:40],
		"with its scheme":        "Bearer " + secret,
	} {
		got, err := set.Bearer(wrong)
		if !errors.Is(err, ErrUnknown) || got.ID != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if wrong != "" && strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: the error says what was presented: %v", name, err)
		}
	}

	// What a caller does to its token is its own affair.
	got, err := set.Bearer(secret)
	if err != nil {
		t.Fatal(err)
	}
	got.Kinds[0], got.Seen[0] = entry.Void, entry.SeenBackfill
	if got, err := set.Bearer(secret); err != nil || !same(got, hook) {
		t.Errorf("Bearer afterwards: %+v, %v", got, err)
	}
}

func TestARevocationCountsFromTheNextCallOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	secret, hook, err := Create(file, "hook", all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := Create(file, "kept", all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := certificate(t, nil)
	client, err := CreateForCertificate(file, "client", cert, all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Bearer(secret); err != nil {
		t.Fatal(err)
	}
	if err := Revoke(file, hook.ID, noon); err != nil {
		t.Fatal(err)
	}
	if got, err := set.Bearer(secret); !errors.Is(err, ErrUnknown) || got.ID != "" || !strings.Contains(err.Error(), "revoked at 2026-11-22T12:00:00Z") {
		t.Errorf("a revoked secret: %+v, %v", got, err)
	}
	// Only its holder is told.
	if _, err := set.Bearer(formatSecret(hook.ID, [32]byte{})); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), "revoked") {
		t.Errorf("a guess: %v", err)
	}
	if _, err := set.Certificate(cert); err != nil {
		t.Error(err)
	}
	if err := Revoke(file, client.ID, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := set.Certificate(cert); !errors.Is(err, ErrUnknown) {
		t.Errorf("a revoked certificate: %v", err)
	}
	if _, err := set.Bearer(kept); err != nil {
		t.Errorf("the token that was kept: %v", err)
	}
}

func TestNobodyIsLetInWithoutAGoodFile(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"gone":              os.Remove,
		"empty":             func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"broken":            func(file string) error { return replace(file, twoTokens[:100]) },
		"writable by all":   func(file string) error { return os.Chmod(file, 0o666) },
		"a folder":          func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"a link to nowhere": func(file string) error { return errors.Join(os.Remove(file), os.Symlink("nowhere", file)) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokens.json")
			secret, _, err := Create(file, "hook", all, direct, noon)
			if err != nil {
				t.Fatal(err)
			}
			cert, _ := certificate(t, nil)
			if _, err := CreateForCertificate(file, "client", cert, all, direct, noon); err != nil {
				t.Fatal(err)
			}
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			set, err := Open(file, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := set.Bearer(secret); err != nil {
				t.Fatal(err)
			}

			for range 2 {
				log.Reset()
				if err := spoil(file); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if got, err := set.Bearer(secret); !errors.Is(err, ErrUnavailable) || got.ID != "" || !strings.Contains(err.Error(), file) {
						t.Errorf("Bearer: %+v, %v", got, err)
					}
					if got, err := set.Certificate(cert); !errors.Is(err, ErrUnavailable) || got.ID != "" {
						t.Errorf("Certificate: %+v, %v", got, err)
					}
				}
				if n := strings.Count(log.String(), "every submission is refused"); n != 1 {
					t.Errorf("logged %d times:\n%s", n, &log)
				}
				if strings.Contains(log.String(), secret[20:]) {
					t.Errorf("the log has the secret:\n%s", &log)
				}
				absent := name == "gone" || name == "a link to nowhere"
				if _, err := Open(file, nil); !absent && !errors.Is(err, ErrUnavailable) {
					t.Errorf("Open: %v", err)
				}

				if err := errors.Join(os.RemoveAll(file), replace(file, string(good))); err != nil {
					t.Fatal(err)
				}
				if _, err := set.Bearer(secret); err != nil {
					t.Errorf("once the file is good again: %v", err)
				}
				if n := strings.Count(log.String(), "good again"); n != 2 { // the refusal's text has it too
					t.Errorf("logged %d times:\n%s", n, &log)
				}
			}
		})
	}
}

// Each thing that can tell two files apart does so alone.
func TestEveryChangeIsSeen(t *testing.T) {
	for name, change := range map[string]func(file, content string) error{
		"inode": replace,
		"time":  func(file, content string) error { return os.WriteFile(file, []byte(content), 0o600) },
		"size":  func(file, content string) error { return os.WriteFile(file, []byte(content+" "), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokens.json")
			secret, hook, err := Create(file, "hook", all, direct, noon)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, noon, noon); err != nil {
				t.Fatal(err)
			}
			set, err := Open(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := set.Bearer(secret); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := noon
			if name == "time" {
				at = noon.Add(1)
			}
			// Of the same length, and its secret another one.
			other := strings.Replace(string(b), hook.ID, "aaaaaaaaaa", 1)
			if err := errors.Join(change(file, other), os.Chtimes(file, at, at)); err != nil {
				t.Fatal(err)
			}
			if _, err := set.Bearer(secret); !errors.Is(err, ErrUnknown) {
				t.Errorf("the old token: %v", err)
			}
		})
	}
}

// replace puts a file in another's place, as an operator should.
func replace(file, content string) error {
	return errors.Join(os.WriteFile(file+".edited", []byte(content), 0o600), os.Rename(file+".edited", file))
}

func TestCallsDuringChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	kept, _, err := Create(file, "kept", all, direct, noon)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				if _, err := set.Bearer(kept); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		secret, token, err := Create(file, "hook", all, direct, noon)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.Bearer(secret); err != nil {
			t.Errorf("a new token: %v", err)
		}
		if err := Revoke(file, token.ID, noon); err != nil {
			t.Fatal(err)
		}
		if _, err := set.Bearer(secret); !errors.Is(err, ErrUnknown) {
			t.Errorf("a revoked token: %v", err)
		}
	}
	close(done)
	readers.Wait()
}

func FuzzBearer(f *testing.F) {
	file := filepath.Join(f.TempDir(), "tokens.json")
	secret, hook, err := Create(file, "hook", all, direct, noon)
	if err != nil {
		f.Fatal(err)
	}
	set, err := Open(file, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add(secret)
	f.Add(secret + "\n")
	f.Add(strings.ToUpper(secret))
	f.Add(formatSecret(hook.ID, [32]byte{}))
	f.Add(formatSecret("aaaaaaaaaa", [32]byte{}))
	f.Fuzz(func(t *testing.T, presented string) {
		got, err := set.Bearer(presented)
		if presented == secret {
			if err != nil || got.ID != hook.ID {
				t.Fatalf("the secret: %+v, %v", got, err)
			}
			return
		}
		if !errors.Is(err, ErrUnknown) || got.ID != "" {
			t.Fatalf("%q: %+v, %v", presented, got, err)
		}
		if len(presented) > 50 && strings.Contains(err.Error(), presented) {
			t.Fatalf("the error says what was presented: %v", err)
		}
	})
}
