package frontend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// drained are the messages of a stream up to its end; the error is nil if that was a good one.
func drained[T any](stream grpc.ServerStreamingClient[T]) (all []*T, err error) {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func TestGetCheckpoint(t *testing.T) {
	w := newWorld(t, 0)
	for _, size := range []int{0, 1, 300} {
		w.fill(t, int(w.Sequencer.Published().Size), size)
		short, err := w.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
		if err != nil {
			t.Fatal(err)
		}
		o := opened(t, short.Checkpoint)
		if o.Origin != origin || o.Size != uint64(size) || o.Root != referenceOf(t, w).root(o.Size) {
			t.Errorf("%+v, want size %d", o.Checkpoint, size)
		}
		if len(o.Note.Signatures) != 1 || o.LogKeys[0].Algorithm() != checkpoint.Ed25519 {
			t.Errorf("a short checkpoint has %d signatures", len(o.Note.Signatures))
		}
		all, err := w.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{AllSignatures: true})
		if err != nil {
			t.Fatal(err)
		}
		if o := opened(t, all.Checkpoint); len(o.LogKeys) != 2 || o.Size != uint64(size) {
			t.Errorf("with all signatures: by %d keys, size %d", len(o.LogKeys), o.Size)
		}
	}
}

func TestGetEntry(t *testing.T) {
	w := newWorld(t, 300)
	for _, i := range []uint64{0, 1, 255, 256, 299} {
		r, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: i})
		if err != nil || r.Index != i || r.Entry != string(entryBytes(t, upload(int(i)))) {
			t.Errorf("entry %d: %v, %v", i, r, err)
		}
	}
	for _, i := range []uint64{300, 512, 1 << 40, 1<<64 - 1} {
		_, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: i})
		want(t, err, codes.NotFound, NotLogged)
	}
}

func TestListEntries(t *testing.T) {
	const size = 600
	w := newWorld(t, size)
	for _, r := range []struct {
		start, end uint64
		messages   int // a message never crosses the end of a tile
	}{
		{0, 0, 3}, {0, size, 3}, {0, 1, 1}, {0, 255, 1}, {0, 256, 1}, {0, 257, 2}, {255, 257, 2}, {256, 512, 1},
		{100, 101, 1}, {511, 0, 2}, {512, 600, 1}, {599, 0, 1}, {600, 0, 0}, {600, 600, 0}, {5, 5, 0},
	} {
		stream, err := w.ListEntries(t.Context(), &pb.ListEntriesRequest{Start: r.start, End: r.end})
		if err != nil {
			t.Fatal(err)
		}
		messages := received(t, stream)
		if len(messages) != r.messages {
			t.Errorf("entries %d to %d in %d messages, want %d", r.start, r.end, len(messages), r.messages)
		}
		at := r.start
		for _, m := range messages {
			if m.Start != at || len(m.Entries) == 0 || len(m.Entries) > 256 {
				t.Fatalf("a message of %d entries from %d on, want from %d", len(m.Entries), m.Start, at)
			}
			for _, e := range m.Entries {
				if !bytes.Equal([]byte(e), entryBytes(t, upload(int(at)))) {
					t.Fatalf("entry %d: %q", at, e)
				}
				at++
			}
		}
		if end := r.end; end == 0 && at != size || end != 0 && at != end {
			t.Errorf("entries %d to %d end at %d", r.start, r.end, at)
		}
	}
	for _, r := range []struct {
		start, end uint64
		code       codes.Code
		reason     string
	}{
		{2, 1, codes.InvalidArgument, Invalid},
		{601, 0, codes.InvalidArgument, Invalid},
		{0, 601, codes.NotFound, NotLogged},
		{1 << 63, 1<<64 - 1, codes.NotFound, NotLogged},
	} {
		stream, err := w.ListEntries(t.Context(), &pb.ListEntriesRequest{Start: r.start, End: r.end})
		if err != nil {
			t.Fatal(err)
		}
		_, err = drained(stream)
		want(t, err, r.code, r.reason)
	}
}

