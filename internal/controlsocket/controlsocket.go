// Package controlsocket is how the commands of a program reach its process that runs: HTTP over a
// Unix socket in the data folder. Who may write to the folder may use it, and nobody else.
package controlsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// name is the socket in the data folder. Its path is taken through an open folder, because a
// socket's path may have 107 bytes only.
const name = "control"

// Listen listens in a data folder, whose lock the caller holds: a socket that is there was left
// by a crash.
func Listen(dir string) (net.Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	path := filepath.Join(dir, name)
	os.Remove(path)
	l, err := net.Listen("unix", throughFolder(d))
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by then the name leads nowhere
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func throughFolder(d *os.File) string { return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name) }

// Client returns a client whose requests all go to the process that listens in a data folder,
// whatever host they name. A request takes a minute at most.
func Client(dir string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d, err := os.Open(dir)
			if err != nil {
				return nil, err
			}
			defer d.Close()
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", throughFolder(d))
		}}}
}
