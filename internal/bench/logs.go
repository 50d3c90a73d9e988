package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/token"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
)

const origin = "log.example/bench"

// A folder is a data folder with a token.
type folder struct {
	*datafolder.Folder
	secret string
}

// newFolder makes an empty log.
func (b *bench) newFolder(name string) (*folder, error) {
	name = fmt.Sprintf("%s-%d", name, b.round)
	f, err := datafolder.Init(filepath.Join(b.work, name), origin, "", time.Now())
	if err != nil {
		return nil, err
	}
	secret, _, err := token.Create(f.TokenFile(), "bench", []entry.Kind{entry.Upload}, []entry.Seen{entry.SeenUpload}, time.Now())
	return &folder{f, secret}, err
}

// remove deletes the log, so that the disk need not hold those of all rows.
func (f *folder) remove() error { return errors.Join(os.RemoveAll(f.Dir), os.Remove(f.Head)) }

// A local is a log that this process has open.
type local struct {
	head  *head.Keeper
	store *store.Store
	seq   *sequencer.Sequencer
}

func openLocal(f *datafolder.Folder) (*local, error) {
	k, err := head.Open(f.Head)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(f.StoreDir(), store.Options{})
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	q, err := sequencer.Open(sequencer.Config{Origin: f.Origin, Store: s, Head: k, Signers: f.Signers})
	if err != nil {
		return nil, errors.Join(err, s.Close(), k.Close())
	}
	return &local{k, s, q}, nil
}

func (l *local) close() error {
	l.seq.Close()
	return errors.Join(l.store.Close(), l.head.Close())
}

// settle waits until nothing works in the background any more.
func (l *local) settle(ctx context.Context) error {
	l.store.WaitIndexed(ctx, l.store.Head().Size)
	for ctx.Err() == nil && l.store.Metrics().Compact.NumInProgress+l.store.Metrics().Flush.NumInProgress > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// submit appends a group, all of which must be new, and waits until it is durable.
func (l *local) submit(ctx context.Context, group []entry.Entry) error {
	results, err := l.seq.Submit(ctx, pointers(group)...)
	if err != nil {
		return err
	}
	return checkNew(results)
}

func checkNew(results []sequencer.Result) error {
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
		if r.Repeated {
			return fmt.Errorf("entry %d was there before", r.Index)
		}
	}
	return nil
}

const rowFill = "the last fifth of the n entries"

// bigFolder is the log of n entries, made once by another process.
func (b *bench) bigFolder(ctx context.Context) (*folder, error) {
	if b.big != nil {
		return b.big, nil
	}
	f, err := b.newFolder("big")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(b.progress, "making a log of %d entries\n", b.n)
	p, err := b.start(ctx, task{Role: fillRole, Dir: f.Dir, To: uint64(b.n)})
	if err != nil {
		return nil, err
	}
	b.usage.start()
	said, err := p.line()
	if err != nil {
		return nil, err
	}
	b.usage.stop()
	perSecond, err := strconv.ParseFloat(said, 64)
	if err := errors.Join(err, p.wait()); err != nil {
		return nil, err
	}
	b.add("fill", rowFill, "/s", perSecond)
	b.big = f
	return f, nil
}

// bigLocal is the log of n entries, open in this process and at rest.
func (b *bench) bigLocal(ctx context.Context) (*local, error) {
	if b.local != nil {
		return b.local, nil
	}
	f, err := b.bigFolder(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.release(); err != nil {
		return nil, err
	}
	if b.local, err = openLocal(f.Folder); err != nil {
		return nil, err
	}
	return b.local, b.local.settle(ctx)
}

// bigServer is a server of the log of n entries.
func (b *bench) bigServer(ctx context.Context) (*server, error) {
	if b.server != nil {
		return b.server, nil
	}
	f, err := b.bigFolder(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.release(); err != nil {
		return nil, err
	}
	b.server, err = b.serve(ctx, f, "")
	return b.server, err
}

// release closes whatever has the log of n entries open.
func (b *bench) release() (err error) {
	if b.local != nil {
		err = b.local.close()
	}
	if b.server != nil {
		err = errors.Join(err, b.server.close())
	}
	b.local, b.server = nil, nil
	return err
}
