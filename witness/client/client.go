// Package client is how a log asks one witness for cosignatures (C2SP tlog-witness).
//
// A witness is a stranger. What it answers is bounded and held to the specification's form, and
// its errors are typed by what the caller would do next; but nothing that it answers is verified
// here. Whether a signature counts is decided by the keys of a policy, which the caller has:
//
//	sigs, err := witness.AddCheckpoint(ctx, request)
//	for _, s := range sigs {
//		if key.Matches(s) { // another key's line is ignored, as the specification demands
//			time, err = key.Verify(text, s)
//		}
//	}
//
// The package keeps no state, retries nothing and reads no clock: how long to wait is the context's
// affair, and when to ask again the caller's.
package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/protocol"
)

const (
	// maxAnswer bounds answers other than checkpoints: 16 ML-DSA-44 signature lines are 52 kB.
	maxAnswer = 64 << 10

	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
)

// ErrPrefix says that a submission prefix is not one.
var ErrPrefix = errors.New("not the URL of a witness")

// A Client asks one witness. It may be used by several goroutines at once. Its fields must not
// be changed once it is in use.
type Client struct {
	// HTTP sends the requests. It follows no redirects: a log posts to the host that its
	// policy names and to no other.
	HTTP *http.Client

	// Prefix is the witness's submission prefix, without a slash at its end.
	Prefix string

	// UserAgent is sent with each request; "" leaves it to net/http.
	UserAgent string
}

// New returns the client of the witness with this submission prefix: an http or https URL
// without user, query and fragment, as a policy's witness line has it. Errors wrap ErrPrefix.
//
// With client nil, the Client has a transport, and so connections, of its own; otherwise it has
// a copy of client. Neither sets a time limit: that is for the context of each call.
func New(prefix string, client *http.Client) (*Client, error) {
	u, err := url.Parse(prefix)
	switch {
	case err != nil:
		// What url.Parse says repeats the URL, which may have a password in it.
		return nil, fmt.Errorf("%w: it cannot be parsed", ErrPrefix)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w: expected http:// or https://, found scheme %q", ErrPrefix, u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%w: expected a host, found none", ErrPrefix)
	case u.User != nil:
		return nil, fmt.Errorf("%w: expected no user name", ErrPrefix)
	case strings.ContainsAny(prefix, "?#"):
		return nil, fmt.Errorf("%w: expected neither query nor fragment", ErrPrefix)
	}
	var own http.Client
	if client != nil {
		own = *client
	} else {
		own.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			IdleConnTimeout:        2 * time.Minute,
			MaxResponseHeaderBytes: maxHeader,
		}
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{HTTP: &own, Prefix: strings.TrimRight(u.String(), "/")}, nil
}

// AddCheckpoint asks the witness to cosign a checkpoint, and returns the signature lines of its
// answer: at least one, each of another key. It does not verify them: the caller does, and ignores
// those of keys that it does not know.
//
// Its errors are a *SizeError, a *BusyError, wrap one of ErrForbidden, ErrUnknownLog,
// ErrUnprocessable, ErrBadRequest and ErrAnswer, or are the transport's or the context's. A request
// that is not in the form of the specification is not sent: its error wraps protocol.ErrMalformed.
//
// On a kept connection that breaks before an answer comes, the request is sent again on a new one.
// The witness may then have cosigned it the first time, and answer with a *SizeError of the
// checkpoint's own size.
func (c *Client) AddCheckpoint(ctx context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error) {
	body := r.Marshal()
	if _, err := protocol.ParseAddCheckpoint(body); err != nil {
		return nil, fmt.Errorf("refusing to send: %w", err)
	}
	a, err := c.do(ctx, http.MethodPost, protocol.AddCheckpointPath, body, maxAnswer)
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusConflict {
		return nil, a.conflict()
	}
	b, err := a.ok()
	if err != nil {
		return nil, err
	}
	sigs, err := checkpoint.ParseSignatures(b)
	if err != nil {
		return nil, a.wrong("expected signature lines: %v", err)
	}
	return sigs, nil
}

// SignSubtree asks the witness to sign a subtree of a checkpoint that it has cosigned, and returns
// the bare signature. It does not verify it: the caller does, with checkpoint.VerifierKey's
// VerifySubtree.
//
// Errors are those of AddCheckpoint, without *SizeError. Signing subtrees is optional, and a
// witness that has no such endpoint gives ErrUnknownLog too.
func (c *Client) SignSubtree(ctx context.Context, r *protocol.SignSubtree) ([]byte, error) {
	body := r.Marshal()
	if _, err := protocol.ParseSignSubtree(body); err != nil {
		return nil, fmt.Errorf("refusing to send: %w", err)
	}
	a, err := c.do(ctx, http.MethodPost, protocol.SignSubtreePath, body, maxAnswer)
	if err != nil {
		return nil, err
	}
	b, err := a.ok()
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte("— ")) {
		return a.legacySubtree(b)
	}
	sig, err := protocol.ParseSubtreeSignature(b)
	if err != nil {
		return nil, a.wrong("expected a signature: %v", err)
	}
	return sig, nil
}

// legacySubtree takes the signature out of the form that answers had before C2SP tlog-witness
// v1.1.0: a signature line, whose blob has a time of 0 before the signature.
func (a *answer) legacySubtree(b []byte) ([]byte, error) {
	sigs, err := checkpoint.ParseSignatures(b)
	if err != nil {
		return nil, a.wrong("expected a signature line: %v", err)
	}
	// Of several, which one is meant would be a guess.
	if len(sigs) != 1 {
		return nil, a.wrong("expected one signature line, found %d", len(sigs))
	}
	blob := sigs[0].Blob
	if len(blob) <= 8 || binary.BigEndian.Uint64(blob) != 0 {
		return nil, a.wrong("expected a signature line with time 0")
	}
	return blob[8:], nil
}

// Checkpoint returns the note that the witness says it cosigned last for the log named origin: at
// most checkpoint.MaxNoteSize bytes, neither parsed nor verified. A witness that has cosigned none
// gives ErrUnknownLog. Witnesses need not serve it, may do so below another prefix, and up to an
// hour late.
func (c *Client) Checkpoint(ctx context.Context, origin string) ([]byte, error) {
	a, err := c.do(ctx, http.MethodGet, protocol.CheckpointPath(origin), nil, checkpoint.MaxNoteSize)
	if err != nil {
		return nil, err
	}
	return a.ok()
}

// do sends a request and reads the answer, of which it keeps no more than limit bytes.
func (c *Client) do(ctx context.Context, method, path string, body []byte, limit int64) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Prefix+"/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// No compression: an answer could become a thousand times as large as what came.
	req.Header.Set("Accept-Encoding", "identity")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
		// net/http may repeat the request on a new connection if the witness closed the
		// kept one. Cosigning a checkpoint twice is as good as once. An empty list of values
		// says so to net/http and sends no header.
		req.Header["Idempotency-Key"] = nil
	}
	if c.UserAgent != "" {
		req.Header.Set("User-Agent", c.UserAgent)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	// An answer within the limit is read to its end, which keeps the connection; one beyond it
	// is not worth that, and closing the body then closes the connection.
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil && (resp.StatusCode == http.StatusOK || ctx.Err() != nil) {
		return nil, fmt.Errorf("reading the answer of %s: %w", req.URL.Redacted(), err)
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: b, cut: err != nil}
	if int64(len(b)) > limit {
		a.body, a.cut = b[:limit], true
	}
	a.media, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return a, nil
}