func TestGetInclusionProof(t *testing.T) {
	const size = 600
	w := newWorld(t, size)
	ref := referenceOf(t, w)
	keys := map[string]func(i int) *pb.GetInclusionProofRequest{
		"index": func(i int) *pb.GetInclusionProofRequest {
			return &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: uint64(i)}}
		},
		"leaf hash": func(i int) *pb.GetInclusionProofRequest {
			leaf := tree.LeafHash(ref.entries[i])
			return &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_LeafHash{LeafHash: leaf[:]}}
		},
		"path": func(i int) *pb.GetInclusionProofRequest {
			return &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(i).Path}}
		},
		"sha256": func(i int) *pb.GetInclusionProofRequest {
			return &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Sha256{Sha256: upload(i).Sha256}}
		},
	}
	for key, request := range keys {
		for _, treeSize := range []uint64{0, size, 1, 2, 3, 255, 256, 257, 511, 513, 599} {
			in := treeSize
			if in == 0 {
				in = size
			}
			for _, i := range []uint64{0, in / 2, in - 1} {
				req := request(int(i))
				req.TreeSize = treeSize
				r, err := w.GetInclusionProof(t.Context(), req)
				if err != nil {
					t.Fatalf("by %s, entry %d in %d: %v", key, i, treeSize, err)
				}
				if r.Index != i || r.TreeSize != in || r.Entry != string(ref.entries[i]) {
					t.Errorf("by %s, entry %d in %d: index %d in %d: %q", key, i, treeSize, r.Index, r.TreeSize, r.Entry)
				}
				if err := tree.VerifyInclusion(i, in, tree.LeafHash([]byte(r.Entry)), treeHashes(t, r.Hashes), ref.root(in)); err != nil {
					t.Errorf("by %s, entry %d in %d: %v", key, i, treeSize, err)
				}
				// A checkpoint comes only with the published tree.
				if in != size {
					if r.Checkpoint != "" {
						t.Errorf("a checkpoint for an older tree of size %d", in)
					}
				} else if o := opened(t, r.Checkpoint); o.Size != in || o.Root != ref.root(in) || len(o.Note.Signatures) != 1 {
					t.Errorf("checkpoint %+v", o)
				}
			}
			// What is newer than the tree is not in it, and waiting would not help.
			if in < size {
				req := request(int(in))
				req.TreeSize = treeSize
				_, err := w.GetInclusionProof(t.Context(), req)
				want(t, err, codes.NotFound, NotLogged)
			}
		}
	}
	all := keys["index"](7)
	all.AllSignatures = true
	r, err := w.GetInclusionProof(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if o := opened(t, r.Checkpoint); len(o.LogKeys) != 2 {
		t.Errorf("with all signatures: by %d keys", len(o.LogKeys))
	}
	for _, req := range []*pb.GetInclusionProofRequest{
		keys["index"](size),
		{Entry: &pb.GetInclusionProofRequest_LeafHash{LeafHash: make([]byte, 32)}},
		{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(size).Path}},
		{Entry: &pb.GetInclusionProofRequest_Path{Path: packages}},
		{Entry: &pb.GetInclusionProofRequest_Sha256{Sha256: upload(size).Sha256}},
		{Entry: &pb.GetInclusionProofRequest_Index{Index: 0}, TreeSize: size + 1},
		{Entry: &pb.GetInclusionProofRequest_Index{Index: 0}, TreeSize: 1<<64 - 1},
	} {
		_, err := w.GetInclusionProof(t.Context(), req)
		want(t, err, codes.NotFound, NotLogged)
	}
	for _, req := range []*pb.GetInclusionProofRequest{
		{},
		{Entry: &pb.GetInclusionProofRequest_LeafHash{}},
		{Entry: &pb.GetInclusionProofRequest_LeafHash{LeafHash: make([]byte, 33)}},
		{Entry: &pb.GetInclusionProofRequest_Path{}},
		{Entry: &pb.GetInclusionProofRequest_Path{Path: "../etc/passwd"}},
		{Entry: &pb.GetInclusionProofRequest_Sha256{}},
		{Entry: &pb.GetInclusionProofRequest_Sha256{Sha256: "E3B0"}},
	} {
		_, err := w.GetInclusionProof(t.Context(), req)
		want(t, err, codes.InvalidArgument, Invalid)
	}
}

