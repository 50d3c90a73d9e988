package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/pauselog/pauselog/internal/agent"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/entry"
)

// While several hooks write, the agent, the log and its witnesses are killed again and again, and the spool's disk is full for
// a while. In the end everything is logged, nothing twice, and all of it verifies without a network.
//
// PAUSELOG_CHAOS=10000 publishes so many files in place of 1,200, and PAUSELOG_CHAOS_SEED=N repeats the choices of a run.
func TestChaos(t *testing.T) {
	t.Parallel()
	files, seed := setting(t, "PAUSELOG_CHAOS", 1200), uint64(setting(t, "PAUSELOG_CHAOS_SEED", int(time.Now().Unix())))
	t.Logf("PAUSELOG_CHAOS_SEED=%d", seed)
	c := &chaos{site: newSite(t, 3), files: files, rnd: rand.New(rand.NewPCG(seed, 0)), fates: make([]fate, files), pace: rate.NewLimiter(rate.Limit(max(80, files/60)), 10)}
	c.fullDisk(t)
	for _, w := range c.witnesses {
		w.launch(c.site)
	}
	c.startLog()
	c.args = []string{"--walk-rate", "0"}
	c.startAgent(c.args...)

	written := make(chan struct{})
	go func() {
		defer close(written)
		var writers sync.WaitGroup
		const hooks = 4
		for i := range hooks {
			writers.Go(func() { c.write(rand.New(rand.NewPCG(seed, uint64(i+1))), i, hooks) })
		}
		writers.Go(c.writeIndexes)
		writers.Wait()
	}()
	kills := c.killUntil(written)
	t.Logf("%d kills while %d files were published; %d were not written into the spool, as its disk was full", kills, files, c.missed())
	if c.missed() == 0 || c.missed() > files/2 {
		t.Errorf("%d of %d could not be written into the spool", c.missed(), files)
	}
	c.drained()
	c.complete(false)

	// What the hooks could not write, the walk finds, whatever is killed meanwhile.
	c.startAgentAnew()
	walked := make(chan struct{})
	go func() {
		defer close(walked)
		for c.walkedAt().IsZero() && t.Context().Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
	}()
	c.limit = 6
	t.Logf("%d kills while the tree was walked", c.killUntil(walked))
	c.judge()
}

func setting(t *testing.T, name string, value int) int {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			t.Fatalf("%s: expected a number, found %q", name, s)
		}
		return n
	}
	return value
}

type chaos struct {
	*site
	files int
	rnd   *rand.Rand
	fates []fate // each belongs to its writer
	pace  *rate.Limiter
	limit int // of kills; 0: none
	args  []string

	full    func(bool) // makes the spool's disk full, or not
	mu      sync.Mutex
	isFull  bool
	lost    int
	indexes int
}

// A fate is what became of a file.
type fate struct {
	hooked  bool // its hook's event was written
	other   bool // it was replaced later by other bytes
	deleted bool
}

func (c *chaos) name(i int) string    { return fmt.Sprintf("Dist-%d.tar.gz", i) }
func (c *chaos) content(i int) string { return fmt.Sprintf("the content of file %d", i) }

// write publishes the files of one hook.
func (c *chaos) write(rnd *rand.Rand, first, step int) {
	for i := first; i < c.files; i += step {
		name, content := c.name(i), c.content(i)
		if c.pace.Wait(c.t.Context()) != nil {
			return
		}
		c.put(examples+name, content)
		// What the disk has no room for, PAUSE goes on without.
		f := &c.fates[i]
		if f.hooked = c.tryHook(entry.Upload, examples+name, content, "EXAMPLE", time.Now()) == nil; !f.hooked {
			c.mu.Lock()
			c.lost++
			c.mu.Unlock()
		}
		// What is deleted or replaced was published some time ago.
		old := i - step*rnd.IntN(20)
		if old < 0 {
			continue
		}
		switch f := &c.fates[old]; {
		case !f.hooked || f.deleted || f.other:
		case rnd.IntN(10) == 0:
			f.deleted = true
			if err := os.Rename(filepath.Join(c.root, examples, c.name(old)), filepath.Join(c.backpan, examples, c.name(old))); err != nil {
				c.t.Error(err)
			}
			c.insist(entry.Delete, examples+c.name(old), c.content(old), "EXAMPLE", time.Now())
		case rnd.IntN(30) == 0:
			f.other = true
			c.put(examples+c.name(old), "other bytes")
			c.insist(entry.Upload, examples+c.name(old), "other bytes", "EXAMPLE", time.Now())
		}
	}
}

// insist writes an event as soon as there is room for it: only the uploads, which the walk finds, may get lost here.
func (c *chaos) insist(kind entry.Kind, path, content, by string, at time.Time) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.tryHook(kind, path, content, by, at) != nil {
		select {
		case <-tick.C:
		case <-c.t.Context().Done():
			return
		}
	}
}

// writeIndexes writes one now and then, of two hours as it were.
func (c *chaos) writeIndexes() {
	start := time.Now().Add(-2 * time.Hour)
	for i := range 60 {
		content := fmt.Sprintf("index %d", i/2) // it does not always change
		c.put(agentPackages, content)
		c.insist(entry.Index, agentPackages, content, "", start.Add(time.Duration(i)*time.Minute))
		c.mu.Lock()
		c.indexes++
		c.mu.Unlock()
	}
}

