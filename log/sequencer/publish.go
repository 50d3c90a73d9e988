package sequencer

import (
	"context"
	"sync"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// A Published is a checkpoint that readers may see: durable, signed, and (with a policy
// that asks for no cosignatures, the only one that this log has yet) nothing more. All
// that is served is clipped to its size. It never changes.
type Published struct {
	Size uint64
	Root tree.Hash
	Time uint64 // seconds since 1970: when it became the newest tree
	Note []byte // with the signature lines of Ed25519 type only

	all  func() ([]byte, error)
	next chan struct{} // closed when there is a newer one
}

// All returns the note with all its signature lines. Those of ML-DSA-44 are made when they
// are first asked for: they cost fifty times an Ed25519 signature, and under load most
// checkpoints are superseded unseen.
func (p *Published) All() ([]byte, error) { return p.all() }

// Published is the newest published checkpoint.
func (s *Sequencer) Published() *Published { return s.published.Load() }

// Newer is closed once there is a newer checkpoint than p.
func (p *Published) Newer() <-chan struct{} { return p.next }

// WaitPublished waits until a checkpoint of at least this size is published.
func (s *Sequencer) WaitPublished(ctx context.Context, size uint64) (*Published, error) {
	for {
		p := s.Published()
		if p.Size >= size {
			return p, nil
		}
		select {
		case <-p.next:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.stopped:
			return nil, ErrClosing
		}
	}
}

func (s *Sequencer) publish(h *store.Head) {
	p := &Published{Size: h.Size, Root: h.State.Root, Time: h.Time, Note: h.Note, next: make(chan struct{})}
	p.all = sync.OnceValues(func() ([]byte, error) {
		n, err := checkpoint.ParseNote(p.Note)
		if err != nil {
			return nil, err
		}
		c := checkpoint.Checkpoint{Origin: s.c.Origin, Size: p.Size, Root: p.Root}
		for _, k := range s.mldsa {
			sig, err := k.Sign(c, p.Time)
			if err != nil {
				return nil, err
			}
			n = n.With(sig)
		}
		return n.Marshal(), nil
	})
	if old := s.published.Swap(p); old != nil {
		close(old.next)
	}
}
