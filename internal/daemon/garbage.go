package daemon

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// garbage is how many bytes may lie around before they are collected.
	garbage = 24 << 20
	// leastGC and mostGC bound it in percent of what is in use. Nearly all of what a large log has in use are numbers
	// and hashes, through which a collection need not look for pointers, so that it stays cheap.
	leastGC, mostGC = 12, 100
)

// limitGarbage is called once a log is open and its tables are in memory. Go lets as much garbage lie around as
// is in use, which for a large log would double its memory; and what opening it left behind goes back now. What is in use grows
// with the log and with what readers ask for, so that the limit follows it, until stop is called. Who has set GOGC knows better.
func limitGarbage() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	debug.FreeOSMemory()
	ended := make(chan struct{})
	ticks := time.NewTicker(time.Minute)
	var running sync.WaitGroup
	running.Go(func() { followUse(ended, ticks.C, inUse, func(percent int) { debug.SetGCPercent(percent) }) })
	return func() {
		ticks.Stop()
		close(ended)
		running.Wait()
	}
}

// followUse sets the limit at once and at each tick, if it is another one then.
func followUse(ended <-chan struct{}, ticks <-chan time.Time, inUse func() uint64, set func(percent int)) {
	last := 0
	for {
		if p := percentOf(inUse()); p != last {
			set(p)
			last = p
		}
		select {
		case <-ended:
			return
		case <-ticks:
		}
	}
}

// inUse is how many bytes the last collection left.
func inUse() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}

func percentOf(used uint64) int {
	return int(min(max(100*garbage/max(used, 1), leastGC), mostGC))
}
