package hostile

import (
	"context"
	"fmt"
	"strings"
)

// staticPaths asks for static files that there are not: indexes, levels and widths out of range, and second spellings.
func staticPaths(ctx context.Context, t *target, _ scale, s *score) error {
	missing := []string{"/tile/", "/tile", "/tile/0", "/tile/0/", "/tile/0/00", "/tile/0/0000", "/tile/0/-01", "/tile/0/+00", "/tile/0/0x0", "/tile/0/ 00",
		"/tile/0/999", "/tile/0/x999/999", "/tile/0/x000/000", "/tile/0/000/000", "/tile/00/000", "/tile/-1/000", "/tile/+0/000", "/tile/64/000", "/tile/255/000", "/tile/256/000",
		"/tile/18446744073709551616/000", "/tile/0/000.p/0", "/tile/0/000.p/256", "/tile/0/000.p/257", "/tile/0/000.p/-1", "/tile/0/000.p/01", "/tile/0/000.p/", "/tile/0/000.p",
		"/tile/0/000.p/1/1", "/tile/0/x018/x446/x744/x073/x709/x551/615", "/tile/0/x018/x446/x744/x073/x709/x551/616", "/tile/0/x999/x999/x999/x999/x999/x999/x999/999",
		"/tile/entries/", "/tile/entries/-01", "/tile/entries/999", "/tile/entries/000.p/256", "/tile/entries/x072/x057/x594/x037/x927/935", "/tile/Entries/000",
		"/paths/", "/paths/0", "/paths/000", "/paths/AA", "/paths/zz", "/paths/-1", "/paths/00/00", "/proof/", "/proof/.tlog-proof", "/proof/..tlog-proof",
		"/proof/authors/id/E/EX/EXAMPLE/../EXAMPLE/Hostile-0.01.tar.gz.tlog-proof", "/proof//authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz.tlog-proof",
		"/proof/authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz", "/proof/authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz.tlog-proof?sha256=", // the last is there
		"/proof/authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz.tlog-proof?sha256=" + strings.Repeat("0", 64), "/proof/authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz.tlog-proof?sha256=../..",
		"/proof/" + strings.Repeat("a", 4000) + ".tlog-proof", "/checkpoint/", "/checkpoint.", "/Checkpoint", "/%63heckpoint", "/checkpoint%00", "/checkpoint%0a", "/checkpoint;x", "/.git/config", "/metrics", "/debug/pprof/", "/healthz"}
	for _, path := range missing {
		if strings.HasSuffix(path, "?sha256=") {
			continue // an empty parameter is none
		}
		a, err := ask(ctx, t, s, request("GET", strings.ReplaceAll(path, " ", "%20")))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if a.status != 404 && a.status != 400 {
			return fmt.Errorf("GET %.100s: status %d, expected 404 or 400: %.200q", path, a.status, a.body)
		}
	}
	return nil
}

// escapes asks for files outside of what is served. Whatever the answer is, it is not one of these, and it is a refusal.
func escapes(ctx context.Context, t *target, _ scale, s *score) error {
	up := []string{"../", "%2e%2e/", "..%2f", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "..\\", "%c0%ae%c0%ae/", "%e0%80%ae%e0%80%ae/", "..;/", "....//", "./../", "..%00/", "%uff0e%uff0e/", "\x2e\x2e\x2f\x2f"}
	for _, prefix := range []string{"/", "/authors/id/", "/modules/", "/tile/", "/tile/entries/", "/proof/", "/proof/authors/id/", "/-/"} {
		for _, dots := range up {
			for _, file := range []string{"etc/passwd", "secret", "../secret", "token", "tokens.toml", "keys/ed25519.key"} {
				for _, depth := range []int{1, 3, 12} {
					path := prefix + strings.Repeat(dots, depth) + file
					a, err := ask(ctx, t, s, request("GET", path))
					if err != nil {
						return fmt.Errorf("%q: %w", path, err)
					}
					if a.status < 300 || a.status >= 500 && a.status != 501 && a.status != 502 || strings.Contains(a.body, "root:") || strings.Contains(a.body, strings.TrimSpace(t.canary)) {
						return fmt.Errorf("GET %q: status %d: %.200q", path, a.status, a.body)
					}
					if to := a.header.Get("Location"); to != "" {
						return fmt.Errorf("GET %q is sent on to %q", path, to)
					}
				}
			}
		}
	}
	for _, path := range []string{"/%00", "/authors/id/%00", "/etc/passwd", "//etc/passwd", "///etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/secret", "/" + strings.Repeat("a/", 2000), "/" + strings.Repeat("%41", 1500),
		"/authors/id/E/EX/EXAMPLE/" + strings.Repeat("A", 300) + ".tar.gz", "/authors/id/E/EX/EXAMPLE/\xff\xfe.tar.gz", "/authors/id/E/EX/EXAMPLE/%ff%fe.tar.gz", "/authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz%00.txt", "/authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz/"} {
		a, err := ask(ctx, t, s, request("GET", path))
		if err != nil {
			return fmt.Errorf("%.100q: %w", path, err)
		}
		if a.status < 400 || a.status == 500 || strings.Contains(a.body, "root:") || strings.Contains(a.body, strings.TrimSpace(t.canary)) {
			return fmt.Errorf("GET %.100q: status %d: %.200q", path, a.status, a.body)
		}
	}
	return nil
}

