package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever bodies do, they never have more than there is, and nothing stays when they are gone.
func TestMemoryIsBounded(t *testing.T) {
	const all, perClient, largest = 100_000, 40_000, 20_000
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(all, perClient, 2*time.Second)
				check := func() {
					m.mu.Lock()
					defer m.mu.Unlock()
					if m.all.used > all || m.all.used < 0 || m.all.leaving > m.all.used || m.all.leaving < 0 {
						t.Errorf("%+v", m.all)
					}
					for c, s := range m.clients {
						if s.used > perClient || s.used < 0 {
							t.Errorf("%v: %+v", c, *s)
						}
					}
				}
				outcomes := map[error]int{}
				var mu sync.Mutex
				var bodies sync.WaitGroup
				for i := range 200 {
					r := rand.New(rand.NewPCG(seed, uint64(i)))
					pause := func() { time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond) }
					bodies.Go(func() {
						pause()
						b := m.enter(clientOf(fmt.Sprintf("192.0.2.%d:7", i%5)), func() {})
						defer b.release()
						var err error
						for held := 0; held < largest && err == nil && r.IntN(4) > 0; check() {
							n := 1 + r.IntN(largest-held)
							err = b.grow(t.Context(), int64(n))
							held += n
							pause()
						}
						if !b.complete() {
							err = errCut
						}
						mu.Lock()
						outcomes[err]++
						mu.Unlock()
						if err == nil {
							pause()
							pause()
						}
					})
				}
				bodies.Wait()
				if n, bytes := m.stats(); n != 0 || bytes != 0 || len(m.clients) != 0 || m.all.leaving != 0 || m.waiting.Len() != 0 || m.coming.Len() != 0 {
					t.Errorf("%d bodies, %d bytes, %d clients, %d leaving, %d waiting and %d coming stay", n, bytes, len(m.clients), m.all.leaving,
						m.waiting.Len(), m.coming.Len())
				}
				if outcomes[nil] == 0 || outcomes[errCut] == 0 {
					t.Errorf("the outcomes are %v", outcomes)
				}
				for err := range outcomes {
					if err != nil && !errors.Is(err, errCut) && !errors.Is(err, errNoMemory) {
						t.Errorf("an outcome is %v", err)
					}
				}
			})
		})
	}
}

// A body that fits into its first buffer gets through at once, while those who know all of this do
// their worst: they are as many as connections, fill the memory and begin again when cut off.
func TestSmallBodiesGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(16<<20, 4<<20, 2*time.Second)
		var others sync.WaitGroup
		cuts := 0
		over := make(chan struct{})
		for range 511 {
			others.Go(func() {
				for {
					cut := make(chan struct{})
					b := m.enter(client{}, func() {
						cuts++ // m.mu is held
						close(cut)
					})
					for held := 0; held < 128<<10 && b.grow(t.Context(), 2*firstBuffer) == nil; held += 2 * firstBuffer {
						select {
						case <-cut: // a read ends at once
						case <-time.After(50 * time.Millisecond):
						}
					}
					select {
					case <-cut:
					case <-over:
						b.release()
						return
					}
					b.release()
				}
			})
		}
		for range 100 {
			time.Sleep(7 * time.Millisecond)
			b := m.enter(client{}, func() {})
			if err := b.grow(t.Context(), firstBuffer); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond) // the rest of the body is on its way
			if !b.complete() {
				t.Error("it was cut off")
			}
			if age := time.Since(b.since); age != 50*time.Millisecond {
				t.Errorf("it took %v", age)
			}
			b.release()
		}
		close(over)
		others.Wait()
		if cuts == 0 {
			t.Error("the memory was never full")
		}
	})
}
