package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Submitters submit until their context ends, and keep what they were answered. What got an error they
// submit again, which is always safe.
type submitters struct {
	n    *network
	wait func()

	mu      sync.Mutex
	next    int
	answers []*answered
	more    chan struct{} // closed and made anew with each answer
}

func submitAlways(ctx context.Context, n *network, seed uint64) *submitters {
	s := &submitters{n: n, more: make(chan struct{})}
	var wg sync.WaitGroup
	for i := range 3 {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for ctx.Err() == nil {
				number := s.number()
				wait := published
				if rnd.IntN(3) == 0 {
					wait = sequenced
				}
				if a := s.submit(ctx, number, wait); a != nil {
					s.keep(a)
				}
			}
		})
	}
	s.wait = wg.Wait
	return s
}

func (s *submitters) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next - 1
}

// submit returns nil if the context ended first.
func (s *submitters) submit(ctx context.Context, number int, wait string) *answered {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		a, err := s.n.submit(one, number, wait)
		cancel()
		if err == nil {
			return a
		}
		var r *refusal
		if errors.As(err, &r) && r.Reason != "held" && r.Reason != "unpublished" && r.Reason != "closing" && r.Reason != "busy" {
			s.n.t.Errorf("file %d: %v", number, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (s *submitters) keep(a *answered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, a)
	close(s.more)
	s.more = make(chan struct{})
}

// pause waits for some answers, or if they do not come for some time.
func (s *submitters) pause(answers int, d time.Duration) {
	end := time.After(d)
	for range answers {
		s.mu.Lock()
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-end:
			return
		}
	}
}

// A campaign is a network under load, which is watched.
type campaign struct {
	*network
	watcher  *watcher
	submit   *submitters
	rnd      *rand.Rand
	finished func()
}

func newCampaign(t *testing.T, seed uint64) *campaign {
	c := &campaign{network: newNetwork(t), rnd: rand.New(rand.NewPCG(seed, 0))}
	c.watcher = newWatcher(c.network)
	c.startAll()
	submitting, stop := context.WithCancel(t.Context())
	watching, stopWatching := context.WithCancel(t.Context())
	c.submit = submitAlways(submitting, c.network, seed)
	watched := c.watcher.watch(watching)
	c.finished = func() {
		stop()
		c.submit.wait()
		c.settle()
		stopWatching()
		watched()
	}
	t.Cleanup(func() {
		stop()
		stopWatching()
		c.submit.wait()
		watched()
	})
	return c
}

// publishes waits until so many more entries are published.
func (c *campaign) publishes(what string, more int64) {
	c.t.Helper()
	from := c.watcher.size("/checkpoint")
	eventually(c.t, what, func() error {
		if now := c.watcher.size("/checkpoint"); now < from+more {
			return fmt.Errorf("published: size %d, then %d\n%s", from, now, c.log.stderr)
		}
		return nil
	})
}

// settle waits until all that the log has is published, and every witness has cosigned it.
func (c *campaign) settle() {
	c.t.Helper()
	eventually(c.t, "all is published and cosigned by all", func() error {
		size, err := c.metric("pauselog_size")
		if err != nil {
			return err
		}
		for _, who := range []string{"/checkpoint", c.witnesses[0].name, c.witnesses[1].name, c.witnesses[2].name} {
			if shown := c.watcher.size(who); shown != int64(size) {
				return fmt.Errorf("the log has %v entries, %s shows size %d\n%s", size, who, shown, c.log.stderr)
			}
		}
		return nil
	})
}

// judge ends the campaign: everything runs, nothing is lost, and no witness was set aside.
func (c *campaign) judge() {
	c.t.Helper()
	c.finished()
	c.noneSetAside()
	c.watcher.judge(c.watcher.size("/checkpoint"), c.submit.answers)
	c.log.stop(c.t)
	for _, w := range c.witnesses {
		w.process.stop(c.t)
	}
}

// Each witness is killed in turn while files are logged: publishing goes on, and nothing else is
// started again. With two of them gone it stops, goes on logging, and resumes by itself.
func TestWitnessesKilled(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, 1)
	for i, w := range c.witnesses {
		c.submit.pause(c.rnd.IntN(20), patience)
		w.process.kill(t)
		c.publishes(fmt.Sprintf("without witness %d", i), 10)
		w.start(t)
	}
	c.publishes("with all", 1)

	for i := range c.witnesses {
		one, two := c.witnesses[i], c.witnesses[(i+1)%3]
		c.submit.pause(c.rnd.IntN(20), patience)
		one.process.kill(t)
		two.process.kill(t)
		// What is logged from here on can have no quorum.
		const first = 1_000_000
		var limit, newest int64
		for n := range 10 {
			a := c.submit.submit(t.Context(), first+100*i+n, sequenced)
			if a == nil {
				t.Fatal("the test's time is over")
			}
			c.submit.keep(a)
			if n == 0 {
				limit = int64(a.index)
			}
			newest = int64(a.index)
		}
		tried := map[string]float64{}
		for _, w := range []*witnessProgram{one, two} {
			name := fmt.Sprintf(`pauselog_witness_answers_total{outcome="unreachable",witness=%q}`, w.name)
			before, err := c.metric(name)
			if err != nil {
				t.Fatal(err)
			}
			tried[name] = before + 1
		}
		for name, more := range tried {
			c.awaitMetric(name, more)
		}
		if size := c.look(); size > limit {
			t.Errorf("size %d was published, when all after size %d had no quorum", size, limit)
		}
		if i == len(c.witnesses)-1 {
			// What is published stays so in a new process, which finds no quorum.
			c.log.kill(t)
			c.startLog()
			c.look()
		}
		one.start(t)
		eventually(t, "with one of the two back", func() error {
			if size := c.watcher.size("/checkpoint"); size <= newest {
				return fmt.Errorf("size %d is published, entry %d was logged\n%s", size, newest, c.log.stderr)
			}
			return nil
		})
		two.start(t)
	}
	c.judge()
}