// A path stands for what its file verifies by: of an archive the live upload, of an index
// the newest entry.
func TestGetInclusionProofByPath(t *testing.T) {
	w := newWorld(t, 3) // 0 to 2
	submit := func(subs ...*pb.Submission) {
		t.Helper()
		for _, s := range subs {
			if _, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: s}); err != nil {
				t.Fatal(err)
			}
		}
	}
	index := func(path string) (uint64, error) {
		r, err := w.GetInclusionProof(t.Context(), &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: path}})
		return r.GetIndex(), err
	}
	submit(snapshot(1), snapshot(2)) // 3, 4
	submit(deletion(0))              // 5
	for path, wantIndex := range map[string]uint64{
		packages:       4,
		upload(0).Path: 0, // a deletion by its author takes nothing back
		upload(1).Path: 1,
	} {
		if got, err := index(path); err != nil || got != wantIndex {
			t.Errorf("%s: entry %d, %v; want %d", path, got, err, wantIndex)
		}
	}
	submit(upload(0)) // 6: restored
	if got, err := index(upload(0).Path); err != nil || got != 6 {
		t.Errorf("restored: entry %d, %v", got, err)
	}
	if _, err := w.Sequencer.Void(t.Context(), 1); err != nil { // 7
		t.Fatal(err)
	}
	_, err := index(upload(1).Path)
	wantMetadata(t, want(t, err, codes.NotFound, Voided), map[string]string{"void_index": "7", "upload_index": "1"})
	submit(changed(upload(1), func(s *pb.Submission) { s.Sha256 = digest("other").String() })) // 8: the path is free again
	if got, err := index(upload(1).Path); err != nil || got != 8 {
		t.Errorf("after the void: entry %d, %v", got, err)
	}
}

func TestGetConsistencyProof(t *testing.T) {
	const size = 600
	w := newWorld(t, size)
	ref := referenceOf(t, w)
	sizes := []uint64{0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 599, size}
	for _, newSize := range sizes {
		for _, oldSize := range sizes {
			r, err := w.GetConsistencyProof(t.Context(), &pb.GetConsistencyProofRequest{OldSize: oldSize, NewSize: newSize})
			to := newSize
			if to == 0 {
				to = size
			}
			if oldSize > to {
				want(t, err, codes.InvalidArgument, Invalid)
				continue
			}
			if err != nil {
				t.Fatalf("%d to %d: %v", oldSize, newSize, err)
			}
			if r.OldSize != oldSize || r.NewSize != to {
				t.Errorf("%d to %d: %d to %d", oldSize, newSize, r.OldSize, r.NewSize)
			}
			if err := tree.VerifyConsistency(oldSize, to, treeHashes(t, r.Hashes), ref.root(oldSize), ref.root(to)); err != nil {
				t.Errorf("%d to %d: %v", oldSize, newSize, err)
			}
			if (r.Checkpoint != "") != (to == size) {
				t.Errorf("%d to %d: the checkpoint is %q", oldSize, newSize, r.Checkpoint)
			} else if to == size && opened(t, r.Checkpoint).Root != ref.root(size) {
				t.Errorf("%d to %d: the checkpoint is of another tree", oldSize, newSize)
			}
		}
	}
	for _, r := range []*pb.GetConsistencyProofRequest{{OldSize: 1, NewSize: size + 1}, {NewSize: 1<<64 - 1}} {
		_, err := w.GetConsistencyProof(t.Context(), r)
		want(t, err, codes.NotFound, NotLogged)
	}
	empty := newWorld(t, 0)
	if r, err := empty.GetConsistencyProof(t.Context(), &pb.GetConsistencyProofRequest{}); err != nil || len(r.Hashes) != 0 {
		t.Errorf("of an empty log: %v, %v", r, err)
	}
}

