package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	// chunk is how many entries are held until they are proven: about 6 MB.
	chunk = 1 << 14
	// stallTime is how long to wait for the next entries.
	stallTime = time.Minute
	// writers is how many files are written at the same time, so that they are synced together.
	writers = 8
)

// grow writes everything but the checkpoint.
func grow(ctx context.Context, c Config, f *folder, old *prooftree.Tree, seen *client.Seen, r *Report) (err error) {
	g := &growth{folder: f, seen: seen, api: pb.NewLogClient(c.Conn), report: r, progress: c.Progress, shards: &shards{folder: f, fresh: old == nil || c.Full, limit: cmp.Or(c.held, heldBytes)}}
	defer func() { err = errors.Join(err, g.shards.close()) }()
	if g.shards.fresh {
		g.builder = prooftree.NewBuilder()
		if old != nil {
			g.mend = old.Size
		}
	} else if g.builder, err = old.Resume(ctx); err != nil {
		return damaged(f, err)
	}
	if err := g.read(ctx); err != nil {
		return err
	}
	if err := g.writeAll(ctx, partial(g.builder)); err != nil {
		return err
	}
	return g.shards.write(ctx, seen.Size)
}

func partial(b *prooftree.Builder) []prooftree.File { return slices.Collect(b.Partial()) }

func damaged(f *folder, err error) error {
	if !errors.Is(err, prooftree.ErrIncomplete) && !errors.Is(err, prooftree.ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %s: %w: a full export mends it", ErrDamaged, f.path, err)
}

// A growth is the tree on its way from the folder's size to the checkpoint's.
type growth struct {
	folder   *folder
	seen     *client.Seen
	api      pb.LogClient
	report   *Report
	progress func(done, size uint64)

	builder *prooftree.Builder
	shards  *shards
	mend    uint64 // a size whose partial files are made anew on the way; 0: none
}

// read reads the entries up to the checkpoint's size, and writes what became full.
func (g *growth) read(ctx context.Context) error {
	end := g.seen.Size
	if g.builder.Size() == end {
		return g.prove(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := g.api.ListEntries(ctx, &pb.ListEntriesRequest{Start: g.builder.Size(), End: end})
	if err != nil {
		return err
	}
	for g.builder.Size() < end {
		r, err := g.receive(ctx, cancel, stream)
		if err != nil {
			return err
		}
		at := g.builder.Size()
		if r.Start != at || len(r.Entries) == 0 || uint64(len(r.Entries)) > end-at {
			return fmt.Errorf("%w: %d entries from %d on, expected some from %d on", client.ErrAnswer, len(r.Entries), r.Start, at)
		}
		for _, e := range r.Entries {
			if err := g.add(ctx, []byte(e)); err != nil {
				return err
			}
		}
		if g.progress != nil {
			g.progress(g.builder.Size(), end)
		}
	}
	return nil
}

// receive returns the next entries, but does not wait for them for ever.
func (g *growth) receive(ctx context.Context, cancel context.CancelCauseFunc, stream pb.Log_ListEntriesClient) (*pb.ListEntriesResponse, error) {
	stall := time.AfterFunc(stallTime, func() {
		cancel(fmt.Errorf("%w: no entries for %v after %d", client.ErrAnswer, stallTime, g.builder.Size()))
	})
	defer stall.Stop()
	r, err := stream.Recv()
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the entries end after %d, the checkpoint has %d", client.ErrAnswer, g.builder.Size(), g.seen.Size)
	}
	return r, err
}

func (g *growth) add(ctx context.Context, text []byte) error {
	index := g.builder.Size()
	if err := g.builder.Add(text); err != nil {
		return fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	if e, err := entry.Parse(text); err != nil {
		g.report.Unlisted++
	} else if prooftree.Listed(e) {
		if err := g.shards.add(index, e.Path); err != nil {
			return err
		}
	}
	n := g.builder.Size()
	if n%chunk != 0 && n != g.seen.Size && n != g.mend {
		return nil
	}
	if err := g.prove(ctx); err != nil {
		return err
	}
	files := g.builder.Full()
	if n == g.mend {
		files = append(files, partial(g.builder)...)
	}
	return g.writeAll(ctx, files)
}

// prove checks that the entries so far are the first ones of the checkpoint's tree.
func (g *growth) prove(ctx context.Context) error {
	n, root := g.builder.Size(), g.builder.Root()
	var hashes []tree.Hash
	if n > 0 && n < g.seen.Size {
		r, err := g.api.GetConsistencyProof(ctx, &pb.GetConsistencyProofRequest{OldSize: n, NewSize: g.seen.Size})
		if err != nil {
			return err
		}
		if len(r.Hashes) > tree.MaxProof {
			return fmt.Errorf("%w: a proof of %d hashes", client.ErrAnswer, len(r.Hashes))
		}
		for _, h := range r.Hashes {
			if len(h) != tree.HashSize {
				return fmt.Errorf("%w: a hash of %d bytes", client.ErrAnswer, len(h))
			}
			hashes = append(hashes, tree.Hash(h))
		}
	}
	if err := tree.VerifyConsistency(n, g.seen.Size, hashes, root, g.seen.Root); err != nil {
		return fmt.Errorf("%w: its first %d entries are not those of its checkpoint of size %d: %w", client.ErrAnswer, n, g.seen.Size, err)
	}
	return nil
}

// writeAll writes files, in any order.
func (g *growth) writeAll(ctx context.Context, files []prooftree.File) error {
	var group errgroup.Group
	group.SetLimit(writers)
	for _, x := range files {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error { return g.folder.write(x.Tile.Path(), x.Data) })
	}
	return group.Wait()
}
