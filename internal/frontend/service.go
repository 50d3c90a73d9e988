// Package frontend answers for a log: the calls of pauselog.v1 over gRPC (and, through
// internal/jsonrpc, over HTTP), and the static reads of C2SP tlog-tiles. It
// holds no state of its own. Everything is clipped to the published checkpoint, and every
// proof is verified before it leaves.
package frontend

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A Publisher says what readers may see. Its methods may be called concurrently.
type Publisher interface {
	// Published is the newest published checkpoint. Of a log that has published nothing yet it is of
	// size 0 and has no note.
	Published() *sequencer.Signed
	// WaitPublished waits until a checkpoint of at least this size is published.
	WaitPublished(ctx context.Context, size uint64) (*sequencer.Signed, error)
	// Waiting says in a few words what publishing waits for; "" if it does not wait.
	Waiting() string
}

// Service implements pauselog.v1.Log.
type Service struct {
	pb.UnimplementedLogServer
	Store     *store.Store
	Sequencer *sequencer.Sequencer
	// Publisher, if nil, publishes what is signed.
	Publisher Publisher
	// PublishTime is how long a submission waits to be published. 0: 20 seconds.
	PublishTime time.Duration
}

func (s *Service) publisher() Publisher {
	if s.Publisher == nil {
		return s.Sequencer
	}
	return s.Publisher
}

func (s *Service) published() *sequencer.Signed { return s.publisher().Published() }

const (
	maxPage     = 1000
	defaultPage = 100
	// indexWait is how long a lookup waits for the lookup index to reach the
	// published checkpoint; it is usually milliseconds behind.
	indexWait = time.Second
)

// GetCheckpoint implements pauselog.v1.Log.
func (s *Service) GetCheckpoint(_ context.Context, r *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	note, err := noteOf(s.published(), r.AllSignatures)
	if err != nil {
		return nil, failureOf(err)
	}
	return &pb.GetCheckpointResponse{Checkpoint: string(note)}, nil
}

func noteOf(p *sequencer.Signed, all bool) ([]byte, error) {
	switch {
	case p.Note == nil:
		return nil, errUnpublished
	case all:
		return p.All()
	}
	return p.Note, nil
}

// WatchCheckpoints implements pauselog.v1.Log.
func (s *Service) WatchCheckpoints(r *pb.WatchCheckpointsRequest, stream grpc.ServerStreamingServer[pb.WatchCheckpointsResponse]) error {
	for {
		p := s.published()
		note, err := noteOf(p, r.AllSignatures)
		if err != nil && !errors.Is(err, errUnpublished) { // the first one will be sent
			return failureOf(err)
		}
		if err == nil {
			if err := stream.Send(&pb.WatchCheckpointsResponse{Checkpoint: string(note)}); err != nil {
				return err
			}
		}
		select {
		case <-p.Newer():
		case <-stream.Context().Done():
			return failureOf(stream.Context().Err())
		case <-s.Sequencer.Closing():
			return failureOf(sequencer.ErrClosing)
		}
	}
}

// GetEntry implements pauselog.v1.Log.
func (s *Service) GetEntry(_ context.Context, r *pb.GetEntryRequest) (*pb.GetEntryResponse, error) {
	size := s.published().Size
	if err := s.exists(r.Index, size); err != nil {
		return nil, err
	}
	e, err := s.Store.Entry(r.Index, size)
	if err != nil {
		return nil, failureOf(err)
	}
	return &pb.GetEntryResponse{Index: r.Index, Entry: string(e)}, nil
}

// exists tells an index that is logged but not published from one that is not.
func (s *Service) exists(index, published uint64) error {
	switch {
	case index < published:
		return nil
	case index < s.Store.Head().Size:
		return failuref(Pending, "entry %d is newer than the published checkpoint, which has size %d", index, published)
	}
	return failuref(NotLogged, "there is no entry %d: the published checkpoint has size %d", index, published)
}

