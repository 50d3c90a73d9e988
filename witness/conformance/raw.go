package conformance

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// A rawConn is a connection on which a check writes what no HTTP client would.
type rawConn struct {
	net.Conn
	r    *bufio.Reader
	host string // for the Host field
	path string // of the target's prefix
	stop func() bool
}

// dial connects to the witness. A client address is used if the witness is on this machine: a witness may limit what
// one address does to it, and a check of the others needs another.
func (t *Target) dial(ctx context.Context, from string) (*rawConn, error) {
	u, err := url.Parse(t.Prefix)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	address, dialer := u.Host, net.Dialer{}
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if ip := net.ParseIP(u.Hostname()); from != "" && ip.To4() != nil && ip.IsLoopback() {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		c = tls.Client(c, &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}})
	}
	// A check that is over must not wait for a witness that does not answer.
	stop := context.AfterFunc(ctx, func() { c.Close() })
	return &rawConn{c, bufio.NewReader(c), u.Host, u.Path, stop}, nil
}

func (c *rawConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// head returns a request's first line and fields, up to the blank line.
func (c *rawConn) head(method, path, proto, fields string) string {
	return fmt.Sprintf("%s %s/%s %s\r\nHost: %s\r\n%s\r\n", method, c.path, path, proto, c.host, fields)
}

// add returns an add-checkpoint request in HTTP/1.1.
func (c *rawConn) add(body string) string {
	return c.head("POST", "add-checkpoint", "HTTP/1.1", fmt.Sprintf("Content-Length: %d\r\n", len(body))) + body
}

func (c *rawConn) write(s string) error {
	_, err := c.Write([]byte(s))
	return err
}

// answer reads one answer.
func (c *rawConn) answer(method string) (answer, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	return readAnswer(resp)
}

// exchange writes a request on a connection of its own and reads the answer.
func (t *Target) exchange(ctx context.Context, request func(c *rawConn) string) (string, answer, error) {
	c, err := t.dial(ctx, "")
	if err != nil {
		return "", answer{}, err
	}
	defer c.Close()
	sent := request(c)
	if err := c.write(sent); err != nil {
		return sent, answer{}, err
	}
	a, err := c.answer(sent[:len("HEAD")])
	return sent, a, err
}