func TestLookup(t *testing.T) {
	w := newWorld(t, 7) // 0 to 6; ETHER has 0, 3, 6
	for _, s := range []*pb.Submission{
		changed(upload(100), func(s *pb.Submission) { s.By = "ETHER" }), // 7: HAARG's path
		changed(upload(101), func(s *pb.Submission) { s.By = "-" }),     // 8: TODDR's path
		deletion(3), // 9
		snapshot(1), // 10
	} {
		if _, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: s}); err != nil {
			t.Fatal(err)
		}
	}
	// 11: a conflict, found by both digests
	clash := changed(upload(0), func(s *pb.Submission) { s.Sha256 = digest("clash").String() })
	if _, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: clash}); err == nil {
		t.Fatal("a conflict was logged")
	}
	path := func(s string) *pb.LookupRequest { return &pb.LookupRequest{By: &pb.LookupRequest_Path{Path: s}} }
	author := func(s string) *pb.LookupRequest { return &pb.LookupRequest{By: &pb.LookupRequest_Author{Author: s}} }
	distribution := func(s string) *pb.LookupRequest {
		return &pb.LookupRequest{By: &pb.LookupRequest_Distribution{Distribution: s}}
	}
	sha256 := func(s string) *pb.LookupRequest { return &pb.LookupRequest{By: &pb.LookupRequest_Sha256{Sha256: s}} }
	for name, c := range map[string]struct {
		request *pb.LookupRequest
		want    []uint64
	}{
		"path":                      {path(upload(0).Path), []uint64{0, 11}},
		"path of an index":          {path(packages), []uint64{10}},
		"path that is not logged":   {path(upload(50).Path), nil},
		"author":                    {author("ETHER"), []uint64{0, 3, 6, 7, 9, 11}},
		"author of a path":          {author("HAARG"), []uint64{1, 4, 7}},
		"author that nobody is":     {author("NOBODY"), nil},
		"distribution":              {distribution("Dist-3"), []uint64{3, 9}},
		"distribution that is none": {distribution("No-Such"), nil},
		"digest":                    {sha256(upload(0).Sha256), []uint64{0, 11}},
		"the other digest":          {sha256(clash.Sha256), []uint64{11}},
		"digest of an index":        {sha256(snapshot(1).Sha256), []uint64{10}},
		"digest that is not logged": {sha256(upload(50).Sha256), nil},
	} {
		t.Run(name, func(t *testing.T) {
			// Whatever the page size, the pages together are the same.
			for _, size := range []uint32{0, 1, 2, 3, 1000} {
				var got []uint64
				c.request.PageSize, c.request.PageToken = size, ""
				for {
					r, err := w.Lookup(t.Context(), c.request)
					if err != nil {
						t.Fatal(err)
					}
					if r.PublishedSize != 12 || r.IndexedSize != 12 {
						t.Errorf("indexed %d of %d, want 12", r.IndexedSize, r.PublishedSize)
					}
					if size != 0 && len(r.Entries) > int(size) {
						t.Errorf("a page of %d, want at most %d", len(r.Entries), size)
					}
					for _, e := range r.Entries {
						got = append(got, e.Index)
						if one, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: e.Index}); err != nil || one.Entry != e.Entry {
							t.Errorf("entry %d is %q", e.Index, e.Entry)
						}
					}
					if r.NextPageToken == "" {
						break
					}
					if len(r.Entries) != int(size) {
						t.Errorf("a page of %d, of size %d, which is not the last", len(r.Entries), size)
					}
					c.request.PageToken = r.NextPageToken
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("page size %d: entries %v, want %v", size, got, c.want)
				}
			}
		})
	}
	with := func(r *pb.LookupRequest, size uint32, token string) *pb.LookupRequest {
		r.PageSize, r.PageToken = size, token
		return r
	}
	for name, r := range map[string]*pb.LookupRequest{
		"nothing":             {},
		"page size":           with(author("ETHER"), 1001, ""),
		"page size, 2^32-1":   with(author("ETHER"), 1<<32-1, ""),
		"token":               with(author("ETHER"), 0, "x"),
		"token, negative":     with(author("ETHER"), 0, "-1"),
		"token, leading zero": with(author("ETHER"), 0, "01"),
		"token, too long":     with(author("ETHER"), 0, "9999999999999999"),
		"path":                path("no/such/form"),
		"author, lower case":  author("ether"),
		"no distribution":     distribution(""),
		"digest, upper case":  sha256("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"),
	} {
		t.Run("bad "+name, func(t *testing.T) {
			_, err := w.Lookup(t.Context(), r)
			want(t, err, codes.InvalidArgument, Invalid)
		})
	}
	// A token beyond the end is the empty page after the last.
	if r, err := w.Lookup(t.Context(), with(author("ETHER"), 0, "999999999999999")); err != nil || len(r.Entries) != 0 || r.NextPageToken != "" {
		t.Errorf("a token beyond the end: %v, %v", r, err)
	}
}

