package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	antispam "github.com/transparency-dev/tessera/storage/posix/antispam"
	"golang.org/x/mod/sumdb/note"
)

// behind is how far the persistent deduplication may be behind the log before it refuses entries.
const behind = 1_000_000

// A tesseraLog is a log that this process writes.
type tesseraLog struct {
	appender *tessera.Appender
	reader   tessera.LogReader
	verifier note.Verifier
	dedup    *watched // nil without
	shutdown func(context.Context) error
}

// create makes an empty log in a folder, and keeps its key beside it.
func (s *session) create(ctx context.Context) (*tesseraLog, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example/bench")
	if err != nil {
		return nil, err
	}
	signer, err1 := note.NewSigner(skey)
	verifier, err2 := note.NewVerifier(vkey)
	if err := errors.Join(err1, err2, os.MkdirAll(s.Dir, 0o777), os.WriteFile(s.Dir+".vkey", []byte(vkey), 0o666)); err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: s.Dir})
	if err != nil {
		return nil, err
	}
	l := &tesseraLog{verifier: verifier}
	o := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithBatching(s.Batch, s.Age).WithCheckpointInterval(s.Interval)
	if s.Persist {
		storage, err := antispam.NewAntispam(ctx, filepath.Join(s.Dir, ".state", "antispam"), antispam.AntispamOpts{PushbackThreshold: behind})
		if err != nil {
			return nil, err
		}
		l.dedup = &watched{AntispamStorage: storage}
		o = o.WithAntispam(s.Memory, l.dedup)
	}
	l.appender, l.shutdown, l.reader, err = tessera.NewAppender(ctx, driver, o)
	return l, err
}

// watched is the persistent deduplication, of which one can ask how far it is.
type watched struct {
	*antispam.AntispamStorage
	follower tessera.Follower
}

func (w *watched) Follower(hash func([]byte) ([][]byte, error)) tessera.Follower {
	w.follower = w.AntispamStorage.Follower(hash)
	return w.follower
}

// add appends one entry and returns its index once it is durable.
func (l *tesseraLog) add(ctx context.Context, entry []byte) (tessera.Index, error) {
	return l.appender.Add(ctx, tessera.NewEntry(entry))()
}

// published waits for a checkpoint of at least this size. It looks each millisecond.
func (l *tesseraLog) published(ctx context.Context, size uint64) (*log.Checkpoint, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		raw, err := l.reader.ReadCheckpoint(ctx)
		if err == nil {
			var c *log.Checkpoint
			if c, _, _, err = log.ParseCheckpoint(raw, l.verifier.Name(), l.verifier); err != nil {
				return nil, err
			}
			if c.Size >= size {
				return c, nil
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// An answered entry is one that a caller was told the index of.
type answered struct {
	entry []byte
	index uint64
}

// check makes sure that a log has exactly as many entries as were answered, a sample of them where that was said,
// under a signed checkpoint.
func (l *tesseraLog) check(ctx context.Context, size uint64, sample []answered) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := l.published(ctx, size)
	if err != nil {
		return err
	}
	if c.Size != size {
		return fmt.Errorf("the checkpoint is of %d entries, %d were answered", c.Size, size)
	}
	b, err := client.NewProofBuilder(ctx, c.Size, l.reader.ReadTile)
	if err != nil {
		return err
	}
	for _, x := range sample {
		hashes, err := b.InclusionProof(ctx, x.index)
		if err != nil {
			return err
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, x.index, c.Size, rfc6962.DefaultHasher.HashLeaf(x.entry), hashes, c.Hash); err != nil {
			return fmt.Errorf("entry %d: %w", x.index, err)
		}
	}
	if l.dedup == nil {
		return nil
	}
	return l.checkRepeats(ctx, size, sample)
}

// checkRepeats waits until the persistent deduplication knows all entries, and submits some again.
func (l *tesseraLog) checkRepeats(ctx context.Context, size uint64, sample []answered) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := l.dedup.follower.EntriesProcessed(ctx)
		if err != nil {
			return err
		}
		if n >= size {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the deduplication has read %d of %d entries: %w", n, size, ctx.Err())
		}
	}
	for _, x := range sample {
		i, err := l.add(ctx, x.entry)
		if err != nil {
			return err
		}
		if !i.IsDup || i.Index != x.index {
			return fmt.Errorf("entry %d, submitted again: %+v", x.index, i)
		}
	}
	return nil
}
