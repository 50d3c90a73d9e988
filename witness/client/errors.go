package client

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/witness/protocol"
)

// What a witness may refuse, by what follows from it. The texts have the status and the start of
// what the witness said, quoted.
var (
	// ErrForbidden (403): the witness knows the log, but by another key, or it found a bad signature.
	// A person has to look at keys.
	ErrForbidden = errors.New("the witness does not accept the signature")

	// ErrUnknownLog (404): the witness does not know the log, or has no such page.
	ErrUnknownLog = errors.New("the witness does not know this log")

	// ErrUnprocessable (422): the checkpoint contradicts what the witness cosigned, or the proof is
	// wrong. One of the two sides is at fault.
	ErrUnprocessable = errors.New("the witness says that the checkpoint or its proof is wrong")

	// ErrBadRequest (400, 413): the witness could not read the request.
	ErrBadRequest = errors.New("the witness could not read the request")

	// ErrAnswer: the answer is not of the form that C2SP tlog-witness gives it.
	ErrAnswer = errors.New("the witness's answer is not as specified")
)

// A SizeError (409) says that the request's old size is not what the witness cosigned last. With
// this one, and a proof from it, the next request can succeed.
type SizeError struct {
	Size uint64 // what the witness says it cosigned last; 0 if nothing
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("status 409: the witness cosigned size %d last", e.Size)
}

// A BusyError says that the witness cannot answer now: it is overloaded (429), out of order (5xx),
// or did not get the request in time (408).
type BusyError struct {
	Status int

	// Retry is how long the witness asks to be left alone, at most an hour; 0 if it does not say.
	Retry time.Duration

	said string
}

func (e *BusyError) Error() string {
	s := fmt.Sprintf("the witness is busy: status %d", e.Status)
	if e.said != "" {
		s += ": " + e.said
	}
	return s
}

// maxRetry bounds how long a witness may ask to be left alone: more would be a way to be forgotten.
const maxRetry = time.Hour

// An answer is what came back, whatever it is.
type answer struct {
	status int
	header http.Header
	media  string // of its Content-Type, without parameters
	body   []byte
	cut    bool // there was more than body, or it broke off
}

// ok returns the body of a status 200, and otherwise the error that the status stands for.
func (a *answer) ok() ([]byte, error) {
	s := a.status
	switch {
	case s == http.StatusOK && a.cut:
		return nil, a.wrong("expected at most %d bytes, found more", len(a.body))
	case s == http.StatusOK && !identity(a.header):
		return nil, a.wrong("expected no encoding, found %.40q", strings.Join(a.header.Values("Content-Encoding"), ", "))
	case s == http.StatusOK:
		return a.body, nil
	case s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge:
		return nil, a.refusal(ErrBadRequest)
	case s == http.StatusForbidden:
		return nil, a.refusal(ErrForbidden)
	case s == http.StatusNotFound:
		return nil, a.refusal(ErrUnknownLog)
	case s == http.StatusUnprocessableEntity:
		return nil, a.refusal(ErrUnprocessable)
	case s == http.StatusRequestTimeout || s == http.StatusTooManyRequests || s >= 500 && s <= 599:
		return nil, &BusyError{Status: s, Retry: retryAfter(a.header.Get("Retry-After")), said: a.said()}
	}
	return nil, a.refusal(ErrAnswer)
}

// conflict returns the error of a status 409.
func (a *answer) conflict() error {
	if a.media != protocol.SizeType {
		// Before C2SP tlog-witness had 422 for it, this said: same size, other root.
		return a.refusal(ErrUnprocessable)
	}
	if a.cut || !identity(a.header) {
		return a.wrong("expected a size")
	}
	size, err := protocol.ParseSize(a.body)
	if err != nil {
		return a.wrong("expected a size: %v", err)
	}
	return &SizeError{Size: size}
}

// refusal wraps err with the status and with what the witness said.
func (a *answer) refusal(err error) error {
	if s := a.said(); s != "" {
		return fmt.Errorf("%w: status %d: %s", err, a.status, s)
	}
	return fmt.Errorf("%w: status %d", err, a.status)
}

// wrong is an ErrAnswer with what was expected.
func (a *answer) wrong(format string, args ...any) error {
	return a.refusal(fmt.Errorf("%w: %s", ErrAnswer, fmt.Sprintf(format, args...)))
}

// said returns the start of the body for a person to read, on one line. All that could steer a
// terminal is escaped.
func (a *answer) said() string {
	const limit = 200
	b, more := a.body, ""
	if len(b) > limit || a.cut {
		b, more = b[:min(len(b), limit)], " and more"
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return ""
	}
	return strconv.Quote(text) + more
}

// identity reports whether the body is the answer itself. Some servers compress though the
// request forbids it.
func identity(h http.Header) bool {
	for _, v := range h.Values("Content-Encoding") {
		if v != "" && !strings.EqualFold(v, "identity") {
			return false
		}
	}
	return true
}

// retryAfter parses the seconds of a Retry-After. Its other form, a date, would need the clocks
// of both sides to agree, and counts as nothing.
func retryAfter(s string) time.Duration {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > uint64(maxRetry/time.Second) { // digits alone fail only by being too many
		return maxRetry
	}
	return time.Duration(n) * time.Second
}
