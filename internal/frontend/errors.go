package frontend

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
)

// Domain is the domain of the ErrorInfo that each error carries.
const Domain = "pauselog"

// Reasons, the machine's words for errors; the .proto file lists them.
const (
	Invalid         = "invalid"
	NotUpload       = "not-upload"
	Conflict        = "conflict"
	NotLogged       = "not-logged"
	Voided          = "voided"
	OutOfTime       = "time"
	Pending         = "pending"
	Unauthenticated = "unauthenticated"
	Forbidden       = "forbidden"
	Unpublished     = "unpublished"
	Busy            = "busy"
	Held            = "held"
	Closing         = "closing"
	Internal        = "internal"
)

var codeOf = map[string]codes.Code{
	Invalid:         codes.InvalidArgument,
	NotUpload:       codes.InvalidArgument,
	Conflict:        codes.FailedPrecondition,
	NotLogged:       codes.NotFound,
	Voided:          codes.NotFound,
	OutOfTime:       codes.FailedPrecondition,
	Pending:         codes.NotFound,
	Unauthenticated: codes.Unauthenticated,
	Forbidden:       codes.PermissionDenied,
	Unpublished:     codes.Unavailable,
	Busy:            codes.ResourceExhausted,
	Held:            codes.Unavailable,
	Closing:         codes.Unavailable,
	Internal:        codes.Internal,
}

// failure makes the status error of a reason; metadata is pairs of key and value.
func failure(reason, message string, metadata ...string) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	for i := 0; i+1 < len(metadata); i += 2 {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[metadata[i]] = metadata[i+1]
	}
	st, err := status.New(codeOf[reason], message).WithDetails(info)
	if err != nil {
		return status.Error(codeOf[reason], message)
	}
	return st.Err()
}

func failuref(reason, format string, args ...any) error {
	return failure(reason, fmt.Sprintf(format, args...))
}

// retryAfterMS is what a submitter is told to wait when too much waits: about what the
// log needs for a full queue.
const retryAfterMS = "500"

// retryUnpublishedMS is the same while witnesses are missing, who come back when they do.
const retryUnpublishedMS = "5000"

// errUnpublished says that nothing was published yet.
var errUnpublished = errors.New("this log has not published a checkpoint yet: the witnesses that must cosign it are missing")

// failureOf gives an error of the log its status. What is the log's own fault is not shown to
// the client but logged by the interceptor, which finds it by errors.Unwrap.
func failureOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, sequencer.ErrBusy):
		return failure(Busy, "too many submissions wait; nothing was logged, submit again later", "retry_after_ms", retryAfterMS)
	case errors.Is(err, errUnpublished):
		return failure(Unpublished, err.Error(), "retry_after_ms", retryUnpublishedMS)
	case errors.Is(err, sequencer.ErrHeld):
		return failure(Held, "the log has started and asks its witnesses first whether they have seen something newer; nothing was logged, submit again later", "retry_after_ms", retryUnpublishedMS)
	case errors.Is(err, sequencer.ErrClosing):
		return failure(Closing, "the log is shutting down; nothing was logged, submit again later", "retry_after_ms", "2000")
	case errors.Is(err, sequencer.ErrStopped):
		return failure(Closing, "the log stopped because of a fault; submit again later: what was logged is then answered as it is", "retry_after_ms", "10000")
	case errors.Is(err, store.ErrNotFound):
		return failure(NotLogged, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return &fault{err}
}

// A fault is an error whose text clients do not see.
type fault struct{ error }

func (f *fault) Unwrap() error { return f.error }

// GRPCStatus is what clients see of a fault.
func (f *fault) GRPCStatus() *status.Status {
	return status.Convert(failure(Internal, "the log has a fault, which its operator finds in its journal"))
}

// refusalOf returns the reason, the sentence and the metadata of a refused submission.
func refusalOf(r *sequencer.Refusal) (reason, message string, metadata []string) {
	reason = Invalid
	for cause, word := range map[error]string{
		entry.ErrConflict: Conflict, entry.ErrNotLogged: NotLogged, entry.ErrOutOfTime: OutOfTime, entry.ErrNotUpload: NotUpload,
	} {
		if errors.Is(r, cause) {
			reason = word
		}
	}
	if reason == Conflict && r.Logged != nil {
		metadata = []string{
			"logged_sha256", r.Logged.Entry.SHA256.String(),
			"logged_index", strconv.FormatUint(r.Logged.Index, 10),
			"conflict_index", strconv.FormatUint(r.Conflict, 10),
		}
	}
	return reason, r.Error(), metadata
}

// Reason returns the word, the sentence and the metadata of an error that a log answered; the
// word is "" if the error is not a log's.
func Reason(err error) (reason, message string, metadata map[string]string) {
	st, ok := status.FromError(err)
	if !ok {
		return "", "", nil
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == Domain {
			return info.Reason, st.Message(), info.Metadata
		}
	}
	return "", st.Message(), nil
}
