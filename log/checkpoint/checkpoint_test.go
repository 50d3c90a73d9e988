package checkpoint

import (
	"errors"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

const (
	someRoot  = "Iu08wWceprUSFI2H31Iorbup5qTFUc5rNvCzycG1Kjg="
	emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
)

func TestParseTextAccepts(t *testing.T) {
	for _, v := range []struct{ name, text string }{
		{"golden", goldenCheckpoint.Text()},
		{"empty tree", "log.example\n0\n" + emptyRoot + "\n"},
		{"largest size", "log.example\n9223372036854775807\n" + someRoot + "\n"}, // PR-3
		{"origin of one byte", "o\n1\n" + someRoot + "\n"},
		{"origin of 255 bytes", strings.Repeat("o", 255) + "\n1\n" + someRoot + "\n"}, // CS-13
		{"origin beyond ASCII", "журнал.example\n1\n" + someRoot + "\n"},
	} {
		c, err := ParseText(v.text)
		if err != nil || c.Text() != v.text {
			t.Errorf("%s: %+v, %v", v.name, c, err)
		}
	}
}

func TestParseTextRefuses(t *testing.T) {
	text := func(origin, size, root string) string { return origin + "\n" + size + "\n" + root + "\n" }
	ok := text("log.example", "8", someRoot)
	for _, v := range []struct {
		name, text string
		want       error
	}{
		// CP-6: three lines, each ended.
		{"nothing", "", ErrMalformed},
		{"one line", "log.example\n", ErrMalformed},
		{"two lines", "log.example\n8\n", ErrMalformed},
		{"no newline at the end", strings.TrimSuffix(ok, "\n"), ErrMalformed},
		{"empty line first", "\n" + ok, ErrMalformed},
		{"CRLF", strings.ReplaceAll(ok, "\n", "\r\n"), ErrMalformed}, // PR-5

		// CP-1, SN-4, CS-13
		{"origin empty", text("", "8", someRoot), ErrMalformed},
		{"origin with a space", text("log example", "8", someRoot), ErrMalformed},
		{"origin with a Unicode space", text("log\u00a0example", "8", someRoot), ErrMalformed},
		{"origin with a line separator", text("log\u2028example", "8", someRoot), ErrMalformed},
		{"origin with a plus", text("log+example", "8", someRoot), ErrMalformed},
		{"origin with NUL", text("log\x00example", "8", someRoot), ErrMalformed},
		{"origin with DEL", text("log\x7fexample", "8", someRoot), ErrMalformed},
		{"origin with a C1 control", text("log\u009bexample", "8", someRoot), ErrMalformed},
		{"origin of invalid UTF-8", text("log\xffexample", "8", someRoot), ErrMalformed},
		{"origin of 256 bytes", text(strings.Repeat("o", 256), "8", someRoot), ErrMalformed},

		// CP-2, PR-2, PR-3
		{"size empty", text("log.example", "", someRoot), ErrMalformed},
		{"size with leading zeros", text("log.example", "008", someRoot), ErrMalformed},
		{"size 00", text("log.example", "00", emptyRoot), ErrMalformed},
		{"size with a sign", text("log.example", "+8", someRoot), ErrMalformed},
		{"size negative", text("log.example", "-8", someRoot), ErrMalformed},
		{"size -0", text("log.example", "-0", emptyRoot), ErrMalformed},
		{"size after a space", text("log.example", " 8", someRoot), ErrMalformed},
		{"size before a space", text("log.example", "8 ", someRoot), ErrMalformed},
		{"size with an underscore", text("log.example", "1_0", someRoot), ErrMalformed},
		{"size in hexadecimal", text("log.example", "0x8", someRoot), ErrMalformed},
		{"size in other digits", text("log.example", "٨", someRoot), ErrMalformed},
		{"size 2^63", text("log.example", "9223372036854775808", someRoot), ErrMalformed},
		{"size 2^64-1", text("log.example", "18446744073709551615", someRoot), ErrMalformed},
		{"size 2^64", text("log.example", "18446744073709551616", someRoot), ErrMalformed},
		{"size 0 with another root", text("log.example", "0", someRoot), ErrEmptyRoot},
		{"size 0 with another root is malformed", text("log.example", "0", someRoot), ErrMalformed},

		// PR-1, C2SP#348: these 32 bytes have one base64.
		{"root with pad bits", text("log.example", "8", strings.Replace(someRoot, "Kjg=", "Kjh=", 1)), ErrMalformed},
		{"root without padding", text("log.example", "8", strings.TrimSuffix(someRoot, "=")), ErrMalformed},
		{"root with CR", text("log.example", "8", someRoot[:10]+"\r"+someRoot[10:]), ErrMalformed},
		{"root in URL base64", text("log.example", "8", strings.ReplaceAll(emptyRoot, "/", "_")), ErrMalformed},
		{"root of 3 bytes", text("log.example", "8", "AAAA"), ErrMalformed},
		{"root of 31 bytes", text("log.example", "8", strings.Repeat("A", 40)+"AA=="), ErrMalformed},
		{"root of 33 bytes", text("log.example", "8", strings.Repeat("A", 44)), ErrMalformed},
		{"root empty", text("log.example", "8", ""), ErrMalformed},

		// CP-3, CP-4, CP-6
		{"extension line", ok + "ext\n", ErrExtension},
		{"two extension lines", ok + "ext\next\n", ErrExtension},
		{"empty extension line", ok + "\n", ErrMalformed},
		{"empty line before an extension", ok + "\next\n", ErrMalformed},
		{"empty line after an extension", ok + "ext\n\n", ErrMalformed},
		{"extension without newline", ok + "ext", ErrMalformed},
	} {
		c, err := ParseText(v.text)
		if !errors.Is(err, v.want) {
			t.Errorf("%s: ParseText = %+v, %v; want %v", v.name, c, err, v.want)
		}
		if v.want == ErrExtension && errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v is ErrMalformed too", v.name, err)
		}
	}
}

func TestErrorsAreShort(t *testing.T) {
	_, err := ParseText(strings.Repeat("x", 100000))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("error of %d bytes about 100 kB of input: %.300v", len(err.Error()), err)
	}
}

func TestSignRefusesWhatParseTextRefuses(t *testing.T) {
	for _, v := range []struct {
		name string
		c    Checkpoint
	}{
		{"no origin", Checkpoint{Size: 1}},
		{"origin with newline", Checkpoint{Origin: "log.example\n8", Size: 1}},
		{"size 2^63", Checkpoint{Origin: goldenOrigin, Size: tree.MaxSize + 1}},
		{"size 0 with a zero root", Checkpoint{Origin: goldenOrigin}},
	} {
		if _, err := ParseText(v.c.Text()); err == nil {
			t.Errorf("%s: ParseText accepts it", v.name)
		}
		for _, alg := range []Algorithm{Ed25519, CosignatureV1, MLDSA44} {
			if _, err := signer(t, alg, goldenOrigin, 1).Sign(v.c, goldenTime); err == nil {
				t.Errorf("%s: signed with %v", v.name, alg)
			}
		}
	}
}