// look asks the log for its checkpoint, which must be there, and returns its size.
func (c *campaign) look() int64 {
	c.t.Helper()
	const who = "/checkpoint of one that looks"
	text, err := fetch(c.t.Context(), "http://"+c.http+"/checkpoint")
	if err != nil {
		c.t.Fatal(err)
	}
	c.watcher.see(who, text, 2)
	return c.watcher.size(who)
}

// campaignTime is how long TestWitnessesAtRandom goes on; the environment variable is for those who want
// to know it better.
func campaignTime(t *testing.T) time.Duration {
	if s := os.Getenv("PAUSELOGD_CAMPAIGN"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("PAUSELOGD_CAMPAIGN: %v", err)
		}
		return d
	}
	if testing.Short() {
		return 5 * time.Second
	}
	return 30 * time.Second
}

// Everything is killed at random and comes back to the folder and address that it had; witnesses
// hang, too.
func TestWitnessesAtRandom(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, 2)
	const up, down, hangs = 0, 1, 2
	states := make([]int, len(c.witnesses))
	kills, hung := 0, 0
	for end := time.Now().Add(campaignTime(t)); time.Now().Before(end); {
		c.submit.pause(c.rnd.IntN(15), time.Duration(c.rnd.IntN(400))*time.Millisecond)
		i := c.rnd.IntN(len(c.witnesses) + 2)
		if i >= len(c.witnesses) {
			// Also before it is ready.
			c.log.kill(t)
			kills++
			c.log = startProcess(t, "pauselogd", c.serveArgs()...)
			if c.rnd.IntN(3) > 0 {
				c.log.ready(t)
			}
			continue
		}
		w := c.witnesses[i]
		switch {
		case states[i] == down && c.rnd.IntN(4) == 0:
			w.process = startProcess(t, "pausewitness", "serve", "--data", w.data, "--listen", w.address)
			states[i] = up
		case states[i] == down:
			w.start(t)
			states[i] = up
		case states[i] == hangs && c.rnd.IntN(2) == 0:
			w.process.signal(t, syscall.SIGCONT)
			states[i] = up
		case states[i] == up && c.rnd.IntN(3) == 0:
			w.process.signal(t, syscall.SIGSTOP)
			hung++
			states[i] = hangs
		default:
			w.process.kill(t)
			kills++
			states[i] = down
		}
	}
	for i, w := range c.witnesses {
		switch states[i] {
		case down:
			w.start(t)
		case hangs:
			w.process.signal(t, syscall.SIGCONT)
		case up:
			w.process.ready(t)
		}
	}
	c.log.ready(t)
	c.publishes("with all", 1)
	t.Logf("%d kills, %d times a witness hung", kills, hung)
	c.judge()
}