func TestLookupHasAHundredByDefault(t *testing.T) {
	w := newWorld(t, 360) // 120 of each author
	r, err := w.Lookup(t.Context(), &pb.LookupRequest{By: &pb.LookupRequest_Author{Author: "ETHER"}})
	if err != nil || len(r.Entries) != 100 || r.NextPageToken != "300" {
		t.Errorf("%d entries and token %q, %v", len(r.GetEntries()), r.GetNextPageToken(), err)
	}
}

func TestWatchCheckpoints(t *testing.T) {
	w := newWorld(t, 0)
	for _, all := range []bool{false, true} {
		begin := w.Sequencer.Published().Size
		stream, err := w.WatchCheckpoints(t.Context(), &pb.WatchCheckpointsRequest{AllSignatures: all})
		if err != nil {
			t.Fatal(err)
		}
		next := func() *checkpoint.Opened {
			t.Helper()
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			o := opened(t, m.Checkpoint)
			if (len(o.LogKeys) == 2) != all {
				t.Errorf("signed by %d keys", len(o.LogKeys))
			}
			return o
		}
		// The newest first, and then one for each growth that is waited for.
		if o := next(); o.Size != begin {
			t.Fatalf("the first has size %d, want %d", o.Size, begin)
		}
		for size := begin + 1; size < begin+10; size++ {
			w.fill(t, int(size-1), int(size))
			if o := next(); o.Size != size {
				t.Fatalf("size %d, want %d", o.Size, size)
			}
		}
		// Whoever is slow skips some, but sees the newest in the end, and never an older one.
		last := w.Sequencer.Published().Size
		for range 50 {
			w.fill(t, int(w.Sequencer.Published().Size), int(w.Sequencer.Published().Size)+1)
		}
		for last < begin+59 {
			o := next()
			if o.Size <= last {
				t.Fatalf("size %d after size %d", o.Size, last)
			}
			last = o.Size
		}
		if all {
			w.Sequencer.Close()
			_, err := drained(stream)
			want(t, err, codes.Unavailable, Closing)
		}
	}
}

func TestWatchCheckpointsEndsWithItsClient(t *testing.T) {
	w := newWorld(t, 1)
	w.guard.MaxCalls = 1
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := w.WatchCheckpoints(ctx, &pb.WatchCheckpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	// Its place is free again, sooner or later.
	for {
		if _, err := w.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{}); err == nil {
			break
		}
	}
}

