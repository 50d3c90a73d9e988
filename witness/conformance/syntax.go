package conformance

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// notCanonical sets a pad bit of canonical base64 that has one '=' at its end: it decodes to the same bytes.
func notCanonical(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.LastIndexByte(s, '=') - 1
	for i > 0 && s[i] == '=' {
		i--
	}
	return s[:i] + string(alphabet[strings.IndexByte(alphabet, s[i])|1]) + s[i+1:]
}

// bad makes the check that a request, changed as a whole or in a part, is answered 400 and changes nothing.
// The log is at size 3, and the request is its honest one to size 8.
// also are statuses that a witness may give instead, because it can read the body another way.
func bad(id string, level Level, name string, edit func(r *request) string, also ...int) Check {
	return one(id, level, name+": 400", func(ctx context.Context, s *session) error {
		return s.refusesBody(ctx, 3, edit(s.log.request(honest, 3, 8)), append([]int{400}, also...)...)
	})
}

func requestSyntaxChecks() []Check {
	var checks []Check
	for _, head := range []string{
		"old 03", "old +3", "old  3", " old 3", "old 3 ", "old -3", "old 0x3", "old 3.0", "old\t3", "old3", "old", "old ",
		"Old 3", "OLD 3", "size 3", "old 3\r", "old 3 3", "old \u0663", "old 3_0",
		"old 9223372036854775808", "old 18446744073709551616", "old 18446744073709551619", "",
	} {
		checks = append(checks, bad("PR-2", Must, fmt.Sprintf("first line %q", head), func(r *request) string {
			r.head = head
			return r.bytes()
		}))
	}
	for _, c := range []struct {
		name string
		edit func(first string) string
	}{
		{"is not canonical base64", notCanonical},
		{"has no padding", func(l string) string { return strings.TrimRight(l, "=") }},
		{"has URL-safe base64", func(string) string {
			return base64.URLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 32)))
		}},
		{"has 31 bytes", func(string) string { return base64.StdEncoding.EncodeToString(make([]byte, 31)) }},
		{"has 33 bytes", func(string) string { return base64.StdEncoding.EncodeToString(make([]byte, 33)) }},
		{"ends in CR", func(l string) string { return l + "\r" }},
		{"has a CR within", func(l string) string { return l[:20] + "\r" + l[20:] }},
		{"is broken in two", func(l string) string { return l[:20] + "\n" + l[20:] }},
		{"starts with a space", func(l string) string { return " " + l }},
		{"ends in a space", func(l string) string { return l + " " }},
		{"is no base64", func(string) string { return strings.Repeat("?", 43) + "=" }},
		{"has two hashes", func(l string) string { return l + l }},
	} {
		checks = append(checks, bad("PR-1", Must, "proof line "+c.name, func(r *request) string {
			r.proof[0] = c.edit(r.proof[0])
			return r.bytes()
		}))
	}
	body := func(name string, edit func(body string) string, also ...int) {
		checks = append(checks, bad("6.1", Derived, "body "+name, func(r *request) string { return edit(r.bytes()) }, also...))
	}
	body("empty", func(string) string { return "" })
	body("of a newline", func(string) string { return "\n" })
	body("of blank lines", func(string) string { return "\n\n\n\n" })
	body("without its first line", func(b string) string { return b[strings.IndexByte(b, '\n')+1:] })
	body("without the blank line", func(b string) string { return strings.Replace(b, "\n\n", "\n", 1) })
	body("with two blank lines", func(b string) string { return strings.Replace(b, "\n\n", "\n\n\n", 1) }, 404) // the origin is empty
	body("with a blank line before it", func(b string) string { return "\n" + b })
	body("with a byte order mark", func(b string) string { return "\ufeff" + b })
	body("in CRLF", func(b string) string { return strings.ReplaceAll(b, "\n", "\r\n") })
	body("without the last newline", func(b string) string { return strings.TrimSuffix(b, "\n") })
	body("with a line of junk after it", func(b string) string { return b + "junk\n" })
	body("with a blank line after it", func(b string) string { return b + "\n" })
	body("with a space after it", func(b string) string { return b + " " })
	body("with NUL after it", func(b string) string { return b + "\x00" })
	body("without a note", func(b string) string { return b[:strings.Index(b, "\n\n")+2] }, 404)
	body("twice", func(b string) string { return b + b }, 403) // one note, whose text is not what was signed
	body("in JSON", func(string) string { return `{"old":3}` })
	return append(checks, bad("WC-1", Must, "64 proof lines", func(r *request) string {
		r.proof = filler(64)
		return r.bytes()
	}))
}

