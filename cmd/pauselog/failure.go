package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

// How a command ends: each error is one of the outcomes of the table.

// A usageError is one that a look at --help can mend.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// An outcomeError is an error whose outcome is known where it arises.
type outcomeError struct {
	outcome verify.Outcome
	error
}

func (e outcomeError) Unwrap() error { return e.error }

// finished ends a command that has said all that there is to say.
type finished struct{ outcome verify.Outcome }

func (f finished) Error() string { return f.outcome.String() }

// finish returns nil if there is nothing to report.
func finish(o verify.Outcome) error {
	if o == verify.Verified {
		return nil
	}
	return finished{o}
}

// conclude reports what a command ended with, and returns the exit code.
func (a *app) conclude(ctx context.Context, err error) int {
	var f finished
	var client exited
	code := 0
	switch {
	case err == nil:
	case errors.As(err, &client):
		code = client.code
	case errors.As(err, &f):
		code = f.outcome.Code()
	default:
		if ctx.Err() != nil {
			err = outcomeError{verify.Error, errors.New("interrupted")}
		}
		code = a.report(err).Code()
	}
	if a.stdout.err != nil && code == 0 {
		fmt.Fprintf(a.stderr, "pauselog: standard output: %v\n", a.stdout.err)
		code = verify.Error.Code()
	}
	return code
}

// report says what went wrong with a command as a whole.
func (a *app) report(err error) verify.Outcome {
	o := a.outcomeOf(err)
	var m *client.Misbehaviour
	if errors.As(err, &m) {
		a.print("", a.misbehaved(m))
		return o
	}
	message := plain(messageOf(err))
	if a.json {
		a.object(map[string]any{"outcome": o, "code": o.Code(), "message": message})
		return o
	}
	fmt.Fprintf(a.stderr, "pauselog: %s\n", message)
	return o
}

// outcomeOf gives an error its outcome.
func (a *app) outcomeOf(err error) verify.Outcome {
	var usage usageError
	var known outcomeError
	var m *client.Misbehaviour
	switch {
	case errors.As(err, &usage):
		return verify.Usage
	case errors.As(err, &m):
		return verify.Misbehaviour
	case errors.As(err, &known):
		return known.outcome
	case errors.Is(err, client.ErrAnswer):
		return verify.InvalidProof
	case errors.Is(err, client.ErrBehind), errors.Is(err, submit.ErrStall):
		return verify.Unverifiable
	case errors.Is(err, checkpoint.ErrQuorum):
		return verify.PolicyUnmet
	}
	reason, _ := client.Reason(err)
	switch reason {
	case "conflict":
		return verify.Mismatch
	case "not-logged", "pending":
		if !a.trusted {
			return verify.Unverifiable
		}
		if reason == "pending" {
			return verify.Pending
		}
		return verify.NotLogged
	case "voided":
		return verify.Revoked
	case "busy", "closing", "held", "internal", "unpublished":
		return verify.Unverifiable
	case "":
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Unimplemented, codes.ResourceExhausted, codes.Internal:
			return verify.Unverifiable
		}
	}
	return verify.Error
}

// messageOf returns an error's text without what gRPC writes before it.
func messageOf(err error) string {
	if st, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return st.GRPCStatus().Message()
	}
	return err.Error()
}