// The store may be ahead of what is published: what is signed but lacks its cosignatures. No read
// shows any of that. Here the sequencer is that of an older copy of the log.
func TestReadsAreClippedToThePublishedSize(t *testing.T) {
	const published, signed = 300, 600
	old := newDisk(t)
	st, seq := old.open(t)
	w := serve(t, &Service{Store: st, Sequencer: seq})
	w.fill(t, 0, published-1)
	w.log(t, must(submissionOf(w.tokens.known["all"], deletion(0))).Entry)
	before := referenceOf(t, w)
	_, older := old.copied().open(t)
	w.fill(t, published-1, signed-1) // entries 300 to 599
	w.log(t, must(submissionOf(w.tokens.known["all"], upload(0))).Entry)
	w = serve(t, &Service{Store: st, Sequencer: older})
	if w.Store.Head().Size != signed+1 || w.Sequencer.Published().Size != published {
		t.Fatalf("published %d of %d", w.Sequencer.Published().Size, w.Store.Head().Size)
	}

	c, err := w.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{AllSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	if o := opened(t, c.Checkpoint); o.Size != published || o.Root != before.root(published) {
		t.Errorf("the checkpoint: %+v", o.Checkpoint)
	}
	if after := referenceOf(t, w); len(after.entries) != published {
		t.Errorf("%d entries are listed", len(after.entries))
	}
	leaf := tree.LeafHash(entryBytes(t, upload(published)))
	author := &pb.LookupRequest{By: &pb.LookupRequest_Author{Author: "ETHER"}, PageSize: 1000}
	if l, err := w.Lookup(t.Context(), author); err != nil || l.PublishedSize != published || l.IndexedSize != published || len(l.Entries) != 101 ||
		l.Entries[100].Index != published-1 {
		t.Errorf("the lookup has %d entries of %d, %v", len(l.GetEntries()), l.GetIndexedSize(), err)
	}
	// The newest entry of a path that is published, not the newest one.
	p, err := w.GetInclusionProof(t.Context(), &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(0).Path}})
	if err != nil || p.Index != 0 || p.TreeSize != published {
		t.Errorf("a path that was logged again: %v, %v", p, err)
	}
	for name, call := range map[string]func(context.Context) error{
		"GetEntry": func(ctx context.Context) error {
			_, err := w.GetEntry(ctx, &pb.GetEntryRequest{Index: published})
			return err
		},
		"ListEntries": func(ctx context.Context) error {
			s, err := w.ListEntries(ctx, &pb.ListEntriesRequest{Start: published - 1, End: published + 1})
			if err == nil {
				_, err = drained(s)
			}
			return err
		},
		"GetConsistencyProof": func(ctx context.Context) error {
			_, err := w.GetConsistencyProof(ctx, &pb.GetConsistencyProofRequest{OldSize: 1, NewSize: signed})
			return err
		},
		"GetInclusionProof by index": func(ctx context.Context) error {
			_, err := w.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: published}})
			return err
		},
		"GetInclusionProof by path": func(ctx context.Context) error {
			_, err := w.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(published).Path}})
			return err
		},
		"GetInclusionProof in a tree": func(ctx context.Context) error {
			_, err := w.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{}, TreeSize: published + 1})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { want(t, call(t.Context()), codes.NotFound, Pending) })
	}
	// Of these nothing says that they are there.
	for _, r := range []*pb.GetInclusionProofRequest{
		{Entry: &pb.GetInclusionProofRequest_Index{Index: signed + 1}},
		{Entry: &pb.GetInclusionProofRequest_LeafHash{LeafHash: leaf[:]}},
		{Entry: &pb.GetInclusionProofRequest_Sha256{Sha256: upload(published).Sha256}},
	} {
		_, err := w.GetInclusionProof(t.Context(), r)
		want(t, err, codes.NotFound, NotLogged)
	}
	// Nor do the static reads, and what they serve is the tree of the published size.
	for _, path := range []string{"/tile/0/001", "/tile/0/001.p/45", "/tile/1/000.p/2", "/tile/entries/001", "/tile/entries/001.p/45",
		"/proof/" + upload(published).Path + ".tlog-proof"} {
		if r := get(w.static, path); r.Code != 404 {
			t.Errorf("GET %s: %d", path, r.Code)
		}
	}
	if r := get(w.static, "/checkpoint"); opened(t, r.Body.String()).Size != published {
		t.Error("the static checkpoint is not the published one")
	}
	if r := get(w.static, "/tile/0/001.p/44"); r.Code != 200 || !bytes.Equal(r.Body.Bytes(), before.tile(t, 0, 1, 44)) {
		t.Errorf("the last tile: %d", r.Code)
	}
	if err := w.service.Probe(); err != nil {
		t.Errorf("Probe: %v", err)
	}
}