func noteSyntaxChecks() []Check {
	var checks []Check
	// Texts that the log's key signs all the same.
	text := func(id string, level Level, name string, edit func(origin, size, root string) string) {
		checks = append(checks, bad(id, level, "checkpoint "+name, func(r *request) string {
			l := strings.Split(r.text, "\n")
			r.text = edit(l[0], l[1], l[2])
			return r.bytes()
		}))
	}
	for _, size := range []string{
		"008", "08", "+8", " 8", "8 ", "", "-8", "0x8", "8.0", "eight", "8\r", "9223372036854775808", "18446744073709551616",
		"18446744073709551624",
	} {
		text("PR-2", Must, fmt.Sprintf("size %q", size), func(o, _, r string) string { return o + "\n" + size + "\n" + r + "\n" })
	}
	text("PR-1", Must, "root not in canonical base64", func(o, s, r string) string { return o + "\n" + s + "\n" + notCanonical(r) + "\n" })
	text("PR-1", Must, "root without padding", func(o, s, r string) string { return o + "\n" + s + "\n" + r[:43] + "\n" })
	text("CP-2", Must, "root of 31 bytes", func(o, s, _ string) string {
		return o + "\n" + s + "\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n"
	})
	text("CP-2", Must, "root of 33 bytes", func(o, s, _ string) string {
		return o + "\n" + s + "\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n"
	})
	text("CP-6", Must, "of two lines", func(o, s, _ string) string { return o + "\n" + s + "\n" })
	text("CP-6", Must, "of one line", func(o, _, _ string) string { return o + "\n" })
	text("CP-6", Must, "with an empty last line", func(o, s, r string) string { return o + "\n" + s + "\n" + r + "\n\n" })
	text("CP-6", Must, "with an empty line within", func(o, s, r string) string { return o + "\n\n" + s + "\n" + r + "\n" })
	text("CP-4", Derived, "with two extension lines", func(o, s, r string) string { return o + "\n" + s + "\n" + r + "\na\nb\n" })
	text("SN-2", Must, "with a tab in an extension line", func(o, s, r string) string { return o + "\n" + s + "\n" + r + "\na\tb\n" })
	text("SN-2", Must, "with NUL in an extension line", func(o, s, r string) string { return o + "\n" + s + "\n" + r + "\na\x00\n" })
	text("SN-2", Must, "that is not UTF-8", func(o, s, r string) string { return o + "\n" + s + "\n" + r + "\n\xff\xfe\n" })

	// Signature lines. The line that is changed is a stranger's, next to one that verifies, so that nothing but its
	// form can be wrong.
	line := func(id string, level Level, name string, edit func(line string) string) {
		checks = append(checks, bad(id, level, "signature line "+name, func(r *request) string {
			other := checkpoint.Signature{Name: "stranger.example", KeyID: 7, Blob: make([]byte, 64)}.Line()
			r.sigs = append(r.signatures(), edit(other))
			return r.bytes()
		}))
	}
	const dash = "\u2014 "
	line("PR-1", Must, "not in canonical base64", notCanonical)
	line("PR-1", Must, "without padding", func(l string) string { return strings.TrimSuffix(l, "=\n") + "\n" })
	line("PR-1", Must, "with CR at its end", func(l string) string { return strings.TrimSuffix(l, "\n") + "\r\n" })
	line("SN-2", Must, "with a hyphen for the dash", func(l string) string { return "- " + strings.TrimPrefix(l, dash) })
	line("SN-2", Must, "without a dash", func(l string) string { return strings.TrimPrefix(l, dash) })
	line("SN-2", Must, "with two spaces", func(l string) string { return strings.Replace(l, dash, dash+" ", 1) })
	line("SN-2", Must, "with a word after it", func(l string) string { return strings.TrimSuffix(l, "\n") + " word\n" })
	line("SN-2", Must, "without base64", func(string) string { return dash + "stranger.example\n" })
	line("SN-2", Must, "of three bytes", func(string) string { return dash + "stranger.example AAAA\n" })
	line("SN-4", Must, "with a plus sign in its name", func(l string) string { return strings.Replace(l, "stranger", "str+nger", 1) })
	line("SN-4", Must, "with a no-break space in its name", func(l string) string {
		return strings.Replace(l, "stranger", "str\u00a0nger", 1)
	})
	line("SN-4", Must, "with an empty name", func(l string) string { return strings.Replace(l, "stranger.example", "", 1) })
	line("SN-11", Must, "of a stranger twice", func(l string) string { return l + l })
	line("SN-11", Must, "of a stranger's key twice, with other signatures", func(l string) string {
		return l + checkpoint.Signature{Name: "stranger.example", KeyID: 7, Blob: make([]byte, 65)}.Line()
	})

	checks = append(checks,
		bad("SN-11", Must, "the log's signature line twice", func(r *request) string {
			r.sigs = append(r.signatures(), r.signatures()...)
			return r.bytes()
		}),
		bad("PR-1", Must, "the log's signature line not in canonical base64", func(r *request) string {
			r.sigs = []string{notCanonical(r.signatures()[0])}
			return r.bytes()
		}),
		bad("SN-2", Must, "a note without signature lines", func(r *request) string {
			r.sigs = []string{}
			return r.bytes()
		}),
		bad("SN-2", Must, "a note without the blank line before the signatures", func(r *request) string {
			return strings.Replace(r.bytes(), r.text+"\n", r.text, 1)
		}),
		one("CP-1", Must, "an empty origin: 400 or 404", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 3, 8)
			r.text = r.text[strings.IndexByte(r.text, '\n'):]
			return s.refuses(ctx, 3, r, 400, 404)
		}),
		one("6.2", Derived, "unknown origin and no signature lines: 400 or 404", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 3, 8)
			if err := unknownOrigin(s, r); err != nil {
				return err
			}
			r.sigs = []string{}
			return s.refuses(ctx, 3, r, 400, 404)
		}),
		one("6.2", Derived, "unknown origin and a size that is none: 404", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 3, 8)
			if err := unknownOrigin(s, r); err != nil {
				return err
			}
			r.text = strings.Replace(r.text, "\n8\n", "\n008\n", 1)
			return s.refuses(ctx, 3, r, 404)
		}),
		one("PR-6", Derived, "an origin that differs in case, by a space or by a slash: 400 or 404", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			for _, origin := range []string{strings.ToUpper(s.log.Origin), s.log.Origin + " ", s.log.Origin + "/", " " + s.log.Origin} {
				r := s.log.request(honest, 3, 8)
				r.text = origin + strings.TrimPrefix(r.text, s.log.Origin)
				if err := s.expect(ctx, r.bytes(), 3, 400, 404); err != nil {
					return err
				}
			}
			return nil
		}),
	)
	return checks
}
