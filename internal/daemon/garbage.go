package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// garbage is how many bytes may lie around before they are collected.
	garbage = 24 << 20
	// leastGC and mostGC bound it in percent of what is in use. Nearly all of what a large log has in use are numbers
	// and hashes, through which a collection need not look for pointers, so that it stays cheap.
	leastGC, mostGC = 12, 100
)

// limitGarbage is called once a log is open and its tables are in memory. Go lets as much garbage lie around as
// is in use, which for a large log would double its memory; and what opening it left behind goes back now.
// Who has set GOGC knows better.
func limitGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(percentOf(m.HeapAlloc))
}

func percentOf(used uint64) int {
	return int(min(max(100*garbage/max(used, 1), leastGC), mostGC))
}
