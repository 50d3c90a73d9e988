package main

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// How long a submitter waits until its entry is published, with three witnesses on this machine and
// nothing else to do: one submission at a time.
func BenchmarkSubmitToPublished(b *testing.B) {
	n := newNetwork(b)
	n.startAll()
	n.publish(0, 1)
	var took []time.Duration
	for number := 1; b.Loop(); number++ {
		began := time.Now()
		a, err := n.submit(b.Context(), number, published)
		if err == nil && a.bundle == "" {
			err = errors.New("there is no bundle")
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
