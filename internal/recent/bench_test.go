package recent

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// aTree is a Z file of so many events; PAUSE has about 400,000.
func aTree(format string, events int) string {
	w := newWriter(Authors, format, 0, "Z")
	for i := range events {
		author := fmt.Sprintf("A%c%03d", 'A'+i%26, i%1000)
		w.slices[0].events = append(w.slices[0].events, change{tick(1_700_000_000-1000*int64(i))*second + tick(i%99999),
			fmt.Sprintf("id/%s/%s/%s/Some-Distribution-Name-0.%d.tar.gz", author[:1], author[:2], author, i), TypeNew})
	}
	return strings.Replace(w.text(w.slices[0]), "aggregator: \n", "aggregator: []\n", 1)
}

func BenchmarkParse(b *testing.B) {
	for _, format := range []string{"json", "yaml"} {
		text := []byte(aTree(format, 400_000))
		b.Run(format, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				f, err := Parse("authors/RECENT-Z."+format, text)
				if err != nil || len(f.Events) != 400_000 {
					b.Fatalf("%d events, %v", len(f.Events), err)
				}
			}
		})
	}
}

// Memory is bounded by the size of the file, and there is one allocation for each event.
func TestParseAllocatesLittle(t *testing.T) {
	const events = 20_000
	for _, format := range []string{"json", "yaml"} {
		text := []byte(aTree(format, events))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f, err := Parse("authors/RECENT-Z."+format, text)
		runtime.ReadMemStats(&after)
		if err != nil || len(f.Events) != events {
			t.Fatalf("%s: %v", format, err)
		}
		if n := after.Mallocs - before.Mallocs; n > events+100 {
			t.Errorf("%s: %d allocations for %d events", format, n, events)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 6*uint64(len(text)) {
			t.Errorf("%s: %d bytes allocated for a file of %d", format, n, len(text))
		}
	}
}
