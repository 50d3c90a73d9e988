package sequencer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// A Signed is a checkpoint that this log has signed, of a tree that is durable. With
// witnesses' cosignatures in its note it may be a published one too. It never changes.
type Signed struct {
	Size uint64
	Root tree.Hash
	Time uint64 // seconds since 1970: when it became the newest tree
	Note []byte // with the signature lines of Ed25519 type only

	all  func() ([]byte, error)
	next chan struct{} // closed when there is a newer one
}

// NewSigned is a checkpoint with a note, which all returns with all its signature lines.
func NewSigned(size uint64, root tree.Hash, time uint64, note []byte, all func() ([]byte, error)) *Signed {
	return &Signed{Size: size, Root: root, Time: time, Note: note, all: all, next: make(chan struct{})}
}

// All returns the note with all its signature lines. Those of ML-DSA-44 are made when they
// are first asked for: they cost fifty times an Ed25519 signature, and under load most
// checkpoints are superseded unseen.
func (c *Signed) All() ([]byte, error) { return c.all() }

// Newer is closed once there is a newer checkpoint than c in the Newest that holds it.
func (c *Signed) Newer() <-chan struct{} { return c.next }

// Newest holds the newest of a series of checkpoints. One goroutine sets; any number read
// and wait.
type Newest struct{ newest atomic.Pointer[Signed] }

// Get returns the newest checkpoint; nil before the first.
func (n *Newest) Get() *Signed { return n.newest.Load() }

// Set makes c the newest checkpoint.
func (n *Newest) Set(c *Signed) {
	if old := n.newest.Swap(c); old != nil {
		close(old.next)
	}
}

// Wait waits until the newest checkpoint has at least this size. Once stopped is closed it
// returns ErrClosing.
func (n *Newest) Wait(ctx context.Context, size uint64, stopped <-chan struct{}) (*Signed, error) {
	for {
		c := n.Get()
		if c.Size >= size {
			return c, nil
		}
		select {
		case <-c.next:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-stopped:
			return nil, ErrClosing
		}
	}
}

// Signed is the newest checkpoint that this log has signed.
func (s *Sequencer) Signed() *Signed { return s.signed.Get() }

// Published is the newest checkpoint that readers may see of a log that needs no
// cosignatures: the newest signed one.
func (s *Sequencer) Published() *Signed { return s.Signed() }

// WaitPublished waits until a checkpoint of at least this size is published, by a log that
// needs no cosignatures.
func (s *Sequencer) WaitPublished(ctx context.Context, size uint64) (*Signed, error) {
	return s.signed.Wait(ctx, size, s.stopped)
}

// Waiting says what publishing waits for, by a log that needs no cosignatures: nothing.
func (s *Sequencer) Waiting() string { return "" }

// Stopped is closed once nothing will be signed any more.
func (s *Sequencer) Stopped() <-chan struct{} { return s.stopped }

// WithMLDSA returns a note of a checkpoint with the ML-DSA-44 lines of this log's keys.
// time is when its tree was the newest.
func (s *Sequencer) WithMLDSA(note []byte, time uint64) ([]byte, error) {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err != nil {
		return nil, err
	}
	for _, k := range s.mldsa {
		sig, err := k.Sign(c, time)
		if err != nil {
			return nil, err
		}
		n = n.With(sig)
	}
	// The log's own lines before those of witnesses, for people who read it.
	slices.SortStableFunc(n.Signatures, func(a, b checkpoint.Signature) int {
		return cmp.Compare(s.foreign(a), s.foreign(b))
	})
	return n.Marshal(), nil
}

// foreign is 0 for a signature line in this log's name, and 1 for others.
func (s *Sequencer) foreign(sig checkpoint.Signature) int {
	if sig.Name == s.c.Origin {
		return 0
	}
	return 1
}

func (s *Sequencer) setSigned(h *store.Head) {
	s.signed.Set(NewSigned(h.Size, h.State.Root, h.Time, h.Note, sync.OnceValues(func() ([]byte, error) {
		return s.WithMLDSA(h.Note, h.Time)
	})))
}
