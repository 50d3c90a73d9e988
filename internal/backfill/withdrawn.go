package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A withdrawal is the last entry of a path that was deleted or voided. For the log, the same bytes are then a new upload;
// for whoever finds them in an archive of everything that there ever was, they are not.
type withdrawal struct {
	kind   entry.Kind // Delete or Void
	digest entry.Digest
}

// readWithdrawn reads the whole log for what was deleted or voided, and tries until it succeeds. Only that is kept: some
// hundred bytes for each deletion since the log began. Deletions during the walk are not seen; the log's
// answer is not verified, because all that it can do is to keep something out of itself.
func (r *run) readWithdrawn(ctx context.Context) (map[string]withdrawal, error) {
	for {
		out, err := readWithdrawn(ctx, r.Log)
		if reason, _ := client.Reason(err); reason == "unpublished" {
			return nil, nil // it has shown nothing yet that could have been deleted
		}
		if err == nil {
			r.wait.reset()
			return out, nil
		}
		if err := r.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

func readWithdrawn(ctx context.Context, log pb.LogClient) (map[string]withdrawal, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := log.ListEntries(ctx, &pb.ListEntriesRequest{})
	if err != nil {
		return nil, err
	}
	out := map[string]withdrawal{}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for i, text := range page.Entries {
			e, err := entry.Parse([]byte(text))
			switch {
			case errors.Is(err, entry.ErrUpgrade):
			case err != nil:
				return nil, fmt.Errorf("%w: entry %d: %w", client.ErrAnswer, page.Start+uint64(i), err)
			case e.Kind == entry.Delete || e.Kind == entry.Void:
				out[e.Path] = withdrawal{e.Kind, e.SHA256}
			case e.Kind == entry.Upload:
				delete(out, e.Path)
			}
		}
	}
}
