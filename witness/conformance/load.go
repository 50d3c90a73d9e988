package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	hugeBody  = 256 << 20 // declared
	mostTaken = 64 << 20  // what may disappear in buffers on the way before the witness has refused it
	oneWrite  = 1 << 20
)

// crowd is how many clients stall at once, all of one address that is not the checks' own.
const (
	crowd        = 400
	crowdAddress = "127.0.0.77"
)

func loadChecks() []Check {
	return []Check{
		one("WS-17", Derived, "a body of 256 MiB is refused before it is read", func(ctx context.Context, s *session) error {
			chunk := strings.Repeat("a", oneWrite)
			return s.huge(ctx, fmt.Sprintf("Content-Length: %d\r\n", hugeBody), chunk)
		}),
		one("WS-17", Derived, "a body of 256 MiB in chunks is refused before it is read", func(ctx context.Context, s *session) error {
			return s.huge(ctx, "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n", oneWrite, strings.Repeat("a", oneWrite)))
		}),
		one("WS-17", Derived, "a request as it should be, with 256 MiB of newlines after it, is refused before it is read",
			func(ctx context.Context, s *session) error {
				body := s.log.request(honest, 0, 5).bytes()
				first := fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
				return s.huge(ctx, "Transfer-Encoding: chunked\r\n", first+fmt.Sprintf("%x\r\n%s\r\n", oneWrite, strings.Repeat("\n", oneWrite)))
			}),
		one("HTTP", Derived, "fields of 64 MiB are refused before they are read", func(ctx context.Context, s *session) error {
			field := "X-Long: " + strings.Repeat("a", oneWrite)
			return s.hugeRaw(ctx, func(c *rawConn) string { return "POST " + c.path + "/add-checkpoint HTTP/1.1\r\nHost: x\r\n" }, field+"\r\n")
		}),
		one("HTTP", Derived, "a path of 64 MiB is refused before it is read", func(ctx context.Context, s *session) error {
			return s.hugeRaw(ctx, func(c *rawConn) string { return "GET " + c.path + "/" }, strings.Repeat("a", oneWrite))
		}),
		one("F", Derived, "clients that stall do not keep others out, and are not kept for long", stalled),
		one("F", Derived, "clients that do not read their answers do not keep others out", deaf),
		one("F", Derived, "a request half sent for a log does not hold up another for it", func(ctx context.Context, s *session) error {
			c, err := s.target.dial(ctx, crowdAddress)
			if err != nil {
				return err
			}
			defer c.Close()
			sent := c.add(s.log.request(honest, 0, 3).bytes())
			if err := c.write(sent[:len(sent)-1]); err != nil {
				return err
			}
			if err := s.promptly(ctx, func(ctx context.Context) error { return s.advance(ctx, 0, 5) }); err != nil {
				return err
			}
			if err := c.write(sent[len(sent)-1:]); err != nil {
				return err
			}
			a, err := c.answer("POST")
			if err != nil {
				return err
			}
			return a.refusal(sent, 5, 409)
		}),
	}
}

// promptly gives an honest client the time that one waits.
func (s *session) promptly(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, prompt, errors.New("an honest client waited too long"))
	defer cancel()
	return do(ctx)
}

func (s *session) huge(ctx context.Context, fields, chunk string) error {
	return s.hugeRaw(ctx, func(c *rawConn) string { return c.head("POST", "add-checkpoint", "HTTP/1.1", fields) }, chunk)
}

// hugeRaw writes the start and then the chunk again and again, until the witness has refused to read on. It may
// answer or not; it must end the connection, answer others, and remember nothing.
func (s *session) hugeRaw(ctx context.Context, start func(*rawConn) string, chunk string) error {
	c, err := s.target.dial(ctx, crowdAddress)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.write(start(c)); err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(s.target.patience())); err != nil {
		return err
	}
	type read struct {
		answer
		err error
	}
	answers := make(chan read, 1)
	go func() {
		a, err := c.answer("POST")
		answers <- read{a, err}
	}()
	taken := 0
	for taken <= mostTaken && err == nil {
		var n int
		n, err = c.Write([]byte(chunk))
		taken += n
	}
	if timeout, ok := errors.AsType[net.Error](err); taken > mostTaken || ok && timeout.Timeout() {
		return deviation(start(c)+chunk, fmt.Sprintf("the connection ended before %d bytes, within %v", mostTaken, s.target.patience()),
			fmt.Sprintf("%d bytes taken, %v", taken, err))
	}
	// A reset may overtake the answer, so there need not be one.
	if a := <-answers; a.err == nil && a.status/100 != 4 {
		return deviation(start(c)+chunk, "413 or another 4xx", a.answer)
	}
	return s.promptly(ctx, func(ctx context.Context) error {
		return errors.Join(s.storedIs(ctx, 0), s.advance(ctx, 0, 3))
	})
}

// stalled opens connections that stop at various points or hardly go on, and meanwhile is an honest client.
func stalled(ctx context.Context, s *session) error {
	var conns []*rawConn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	began := time.Now()
	for i := range crowd {
		c, err := s.target.dial(ctx, crowdAddress)
		if err != nil {
			// A witness that has enough of this address may refuse it.
			break
		}
		conns = append(conns, c)
		sent := c.add(s.log.request(honest, 0, 3).bytes())
		if i%8 == 7 {
			go trickle(ctx, c, sent)
			continue
		}
		cut := []int{1, len("POST "), strings.Index(sent, "\r\n") + 4, strings.Index(sent, "\r\n\r\n") + 4, len(sent) - 1}[i%5]
		_ = c.write(sent[:cut]) // it may be closed already
	}
	if err := s.promptly(ctx, func(ctx context.Context) error {
		return errors.Join(s.advance(ctx, 0, 5), s.advance(ctx, 5, 8))
	}); err != nil {
		return fmt.Errorf("with %d clients stalled: %w", len(conns), err)
	}
	deadline := began.Add(s.target.patience())
	for _, c := range conns {
		if err := c.SetReadDeadline(deadline); err != nil {
			return err
		}
		for {
			a, err := c.answer("POST") // such as 408
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				return fmt.Errorf("expected a stalled client to be gone after %v, found its connection open", s.target.patience())
			}
			if err != nil {
				break
			}
			if a.status == http.StatusOK {
				return deviation("a request without its last byte", "no cosignature", a)
			}
		}
	}
	return s.storedIs(ctx, 8)
}

// trickle writes a byte now and then, which keeps alive what waits for silence.
func trickle(ctx context.Context, c *rawConn, sent string) {
	for i := range len(sent) {
		if c.write(sent[i:i+1]) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// deaf opens connections that ask all the time and read nothing.
func deaf(ctx context.Context, s *session) error {
	if err := s.advance(ctx, 0, 5); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the connections, and so the goroutines
	for range 8 {
		c, err := s.target.dial(ctx, crowdAddress)
		if err != nil {
			break // it may have enough of this address
		}
		defer c.Close()
		ask := strings.Repeat(c.head("GET", s.path(), "HTTP/1.1", ""), 100)
		go func() {
			for range 50 {
				if c.write(ask) != nil {
					return
				}
			}
		}()
	}
	for range 5 {
		if err := s.promptly(ctx, func(ctx context.Context) error { return s.advance(ctx, 5, 5) }); err != nil {
			return fmt.Errorf("next to clients that do not read: %w", err)
		}
	}
	return nil
}
