package hostile

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// A usage is what a process has.
type usage struct {
	peak       uint64 // bytes resident, the most so far
	files      int
	goroutines int // 0 if it does not say
}

// settleTime is how long a server may take to give back what was cut off.
const settleTime = 20 * time.Second

// slack is what may differ: idle connections of the well-behaved client, a file that is being written,
// workers that are kept.
const slack = 24

func measure(t *target) (u usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 40)
			if err != nil {
				return u, err
			}
			u.peak = n << 10
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.pid))
	u.files = len(files)
	if err == nil && t.admin != "" {
		u.goroutines, err = goroutines(t.admin)
	}
	return u, err
}

func goroutines(address string) (int, error) {
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if n, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, fmt.Errorf("http://%s/metrics does not say how many goroutines there are", address)
}

// settled waits until a target has given back what it took, and says what it still has.
func settled(ctx context.Context, t *target, before usage, within time.Duration) (u usage, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(within)
	for {
		if u, err = measure(t); err != nil {
			return u, fmt.Errorf("%s: %w", t.name, err)
		}
		if u.peak > t.memory {
			return u, fmt.Errorf("%s had %d MiB resident, expected at most %d", t.name, u.peak>>20, t.memory>>20)
		}
		if u.files <= before.files+slack && u.goroutines <= before.goroutines+slack {
			return u, nil
		}
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-deadline:
			return u, fmt.Errorf("%s has %d files and sockets and %d goroutines %v after the last attack, and had %d and %d before",
				t.name, u.files, u.goroutines, within, before.files, before.goroutines)
		case <-tick.C:
		}
	}
}
