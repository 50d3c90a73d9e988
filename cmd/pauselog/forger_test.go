package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/jsonrpc"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A forger answers for a crafted log, in ways that a log does not.
type forger struct {
	pb.UnimplementedLogServer
	*crafted
	kind string
	size int // of the tree that it shows
}

// startForger starts a server of one kind:
//
//	crafted   the crafted log; its v2 entry is the newest of goodPath, everything else as it is
//	fork      the fork, which the crafted log's key signed too
//	older     the crafted log without its last entries
//	unvoided  the crafted log as it was before its void
//	pending   a log whose entries are not published yet
//	damaged   an audit finds another entry than was signed
//	short     an audit is cut off
//	lying     lookups return what was not asked for
//	page      a web page for everything
func startForger(ts *testscript.TestScript, _ bool, args []string) {
	f := &forger{kind: args[0], size: cEnd, crafted: newCrafted(craftedOrigin, 1, args[0] == "fork")}
	switch f.kind {
	case "older":
		f.size = cVersion2
	case "unvoided":
		f.size = cVoid
	}
	var h http.Handler = jsonrpc.NewHandler(&pb.Log_ServiceDesc, f, jsonrpc.Options{})
	if f.kind == "page" {
		h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<html>log in to use this network</html>")
		})
	}
	s := httptest.NewServer(h)
	ts.Defer(s.Close)
	ts.Setenv("FORGER", s.URL)
}

func refusedWith(c codes.Code, reason, message string, metadata map[string]string) error {
	return must(status.New(c, message).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "pauselog", Metadata: metadata})).Err()
}

func (f *forger) GetCheckpoint(context.Context, *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	return &pb.GetCheckpointResponse{Checkpoint: string(f.note(f.size, f.key))}, nil
}

func (f *forger) GetConsistencyProof(_ context.Context, r *pb.GetConsistencyProofRequest) (*pb.GetConsistencyProofResponse, error) {
	if r.NewSize > uint64(f.size) {
		return nil, refusedWith(codes.NotFound, "not-logged", "there is no such tree", nil)
	}
	out := &pb.GetConsistencyProofResponse{OldSize: r.OldSize, NewSize: r.NewSize}
	for _, h := range must(tlog.ProveTree(int64(r.NewSize), int64(r.OldSize), f.hashes)) {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

func (f *forger) GetInclusionProof(_ context.Context, r *pb.GetInclusionProofRequest) (*pb.GetInclusionProofResponse, error) {
	if f.kind == "pending" {
		return nil, refusedWith(codes.NotFound, "pending", "it is logged, but newer than the tree of size 9", nil)
	}
	index := -1
	switch by := r.Entry.(type) {
	case *pb.GetInclusionProofRequest_Index:
		index = int(by.Index)
	case *pb.GetInclusionProofRequest_Path:
		switch by.Path {
		case voidedPath:
			return nil, refusedWith(codes.NotFound, "voided", "it was voided",
				map[string]string{"void_index": fmt.Sprint(cVoid), "upload_index": fmt.Sprint(cVoided)})
		case goodPath:
			index = cVersion2
		}
	}
	if index < 0 || index >= f.size {
		return nil, refusedWith(codes.NotFound, "not-logged", "it is not among the entries", nil)
	}
	out := &pb.GetInclusionProofResponse{Index: uint64(index), TreeSize: uint64(f.size), Entry: string(f.entries[index]), Checkpoint: string(f.note(f.size, f.key))}
	for _, h := range f.inclusion(index, f.size) {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

func (f *forger) ListEntries(_ *pb.ListEntriesRequest, s grpc.ServerStreamingServer[pb.ListEntriesResponse]) error {
	entries := f.entries[:f.size:f.size]
	switch f.kind {
	case "damaged":
		entries = append(entries[:2:2], f.entries[cOther])
		entries = append(entries, f.entries[3:f.size]...)
	case "short":
		entries = entries[:3]
	}
	r := &pb.ListEntriesResponse{}
	for _, e := range entries {
		r.Entries = append(r.Entries, string(e))
	}
	return s.Send(r)
}

func (f *forger) Lookup(_ context.Context, r *pb.LookupRequest) (*pb.LookupResponse, error) {
	out := &pb.LookupResponse{IndexedSize: uint64(f.size), PublishedSize: uint64(f.size)}
	for i, b := range f.entries[:f.size] {
		e, err := entry.Parse(b)
		if f.kind == "lying" || err != nil || e.Path == r.GetPath() || entry.Author(e.Path) == r.GetAuthor() {
			out.Entries = append(out.Entries, &pb.LoggedEntry{Index: uint64(i), Entry: string(b)})
		}
	}
	return out, nil
}