// smuggle sends requests whose end two servers could see in different places, with another request behind it. What is
// ambiguous is refused, and the connection ended, so that what is behind is never taken for a request.
func smuggle(ctx context.Context, t *target, _ scale, s *score) error {
	behind := toHost(request("GET", t.get), t)
	for name, head := range map[string]string{
		"two lengths":                    "Content-Length: 0\r\nContent-Length: 5\r\n",
		"two lengths in one":             "Content-Length: 0, 5\r\n",
		"a negative length":              "Content-Length: -1\r\n",
		"a length with a sign":           "Content-Length: +0\r\n",
		"a length that overflows":        "Content-Length: 18446744073709551616\r\n",
		"a length in hexadecimal":        "Content-Length: 0x0\r\n",
		"an unknown coding":              "Transfer-Encoding: xchunked\r\n",
		"two codings":                    "Transfer-Encoding: chunked, identity\r\n",
		"chunked twice":                  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"a coding with a control":        "Transfer-Encoding: \x0bchunked\r\n",
		"a space before the colon":       "Transfer-Encoding : chunked\r\n",
		"a header without a name":        ": x\r\n",
		"a control in a name":            "X\x00: y\r\n",
		"a control in a value":           "X: a\x00b\r\n",
		"two hosts":                      "Host: other.example\r\n",
		"a space before the first field": " X: y\r\n",
	} {
		raw := "POST " + t.post + " HTTP/1.1\r\nHost: " + anyHost + "\r\n"
		if name == "a space before the first field" {
			raw = "POST " + t.post + " HTTP/1.1\r\n"
		}
		if t.post == "" {
			raw = strings.Replace(raw, "POST ", "POST "+t.get, 1)
		}
		s.inputs.Add(1)
		answers, err := exchange(ctx, t.http, toHost(raw, t)+head+"\r\n"+behind)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(answers) != 1 || answers[0].status != 400 && answers[0].status != 501 {
			return fmt.Errorf("%s: %d answers, the first %v; expected one, 400 or 501", name, len(answers), first(answers))
		}
		s.refused.Add(1)
	}
	// RFC 9112, 6.1: with both, the coding alone counts, or it is refused. net/http's servers go on with the connection after a
	// refusal, so that what is behind may be answered too, as what it is by the coding.
	for name, raw := range map[string]string{
		"length and coding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"coding and length": "Transfer-Encoding: chunked\r\nContent-Length: 500\r\n\r\n0\r\n\r\n",
	} {
		post := t.post
		if post == "" {
			post = t.get
		}
		s.inputs.Add(1)
		answers, err := exchange(ctx, t.http, toHost("POST "+post+" HTTP/1.1\r\nHost: "+anyHost+"\r\n", t)+raw+behind)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(answers) < 1 || len(answers) > 2 || answers[0].status < 400 {
			return fmt.Errorf("%s: %d answers, the first %v; expected a refusal", name, len(answers), first(answers))
		}
		s.refused.Add(1)
	}
	return nil
}

func first(answers []answer) any {
	if len(answers) == 0 {
		return "none"
	}
	return answers[0].status
}
