package sequencer

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// ErrRefused says that a log was not started, because it could sign a second tree of a
// size that it has signed before. Nothing overrides it.
var ErrRefused = errors.New("refusing to start")

// Init returns the state of an empty log, signed, to create its store and head with.
func Init(origin string, signers []*checkpoint.SignerKey, now time.Time) (store.State, head.Head, error) {
	s := Sequencer{c: Config{Origin: origin, Signers: signers}}
	if err := s.takeKeys(); err != nil {
		return store.State{}, head.Head{}, err
	}
	note, err := s.sign(checkpoint.Checkpoint{Origin: origin, Root: tree.EmptyRoot})
	if err != nil {
		return store.State{}, head.Head{}, err
	}
	return store.State{Root: tree.EmptyRoot, Time: uint64(max(1, now.Unix())), Note: note},
		head.Head{Origin: origin, Root: tree.EmptyRoot}, nil
}

// Open starts the sequencer of a log, if its store holds at least what was signed before.
func Open(c Config) (*Sequencer, error) { return open(c, order) }

func open(c Config, steps []step) (*Sequencer, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sequencer{
		c:         c,
		queue:     make(chan *Pending, maxQueued),
		closing:   make(chan struct{}),
		commits:   make(chan *commit),
		idle:      make(chan struct{}, 1),
		conflicts: map[pair]uint64{},
		steps:     steps,
		stopped:   make(chan struct{}),
	}
	if err := s.takeKeys(); err != nil {
		return nil, err
	}
	h := c.Store.Head()
	if err := s.compare(h); err != nil {
		return nil, err
	}
	// Readers are shown one set of keys, also before the next commit.
	note, err := s.currentNote(h.Note, checkpoint.Checkpoint{Origin: c.Origin, Size: h.Size, Root: h.State.Root})
	if err != nil {
		return nil, fmt.Errorf("%w: the checkpoint in the data folder: %w", ErrRefused, err)
	}
	if !bytes.Equal(note, h.Note) {
		c.Log.Info("the log's keys have changed; those of now sign its newest checkpoint, of the same tree", "size", h.Size)
		now := *h
		now.Note = note
		h = &now
	}
	err = c.Store.Conflicts(func(i uint64, e *entry.Entry) error {
		s.conflicts[pairOf(e.Path, e.SHA256, e.Other)] = i
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.held.Store(c.Held)
	s.time = h.Time
	s.advanced.Store(h.Size)
	s.setSigned(h)
	s.release()
	go s.stage()
	go s.commit()
	return s, nil
}

func (s *Sequencer) takeKeys() error {
	for _, k := range s.c.Signers {
		v := k.Verifier()
		if v.Name() != s.c.Origin {
			return fmt.Errorf("the key is named %s, the log %s: a log's keys are named like its origin", v.Name(), s.c.Origin)
		}
		switch v.Algorithm() {
		case checkpoint.Ed25519:
			s.ed25519 = append(s.ed25519, k)
		case checkpoint.MLDSA44:
			s.mldsa = append(s.mldsa, k)
		default:
			return fmt.Errorf("a log does not sign with %v", v.Algorithm())
		}
	}
	if len(s.ed25519) == 0 {
		return errors.New("a log needs an Ed25519 key")
	}
	return nil
}

// compare is the start-up comparison: with P the tree that the store recomputed from
// disk and H the second head, the log goes on only if nothing that H says was signed is
// missing from P, and P is at most the one commit ahead that a crash leaves.
func (s *Sequencer) compare(p *store.Head) error {
	h := s.c.Head.Head()
	c, err := s.ownCheckpoint(p.Note)
	if err != nil {
		return fmt.Errorf("%w: the checkpoint in the data folder is not this log's: %w", ErrRefused, err)
	}
	switch {
	case c.Size != p.Size || c.Root != p.State.Root:
		return fmt.Errorf("%w: %w: its checkpoint is of size %d and root %v, its tree of size %d and root %v",
			ErrRefused, store.ErrDamaged, c.Size, c.Root, p.Size, p.State.Root)
	case h.Origin != s.c.Origin:
		return fmt.Errorf("%w: the head file is of the log %s, the data folder of %s", ErrRefused, h.Origin, s.c.Origin)
	case p.Size < h.Size:
		return behind{fmt.Errorf("%w: the data folder holds %d entries, but %d were signed (the head file says): entries %d to %d are missing. "+
			"The folder was replaced by an older copy, or the disk lost its newest data; to sign now would fork the log. "+
			"Put back the newest copy of the data folder, one that holds at least %d entries, or have 'pauselogd recover' bring "+
			"back what is missing from a copy of the log", ErrRefused, p.Size, h.Size, p.Size, h.Size-1, h.Size)}
	}
	root, err := s.c.Store.Root(h.Size)
	if err != nil {
		return err
	}
	if root != h.Root {
		return fmt.Errorf("%w: the first %d of the data folder's %d entries have root %v, but root %v was signed for size %d (the head file says). "+
			"The folder and the head file are of two different histories; to sign now would fork the log. "+
			"Put back the data folder that belongs to this head file", ErrRefused, h.Size, p.Size, root, h.Root, h.Size)
	}
	if p.Size > h.Size && p.Previous != h.Size {
		// The head is written after each commit, before the next.
		return fmt.Errorf("%w: the data folder holds %d entries, and its last commit began at %d, but the head file says that only %d were signed. "+
			"The head file was replaced by an older copy, or the disk lost what was written to it. "+
			"Put back the newest copy of the head file, one that says at least size %d", ErrRefused, p.Size, p.Previous, h.Size, p.Previous)
	}
	if p.Size > h.Size {
		// A crash between steps 3 and 4: the batch is whole, nobody was told of it, and its
		// checkpoint is signed. It stands, and must be in both heads before anything else.
		s.c.Log.Warn("the last commit was not in the head file; it is complete and stands", "size", p.Size, "head", h.Size)
		if err := s.c.Head.Write(head.Head{Origin: s.c.Origin, Size: p.Size, Root: p.State.Root}); err != nil {
			return err
		}
	}
	return nil
}

// behind is an error about a data folder that lacks what was signed: for whoever asks it is damaged, though
// all of its own parts agree.
type behind struct{ error }

func (b behind) Unwrap() error { return b.error }

// Is reports whether target is store.ErrDamaged.
func (behind) Is(target error) bool { return target == store.ErrDamaged }

// ownCheckpoint parses a note that one of this log's Ed25519 keys must have signed, one that
// signs now or a retired one. A wrong line of any of them means that the note is damaged.
func (s *Sequencer) ownCheckpoint(note []byte) (checkpoint.Checkpoint, error) {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	if c.Origin != s.c.Origin {
		return checkpoint.Checkpoint{}, fmt.Errorf("it is one of %s, the log is %s", c.Origin, s.c.Origin)
	}
	var own []*checkpoint.VerifierKey
	for _, k := range s.ed25519 {
		own = append(own, k.Verifier())
	}
	for _, v := range s.c.Retired {
		// A line under another name counts for nobody; a time of ML-DSA says nothing here.
		if v.Name() == s.c.Origin && v.Algorithm() == checkpoint.Ed25519 {
			own = append(own, v)
		}
	}
	signed := false
	for _, sig := range n.Signatures {
		for _, v := range own {
			if !v.Matches(sig) {
				continue
			}
			if _, err := v.Verify(n.Text, sig); err != nil {
				return checkpoint.Checkpoint{}, err
			}
			signed = true
		}
	}
	if !signed {
		return checkpoint.Checkpoint{}, fmt.Errorf("it has no signature by a key of %s", s.c.Origin)
	}
	return c, nil
}

// currentNote returns the note of the checkpoint c with a line of each of the log's Ed25519
// keys, and no other. Lines that the note has are kept; a key that was added since signs. That
// is no statement beyond those that were made, because the checkpoint is the same.
func (s *Sequencer) currentNote(note []byte, c checkpoint.Checkpoint) ([]byte, error) {
	old, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, err
	}
	n := checkpoint.Note{Text: c.Text()}
	for _, k := range s.ed25519 {
		var sig checkpoint.Signature
		if i := slices.IndexFunc(old.Signatures, k.Verifier().Matches); i >= 0 {
			sig = old.Signatures[i]
			_, err = k.Verifier().Verify(n.Text, sig)
		} else {
			sig, err = k.Sign(c, 0)
		}
		if err != nil {
			return nil, err
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal(), nil
}

// sign signs with each Ed25519 key.
func (s *Sequencer) sign(c checkpoint.Checkpoint) ([]byte, error) {
	n := checkpoint.Note{Text: c.Text()}
	for _, k := range s.ed25519 {
		sig, err := k.Sign(c, 0)
		if err != nil {
			return nil, err
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal(), nil
}
