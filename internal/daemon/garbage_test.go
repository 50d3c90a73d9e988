package daemon

import "testing"

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
