package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the ErrorInfo domain of the reasons that errors carry. It is not
// repeated in each answer: the server sends reasons of this domain only, the
// client restores it.
const Domain = "pauselog"

// errorAnswer is the body of an error, and the last line of a stream that fails.
type errorAnswer struct {
	Error *errorBody `json:"error"`
}

type errorBody struct {
	Code     string            `json:"code"` // the canonical name: NOT_FOUND
	Reason   string            `json:"reason,omitempty"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// A refusal is an error for which HTTP has a status more exact than the one its
// code would get.
type refusal struct {
	*status.Status
	http int
}

func (r *refusal) Error() string              { return r.Err().Error() }
func (r *refusal) GRPCStatus() *status.Status { return r.Status }

// refuse is for requests that never reach the implementation.
func refuse(httpStatus int, c codes.Code, format string, args ...any) error {
	st := status.Newf(c, format, args...)
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: "invalid", Domain: Domain}); err == nil {
		st = with
	}
	return &refusal{st, httpStatus}
}

// statusOf sees errors as a gRPC server does.
func statusOf(err error) *status.Status {
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	return st
}

func errorInfo(st *status.Status) *errdetails.ErrorInfo {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == Domain {
			return info
		}
	}
	return nil
}

// writeError answers with an error, where nothing has been written before.
func writeError(w http.ResponseWriter, err error) {
	st := statusOf(err)
	httpStatus := httpStatusOf(st.Code())
	if r, ok := errors.AsType[*refusal](err); ok {
		httpStatus = r.http
	}
	switch httpStatus {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if ms, err := strconv.ParseUint(errorInfo(st).GetMetadata()["retry_after_ms"], 10, 32); err == nil {
			w.Header().Set("Retry-After", strconv.FormatUint(max(1, (ms+999)/1000), 10))
		}
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.WriteHeader(httpStatus)
	w.Write(errorLine(st)) // an error here is the client's leaving
}

// errorLine returns the JSON of a status, line feed included.
func errorLine(st *status.Status) []byte {
	body := errorBody{Code: code.Code(st.Code()).String(), Message: st.Message()}
	if info := errorInfo(st); info != nil {
		body.Reason, body.Metadata = info.Reason, info.Metadata
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(errorAnswer{&body}) // strings only: cannot fail
	return b.Bytes()
}

// parseError returns the status that errorLine wrote; false if b is something
// else, as the JSON of some proxy may be.
func parseError(b []byte) (error, bool) {
	var answer errorAnswer
	if err := json.Unmarshal(b, &answer); err != nil || answer.Error == nil {
		return nil, false
	}
	c, known := code.Code_value[answer.Error.Code]
	switch {
	case answer.Error.Code == "" || c == 0 && known: // OK is no error
		return nil, false
	case !known: // of a newer server
		c = int32(codes.Unknown)
	}
	st := status.New(codes.Code(c), answer.Error.Message)
	if answer.Error.Reason != "" || len(answer.Error.Metadata) > 0 {
		info := &errdetails.ErrorInfo{Reason: answer.Error.Reason, Domain: Domain, Metadata: answer.Error.Metadata}
		if with, err := st.WithDetails(info); err == nil {
			st = with
		}
	}
	return st.Err(), true
}

// httpStatusOf is argued in the package comment.
func httpStatusOf(c codes.Code) int {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted, codes.FailedPrecondition:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Canceled:
		return 499 // nginx's: the client closed the request
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// foreign is the error for an answer that this API does not give: a login page,
// a proxy's excuse, a redirect. Its text is what tells people what is in between.
func foreign(resp *http.Response, start []byte) error {
	c := codes.Internal
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		c = codes.Unavailable
	}
	to := ""
	if location := resp.Header.Get("Location"); location != "" {
		to = fmt.Sprintf(", a redirect to %s", location)
	}
	return status.Errorf(c, "%s answered with status %s, content type %q%s, which is not this API: %q",
		resp.Request.URL.Host, resp.Status, resp.Header.Get("Content-Type"), to, start[:min(len(start), 80)])
}