// ListEntries implements pauselog.v1.Log.
func (s *Service) ListEntries(r *pb.ListEntriesRequest, stream grpc.ServerStreamingServer[pb.ListEntriesResponse]) error {
	size := s.published().Size
	end := r.End
	if end == 0 {
		end = size
	}
	if r.Start > end {
		return failuref(Invalid, "start %d is after end %d", r.Start, end)
	}
	if end > size {
		return s.exists(end-1, size)
	}
	for at := r.Start; at < end; {
		next := min(end, at/256*256+256)
		entries, err := s.Store.Entries(at, next, size)
		if err != nil {
			return failureOf(err)
		}
		if err := stream.Send(&pb.ListEntriesResponse{Start: at, Entries: texts(entries)}); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// GetConsistencyProof implements pauselog.v1.Log.
func (s *Service) GetConsistencyProof(_ context.Context, r *pb.GetConsistencyProofRequest) (*pb.GetConsistencyProofResponse, error) {
	p := s.published()
	newSize := r.NewSize
	if newSize == 0 {
		newSize = p.Size
	}
	if r.OldSize > newSize {
		return nil, failuref(Invalid, "old_size %d is larger than new_size %d", r.OldSize, newSize)
	}
	if newSize > p.Size {
		return nil, s.exists(newSize-1, p.Size)
	}
	hashes, err := s.consistency(r.OldSize, newSize)
	if err != nil {
		return nil, failureOf(err)
	}
	out := &pb.GetConsistencyProofResponse{OldSize: r.OldSize, NewSize: newSize, Hashes: byteSlices(hashes)}
	if newSize == p.Size {
		out.Checkpoint = string(p.Note)
	}
	return out, nil
}

// consistency returns a proof that verifies.
func (s *Service) consistency(oldSize, newSize uint64) ([]tree.Hash, error) {
	hashes, err := s.Store.Consistency(oldSize, newSize)
	if err != nil {
		return nil, err
	}
	oldRoot, err := s.Store.Root(oldSize)
	if err != nil {
		return nil, err
	}
	newRoot, err := s.Store.Root(newSize)
	if err != nil {
		return nil, err
	}
	return hashes, tree.VerifyConsistency(oldSize, newSize, hashes, oldRoot, newRoot)
}

// GetInclusionProof implements pauselog.v1.Log.
func (s *Service) GetInclusionProof(ctx context.Context, r *pb.GetInclusionProofRequest) (*pb.GetInclusionProofResponse, error) {
	p := s.published()
	size, root := p.Size, p.Root
	if r.TreeSize > size {
		return nil, s.exists(r.TreeSize-1, size)
	}
	if r.TreeSize != 0 && r.TreeSize != size {
		var err error
		size = r.TreeSize
		if root, err = s.Store.Root(size); err != nil {
			return nil, failureOf(err)
		}
	}
	index, err := s.resolve(ctx, r, size)
	if reason, _, _ := Reason(err); reason == Pending && size < p.Size {
		// To wait, as a pending entry asks for, would not bring it into an older tree.
		return nil, failuref(NotLogged, "the entry is not in the tree of size %d", size)
	}
	if err != nil {
		return nil, err
	}
	e, hashes, err := s.Store.Proven(index, size, root)
	if err != nil {
		return nil, failureOf(err)
	}
	out := &pb.GetInclusionProofResponse{Index: index, TreeSize: size, Hashes: byteSlices(hashes), Entry: e}
	if size == p.Size {
		note, err := noteOf(p, r.AllSignatures)
		if err != nil {
			return nil, failureOf(err)
		}
		out.Checkpoint = string(note)
	}
	return out, nil
}

// bundle returns an entry with a proof that was verified, without the checkpoint.
func (s *Service) bundle(index, size uint64, root tree.Hash) (*proof.Bundle, error) {
	e, hashes, err := s.Store.Proven(index, size, root)
	if err != nil {
		return nil, err
	}
	return &proof.Bundle{Entry: []byte(e), Index: index, Hashes: hashes}, nil
}

// resolve returns the index that a request for a proof means, in the tree of a size.
func (s *Service) resolve(ctx context.Context, r *pb.GetInclusionProofRequest, size uint64) (uint64, error) {
	switch by := r.Entry.(type) {
	case *pb.GetInclusionProofRequest_Index:
		return by.Index, s.exists(by.Index, size)
	case *pb.GetInclusionProofRequest_LeafHash:
		if len(by.LeafHash) != tree.HashSize {
			return 0, failuref(Invalid, "leaf_hash of %d bytes, expected %d", len(by.LeafHash), tree.HashSize)
		}
		return s.newest(ctx, store.ByLeafHash, string(by.LeafHash), size, "leaf hash "+tree.Hash(by.LeafHash).String())
	case *pb.GetInclusionProofRequest_Path:
		return s.live(by.Path, size)
	case *pb.GetInclusionProofRequest_Sha256:
		if _, err := entry.ParseDigest(by.Sha256); err != nil {
			return 0, failure(Invalid, err.Error())
		}
		return s.newest(ctx, store.BySHA256, by.Sha256, size, "sha256 "+by.Sha256)
	}
	return 0, failure(Invalid, "one of index, leaf_hash, path, sha256 is needed")
}

// live returns the index of what a path's file verifies by: the newest upload of an
// archive, whether or not its author deleted it since, or the newest entry of an index.
func (s *Service) live(path string, size uint64) (uint64, error) {
	if _, err := entry.KindOf(path); err != nil {
		return 0, failure(Invalid, err.Error())
	}
	last, err := s.Store.Last(path, size)
	if err != nil {
		return 0, failureOf(err)
	}
	if last == nil {
		if newer, err := s.Store.Last(path, s.Store.Head().Size); err == nil && newer != nil {
			return 0, failuref(Pending, "%s is logged as entry %d, but newer than the tree of size %d", path, newer.Index, size)
		}
		return 0, failuref(NotLogged, "%s is not among the %d entries", path, size)
	}
	if last.Entry.Kind == entry.Void {
		return 0, failure(Voided, fmt.Sprintf("entry %d of %s was voided by entry %d: it must not be trusted", last.Entry.Index, path, last.Index),
			"void_index", strconv.FormatUint(last.Index, 10), "upload_index", strconv.FormatUint(last.Entry.Index, 10))
	}
	return last.Upload, nil
}

// newest returns the newest entry that a lookup finds; of a digest, the newest upload or index.
func (s *Service) newest(ctx context.Context, by store.Lookup, value string, size uint64, what string) (uint64, error) {
	s.waitIndexed(ctx, size)
	const some = 16
	for end := size; ; {
		found, err := s.Store.Find(by, value, 0, end, some, true)
		if err != nil {
			return 0, failureOf(err)
		}
		for _, f := range found {
			if ok, err := s.stands(by, f, size); err != nil || ok {
				return f.Index, failureOf(err)
			}
		}
		if len(found) < some {
			break
		}
		end = found[len(found)-1].Index
	}
	if n := s.Store.Indexed(); n < size {
		return 0, failuref(Pending, "%s is not among the %d entries that can be looked up yet, of %d", what, n, size)
	}
	return 0, failuref(NotLogged, "%s is not among the %d entries", what, size)
}

// stands reports whether a file can verify by an entry that was found: not if its path was
// voided and logged again with another digest since. (Whoever finds the voided upload itself asks
// for its path next, and is told of the void.)
func (s *Service) stands(by store.Lookup, f store.Found, size uint64) (bool, error) {
	if by == store.ByLeafHash || f.Entry.Kind == entry.Index {
		return true, nil
	}
	if f.Entry.Kind != entry.Upload {
		return false, nil
	}
	last, err := s.Store.Last(f.Entry.Path, size)
	if err != nil || last == nil {
		return false, err
	}
	return last.Entry.SHA256 == f.Entry.SHA256, nil
}

func (s *Service) waitIndexed(ctx context.Context, size uint64) {
	if s.Store.Indexed() >= size {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, indexWait)
	defer cancel()
	s.Store.WaitIndexed(ctx, size)
}

// Lookup implements pauselog.v1.Log.
func (s *Service) Lookup(ctx context.Context, r *pb.LookupRequest) (*pb.LookupResponse, error) {
	by, value, err := lookupOf(r)
	if err != nil {
		return nil, failure(Invalid, err.Error())
	}
	limit := int(r.PageSize)
	switch {
	case limit == 0:
		limit = defaultPage
	case limit > maxPage:
		return nil, failuref(Invalid, "page_size %d, expected at most %d", limit, maxPage)
	}
	from := uint64(0)
	if r.PageToken != "" {
		if from, err = entry.ParseNumber(r.PageToken); err != nil {
			return nil, failure(Invalid, "page_token: "+err.Error())
		}
	}
	size := s.published().Size
	s.waitIndexed(ctx, size)
	// The order matters: what Indexed says before the search is complete in it.
	out := &pb.LookupResponse{PublishedSize: size, IndexedSize: min(size, s.Store.Indexed())}
	found, err := s.Store.Find(by, value, from, out.IndexedSize, limit+1, false)
	if err != nil {
		return nil, failureOf(err)
	}
	if len(found) > limit {
		out.NextPageToken = strconv.FormatUint(found[limit].Index, 10)
		found = found[:limit]
	}
	for _, f := range found {
		out.Entries = append(out.Entries, &pb.LoggedEntry{Index: f.Index, Entry: string(f.Bytes)})
	}
	return out, nil
}

func lookupOf(r *pb.LookupRequest) (store.Lookup, string, error) {
	switch by := r.By.(type) {
	case *pb.LookupRequest_Path:
		_, err := entry.KindOf(by.Path)
		return store.ByPath, by.Path, err
	case *pb.LookupRequest_Author:
		if !entry.IsPAUSEID(by.Author) {
			return 0, "", fmt.Errorf("author %.20q is not a PAUSE id", by.Author)
		}
		return store.ByAuthor, by.Author, nil
	case *pb.LookupRequest_Distribution:
		if by.Distribution == "" || len(by.Distribution) > entry.MaxPath {
			return 0, "", errors.New("distribution is empty or too long")
		}
		return store.ByDistribution, by.Distribution, nil
	case *pb.LookupRequest_Sha256:
		_, err := entry.ParseDigest(by.Sha256)
		return store.BySHA256, by.Sha256, err
	}
	return 0, "", errors.New("one of path, author, distribution, sha256 is needed")
}

// Probe checks that what is served is right: the newest entry proves to be in the published tree. Whether
// submissions are taken is the sequencer's to say.
func (s *Service) Probe() error {
	p := s.published()
	if p.Size == 0 {
		return nil
	}
	b, err := s.bundle(p.Size-1, p.Size, p.Root)
	if err != nil {
		return err
	}
	return b.Verify(p.Size, p.Root) // what the store vouches for, once more from the start
}

func byteSlices(hashes []tree.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

func texts(entries [][]byte) []string {
	out := make([]string, len(entries))
	for i := range entries {
		out[i] = string(entries[i])
	}
	return out
}