// The answers over HTTP are those of gRPC: the same service behind the same guard.
func TestTheAPIAsJSON(t *testing.T) {
	w := newWorld(t, 300)
	r := get(w.api, "/pauselog.v1.Log/GetEntry?index=7")
	overGRPC, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 7})
	if err != nil || r.Code != 200 {
		t.Fatal(r.Code, err)
	}
	var overHTTP pb.GetEntryResponse
	fromJSON(t, r.Body.Bytes(), &overHTTP)
	if !proto.Equal(overGRPC, &overHTTP) {
		t.Errorf("%v and %v", overGRPC, &overHTTP)
	}
	for target, want := range map[string]int{
		"/pauselog.v1.Log/GetEntry?index=300":       404,
		"/pauselog.v1.Log/GetEntry?index=x":         400,
		"/pauselog.v1.Log/GetEntry?nonsense=1":      400,
		"/pauselog.v1.Log/Lookup?author=ETHER":      200,
		"/pauselog.v1.Log/Submit":                   405,
		"/pauselog.v1.Log/GetCheckpoint":            200,
		"/pauselog.v1.Log/NoSuch":                   404,
		"/pauselog.v1.Log/ListEntries?start=255":    200,
		"/pauselog.v1.Log/GetConsistencyProof":      200,
		"/pauselog.v1.Log/GetInclusionProof?path=x": 400,
	} {
		if r := get(w.api, target); r.Code != want {
			t.Errorf("GET %s: %d, want %d: %s", target, r.Code, want, r.Body)
		}
	}
	if r := post(w.api, "/pauselog.v1.Log/Submit", "", `{"submission": {"kind": "upload"}}`); r.Code != 401 {
		t.Errorf("a submission without a token: %d", r.Code)
	}
	if r := post(w.api, "/pauselog.v1.Log/Submit", "all", `{"submission": {"kind": "upload"}}`); r.Code != 400 {
		t.Errorf("half a submission: %d", r.Code)
	}
}

// Probe is what health is made of: it must be able to fail.
func TestProbe(t *testing.T) {
	w := newWorld(t, 0)
	for _, size := range []int{0, 1, 256, 300} {
		w.fill(t, int(w.Sequencer.Published().Size), size)
		if err := w.service.Probe(); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
	// The store is of another history than what is published.
	other := newWorld(t, 0)
	for n := 300; n > 0; n-- {
		other.fill(t, n, n+1)
	}
	if err := (&Service{Store: other.Store, Sequencer: w.Sequencer}).Probe(); !errors.Is(err, tree.ErrProof) {
		t.Errorf("with another tree: %v", err)
	}
}

// By a digest nobody is given an upload that was voided and whose path is logged with another
// digest since.
func TestDigestOfAReplacedUpload(t *testing.T) {
	w := newWorld(t, 1)
	old := upload(0).Sha256
	proof := func() (*pb.GetInclusionProofResponse, error) {
		return w.GetInclusionProof(t.Context(), &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Sha256{Sha256: old}})
	}
	if r, err := proof(); err != nil || r.Index != 0 {
		t.Fatalf("as logged: %v, %v", r, err)
	}
	if _, err := w.Sequencer.Void(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if r, err := proof(); err != nil || r.Index != 0 {
		t.Errorf("voided, which the path tells: %v, %v", r, err)
	}
	again := changed(upload(0), func(s *pb.Submission) { s.Sha256 = digest("again").String() })
	if _, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: again}); err != nil {
		t.Fatal(err)
	}
	_, err := proof()
	want(t, err, codes.NotFound, NotLogged)
}
