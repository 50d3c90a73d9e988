package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// An answer is a server's, with as much of its body as is worth looking at.
type answer struct {
	status int
	header http.Header
	body   string
}

const maxAnswer = 64 << 10

// exchange sends bytes on a connection of their own, and reads answers until the server ends it. A server that cuts a client
// off while it sends is no error: the answers until then count.
func exchange(ctx context.Context, address string, request string) (answers []answer, err error) {
	conn, err := connect(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	go io.WriteString(conn, request) // the server need not take all of it
	for r := bufio.NewReader(conn); ; {
		response, err := http.ReadResponse(r, nil)
		if netErr := net.Error(nil); errors.As(err, &netErr) && netErr.Timeout() {
			return answers, fmt.Errorf("no answer and no end within %v to %.80q", patience, request)
		}
		if err != nil {
			return answers, nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		answers = append(answers, answer{response.StatusCode, response.Header, string(body)})
		if response.Close || err != nil {
			return answers, nil
		}
	}
}

// ask makes one request, raw, and returns its answer; the client may be cut off once or twice while it still sends.
func ask(ctx context.Context, t *target, s *score, request string) (answer, error) {
	request = toHost(request, t)
	for range 5 {
		s.inputs.Add(1)
		answers, err := exchange(ctx, t.http, request)
		if err != nil {
			return answer{}, err
		}
		if len(answers) > 0 {
			if answers[0].status >= 400 {
				s.refused.Add(1)
			}
			return answers[0], nil
		}
	}
	return answer{}, fmt.Errorf("%.80q was never answered", request)
}

// toHost names the target as the host: a mirror serves nobody who thinks that it is another.
func toHost(request string, t *target) string {
	return strings.Replace(request, "Host: "+anyHost+"\r\n", "Host: "+t.http+"\r\n", 1)
}

func connect(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	return d.DialContext(ctx, "tcp", address)
}

const anyHost = "log.example"

// request is the head of a request that is whole in itself.
func request(method, target string, headers ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: " + anyHost, "Connection: close"}, headers...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// requestWith is one with a body of JSON.
func requestWith(method, target, body string, headers ...string) string {
	return request(method, target, append(headers, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}
