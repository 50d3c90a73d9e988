package daemon

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestGarbageIsBoundedAndCollectingStaysCheap(t *testing.T) {
	for _, tt := range []struct {
		used uint64
		want int
	}{{0, 100}, {10 << 20, 100}, {24 << 20, 100}, {48 << 20, 50}, {200 << 20, 12}, {1 << 40, 12}} {
		if got := percentOf(tt.used); got != tt.want {
			t.Errorf("%d bytes in use: %d %%, want %d %%", tt.used, got, tt.want)
		}
	}
}

// A log that has grown, or whose readers have filled its caches, since it was started does not have as much garbage
// again: the limit follows what is in use, and is not set again for nothing.
func TestTheLimitOfGarbageFollowsUse(t *testing.T) {
	uses := []uint64{10 << 20, 10 << 20, 48 << 20, 200 << 20, 300 << 20, 48 << 20}
	ended, ticks := make(chan struct{}), make(chan time.Time, len(uses))
	var asked int
	var set []int
	for range len(uses) - 1 {
		ticks <- time.Time{}
	}
	followUse(ended, ticks, func() uint64 {
		if asked++; asked == len(uses) {
			close(ended)
		}
		return uses[asked-1]
	}, func(percent int) { set = append(set, percent) })
	if want := []int{100, 50, 12, 50}; !slices.Equal(set, want) {
		t.Errorf("set to %v, want %v", set, want)
	}
	keep := make([]byte, 64<<20)
	runtime.GC()
	if n := inUse(); n < 64<<20 || n > 1<<40 {
		t.Errorf("%d bytes in use, with %d in one slice", n, len(keep))
	}
	runtime.KeepAlive(keep)
}
