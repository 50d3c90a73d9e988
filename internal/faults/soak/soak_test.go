package soak

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/tree"
)

// The whole campaign for a few seconds at a low rate. Each server is started again at least once.
func TestFewSeconds(t *testing.T) {
	t.Setenv(rateVariable, "20")
	o := campaign.Options{For: 4 * time.Second, Seed: 1, Dir: t.TempDir(), Progress: t.Logf}
	r, err := Campaign.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.Acknowledged == 0 || r.Crashes == 0 || r.Faults == 0 || r.Err() != nil {
		t.Errorf("acknowledged %d, killed %d, stopped %d, %v", r.Acknowledged, r.Crashes, r.Faults, r.Err())
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"log, longest life", "witness 2, longest life", "submit gRPC: ", "data folder grew"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in the notes:\n%s", want, notes)
		}
	}
}

func TestScheduleTakesEveryServerAndEndsInTime(t *testing.T) {
	for _, d := range []time.Duration{4 * time.Second, short, time.Minute, long} {
		starts, kills := map[int]int{}, 0
		last := time.Duration(0)
		for _, e := range schedule(d) {
			if e.at <= last || e.at >= d {
				t.Fatalf("%v: at %v after %v", d, e.at, last)
			}
			last = e.at
			starts[e.witness]++
			if e.kill {
				kills++
			}
		}
		if starts[-1] < 3 || starts[0] == 0 || starts[1] == 0 || starts[2] == 0 || kills == 0 {
			t.Errorf("%v: %v, %d kills", d, starts, kills)
		}
	}
}

// series makes n samples, each with noise and a burst now and then.
func series(n int, value func(i int) float64) []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]float64, n)
	for i := range out {
		out[i] = value(i) + 10*r.Float64()
		if r.IntN(20) == 0 {
			out[i] += 500
		}
	}
	return out
}

func TestLeak(t *testing.T) {
	for name, c := range map[string]struct {
		series []float64
		leak   bool
	}{
		"flat, with bursts":                {series(200, func(int) float64 { return 100 }), false},
		"a warm-up":                        {series(200, func(i int) float64 { return 100 + 400*min(1, float64(i)/40) }), false},
		"one goroutine in each sample":     {series(200, func(i int) float64 { return 100 + float64(i) }), true},
		"one in three":                     {series(600, func(i int) float64 { return 100 + float64(i)/3 }), true},
		"going down":                       {series(200, func(i int) float64 { return 500 - float64(i) }), false},
		"a step that the load explains":    {series(200, func(i int) float64 { return 100 + 15*float64(i/100) }), false},
		"a step late, and then flat":       {series(200, func(i int) float64 { return 100 + 300*float64(i/190) }), false},
		"too few samples for a verdict":    {series(20, func(i int) float64 { return 100 + 50*float64(i) }), false},
		"none":                             {nil, false},
		"one that doubles again and again": {series(400, func(i int) float64 { return 50 * float64(int(1)<<(i/100)) }), true},
	} {
		if why := trendOf(c.series).leak(slackGoroutines); (why != "") != c.leak {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// A server that leaks is found by name, and one that uses too much memory.
func TestMeterFindsALeakingServer(t *testing.T) {
	s := &site{log: &server{name: "log"}}
	of := func(change func(i int, s *sample)) *meter {
		m := newMeter(s, time.Hour)
		l := &lifetime{server: "log", life: 2}
		for i := range 100 {
			x := sample{goroutines: 100, files: 50, tables: 10, memory: 200 << 20}
			change(i, &x)
			l.samples = append(l.samples, x)
		}
		m.lives = append(m.lives, l)
		return m
	}
	for name, c := range map[string]struct {
		change func(i int, s *sample)
		want   string
	}{
		"sound":      {func(int, *sample) {}, ""},
		"goroutines": {func(i int, s *sample) { s.goroutines += float64(2 * i) }, "log in its life 2: goroutines"},
		"files":      {func(i int, s *sample) { s.files += float64(i) }, "log in its life 2: open files"},
		"memory":     {func(i int, s *sample) { s.memory += float64(i * (8 << 20)) }, "MiB resident"},
		"tables":     {func(i int, s *sample) { s.tables += float64(i * 10) }, "tables open"},
	} {
		err := of(c.change).leaks(1000)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMissing(t *testing.T) {
	leaves := []tree.Hash{{1}, {2}, {3}}
	for name, c := range map[string]struct {
		acks []ack
		lost uint64
	}{
		"all there":       {[]ack{{1, 0, tree.Hash{1}}, {2, 2, tree.Hash{3}}}, 0},
		"one is another":  {[]ack{{1, 1, tree.Hash{1}}, {2, 2, tree.Hash{3}}}, 1},
		"two are not yet": {[]ack{{1, 3, tree.Hash{1}}, {2, 1 << 40, tree.Hash{3}}}, 2},
	} {
		if n, err := missing(c.acks, leaves); n != c.lost || (err == nil) != (c.lost == 0) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// What a restart explains is tried again; what is false never is.
func TestTransient(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{status.Error(codes.Unavailable, "connection refused"), true},
		{status.Error(codes.DeadlineExceeded, ""), true},
		{errors.New("read: connection reset by peer"), true},
		{status.Error(codes.Internal, ""), false},
		{status.Error(codes.NotFound, "not logged"), false},
		{status.Error(codes.FailedPrecondition, "conflict"), false},
		{fmt.Errorf("%w: another leaf", client.ErrAnswer), false},
		{fmt.Errorf("%w: size 3 after 5", client.ErrBehind), false},
		{&client.Misbehaviour{}, false},
		{falsef("another index"), false},
	} {
		name := "a contradiction"
		if !errors.As(c.err, new(*client.Misbehaviour)) {
			name = c.err.Error()
		}
		if transient(c.err) != c.want {
			t.Errorf("%s: transient %v", name, !c.want)
		}
	}
}

func TestFindingsAreCounted(t *testing.T) {
	var l load
	l.find("proof", falsef("another index"))
	l.find("proof", &client.Misbehaviour{})
	if l.falses.Load() != 1 || l.forks.Load() != 1 || !errors.Is(l.firstFinding(), errFalse) {
		t.Errorf("false %d, forks %d, %v", l.falses.Load(), l.forks.Load(), l.firstFinding())
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]float64{"": defaultRate, "20": 20, "0.5": 0.5} {
		if r, err := rateOf(text); r != want || err != nil {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"0", "-1", "NaN", "many", "1e9"} {
		if r, err := rateOf(text); err == nil {
			t.Errorf("%q: %v", text, r)
		}
	}
}

func TestTileName(t *testing.T) {
	for n, want := range map[uint64]string{0: "000", 67: "067", 1234067: "x001/x234/067"} {
		if got := tileName(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
