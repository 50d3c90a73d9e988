package mirror

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/pauselog/pauselog/internal/fairlisten"
)

const (
	// maxConnections is far more than the clients on one machine have.
	maxConnections = 512
	// silentTime is after what time a connection may be closed for another.
	silentTime = 5 * time.Second
)

// Listen listens on this machine alone: the mirror speaks plain HTTP, and whoever sits between it and
// a client could change what it verified. When there are maxConnections, one that is silent is closed for each newcomer.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("expected an address like 127.0.0.1:0, found %.100q", address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("expected a loopback address like 127.0.0.1:0, found %.100q: what is verified here must not cross a network again", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return fairlisten.New(l, fairlisten.Limits{All: maxConnections, Grace: silentTime}), nil
}

// Serve serves until the context ends, and then ends what is still going on.
func (m *Mirror) Serve(ctx context.Context, l net.Listener) error {
	if bounded, ok := l.(*fairlisten.Listener); ok {
		m.listener.Store(bounded)
	}
	s := &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	m.cancel() // requests that wait for a fetch end with it
	ended, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	if err := s.Shutdown(ended); err != nil {
		s.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
