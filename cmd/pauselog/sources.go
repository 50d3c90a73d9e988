package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

// decide tries the sources of proofs in their order.
func (v *verifier) decide(ctx context.Context, file string, q verify.Request) *verify.Result {
	if v.proofs == "" || v.proof != "" {
		return v.decideWithout(ctx, file, q)
	}
	return v.tree.decide(ctx, file, q)
}

// decideWithout tries all sources but the proof tree.
func (v *verifier) decideWithout(ctx context.Context, file string, q verify.Request) *verify.Result {
	name := v.proof
	if name == "" {
		name = file + proof.Extension
	}
	text, err := readProof(name)
	if errors.Is(err, fs.ErrNotExist) && v.proof == "" {
		text, err = nil, nil
	}
	if err != nil {
		return failed(q, fmt.Errorf("the proof: %w", err))
	}
	q.Bundle = text
	if text == nil {
		q.AbsenceDetail = "there is no " + name + ", and --offline allows no other source"
	}
	if v.offline || v.proof != "" {
		return verify.Verify(q)
	}
	if text == nil {
		return v.ask(ctx, q)
	}
	r := verify.Verify(q)
	switch r.Outcome {
	case verify.InvalidProof:
		// A bad proof is no proof from that source: whoever can change the file can do the
		// same to what lies beside it, and the log's word is better than both.
		q.Bundle = nil
		better := v.ask(ctx, q)
		better.Notes = append(better.Notes, "the proof in "+plain(name)+" proves nothing and was left aside: "+r.Message)
		return better
	case verify.Stale, verify.PolicyUnmet, verify.Mismatch:
		// Every proof that is kept grows old, and the log has younger ones. Signature lines can be taken away. Of an index
		// the proof may be that of an older one.
		if conclusive(r) && r.Outcome == verify.Mismatch {
			return r
		}
		q.Bundle = nil
		if better := v.ask(ctx, q); better.Proven || better.Outcome == verify.Misbehaviour {
			return better
		}
	}
	return r
}

// openRegular opens a file that others may have put there: to wait for a FIFO would be for ever.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func readProof(name string) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, proof.MaxSize+1))
	if b == nil {
		b = []byte{} // an empty file is a malformed proof, and not none
	}
	return b, err
}

// ask asks the log, and waits for what is not published yet as long as the user said.
func (v *verifier) ask(ctx context.Context, q verify.Request) *verify.Result {
	end := time.Now().Add(v.wait)
	for {
		r := v.online.verify(ctx, q)
		if r.Outcome != verify.Pending || time.Now().After(end) || pause(ctx, time.Second) != nil {
			return r
		}
	}
}

// online is the log as a source, connected to when it is first asked.
type online struct {
	app       *app
	policy    *checkpoint.Policy
	connected bool
	log       *client.Log
	closeConn func()
	err       error
}

func (o *online) connect() error {
	if !o.connected {
		o.connected = true
		o.log, o.closeConn, o.err = o.app.reader(o.policy)
	}
	return o.err
}

func (o *online) close() {
	if o.closeConn != nil {
		o.closeConn()
	}
}

// verify decides about a file with what the log says of it.
func (o *online) verify(ctx context.Context, q verify.Request) *verify.Result {
	q.AbsenceDetail = ""
	if err := o.connect(); errors.Is(err, errNoServer) {
		// A policy without a URL is fine where proofs are at hand. Here one is missing.
		q.AbsenceDetail = err.Error()
		return verify.Verify(q)
	} else if err != nil {
		return failed(q, err)
	}
	log := o.log
	if q.MaxAge > 0 {
		log = log.AllSignatures() // the log's Ed25519 signature says nothing of when, its ML-DSA one does
	}
	e, err := log.Gather(ctx, q.Path, q.SHA256, o.app.trusted)
	var m *client.Misbehaviour
	switch {
	case errors.As(err, &m):
		r := o.app.misbehaved(m)
		r.Path, r.SHA256, r.Size = q.Path, q.SHA256, q.Size
		return r
	case err != nil:
		return failed(q, err)
	}
	q.Bundle, q.Revocation, q.Deletion, q.Absence, q.AbsenceDetail = e.Bundle, e.Revocation, e.Deletion, e.Absence, e.Detail
	r := verify.Verify(q)
	if r.Outcome != verify.InvalidProof {
		return r
	}
	// What a server sends can be changed on its way as a file can.
	q.Bundle, q.Revocation, q.Deletion, q.Absence = nil, nil, nil, verify.Unreachable
	q.AbsenceDetail = "what the server sent proves nothing: " + r.Message
	return verify.Verify(q)
}
