package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// mirrorFlags are those of pauselog mirror and exec.
func (l *lab) mirrorFlags(cache string) []string {
	return []string{"--policy", l.policyFile, "--upstream", l.upstream, "--proofs", l.proofs, "--cache", cache, "--state-dir", l.state}
}

// A mirrorProcess is pauselog mirror, in front of the plain file server.
type mirrorProcess struct {
	url    string
	start  time.Duration // until it was ready
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	usage  *usage
}

func (b *bench) startMirror(ctx context.Context, cache string) (*mirrorProcess, error) {
	cmd := exec.CommandContext(ctx, b.lab.pauselog, append([]string{"mirror"}, b.lab.mirrorFlags(cache)...)...)
	m := &mirrorProcess{cmd: cmd, stderr: new(bytes.Buffer), usage: &b.usage}
	cmd.Stderr = m.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.usage.children = append(b.usage.children, cmd.Process.Pid)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	m.start = time.Since(began)
	var ready struct{ URL string }
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pauselog mirror is not ready: %w", err), m.stop())
	}
	m.url = ready.URL
	return m, nil
}

// stop ends it, and checks that all that came by was verified.
func (m *mirrorProcess) stop() error {
	defer func() { m.usage.ended(m.cmd.Process.Pid) }()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, m.cmd.Wait())
	}
	defer time.AfterFunc(time.Minute, func() { m.cmd.Process.Kill() }).Stop()
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("pauselog mirror: %w\n%s", err, m.stderr)
	}
	if !strings.Contains(m.stderr.String(), allVerified) {
		return fmt.Errorf("the mirror does not say %q:\n%s", allVerified, m.stderr)
	}
	return nil
}

// filledCache builds the program and fills the cache that is to be full, once.
func (b *bench) filledCache(ctx context.Context) error {
	if b.lab.filled {
		return nil
	}
	if err := b.lab.build(ctx); err != nil {
		return err
	}
	m, err := b.startMirror(ctx, b.lab.cache)
	if err != nil {
		return err
	}
	_, err = b.fetchAll(ctx, m.url)
	if err := errors.Join(err, m.stop()); err != nil {
		return err
	}
	b.lab.filled = true
	return nil
}

// fetches: the index and then all archives by one client on one connection, without building anything.
func (b *bench) fetches(ctx context.Context) error {
	const section, passes = "fetch", 5
	l, err := b.installLab(ctx)
	if err != nil {
		return err
	}
	if err := b.filledCache(ctx); err != nil {
		return err
	}
	var starts []time.Duration
	var again time.Duration // of the last mirror, asked a second time
	through := func(cache func() string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			m, err := b.startMirror(ctx, cache())
			if err != nil {
				return 0, err
			}
			starts = append(starts, m.start)
			took, err := b.fetchAll(ctx, m.url)
			if err == nil {
				again, err = b.fetchAll(ctx, m.url)
			}
			return took, errors.Join(err, m.stop())
		}
	}
	variants := []variant{
		{"a file, plain", func() (time.Duration, error) { return b.fetchAll(ctx, l.upstream) }},
		{"a file, plain again (control)", func() (time.Duration, error) { return b.fetchAll(ctx, l.upstream) }},
		{"a file, mirror with an empty cache", through(l.emptyCache)},
		{"a file, mirror with a full cache", through(func() string { return l.cache })},
		{"a file, the same mirror again", func() (time.Duration, error) { return again, nil }},
	}
	// One pass takes milliseconds: of some in turns the median is what this round gives.
	took := make([][]time.Duration, len(variants))
	end, err := b.begin(section)
	if err != nil {
		return err
	}
	for range passes {
		for i, v := range variants {
			d, err := v.run()
			if err != nil {
				end()
				return fmt.Errorf("%s: %w", v.what, err)
			}
			took[i] = append(took[i], d)
		}
	}
	end()
	files := float64(1 + len(l.archives()))
	for i := range variants {
		variants[i].run = func() (time.Duration, error) { return middle(took[i]), nil }
	}
	if err := b.turns(section, variants, "ms", func(d time.Duration) float64 { return milliseconds(d) / files }); err != nil {
		return err
	}
	b.add(section, "pauselog mirror, until it is ready", "ms", milliseconds(middle(starts)))
	return nil
}

func middle(took []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(took))[len(took)/2]
}

// fetchAll asks for the index and then for each archive, one after the other.
func (b *bench) fetchAll(ctx context.Context, from string) (time.Duration, error) {
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	c := http.Client{Transport: transport}
	began := time.Now()
	if err := fetch(ctx, c, from+"/"+packagesIndex, -1); err != nil {
		return 0, err
	}
	for _, f := range b.lab.archives() {
		if err := fetch(ctx, c, from+"/"+f.path, int64(f.file.Size)); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// fetch reads a file of a size; -1 is any.
func fetch(ctx context.Context, c http.Client, url string, size int64) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || size >= 0 && n != size) {
		err = fmt.Errorf("%s: %s, %d bytes; expected 200 OK and %d bytes", url, answer.Status, n, size)
	}
	return err
}