// fullDisk gives the spool a disk of its own if that is allowed. Otherwise it only is out of the hooks' reach for a while.
func (c *chaos) fullDisk(t *testing.T) {
	t.Helper()
	err := syscall.Mount("tmpfs", c.spoolDir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=755", 8192+8*c.files))
	if err != nil {
		t.Logf("without a disk of its own: %v", err)
		// The hooks come to the spool by another way, which is closed.
		door := filepath.Join(c.dir, "door")
		link := func(name string) error { return os.Symlink(filepath.Join(c.spoolDir, name), filepath.Join(door, name)) }
		if err := errors.Join(os.Mkdir(door, 0o755), link("new"), link("tmp")); err != nil {
			t.Fatal(err)
		}
		if c.spool, err = spool.Open(door); err != nil {
			t.Fatal(err)
		}
		c.full = func(full bool) {
			if full {
				err = os.Remove(filepath.Join(door, "tmp"))
			} else {
				err = link("tmp")
			}
			if err != nil {
				t.Error(err)
			}
		}
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(c.spoolDir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c.openSpool()
	ballast := filepath.Join(c.spoolDir, "ballast")
	c.full = func(full bool) {
		if !full {
			if err := os.Remove(ballast); err != nil {
				t.Error(err)
			}
			return
		}
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = io.Copy(f, zeroes{})
			f.Close()
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("filling the disk: %v", err)
		}
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return len(b), nil }

func (c *chaos) missed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// killUntil kills one program after the other, and starts it again; at last everything runs. The disk is full between the
// fifth and the seventh of them, and until some event got lost.
func (c *chaos) killUntil(done chan struct{}) (kills int) {
	c.t.Helper()
	for ; ; kills++ {
		select {
		case <-done:
			c.setFull(false)
			c.allUp()
			return kills
		case <-time.After(time.Duration(20+c.rnd.IntN(400)) * time.Millisecond):
		}
		if c.limit == 0 && kills == 4 {
			c.setFull(true)
		} else if kills >= 7 || c.missed() > 50 {
			c.setFull(false)
		}
		if c.limit > 0 && kills >= c.limit {
			c.allUp()
			<-done
			return kills
		}
		switch n := c.rnd.IntN(7); n {
		case 0, 1, 2:
			w := c.witnesses[n]
			if c.killed(w.process) && c.rnd.IntN(2) == 0 {
				continue // it stays away until it is its turn again
			}
			w.launch(c.site)
		case 3, 4:
			c.killed(c.log)
			c.launchLog() // which may be killed before it is ready
		default:
			if !c.killed(c.agent) {
				return kills
			}
			c.agent = c.program("pauselog", c.agentArgs(c.args...)...)
		}
	}
}

// killed kills a program, and reports whether it ran. None may have ended by itself.
func (c *chaos) killed(p *child) bool {
	c.t.Helper()
	select {
	case <-p.ended:
		if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() {
			c.t.Errorf("%v ended by itself: %v\n%s", p.cmd.Args, p.cmd.ProcessState, p.stderr)
		}
		return false
	default:
		p.kill(c.t)
		return true
	}
}

func (c *chaos) setFull(full bool) {
	if c.isFull == full || full && c.full == nil {
		return
	}
	c.full(full)
	c.isFull = full
	if !full {
		c.full = nil // once
	}
}

func (c *chaos) allUp() {
	c.t.Helper()
	for _, w := range c.witnesses {
		select {
		case <-w.process.ended:
			w.launch(c.site)
		default:
		}
		w.process.ready(c.t)
	}
	c.log.ready(c.t)
	select {
	case <-c.agent.ended:
		c.t.Errorf("the agent ended by itself\n%s", c.agent.stderr)
	default:
	}
}

func (c *chaos) startAgentAnew() {
	c.t.Helper()
	c.agent.stop(c.t)
	for i, f := range c.fates {
		if !f.hooked {
			c.age(examples + c.name(i))
		}
	}
	// So slowly that it takes some seconds: a file costs 4 KiB.
	c.args = []string{"--walk-rate", strconv.Itoa(max(1<<20, 600*c.files))}
	c.startAgent(c.args...)
}

func (c *chaos) walkedAt() time.Time {
	r, err := agent.Look(nil, c.state, time.Now(), time.Hour)
	if err != nil || r.Agent == nil {
		return time.Time{}
	}
	return r.Agent.Walked
}

// A census is what the log has.
type census struct {
	entries, conflicts int
	uploads            map[string]entry.Digest // by path
	deletes            map[string]bool
	indexes            map[entry.Time]bool
	unsigned           int // uploads and deletions of which it is not known who entered them
}

func (c *chaos) census() *census {
	c.t.Helper()
	n := &census{uploads: map[string]entry.Digest{}, deletes: map[string]bool{}, indexes: map[entry.Time]bool{}}
	for _, e := range c.entries() {
		n.entries++
		switch e.Kind {
		case entry.Upload:
			if _, twice := n.uploads[e.Path]; twice {
				c.t.Errorf("logged twice: %+v", e)
			}
			n.uploads[e.Path] = e.SHA256
		case entry.Delete:
			if n.deletes[e.Path] {
				c.t.Errorf("deleted twice: %+v", e)
			}
			n.deletes[e.Path] = true
		case entry.Index:
			if n.indexes[e.Time] {
				c.t.Errorf("an index twice at one time: %+v", e)
			}
			n.indexes[e.Time] = true
		case entry.Conflict:
			n.conflicts++
		}
		if (e.Kind == entry.Upload || e.Kind == entry.Delete) && (e.By != "EXAMPLE" || e.Seen != entry.SeenUpload) {
			n.unsigned++
		}
	}
	return n
}

// complete waits until the log has published what it has to have, and nothing else. walked says that it must also have what
// was not written into the spool.
func (c *chaos) complete(walked bool) (n *census) {
	c.t.Helper()
	eventually(c.t, "the log is complete", func() error {
		n = c.census()
		wrong, conflicts, unhooked := "", 0, 0
		for i, f := range c.fates {
			path := examples + c.name(i)
			digest, logged := n.uploads[path]
			if logged != (f.hooked || walked) || n.deletes[path] != f.deleted {
				wrong = fmt.Sprintf("%s: %+v, its upload is logged: %v, its deletion: %v", path, f, logged, n.deletes[path])
			}
			if f.other && digest == sum(c.content(i)) {
				conflicts++
			} else if want := map[bool]string{false: c.content(i), true: "other bytes"}[f.other]; logged && digest != sum(want) {
				c.t.Errorf("%s is logged with other bytes", path)
			}
			if logged && !f.hooked {
				unhooked++
			}
		}
		switch {
		case wrong != "":
			return errors.New(wrong)
		case len(n.indexes) != c.indexes || n.conflicts != conflicts || n.unsigned != unhooked || n.entries != len(n.uploads)+len(n.deletes)+c.indexes+conflicts:
			return fmt.Errorf("%d entries: %d uploads, %d deletions, %d of which nobody is known to have entered them, for %d that were not written into the spool; "+
				"%d indexes of %d, %d conflicts of %d", n.entries, len(n.uploads), len(n.deletes), n.unsigned, unhooked, len(n.indexes), c.indexes, n.conflicts, conflicts)
		}
		return nil
	})
	return n
}

func sum(content string) entry.Digest { return sha256.Sum256([]byte(content)) }

// judge looks at everything in the end.
func (c *chaos) judge() {
	t := c.t
	t.Helper()
	n := c.complete(true)

	// The agent's first proofs are those of the end.
	c.agent.stop(t)
	c.startAgent(c.args...)
	c.exported(n.entries)
	var here, gone []string
	replaced := map[string]bool{}
	for i, f := range c.fates {
		path := examples + c.name(i)
		switch {
		case f.deleted:
			gone = append(gone, path)
		case f.other:
			replaced[path] = true
			if n.uploads[path] == sum("other bytes") {
				here = append(here, path)
				continue
			}
			if err := place(c.backpan, path, c.content(i)); err != nil {
				t.Fatal(err)
			}
			gone = append(gone, path)
		default:
			here = append(here, path)
		}
	}
	c.verify(c.root, 0, append(here, agentPackages)...)
	c.verify(c.backpan, 0, gone...)

	code, out := c.run("pauselog", "audit", "--policy", c.policy, "--json")
	var audited struct {
		Entries, Violations json.Number
		Kinds               map[string]json.Number
	}
	if err := json.Unmarshal([]byte(out), &audited); code != 0 || err != nil || audited.Violations != "0" || audited.Kinds["upload"] != json.Number(strconv.Itoa(c.files)) {
		t.Errorf("audit: exit code %d, %v\n%s", code, err, out)
	}
	code, out = c.run("pauselog", "lookup", "--policy", c.policy, "--author", "EXAMPLE")
	if found := strings.Count(out, "  upload  "); code != 0 || found != c.files {
		t.Errorf("lookup: exit code %d, %d uploads of %d", code, found, c.files)
	}

	// Only the replaced files are of note; once somebody has dealt with them, all is well.
	aside := map[string]bool{}
	for _, x := range c.report().Aside {
		if x.Word != agent.Differs && x.Word != agent.Conflict || !replaced[x.Path] {
			t.Errorf("set aside: %+v", x)
		}
		aside[x.Path] = true
		if err := os.Remove(filepath.Join(c.state, "aside", x.Name)); err != nil {
			t.Error(err)
		}
	}
	if len(aside) != len(replaced) {
		t.Errorf("%d were replaced, %d set aside", len(replaced), len(aside))
	}
	c.awaitStatus("in the end", "1m", 0)
	t.Logf("%d entries: %d uploads, %d deletions, %d indexes; %d replaced", n.entries, len(n.uploads), len(n.deletes), len(n.indexes), len(replaced))
	c.agent.stop(t)
	c.log.stop(t)
	for _, w := range c.witnesses {
		w.process.stop(t)
	}
}
