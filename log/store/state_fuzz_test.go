package store

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

// A state that was read is what would be written for it; what is too short is damage, and nothing else is told of it.
func FuzzUnmarshalState(f *testing.F) {
	for _, s := range []State{{}, {Size: 7, Root: tree.Hash{9}, Previous: 6, Time: 1_700_000_000, Note: []byte("log.example/pause\n7\n")}, {Size: 1<<64 - 1, Previous: 1<<64 - 1}} {
		f.Add(s.marshal())
		f.Add(s.marshal()[:40])
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		s, err := unmarshalState(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%x: %v is not damage", b, err)
			}
			return
		}
		if again := s.marshal(); !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
		// The note is a copy: what it came from is the store's own memory.
		for i := range s.Note {
			s.Note[i] ^= 0xff
		}
		if !bytes.Equal(b, before) {
			t.Error("the state shares its input's memory")
		}
	})
}
