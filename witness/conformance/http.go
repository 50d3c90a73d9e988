package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strings"
)

func httpChecks() []Check {
	var checks []Check
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "BREW"} {
		checks = append(checks, one("HTTP", Derived, method+" add-checkpoint: 405", func(ctx context.Context, s *session) error {
			return s.methodRefused(ctx, method, "add-checkpoint")
		}))
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		checks = append(checks, one("HTTP", Derived, method+" to a shown checkpoint: 405", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			return s.methodRefused(ctx, method, s.path())
		}))
	}
	return append(checks,
		one("6.1", Should, "a connection is kept after 200, and after refusals", keptAlive),
		one("HTTP", Derived, "requests sent at once on one connection are answered in order", pipelined),
		one("HTTP", Derived, "HTTP/1.0 without keep-alive", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			sent, a, err := s.target.exchange(ctx, func(c *rawConn) string {
				body := r.bytes()
				return c.head("POST", "add-checkpoint", "HTTP/1.0", fmt.Sprintf("Content-Length: %d\r\n", len(body))) + body
			})
			if err != nil {
				return err
			}
			if a.header.Get("Transfer-Encoding") != "" || !a.close {
				return deviation(sent, "an answer that ends with the connection", a)
			}
			_, err = s.cosigned(r, a)
			return err
		}),
		one("HTTP", Derived, "a request target with scheme and host", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			_, a, err := s.target.exchange(ctx, func(c *rawConn) string {
				return strings.Replace(c.add(r.bytes()), "POST ", "POST http://"+c.host, 1)
			})
			if err != nil {
				return err
			}
			_, err = s.cosigned(r, a)
			return err
		}),
		one("HTTP", Derived, "no Host field in HTTP/1.1: 400", func(ctx context.Context, s *session) error {
			return s.rawRefused(ctx, func(c *rawConn) string {
				return strings.Replace(c.add(s.log.request(honest, 0, 5).bytes()), "Host: "+c.host+"\r\n", "", 1)
			}, 400)
		}),
		one("HTTP", Derived, "a body in chunks, as small as a byte", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			_, a, err := s.target.exchange(ctx, func(c *rawConn) string {
				var b strings.Builder
				b.WriteString(c.head("POST", "add-checkpoint", "HTTP/1.1", "Transfer-Encoding: chunked\r\n"))
				for _, part := range []byte(r.bytes()) {
					b.WriteString("1\r\n" + string([]byte{part}) + "\r\n")
				}
				return b.String() + "0\r\n\r\n"
			})
			if err != nil {
				return err
			}
			_, err = s.cosigned(r, a)
			return err
		}),
		one("HTTP", Derived, "a client that waits for 100 Continue is answered", func(ctx context.Context, s *session) error {
			c, err := s.target.dial(ctx, "")
			if err != nil {
				return err
			}
			defer c.Close()
			r := s.log.request(honest, 0, 5)
			body := r.bytes()
			fields := fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", len(body))
			if err := c.write(c.head("POST", "add-checkpoint", "HTTP/1.1", fields)); err != nil {
				return err
			}
			a, err := c.answer("POST")
			if err != nil || a.status != http.StatusContinue {
				return deviation("Expect: 100-continue", "100", fmt.Sprint(a, err))
			}
			if err := c.write(body); err != nil {
				return err
			}
			if a, err = c.answer("POST"); err != nil {
				return err
			}
			_, err = s.cosigned(r, a)
			return err
		}),
		one("HTTP", Derived, "a compressed body is refused, not unpacked", func(ctx context.Context, s *session) error {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			if _, err := w.Write([]byte(s.log.request(honest, 0, 5).bytes())); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			return s.rawRefused(ctx, func(c *rawConn) string {
				return c.head("POST", "add-checkpoint", "HTTP/1.1",
					fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n", b.Len())) + b.String()
			}, 400, 415)
		}),
		one("HTTP", Derived, "two lengths that differ: 400", func(ctx context.Context, s *session) error {
			return s.rawRefused(ctx, func(c *rawConn) string {
				body := s.log.request(honest, 0, 5).bytes()
				return c.head("POST", "add-checkpoint", "HTTP/1.1",
					fmt.Sprintf("Content-Length: %d\r\nContent-Length: 5\r\n", len(body))) + body
			}, 400)
		}),
		one("HTTP", Derived, "a negative length: 400", func(ctx context.Context, s *session) error {
			return s.rawRefused(ctx, func(c *rawConn) string {
				return c.head("POST", "add-checkpoint", "HTTP/1.1", "Content-Length: -1\r\n") + s.log.request(honest, 0, 5).bytes()
			}, 400)
		}),
		one("HTTP", Derived, "no length at all is an empty body: 400", func(ctx context.Context, s *session) error {
			return s.rawRefused(ctx, func(c *rawConn) string {
				return c.head("POST", "add-checkpoint", "HTTP/1.1", "")
			}, 400, 411)
		}),
		one("HTTP", Derived, "what is not HTTP: 400, or the connection ends", func(ctx context.Context, s *session) error {
			c, err := s.target.dial(ctx, "")
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.write(s.log.request(honest, 0, 5).bytes() + "\r\n\r\n"); err != nil {
				return err
			}
			if a, err := c.answer("POST"); err == nil && a.status/100 != 4 {
				return deviation("no HTTP", "400 or nothing", a)
			}
			return s.storedIs(ctx, 0)
		}),
		one("HTTP", Derived, "a request cut off before its end changes nothing", func(ctx context.Context, s *session) error {
			c, err := s.target.dial(ctx, "")
			if err != nil {
				return err
			}
			body := s.log.request(honest, 0, 5).bytes()
			// The length counts a byte more than is sent, so all that is missing is past the checkpoint's end.
			fields := fmt.Sprintf("Content-Length: %d\r\n", len(body)+1)
			err = c.write(c.head("POST", "add-checkpoint", "HTTP/1.1", fields) + body)
			c.Close()
			if err != nil {
				return err
			}
			return s.storedIs(ctx, 0)
		}),
	)
}

