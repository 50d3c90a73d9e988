package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/dial"
	"github.com/pauselog/pauselog/internal/jsonrpc"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const origin = "log.example/pause"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func signer(a checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	return must(checkpoint.GenerateSigner(a, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32))))
}

var (
	logKey  = signer(checkpoint.Ed25519, origin, 1)
	timeKey = signer(checkpoint.CosignatureV1, "witness.example", 2)
	policy  = must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum none\n", logKey.Verifier(), timeKey.Verifier())))
	strict  = must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", logKey.Verifier(), timeKey.Verifier())))
)

// A server answers for a log that golang.org/x/mod/sumdb/tlog keeps; how much of it is shown can be set.
type server struct {
	pb.UnimplementedLogServer
	by      string
	size    atomic.Int64
	time    uint64 // of the witness's cosignature; 0: none
	entries [][]byte
	hashes  []tlog.Hash
	change  func(index int, e []byte) []byte // what is sent in place of an entry
	read    atomic.Int64                     // entries that were asked for
}

func (s *server) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = s.hashes[x]
	}
	return out, nil
}

// newServer has n entries: uploads, and between them deletes, voids, conflicts and snapshots of an index.
func newServer(n int, by string) *server {
	s := &server{by: by}
	for i := range n {
		e := &entry.Entry{Kind: entry.Upload, Path: path(i), SHA256: sha256.Sum256([]byte(path(i))), Size: uint64(i), Time: entry.Time(i), By: by, Seen: entry.SeenUpload}
		switch {
		case i%10 == 3:
			e.Kind, e.Path, e.SHA256, e.Size = entry.Delete, path(i-2), sha256.Sum256([]byte(path(i-2))), 0
		case i%50 == 24:
			e = &entry.Entry{Kind: entry.Void, Path: path(i - 2), SHA256: sha256.Sum256([]byte(path(i - 2))), Index: uint64(i - 2), Time: e.Time}
		case i%50 == 25:
			e = &entry.Entry{Kind: entry.Conflict, Path: path(i - 5), SHA256: sha256.Sum256([]byte(path(i - 5))), Other: entry.Digest{1}, Time: e.Time}
		case i%3 == 2:
			e = &entry.Entry{Kind: entry.Index, Path: "modules/06perms.txt", SHA256: e.SHA256, Size: 1, Time: e.Time}
		}
		text := must(e.Marshal())
		if i == 77 {
			text = []byte("pauselog/v2\nof a later version\n")
		}
		hs := must(tlog.StoredHashes(int64(i), text, s))
		s.entries, s.hashes = append(s.entries, text), append(s.hashes, hs...)
	}
	s.size.Store(int64(n))
	return s
}

