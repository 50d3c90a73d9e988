package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const origin = "log.example/pause"

// A fake is a log in memory. A test puts its own functions in the place of calls.
type fake struct {
	pb.UnimplementedLogServer
	key     *checkpoint.SignerKey
	entries [][]byte
	stored  []tlog.Hash
	size    int // of the published tree

	path   func(string) (int, error) // the entry that a path, or
	sha256 func(string) (int, error) // a digest means
	lookup func(*pb.LookupRequest) *pb.LookupResponse
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newFake(entries ...*entry.Entry) *fake {
	f := &fake{key: must(checkpoint.GenerateSigner(checkpoint.Ed25519, origin, bytes.NewReader(make([]byte, 32)))), size: len(entries)}
	for _, e := range entries {
		f.add(must(e.Marshal()))
	}
	return f
}

func (f *fake) add(text []byte) {
	f.stored = append(f.stored, must(tlog.StoredHashes(int64(len(f.entries)), text, f))...)
	f.entries = append(f.entries, text)
}

func (f *fake) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = f.stored[x]
	}
	return out, nil
}

func (f *fake) policy() *checkpoint.Policy {
	return must(checkpoint.NewPolicy(checkpoint.PolicyLog{Key: f.key.Verifier()}))
}

func (f *fake) note(size int) []byte {
	c := checkpoint.Checkpoint{Origin: origin, Size: uint64(size), Root: tree.Hash(must(tlog.TreeHash(int64(size), f)))}
	return checkpoint.Note{Text: c.Text()}.With(must(f.key.Sign(c, 1))).Marshal()
}

func refuse(reason string, metadata ...string) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: "pauselog", Metadata: map[string]string{}}
	for i := 0; i < len(metadata); i += 2 {
		info.Metadata[metadata[i]] = metadata[i+1]
	}
	return must(status.New(codes.NotFound, "the fake says "+reason).WithDetails(info)).Err()
}

func (f *fake) GetCheckpoint(context.Context, *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	return &pb.GetCheckpointResponse{Checkpoint: string(f.note(f.size))}, nil
}

func (f *fake) GetConsistencyProof(_ context.Context, r *pb.GetConsistencyProofRequest) (*pb.GetConsistencyProofResponse, error) {
	if r.NewSize > uint64(f.size) {
		return nil, refuse("not-logged")
	}
	out := &pb.GetConsistencyProofResponse{}
	for _, h := range must(tlog.ProveTree(int64(r.NewSize), int64(r.OldSize), f)) {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

func (f *fake) GetInclusionProof(_ context.Context, r *pb.GetInclusionProofRequest) (out *pb.GetInclusionProofResponse, err error) {
	var index int
	switch by := r.Entry.(type) {
	case *pb.GetInclusionProofRequest_Index:
		index = int(by.Index)
	case *pb.GetInclusionProofRequest_Path:
		index, err = f.path(by.Path)
	case *pb.GetInclusionProofRequest_Sha256:
		index, err = f.sha256(by.Sha256)
	}
	if err != nil {
		return nil, err
	}
	size := f.size
	if r.TreeSize != 0 {
		size = int(r.TreeSize)
	}
	out = &pb.GetInclusionProofResponse{Index: uint64(index), TreeSize: uint64(size), Entry: string(f.entries[index]), Checkpoint: string(f.note(size))}
	for _, h := range must(tlog.ProveRecord(int64(size), int64(index), f)) {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

func (f *fake) Lookup(_ context.Context, r *pb.LookupRequest) (*pb.LookupResponse, error) {
	if f.lookup == nil {
		return &pb.LookupResponse{IndexedSize: uint64(f.size)}, nil
	}
	return f.lookup(r), nil
}

// found is a page of these entries.
func (f *fake) found(next string, indexes ...int) *pb.LookupResponse {
	r := &pb.LookupResponse{IndexedSize: uint64(f.size), NextPageToken: next}
	for _, i := range indexes {
		r.Entries = append(r.Entries, &pb.LoggedEntry{Index: uint64(i), Entry: string(f.entries[i])})
	}
	return r
}

// Invoke makes a fake a connection to itself.
func (f *fake) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	for _, m := range pb.Log_ServiceDesc.Methods {
		if method != "/pauselog.v1.Log/"+m.MethodName {
			continue
		}
		out, err := m.Handler(f, ctx, func(r any) error { proto.Merge(r.(proto.Message), args.(proto.Message)); return nil }, nil)
		if err != nil {
			return err
		}
		proto.Merge(reply.(proto.Message), out.(proto.Message))
		return nil
	}
	return errors.New("no such method")
}

func (f *fake) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("the fake has no streams")
}

// A memory counts what is saved.
type memory struct {
	note  []byte
	saves int
}

func (m *memory) Load(string) ([]byte, error) { return m.note, nil }

func (m *memory) Save(_ string, old, note []byte) error {
	if !bytes.Equal(m.note, old) {
		return ErrChanged
	}
	m.note, m.saves = note, m.saves+1
	return nil
}

func path(i int) string { return "authors/id/E/ET/ETHER/Dist-" + strconv.Itoa(i) + ".0.tar.gz" }

func digest(s string) entry.Digest { return sha256.Sum256([]byte(s)) }

// uploads are n archives; those of another by are another log's.
func uploads(n int, by string) (out []*entry.Entry) {
	for i := range n {
		out = append(out, &entry.Entry{Kind: entry.Upload, Path: path(i), SHA256: digest(path(i)), Size: 1, By: by, Seen: entry.SeenUpload})
	}
	return out
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

func wantMisbehaviour(t *testing.T, what string, err error) {
	t.Helper()
	var m *Misbehaviour
	if !errors.As(err, &m) {
		t.Errorf("%s: %v, want evidence", what, err)
	}
}