// methodRefused wants 405 with the methods that are allowed.
func (s *session) methodRefused(ctx context.Context, method, path string) error {
	a, err := s.do(ctx, method, path, "")
	if err != nil {
		return err
	}
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
		return deviation(method+" "+path, "405 with Allow", fmt.Sprintf("%v, Allow %q", a, a.header.Get("Allow")))
	}
	return nil
}

// rawRefused sends a request to a log that is new and wants one of the statuses.
func (s *session) rawRefused(ctx context.Context, request func(c *rawConn) string, statuses ...int) error {
	sent, a, err := s.target.exchange(ctx, request)
	if err != nil {
		return deviation(sent, fmt.Sprint(statuses), err)
	}
	if err := a.refusal(sent, 0, statuses...); err != nil {
		return err
	}
	return s.storedIs(ctx, 0)
}

func keptAlive(ctx context.Context, s *session) error {
	c, err := s.target.dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	bad := s.log.request(honest, 3, 8)
	bad.head = "old 03"
	forgedRequest := s.log.request(honest, 3, 8)
	forgedRequest.forged = true
	for _, step := range []struct {
		r      *request
		status int
	}{
		{s.log.request(honest, 0, 3), 200},
		{s.log.request(honest, 0, 8), 409},
		{bad, 400},
		{forgedRequest, 403},
		{s.log.request(history{"fork", 1}, 3, 8), 422},
		{s.log.request(honest, 3, 8), 200},
	} {
		sent := c.add(step.r.bytes())
		if err := c.write(sent); err != nil {
			return deviation(sent, "the connection kept", err)
		}
		a, err := c.answer("POST")
		if err != nil || a.status != step.status || a.close {
			return deviation(sent, fmt.Sprintf("%d, and the connection kept", step.status), fmt.Sprint(a, " ", err))
		}
	}
	return nil
}

