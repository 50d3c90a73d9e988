package corrupt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/crashwitness"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// A logSubject is a log's life.
type logSubject struct {
	keys      rig.Keys
	verifiers []string
	told      *rig.Told
}

// subjects are a witness, a log that was closed, one that was killed with its newest entries in the WAL, and its key file.
func subjects(seed uint64, r *campaign.Report) ([]subject, error) {
	phases, err := rig.Script(seed)
	if err != nil {
		return nil, err
	}
	fs := faultfs.New(vfs.NewCrashableMem())
	if err := rig.Create(fs, phases[0].Keys); err != nil {
		return nil, err
	}
	told := new(rig.Told)
	var older, killed *vfs.MemFS
	var atKill *rig.Told
	for i, p := range phases {
		l, err := rig.Open(fs, p.Keys, told, nil)
		if err != nil {
			return nil, err
		}
		for _, s := range p.Steps {
			if err := l.Do(s); err != nil {
				return nil, errors.Join(err, l.Close())
			}
		}
		if i == len(phases)-1 {
			atKill = told.Clone(told.Mark())
			killed = fs.Image(faultfs.None, 0)
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		if i == len(phases)-2 {
			older = fs.Image(faultfs.All, 0)
		}
	}
	acks, _ := told.Until(told.Mark())
	r.Acknowledged = uint64(len(acks))
	last := phases[len(phases)-1].Keys
	verifiers := rig.Verifiers(phases)
	closed := logSubject{last, verifiers, told}
	open := logSubject{last, verifiers, atKill}
	w, err := witness(seed)
	if err != nil {
		return nil, err
	}
	return []subject{
		w,
		{"a log at rest", fs.Image(faultfs.All, 0), older, closed.try},
		{"a log that was killed", killed, older, open.try},
		keySubject(last.Signers[0]),
	}, nil
}

func witness(seed uint64) (subject, error) {
	files, before, try, err := crashwitness.Rest(seed)
	return subject{"a witness at rest", files, before, func(mem *vfs.MemFS) error {
		refusal, err := try(mem)
		if refusal != nil {
			return fmt.Errorf("%w: %w", errRefused, refusal)
		}
		return err
	}}, err
}

// try starts the log and reads all of it.
func (s logSubject) try(mem *vfs.MemFS) error {
	told := s.told.Clone(s.told.Mark())
	acks, trees := told.Until(told.Mark())
	l, err := rig.Open(mem, s.keys, new(rig.Told), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	err = reads(l, acks, trees)
	closed := l.Close()
	if err != nil {
		return err
	}
	if closed != nil {
		return fmt.Errorf("%w: at the end: %w", errOnRead, closed)
	}
	disk, err := oracle.Read(mem, rig.StoreDir+"/log", s.verifiers)
	if errors.Is(err, oracle.ErrUnreadable) {
		return fmt.Errorf("%w: %w", errOnRead, err)
	}
	if err != nil {
		return err
	}
	return disk.Keeps(acks, trees, s.verifiers)
}

// lookupTime is how long the lookup index may take to catch up. One that does not says how far it is.
const lookupTime = 30 * time.Second

// reads asks a log for everything. An error is an answer that deceives nobody.
func reads(l *rig.Log, acks []oracle.Ack, trees []oracle.Tree) error {
	size, root := l.Seq.Signed().Size, tlog.Hash(l.Seq.Signed().Root)
	found := func(what string, err error) error { return fmt.Errorf("%w: %s: %w", errOnRead, what, err) }
	for _, t := range trees {
		if t.Size > size {
			return fmt.Errorf("%w: it started with %d entries, %d were signed", oracle.ErrFork, size, t.Size)
		}
		if t.Size == 0 {
			continue
		}
		hashes, err := l.Store.Consistency(t.Size, size)
		if err != nil {
			return found("a consistency proof", err)
		}
		if err := tlog.CheckTree(tlog.TreeProof(proof(hashes)), int64(size), root, int64(t.Size), tlog.Hash(t.Root)); err != nil {
			return fmt.Errorf("%w: the proof from size %d to %d: %w", oracle.ErrFork, t.Size, size, err)
		}
	}
	authors := 0
	for i := range size {
		b, err := l.Store.Entry(i, size)
		if err != nil {
			return found(fmt.Sprintf("entry %d", i), err)
		}
		hashes, err := l.Store.Inclusion(i, size)
		if err != nil {
			return found(fmt.Sprintf("the proof of entry %d", i), err)
		}
		if err := tlog.CheckRecord(proof(hashes), int64(size), root, int64(i), tlog.RecordHash(b)); err != nil {
			return fmt.Errorf("%w: the proof of entry %d: %w", oracle.ErrFalse, i, err)
		}
		if strings.Contains(string(b), "\npath authors/id/E/ET/ETHER/") {
			authors++
		}
	}
	for _, a := range acks {
		b, err := l.Store.Entry(a.Index, size)
		if err != nil {
			return found(fmt.Sprintf("entry %d", a.Index), err)
		}
		if a.Entry != nil && !bytes.Equal(b, a.Entry) {
			return fmt.Errorf("%w: entry %d is another", oracle.ErrLost, a.Index)
		}
	}
	ctx, cancel := context.WithTimeout(l.Dead, lookupTime)
	defer cancel()
	l.Store.WaitIndexed(ctx, size)
	if ctx.Err() != nil {
		return found("a lookup", fmt.Errorf("complete only up to %d of %d", l.Store.Indexed(), size))
	}
	f, err := l.Store.Find(store.ByAuthor, "ETHER", 0, size, int(size)+1, false)
	if err != nil {
		return found("a lookup", err)
	}
	if len(f) != authors {
		return fmt.Errorf("%w: a lookup finds %d of an author's %d entries", oracle.ErrFalse, len(f), authors)
	}
	return nil
}

func proof(hashes []tree.Hash) (p tlog.RecordProof) {
	for _, h := range hashes {
		p = append(p, tlog.Hash(h))
	}
	return p
}

// keySubject is a key's file: what is read from it is the same key, or nothing.
func keySubject(k *checkpoint.SignerKey) subject {
	mem := vfs.NewCrashableMem()
	if err := faultfs.WriteFile(mem, "/ed25519.key", []byte(k.Secret()+"\n")); err != nil {
		panic(err) // in memory
	}
	return subject{"a key", mem, nil, func(mem *vfs.MemFS) error {
		b, err := faultfs.ReadFile(mem, "/ed25519.key")
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		read, err := checkpoint.ParseSignerKey(strings.TrimSuffix(string(b), "\n"))
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if read.Verifier().String() != k.Verifier().String() {
			return fmt.Errorf("%w: it is another key", oracle.ErrFalse)
		}
		return nil
	}}
}

// count counts what was not noticed.
func count(r *campaign.Report, err error) {
	switch {
	case errors.Is(err, oracle.ErrLost):
		r.Lost++
	case errors.Is(err, oracle.ErrFork):
		r.Forks++
	default:
		r.False++
	}
}
