package rig

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
)

// A Life is what a log does without faults, and what is before each of its starts.
type Life struct {
	Phases    []Phase
	Verifiers []string
	Before    []*vfs.MemFS // the disk before each phase
	Told      []*Told      // what was told before each phase
	Ops       []int        // how many operations each phase has
	All       *Told        // what was told in the end
}

// NewLife lives the script of a seed.
func NewLife(seed uint64) (*Life, error) {
	phases, err := Script(seed)
	if err != nil {
		return nil, err
	}
	w := &Life{Phases: phases, Verifiers: Verifiers(phases), All: new(Told)}
	fs := faultfs.New(vfs.NewCrashableMem())
	if err := Create(fs, phases[0].Keys); err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	for i, p := range phases {
		w.Before = append(w.Before, fs.Image(faultfs.All, 0))
		w.Told = append(w.Told, w.All.Clone(w.All.Mark()))
		n := fs.Count()
		if err := live(fs, p, w.All); err != nil {
			return nil, fmt.Errorf("start %d without a fault: %w", i, err)
		}
		w.Ops = append(w.Ops, fs.Count()-n)
	}
	return w, Verify(fs.Image(faultfs.All, 0), w.Verifiers, w.All)
}

func live(fs vfs.FS, p Phase, told *Told) error {
	l, err := Open(fs, p.Keys, told, nil)
	if err != nil {
		return err
	}
	for _, s := range p.Steps {
		if err := l.Do(s); err != nil {
			return err
		}
	}
	return l.Close()
}
