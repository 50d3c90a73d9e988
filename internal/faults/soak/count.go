package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/internal/dial"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A tally is what the log has in the end.
type tally struct {
	entries uint64
	lost    uint64 // acknowledged, and not there
}

// count reads the whole log once all of the ledger can be published, hashes it with another implementation of the
// tree than the log's, and looks for each acknowledged entry where it was said to be.
func count(ctx context.Context, s *site, acks []ack) (t tally, err error) {
	want := uint64(0)
	for _, a := range acks {
		want = max(want, a.index+1)
	}
	c, err := awaitSize(ctx, s, want)
	if err != nil {
		return t, fmt.Errorf("waiting until size %d is published: %w", want, err)
	}
	t.entries = c.Size
	leaves, err := readLeaves(ctx, s, c)
	if err != nil {
		return t, err
	}
	if t.lost, err = missing(acks, leaves); err != nil {
		return t, err
	}
	_, err = s.command(ctx, "pauselog", "audit", "--policy", s.policyFile, "--server", "grpc://"+s.grpc, "--json")
	return t, err
}

// missing counts the acks whose leaf is not where it was said to be.
func missing(acks []ack, leaves []tree.Hash) (n uint64, err error) {
	for _, a := range acks {
		if a.index >= uint64(len(leaves)) || leaves[a.index] != a.leaf {
			n++
			if err == nil {
				err = fmt.Errorf("file %d was acknowledged as entry %d, which is another or not there", a.number, a.index)
			}
		}
	}
	return n, err
}

// awaitSize waits until a size is published.
func awaitSize(ctx context.Context, s *site, size uint64) (*checkpoint.Opened, error) {
	l := load{site: s}
	var why error
	for {
		code, body, err := l.get(ctx, "http://"+s.http+"/checkpoint")
		if err == nil && code == http.StatusOK {
			c, err := s.policy.Open(body)
			if err != nil {
				return nil, err
			}
			if c.Size >= size {
				return c, nil
			}
			why = fmt.Errorf("size %d is published", c.Size)
		} else {
			why = errors.Join(err, fmt.Errorf("status %d: %.200s", code, body))
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", why, ctx.Err())
		}
	}
}

// readLeaves reads all entries of a checkpoint, whose root they must have.
func readLeaves(ctx context.Context, s *site, c *checkpoint.Opened) ([]tree.Hash, error) {
	conn, err := dial.Dial("grpc://"+s.grpc, dial.Options{UserAgent: "soak"})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if c.Size == 0 {
		return nil, nil
	}
	stream, err := pb.NewLogClient(conn).ListEntries(ctx, &pb.ListEntriesRequest{End: c.Size})
	if err != nil {
		return nil, err
	}
	var leaves []tree.Hash
	var h hashes
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("after %d entries: %w", len(leaves), err)
		}
		for _, e := range r.Entries {
			stored, err := tlog.StoredHashes(int64(len(leaves)), []byte(e), h)
			if err != nil {
				return nil, err
			}
			h, leaves = append(h, stored...), append(leaves, tree.Hash(tlog.RecordHash([]byte(e))))
		}
	}
	if uint64(len(leaves)) != c.Size {
		return nil, falsef("the published checkpoint has size %d, and %d entries are listed", c.Size, len(leaves))
	}
	root, err := tlog.TreeHash(int64(len(leaves)), h)
	if err != nil {
		return nil, err
	}
	if tree.Hash(root) != c.Root {
		return nil, falsef("the %d entries have root %v, the published checkpoint %v", len(leaves), root, c.Root)
	}
	return leaves, nil
}

// hashes are a tree's, in tlog's order.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(h)) {
			return nil, fmt.Errorf("there is no hash %d of %d", x, len(h))
		}
		out[i] = h[x]
	}
	return out, nil
}