func path(i int) string { return fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d-1.00.tar.gz", i) }

func (s *server) root(size int64) tree.Hash {
	if size == 0 {
		return tree.EmptyRoot
	}
	return tree.Hash(must(tlog.TreeHash(size, s)))
}

func (s *server) note(size int64) []byte {
	c := checkpoint.Checkpoint{Origin: origin, Size: uint64(size), Root: s.root(size)}
	n := checkpoint.Note{Text: c.Text()}.With(must(logKey.Sign(c, 1)))
	if s.time > 0 {
		n = n.With(must(timeKey.Sign(c, s.time)))
	}
	return n.Marshal()
}

func (s *server) GetCheckpoint(context.Context, *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	return &pb.GetCheckpointResponse{Checkpoint: string(s.note(s.size.Load()))}, nil
}

func (s *server) GetConsistencyProof(_ context.Context, r *pb.GetConsistencyProofRequest) (*pb.GetConsistencyProofResponse, error) {
	if r.NewSize > uint64(s.size.Load()) {
		return nil, must(status.New(codes.NotFound, "there is no such tree").WithDetails(&errdetails.ErrorInfo{Reason: "not-logged", Domain: "pauselog"})).Err()
	}
	out := &pb.GetConsistencyProofResponse{OldSize: r.OldSize, NewSize: r.NewSize}
	for _, h := range must(tlog.ProveTree(int64(r.NewSize), int64(r.OldSize), s)) {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

func (s *server) GetInclusionProof(_ context.Context, r *pb.GetInclusionProofRequest) (*pb.GetInclusionProofResponse, error) {
	out := &pb.GetInclusionProofResponse{Index: r.GetIndex(), TreeSize: r.TreeSize}
	for _, h := range must(tlog.ProveRecord(int64(r.TreeSize), int64(r.GetIndex()), s)) {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

func (s *server) ListEntries(r *pb.ListEntriesRequest, stream grpc.ServerStreamingServer[pb.ListEntriesResponse]) error {
	for at := int(r.Start); at < int(r.End); {
		next := min(int(r.End), at/256*256+256)
		out := &pb.ListEntriesResponse{Start: uint64(at)}
		for ; at < next; at++ {
			e := s.entries[at]
			if s.change != nil {
				if e = s.change(at, e); e == nil {
					return stream.Send(out) // cut off
				}
			}
			out.Entries = append(out.Entries, string(e))
			s.read.Add(1)
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
	return nil
}

// serve serves over HTTP, as a log does.
func (s *server) serve(t *testing.T) (url string, conn *dial.Conn) {
	t.Helper()
	h := httptest.NewServer(jsonrpc.NewHandler(&pb.Log_ServiceDesc, s, jsonrpc.Options{}))
	t.Cleanup(h.Close)
	conn, err := dial.Dial(h.URL, dial.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return h.URL, conn
}

// filesOf are the files of a folder, temporary ones too.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o644)
		if d.IsDir() {
			want = 0o755
		}
		if got := info.Mode().Perm(); got != want && name != dir && !strings.HasSuffix(name, ".tmp") {
			return fmt.Errorf("%s has mode %v", name, got)
		}
		if d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(name)
		out[must(filepath.Rel(dir, name))] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// check is the independent judge of a folder: everything that its checkpoint implies is there, and is what tlog
// makes of the entries that are there; and every shard is what its definition makes of them, but for lines beyond the
// checkpoint. It returns the size.
func check(t *testing.T, dir string) int {
	t.Helper()
	have := filesOf(t, dir)
	note, ok := have["checkpoint"]
	if !ok {
		return -1
	}
	o, err := policy.Open([]byte(note))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(o.Size)
	j := &server{}
	for n := int64(0); n*256 < size; n++ {
		width := min(256, size-n*256)
		name := strings.Replace(tlog.Tile{H: 8, L: 0, N: n, W: int(width)}.Path(), "tile/8/0/", "tile/entries/", 1)
		b, ok := have[name]
		if !ok {
			t.Fatalf("at size %d there is no %s", size, name)
		}
		for rest := []byte(b); len(rest) > 0; {
			length := binary.BigEndian.Uint16(rest)
			e := rest[2 : 2+length]
			rest = rest[2+length:]
			hs := must(tlog.StoredHashes(int64(len(j.entries)), e, j))
			j.entries, j.hashes = append(j.entries, e), append(j.hashes, hs...)
		}
	}
	if int64(len(j.entries)) != size || j.root(size) != o.Root {
		t.Fatalf("%d entries with root %v, the checkpoint says %d and %v", len(j.entries), j.root(int64(len(j.entries))), size, o.Root)
	}
	for _, x := range tlog.NewTiles(8, 0, size) {
		name := "tile/" + strings.TrimPrefix(x.Path(), "tile/8/")
		if have[name] != string(must(tlog.ReadTileData(x, j))) {
			t.Fatalf("at size %d, %s has other bytes than tlog's, or is gone", size, name)
		}
	}
	checkShards(t, have, j.entries)
	return int(size)
}

func checkShards(t *testing.T, have map[string]string, entries [][]byte) {
	t.Helper()
	type line struct {
		path  string
		index int
	}
	var want [256][]line
	snapshots := map[string]int{}
	for i := len(entries) - 1; i >= 0; i-- {
		e, err := entry.Parse(entries[i])
		if err != nil || e.Kind == entry.Conflict {
			continue
		}
		if snapshots[e.Path]++; e.Kind == entry.Index && snapshots[e.Path] > 100 {
			continue
		}
		n := sha256.Sum256([]byte(e.Path))[0]
		want[n] = append(want[n], line{e.Path, i})
	}
	for n := range want {
		w := want[n]
		sort.Slice(w, func(i, j int) bool {
			return w[i].path < w[j].path || w[i].path == w[j].path && w[i].index < w[j].index
		})
		name := fmt.Sprintf("paths/%02x", n)
		text, ok := have[name]
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		var got []line
		beyond := map[string]int{}
		for l := range strings.Lines(text) {
			digits, path, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
			if index := must(strconv.Atoi(digits)); index < len(entries) {
				got = append(got, line{path, index})
			} else {
				beyond[path]++
			}
		}
		// The newest hundred of a larger tree are fewer of this one.
		w = slices.DeleteFunc(w, func(l line) bool {
			if beyond[l.path] > 0 && strings.HasPrefix(l.path, "modules/") && !slices.Contains(got, l) {
				beyond[l.path]--
				return true
			}
			return false
		})
		if !slices.Equal(got, w) {
			t.Fatalf("%s at size %d: %v, want %v", name, len(entries), got, w)
		}
	}
}

// exact checks that a folder holds what its checkpoint implies, and nothing but what else is named.
func exact(t *testing.T, dir string, size int, besides ...int) {
	t.Helper()
	if got := check(t, dir); got != size {
		t.Fatalf("the folder has size %d, want %d", got, size)
	}
	want := map[string]bool{"checkpoint": true}
	for n := range 256 {
		want[fmt.Sprintf("paths/%02x", n)] = true
	}
	for _, s := range append(besides, size) {
		for _, x := range tlog.NewTiles(8, 0, int64(s)) {
			name := "tile/" + strings.TrimPrefix(x.Path(), "tile/8/")
			want[name] = true
			if x.L == 0 {
				want[strings.Replace(name, "tile/0/", "tile/entries/", 1)] = true
			}
		}
	}
	for name, text := range filesOf(t, dir) {
		if !want[name] {
			t.Errorf("at size %d there is a %s", size, name)
		}
		if strings.HasPrefix(name, "paths/") {
			for l := range strings.Lines(text) {
				digits, _, _ := strings.Cut(l, " ")
				if must(strconv.Atoi(digits)) >= size {
					t.Errorf("%s lists %s of a tree of size %d", name, digits, size)
				}
			}
		}
	}
}

// memory is a client.Memory.
type memory struct{ note []byte }

func (m *memory) Load(string) ([]byte, error) { return m.note, nil }
func (m *memory) Save(_ string, old, note []byte) error {
	if !bytes.Equal(old, m.note) {
		return errors.New("saved in place of something else")
	}
	m.note = note
	return nil
}
