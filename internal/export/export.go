// Package export writes the static proof tree of a log (package log/prooftree) into a folder,
// and brings it up to date: for a mirror, a web server, or to take along.
//
// A run does this, in this order:
//
//  1. It locks the folder, and opens the checkpoint that lies in it, of size D.
//  2. It takes the log's newest checkpoint, of size S, which must continue both that one and the
//     one that was remembered.
//  3. It reads the entries from D to S. Nothing of them is written before a consistency proof
//     shows that they are those of the checkpoint.
//  4. It writes full tiles and bundles, then the partial ones at S, then the shards that change.
//  5. It writes the checkpoint.
//  6. It removes partial tiles that neither S nor D has.
//
// Each file is replaced as a whole, and durable before the next step. So the folder is at any
// moment a whole tree for the checkpoint that is in it: a crash before step 5 leaves the old
// checkpoint with files that it does not know of, and the next run goes on from D, finds what was
// written, and writes the same. A reader who holds the checkpoint of size D keeps its partial tiles for one
// more run.
//
// That the folder is as it was written is taken for granted, except for what a run needs of it: the partial
// tiles at D, which are verified, and the shards that it changes. A full run reads the whole log
// again and mends everything else.
package export

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

var (
	// ErrBusy says that another export is at work in the folder.
	ErrBusy = errors.New("another export is at work in the folder")

	// ErrDamaged says that the folder is not as an export has left it.
	ErrDamaged = errors.New("the folder's proof tree is damaged")
)

// A Config is what to export, and where to.
type Config struct {
	Dir    string // is made if it is not there
	Policy *checkpoint.Policy
	Conn   grpc.ClientConnInterface // to a log, which is not trusted
	Memory client.Memory            // may be nil

	// Full reads the log from its first entry on, and replaces what differs.
	Full bool
	// Progress is told how many entries were read, of how many. It may be nil.
	Progress func(done, size uint64)

	held int // bytes of shards in memory, in place of heldBytes
}

// A Report is what was done.
type Report struct {
	Origin  string
	Size    uint64
	Root    tree.Hash
	Before  uint64 // the size that the folder had
	Written int    // files, the checkpoint included
	Removed int
	// Unlisted counts entries that were read and whose format is newer than this program: they are in
	// the tree, and not in the path index.
	Unlisted uint64
}

// Run exports. Its errors wrap those of package client, checkpoint.ErrQuorum, ErrBusy and ErrDamaged.
func Run(ctx context.Context, c Config) (*Report, error) {
	f, err := openFolder(c.Dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return run(ctx, c, f)
}

func run(ctx context.Context, c Config, f *folder) (*Report, error) {
	old, err := f.tree(ctx, c.Policy)
	if err != nil {
		return nil, err
	}
	seen, err := newest(ctx, c, old)
	if err != nil {
		return nil, err
	}
	r := &Report{Origin: seen.Origin, Size: seen.Size, Root: seen.Root}
	if old != nil {
		r.Before = old.Size
	}
	if old == nil || c.Full || seen.Size > old.Size {
		if err := grow(ctx, c, f, old, seen, r); err != nil {
			return nil, err
		}
	}
	if old == nil || seen.Size > old.Size || fresher(old, seen) {
		if err := f.write("checkpoint", seen.Note); err != nil {
			return nil, err
		}
	}
	if err := f.clean(seen.Size, r.Before); err != nil {
		return nil, err
	}
	r.Written, r.Removed = int(f.written.Load()), f.removed
	return r, nil
}

// newest returns the log's newest checkpoint, if the folder may go on to it.
func newest(ctx context.Context, c Config, old *prooftree.Tree) (*client.Seen, error) {
	// The folder remembers a checkpoint as the trust state does, and both must be continued by
	// the same one.
	conn := &pinned{ClientConnInterface: c.Conn}
	seen, err := client.New(conn, c.Policy, c.Memory).Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if !seen.QuorumMet {
		return nil, fmt.Errorf("%w: the newest checkpoint of %s, size %d, has %d cosignatures that the policy knows: nothing was exported",
			checkpoint.ErrQuorum, seen.Origin, seen.Size, len(seen.Cosignatures))
	}
	if old == nil {
		return seen, nil
	}
	if old.Origin != seen.Origin {
		return nil, fmt.Errorf("%s holds the proof tree of %s, and the server shows %s: export it to another folder", c.Dir, old.Origin, seen.Origin)
	}
	if _, err := client.New(conn, c.Policy, fixed(old.Note)).Checkpoint(ctx); err != nil {
		return nil, err
	}
	if seen.Size < old.Size {
		return nil, fmt.Errorf("%w: %s holds the tree of size %d, and the server shows size %d", client.ErrBehind, c.Dir, old.Size, seen.Size)
	}
	return seen, nil
}

// fixed is a client.Memory that always remembers one checkpoint.
type fixed []byte

func (f fixed) Load(string) ([]byte, error)       { return f, nil }
func (f fixed) Save(string, []byte, []byte) error { return nil }

// pinned asks for the newest checkpoint once, and answers with that from then on.
type pinned struct {
	grpc.ClientConnInterface
	note string
}

func (p *pinned) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	r, ok := reply.(*pb.GetCheckpointResponse)
	if ok && p.note != "" {
		r.Checkpoint = p.note
		return nil
	}
	err := p.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if ok && err == nil {
		p.note = r.Checkpoint
	}
	return err
}

// fresher reports whether a checkpoint of the same tree is worth replacing the folder's: it was
// signed later, or the quorum is met by it alone.
func fresher(old *prooftree.Tree, seen *client.Seen) bool {
	return !old.QuorumMet || signedAt(seen.Opened) > signedAt(old.Opened)
}

// signedAt is the latest time in a checkpoint's signatures that are known.
func signedAt(o *checkpoint.Opened) (latest uint64) {
	for _, t := range o.LogTimes {
		latest = max(latest, t)
	}
	for _, c := range o.Cosignatures {
		latest = max(latest, c.Time)
	}
	return latest
}
