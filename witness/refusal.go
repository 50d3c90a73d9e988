package witness

import (
	"fmt"
	"time"
)

// A Refusal says why a request was not cosigned, and which HTTP status answers it (C2SP
// tlog-witness). Every error of a Witness that a client may see is one; any other error
// means that the witness itself is in trouble, and its text is not for clients.
type Refusal struct {
	// Status is an HTTP status code: 400, 403, 404, 409 or 422 as C2SP tlog-witness gives them,
	// 429 or 503 when the witness cannot answer now.
	Status int

	// Size is the size that this witness cosigned last for the log; of status 409 only.
	Size uint64

	// Retry is when it may be worth while to ask again; 0 if only another request can succeed,
	// or nobody knows.
	Retry time.Duration

	// Cause is a sentence for the client.
	Cause error
}

func (r *Refusal) Error() string { return r.Cause.Error() }
func (r *Refusal) Unwrap() error { return r.Cause }

// refuse makes a Refusal with a formatted cause.
func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Cause: fmt.Errorf(format, args...)}
}
