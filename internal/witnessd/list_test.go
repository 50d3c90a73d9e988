package witnessd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/state"
)

// logKey makes a key from a seed of one repeated byte.
func logKey(tb testing.TB, alg checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	tb.Helper()
	k, err := checkpoint.GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func vkey(tb testing.TB, alg checkpoint.Algorithm, name string, seed byte) string {
	tb.Helper()
	return logKey(tb, alg, name, seed).Verifier().String()
}

func TestParseList(t *testing.T) {
	ed, ml := vkey(t, checkpoint.Ed25519, "log.example/a", 1), vkey(t, checkpoint.MLDSA44, "log.example/b", 2)
	future := "log.example/c+00112233+" + base64.StdEncoding.EncodeToString(append([]byte{0x42}, make([]byte, 32)...))
	list := "#\n# Revision: 1\n \t# indented\n\n\tlogs/v0 \n\n# the first\nvkey " + ed + "\nqpd 86400\ncontact https://log.example/contact\n" +
		"vkey " + ml + "\n  origin log.example/other\n\t\n\t qpd 1\n# between\n\tcontact  sysadmin \t(at) log.example  \t\n" +
		"vkey " + future + "\nqpd 2147483647\ncontact x\n" +
		"vkey " + vkey(t, checkpoint.CosignatureV1, "log.example/d", 4) + "\nqpd 24\ncontact contact\n"
	got, err := ParseList([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range got {
		key := "-"
		if l.Key != nil {
			key = l.Key.String()
		}
		lines = append(lines, fmt.Sprintf("%d %s %s %d %q %v", l.Line, l.Origin, key, l.QPD, l.Contact, errors.Is(l.Err, ErrKeyType)))
	}
	want := []string{
		`8 log.example/a ` + ed + ` 86400 "https://log.example/contact" false`,
		`11 log.example/other ` + ml + ` 1 "sysadmin  (at) log.example" false`,
		`17 log.example/c - 2147483647 "x" true`,
		`20 log.example/d - 24 "contact" true`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got, err := ParseList([]byte("logs/v0\n")); err != nil || len(got) != 0 {
		t.Errorf("an empty list: %v, %v", got, err)
	}
}

func TestParseListRefuses(t *testing.T) {
	ed := "vkey " + vkey(t, checkpoint.Ed25519, "log.example/a", 1) + "\n"
	other := "vkey " + vkey(t, checkpoint.Ed25519, "log.example/b", 2) + "\n"
	rest := "qpd 1\ncontact x\n"
	many := new(strings.Builder)
	for i := range state.MaxLogs + 1 {
		fmt.Fprintf(many, "%sorigin log.example/%d\n%s", ed, i, rest)
	}
	for name, c := range map[string]struct{ list, want string }{
		"empty":                           {"", "newline at its end"},
		"no header":                       {ed + rest, `line 1: expected "logs/v0"`},
		"only comments":                   {"# logs/v0\n", `expected a line "logs/v0" at its end`},
		"another version":                 {"logs/v1\n", `line 1: expected "logs/v0"`},
		"the header twice":                {"logs/v0\nlogs/v0\n", `line 2: expected "vkey"`},
		"cut within a line":               {"logs/v0\n" + ed + "qpd 1\ncontact x", "newline at its end"},
		"cut between lines":               {"logs/v0\n" + ed + "qpd 1\n", `expected a line "contact" at its end`},
		"a log without qpd":               {"logs/v0\n" + ed + "contact x\n", `line 3: expected "qpd"`},
		"a log without contact":           {"logs/v0\n" + ed + "qpd 1\n" + other + rest, `line 4: expected "contact"`},
		"origin after qpd":                {"logs/v0\n" + ed + "qpd 1\norigin o\ncontact x\n", `line 4: expected "contact"`},
		"origin twice":                    {"logs/v0\n" + ed + "origin o\norigin o\n" + rest, `line 4: expected "qpd"`},
		"two keys":                        {"logs/v0\n" + ed + other + rest, `line 3: expected "qpd"`},
		"an unknown word":                 {"logs/v0\n" + ed + "url https://x\n" + rest, `line 3: expected "qpd"`},
		"the same origin twice":           {"logs/v0\n" + ed + rest + other + "origin log.example/a\n" + rest, "line 7: the origin \"log.example/a\" is that of the log in line 2"},
		"the same log twice":              {"logs/v0\n" + ed + rest + ed + rest, "is that of the log in line 2"},
		"qpd 0":                           {"logs/v0\n" + ed + "qpd 0\ncontact x\n", "from 1 to 2147483647"},
		"qpd 2^31":                        {"logs/v0\n" + ed + "qpd 2147483648\ncontact x\n", "from 1 to 2147483647"},
		"qpd with a leading zero":         {"logs/v0\n" + ed + "qpd 01\ncontact x\n", "from 1 to"},
		"qpd with a sign":                 {"logs/v0\n" + ed + "qpd +1\ncontact x\n", "from 1 to"},
		"qpd behind two spaces":           {"logs/v0\n" + ed + "qpd  1\ncontact x\n", "from 1 to"},
		"qpd behind a tab":                {"logs/v0\n" + ed + "qpd\t1\ncontact x\n", `expected "qpd"`},
		"no qpd's value":                  {"logs/v0\n" + ed + "qpd\ncontact x\n", `expected "qpd" and its value`},
		"no contact's value":              {"logs/v0\n" + ed + "qpd 1\ncontact \n", `expected "contact" and its value`},
		"a long contact":                  {"logs/v0\n" + ed + "qpd 1\ncontact " + strings.Repeat("x", state.MaxContact+1) + "\n", "at most 512 bytes"},
		"a carriage return":               {"logs/v0\r\n", "without control characters"},
		"an escape sequence":              {"logs/v0\n" + ed + "qpd 1\ncontact \x1b[2J\n", "without control characters"},
		"not UTF-8":                       {"logs/v0\n# \xff\n", "without control characters"},
		"a long line":                     {"logs/v0\n#" + strings.Repeat("x", maxListLine) + "\n", "expected at most 4096 bytes"},
		"an origin with a space":          {"logs/v0\n" + ed + "origin a b\n" + rest, "origin"},
		"a key id that is not the key's":  {"logs/v0\nvkey " + "log.example/a+00000000+" + strings.SplitN(ed, "+", 3)[2] + rest, "key"},
		"a key that is no base64":         {"logs/v0\nvkey log.example/a+00000000+????\n" + rest, "key"},
		"a known type of another length":  {"logs/v0\nvkey log.example/a+00000000+AQAA\n" + rest, "key"},
		"an unknown type, id in capitals": {"logs/v0\nvkey log.example/a+0000000A+QgAA\n" + rest, "key"},
		"too many logs":                   {"logs/v0\n" + many.String(), "at most 4096 logs"},
		"too large":                       {strings.Repeat("\n", MaxList+1), "at most 16777216 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseList([]byte(c.list))
			if !errors.Is(err, ErrList) || !strings.Contains(err.Error(), c.want) || got != nil {
				t.Errorf("%v, %v; want an ErrList with %q", got, err, c.want)
			}
		})
	}
}

// What is accepted is bounded and unique, and written again in the plain form means the same.
func FuzzParseList(f *testing.F) {
	ed := vkey(f, checkpoint.Ed25519, "log.example/a", 1)
	f.Add([]byte("logs/v0\nvkey " + ed + "\nqpd 1\ncontact x\n"))
	f.Add([]byte("# c\n\tlogs/v0\nvkey " + ed + "\n origin o\n\tqpd 24\ncontact  a b\n"))
	f.Add([]byte("logs/v0\nvkey a+00112233+QgAA\nqpd 2147483647\ncontact x\n"))
	f.Add([]byte("logs/v0\nvkey " + vkey(f, checkpoint.MLDSA44, "b", 2) + "\nqpd 9\ncontact é\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		logs, err := ParseList(b)
		if err != nil {
			if !errors.Is(err, ErrList) || logs != nil {
				t.Fatalf("%v, %v", logs, err)
			}
			return
		}
		origins := map[string]bool{}
		plain := "logs/v0\n"
		for _, l := range logs {
			if origins[l.Origin] || l.QPD < 1 || l.QPD > MaxQPD || l.Contact == "" || (l.Key == nil) == (l.Err == nil) || checkpoint.ValidOrigin(l.Origin) != nil {
				t.Fatalf("%+v", l)
			}
			origins[l.Origin] = true
			if l.Key != nil {
				plain += fmt.Sprintf("vkey %s\norigin %s\nqpd %d\ncontact %s\n", l.Key, l.Origin, l.QPD, l.Contact)
			}
		}
		again, err := ParseList([]byte(plain))
		if err != nil {
			t.Fatalf("%q: %v", plain, err)
		}
		i := 0
		for _, l := range logs {
			if l.Key == nil {
				continue
			}
			if o := again[i]; o.Origin != l.Origin || o.Key.String() != l.Key.String() || o.QPD != l.QPD || o.Contact != l.Contact {
				t.Fatalf("%+v became %+v", l, o)
			}
			i++
		}
		if i != len(again) {
			t.Fatalf("%d logs became %d", i, len(again))
		}
	})
}
