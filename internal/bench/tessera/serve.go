package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// serve answers POST /add with the index of the body, once it is durable, as Tessera's own example server does
// (its cmd/conformance/posix). It serves until its input ends.
func (s *session) serve(ctx context.Context) (map[string]float64, error) {
	work, cancel := context.WithCancel(context.Background()) // what was asked is still answered
	defer cancel()
	l, err := s.create(work)
	if err != nil {
		return nil, err
	}
	var answers atomic.Uint64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		i, err := l.add(r.Context(), b)
		if err != nil || i.IsDup {
			http.Error(w, fmt.Sprint(i, err), http.StatusInternalServerError)
			return
		}
		answers.Add(1)
		fmt.Fprint(w, i.Index)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := s.ready(listener.Addr().String()); err != nil {
		return nil, err
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		if err = server.Shutdown(work); errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	return map[string]float64{"entries": float64(answers.Load())}, l.check(work, answers.Load(), nil)
}
