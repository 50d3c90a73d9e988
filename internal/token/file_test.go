package token

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pauselog/pauselog/log/entry"
)

// twoTokens is a file as it is written: the format is a promise to later versions.
const twoTokens = `{
  "format": "pauselog-tokens/v1",
  "tokens": [
    {
      "id": "abcdefgh27",
      "name": "PAUSE's hook <1> & é",
      "sha256": "1111111111111111111111111111111111111111111111111111111111111111",
      "kinds": [
        "delete",
        "upload"
      ],
      "seen": [
        "upload"
      ],
      "created": "2026-11-22T12:00:00Z"
    },
    {
      "id": "zzzzzzzzzz",
      "name": "indexer",
      "certificate": "2222222222222222222222222222222222222222222222222222222222222222",
      "kinds": [
        "index"
      ],
      "seen": [],
      "created": "2026-11-22T12:00:00Z",
      "revoked": "2026-11-22T13:00:00Z"
    }
  ]
}
`

func TestTheFormat(t *testing.T) {
	tokens, err := parse([]byte(twoTokens))
	if err != nil || len(tokens) != 2 {
		t.Fatalf("parse: %v, %v", tokens, err)
	}
	if got := tokens[0]; got.ID != "abcdefgh27" || got.Name != "PAUSE's hook <1> & é" || got.Hash[31] != 0x11 || got.Cert != "" || !got.Revoked.IsZero() {
		t.Errorf("the first: %+v", got)
	}
	if got := tokens[1]; got.Cert != strings.Repeat("2", 64) || got.Hash != [32]byte{} || got.Revoked.Hour() != 13 {
		t.Errorf("the second: %+v", got)
	}
	if b, err := marshal(tokens); err != nil || string(b) != twoTokens {
		t.Errorf("marshal: %v\n%s", err, b)
	}
	// White space is free.
	if _, err := parse([]byte(strings.ReplaceAll(twoTokens, "\n", "\r\n\t"))); err != nil {
		t.Errorf("other white space: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(twoTokens, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(twoTokens, old, new, 1)
	}
	ones, twos := strings.Repeat("1", 64), strings.Repeat("2", 64)
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", "not a file of tokens"},
		{"null", "null", "format"},
		{"a list", "[]", "not a file of tokens"},
		{"cut short", twoTokens[:len(twoTokens)-3], "not a file of tokens"},
		{"too long", twoTokens + strings.Repeat(" ", maxFile), "more than 1048576 bytes"},
		{"other format", edit("tokens/v1", "tokens/v2"), "newer program"},
		{"no format", edit(`"format": "pauselog-tokens/v1",`, ""), "format"},
		{"text at the end", twoTokens + "x", "not as this program writes it"},
		{"a second document", twoTokens + twoTokens, "not as this program writes it"},
		{"unknown field", edit(`"name"`, `"admin": true, "name"`), "unknown or repeated fields"},
		{"unknown field of the whole", edit(`"format"`, `"x": 1, "format"`), "unknown or repeated fields"},
		{"repeated field", edit(`"name": "indexer"`, `"name": "indexer", "name": "indexer"`), "unknown or repeated fields"},
		{"revoked and then null", edit(`T13:00:00Z"`, `T13:00:00Z", "revoked": null`), "unknown or repeated fields"},
		{"field in capitals", edit(`"name"`, `"Name"`), "not as this program writes it"},
		{"another order", edit(`"seen": [],`, ""), "not as this program writes it"},
		{"escapes", edit("indexer", `\u0069ndexer`), "not as this program writes it"},
		{"bytes that are no UTF-8", edit("indexer", "inde\xffxer"), "not as this program writes it"},
		{"kinds null", edit(`"seen": []`, `"seen": null`), "not as this program writes it"},
		{"id too short", edit("abcdefgh27", "abcdefgh2"), "token 1: its id is not 10 characters"},
		{"id with capitals", edit("abcdefgh27", "Abcdefgh27"), "its id is not"},
		{"same id twice", edit("zzzzzzzzzz", "abcdefgh27"), "two tokens with id abcdefgh27"},
		{"no name", edit(`"indexer"`, `""`), "token 2: its name"},
		{"space at the end", edit("indexer", "indexer "), "its name"},
		{"control character", edit("indexer", `a\u001b[2Jb`), "its name"},
		{"a character that turns the text", edit("indexer", "a\u202eb"), "its name"},
		{"name too long", edit("indexer", strings.Repeat("x", maxName+1)), "its name"},
		{"capital digest", edit(ones, strings.Repeat("A", 64)), "lowercase hex"},
		{"short digest", edit(ones, ones[1:]), "lowercase hex"},
		{"neither", edit(`"sha256": "`+ones+`",`, ""), "either a sha256 or a certificate"},
		{"both", edit(`"certificate"`, `"sha256": "`+ones+`", "certificate"`), "either a sha256 or a certificate"},
		{"a hash for two halves", edit(`"certificate": "`+twos+`"`, `"sha256": "`+twos[:32]+`", "certificate": "`+twos[:32]+`"`), "either a sha256 or a certificate"},
		{"one secret for two", edit(`"certificate": "`+twos, `"sha256": "`+ones), "token zzzzzzzzzz: its sha256 is another token's too"},
		{"unknown kind", edit(`"index"`, `"indices"`), "a kind is none of"},
		{"kind of the log's own", edit(`"index"`, `"conflict"`), "a kind is none of"},
		{"no kind", edit("\n        \"index\"\n      ", ""), "it has no kind"},
		{"kinds unsorted", edit(`"delete",`, `"upload",`), "not sorted, or repeated"},
		{"unknown seen", edit("\"seen\": [\n        \"upload\"", `"seen": ["uploads"`), "a seen is none of"},
		{"no seen", edit("\"seen\": [\n        \"upload\"\n      ]", `"seen": []`), "need a seen"},
		{"created on a wrong date", edit("2026-11-22T12", "2026-02-30T12"), "created: expected a time"},
		{"created in another zone", edit("12:00:00Z", "12:00:00+00:00"), "created: expected a time"},
		{"revoked never", edit("2026-11-22T13:00:00Z", "never"), "revoked: expected a time"},
	} {
		tokens, err := parse([]byte(tt.file))
		if err == nil || tokens != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestParseNeverQuotesWhatMayBeASecret(t *testing.T) {
	secret := formatSecret("abcdefgh27", [32]byte{1, 2, 3})
	for i := range twoTokens {
		// After each quotation mark, whether it opens a name or a value or closes one.
		if twoTokens[i] != '"' {
			continue
		}
		_, err := parse([]byte(twoTokens[:i+1] + secret + twoTokens[i+1:]))
		if err == nil || strings.Contains(err.Error(), secret[20:]) {
			t.Errorf("a secret at byte %d: %v", i, err)
		}
	}
}

func TestTheMostTokensFit(t *testing.T) {
	var tokens []Token
	for i := range MaxTokens {
		tokens = append(tokens, Token{
			ID: fmt.Sprintf("%c%c%caaaaaaa", idDigits[i>>10], idDigits[i>>5&31], idDigits[i&31]), Name: strings.Repeat(`"`, maxName),
			Hash: sha256.Sum256([]byte{byte(i), byte(i >> 8)}), Kinds: sorted(all),
			Seen: []entry.Seen{entry.SeenBackfill, entry.SeenFollow, entry.SeenUpload}, Created: noon, Revoked: noon,
		})
	}
	b, err := marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parse(b); err != nil || len(got) != MaxTokens {
		t.Fatalf("%d tokens in %d bytes: %v", len(got), len(b), err)
	}
	file := filepath.Join(t.TempDir(), "tokens.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Create(file, "one more", all, direct, noon); err == nil || !strings.Contains(err.Error(), "holds 1000 tokens") {
		t.Errorf("one more: %v", err)
	}
	tokens = append(tokens, tokens[0])
	if b, err = marshal(tokens); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(b); err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Errorf("parsing one more: %v", err)
	}
}

func TestListRefusesWhatOthersMayWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	if tokens, err := List(file); err != nil || len(tokens) != 0 {
		t.Errorf("no file: %v, %v", tokens, err)
	}
	if err := os.WriteFile(file, []byte(twoTokens), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o644: true, 0o620: false, 0o602: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := List(file); (err == nil) != good || (!good && !strings.Contains(err.Error(), "chmod 0600")) {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}

	if _, err := List(t.TempDir()); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a folder: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := List(pipe); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a pipe: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(twoTokens))
	f.Add([]byte(`{"format":"pauselog-tokens/v1","tokens":[]}`))
	f.Add([]byte(`{"format":"pauselog-tokens/v1","tokens":[{}]}`))
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens, err := parse(b)
		if err != nil {
			return
		}
		again, err := marshal(tokens)
		if err != nil {
			t.Fatal(err)
		}
		tokens2, err := parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if third, err := marshal(tokens2); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written again it differs: %v", err)
		}
		for _, token := range tokens {
			if token.Revoked.IsZero() && len(token.Kinds) == 0 {
				t.Error("a token without kinds")
			}
			if err := token.Allows(entry.Void, entry.SeenUpload); !errors.Is(err, ErrForbidden) {
				t.Errorf("void: %v", err)
			}
		}
	})
}