func pipelined(ctx context.Context, s *session) error {
	c, err := s.target.dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	var all strings.Builder
	steps := []*request{s.log.request(honest, 0, 3), s.log.request(honest, 3, 8), s.log.request(honest, 8, 13)}
	for _, r := range steps {
		all.WriteString(c.add(r.bytes()))
	}
	if err := c.write(all.String()); err != nil {
		return err
	}
	for _, r := range steps {
		a, err := c.answer("POST")
		if err != nil {
			return deviation(all.String(), "three answers", err)
		}
		if _, err := s.cosigned(r, a); err != nil {
			return err
		}
	}
	return nil
}

// pathChecks ask for the two resources by paths that are not theirs. Nothing may be answered with 2xx, nor with a
// redirect, which would have a log post to another place or not at all.
func pathChecks() []Check {
	var checks []Check
	for _, path := range []string{
		"/add-checkpoint", "add-checkpoint/", "ADD-CHECKPOINT", "./add-checkpoint", "x/../add-checkpoint", "add-checkpoint/.",
		"add-checkpoint%00", "add-checkpoint%2f", "%2fadd-checkpoint", "..%2fadd-checkpoint", "", "add-checkpoint;x", "add-checkpoin",
	} {
		checks = append(checks, one("HTTP", Derived, fmt.Sprintf("POST to %q is not add-checkpoint", path), func(ctx context.Context, s *session) error {
			sent, a, err := s.target.exchange(ctx, func(c *rawConn) string {
				body := s.log.request(honest, 0, 5).bytes()
				return c.head("POST", path, "HTTP/1.1", fmt.Sprintf("Content-Length: %d\r\n", len(body))) + body
			})
			if err != nil {
				return err
			}
			if a.status/100 != 4 {
				return deviation(sent, "4xx", a)
			}
			return s.storedIs(ctx, 0)
		}))
	}
	for _, c := range []struct {
		name string
		path func(hash string) string // nil is the origin in place of the hash
	}{
		{"upper-case hexadecimal", func(h string) string { return strings.ToUpper(h) + "/checkpoint" }},
		{"a slash at its end", func(h string) string { return h + "/checkpoint/" }},
		{"two slashes", func(h string) string { return h + "//checkpoint" }},
		{"two slashes before it", func(h string) string { return "/" + h + "/checkpoint" }},
		{"a slash encoded", func(h string) string { return h + "%2fcheckpoint" }},
		{"dots", func(h string) string { return h + "/./checkpoint" }},
		{"dots back and forth", func(h string) string { return "x/../" + h + "/checkpoint" }},
		{"dots encoded", func(h string) string { return "x/%2e%2e/" + h + "/checkpoint" }},
		{"a byte NUL", func(h string) string { return h + "/checkpoint%00" }},
		{"a hash cut short", func(h string) string { return h[:62] + "/checkpoint" }},
		{"a hash too long", func(h string) string { return h + "00/checkpoint" }},
		{"the origin for the hash", nil},
		{"the folder of the log", func(h string) string { return h + "/" }},
		{"a file of the system", func(string) string { return "../../../../../../etc/passwd" }},
		{"a file of the system, too", func(string) string { return "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd" }},
		{"the folder of all", func(string) string { return "%2e/" }},
	} {
		checks = append(checks, one("HTTP", Derived, "GET of a path with "+c.name+" is not a checkpoint", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			at := s.log.Origin + "/checkpoint"
			if c.path != nil {
				at = c.path(strings.TrimSuffix(s.path(), "/checkpoint"))
			}
			sent, a, err := s.target.exchange(ctx, func(conn *rawConn) string { return conn.head("GET", at, "HTTP/1.1", "") })
			if err != nil {
				return err
			}
			if a.status/100 != 4 {
				return deviation(sent, "4xx", a)
			}
			return nil
		}))
	}
	return checks
}
