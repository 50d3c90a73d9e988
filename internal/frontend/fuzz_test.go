package frontend

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A static file has one name, and of everything else there is a 404: nothing is a fault.
func FuzzStatic(f *testing.F) {
	const size = 300
	w := newWorld(f, size)
	for _, p := range []string{"/", "/checkpoint", "/tile/0/000", "/tile/0/001.p/44", "/tile/1/000.p/1", "/tile/entries/000", "/paths/00", "/proof/" + upload(3).Path + proof.Extension, "/proof/" + upload(3).Path + proof.Extension + "?all=1",
		"/tile/0/x000/000", "/tile/0/%30%30%30", "/paths/AA", "//checkpoint", "/proof/../checkpoint", "/proof/" + upload(3).Path + proof.Extension + "?sha256=" + upload(3).Sha256} {
		f.Add("GET", p)
	}
	f.Add("HEAD", "/tile/0/000")
	f.Add("POST", "/checkpoint")
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return // net/http answers it
		}
		r := &http.Request{Method: method, URL: u, Header: http.Header{}, RequestURI: target}
		answer := httptest.NewRecorder()
		w.static.ServeHTTP(answer, r.WithContext(t.Context()))
		switch path := u.Path; {
		case answer.Code == 404 || answer.Code == 405:
			return
		case answer.Code != 200 || method != "GET" && method != "HEAD":
			t.Errorf("%s %q: status %d: %s", method, target, answer.Code, answer.Body)
		case path == "/" || path == "/checkpoint":
		case strings.HasPrefix(path, "/tile/"):
			at, err := tile.ParsePath(path[1:])
			if err != nil || "/"+at.Path() != u.EscapedPath() || !at.InTree(size) {
				t.Errorf("%q is served as %v (%v)", target, at, err)
			}
		case strings.HasPrefix(path, "/paths/"):
			if shard, ok := prooftree.ParseShardName(path[1:]); !ok || "/"+prooftree.ShardName(shard) != u.EscapedPath() {
				t.Errorf("%q is served", target)
			}
		case strings.HasPrefix(path, "/proof/"):
			if method == "HEAD" {
				break
			}
			b, err := proof.Parse(answer.Body.Bytes())
			if err != nil {
				t.Fatalf("%q: %v", target, err)
			}
			if e, err := entry.Parse(b.Entry); err != nil || "/proof/"+e.Path+proof.Extension != path {
				t.Errorf("%q is the proof of %+v (%v)", target, e, err)
			}
		default:
			t.Errorf("%q is served", target)
		}
	})
}

// A read that any client can send is answered, or refused with a word for it; a proof that is returned is one.
func FuzzReads(f *testing.F) {
	w := newWorld(f, 300)
	root := w.Store.Head().State.Root
	for _, m := range []proto.Message{
		&pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: 3}}, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(3).Path}, TreeSize: 7},
		&pb.GetConsistencyProofRequest{OldSize: 3, NewSize: 300}, &pb.GetEntryRequest{Index: 1 << 63}, &pb.LookupRequest{By: &pb.LookupRequest_Author{Author: "ETHER"}, PageSize: 2, PageToken: "9"},
		&pb.LookupRequest{By: &pb.LookupRequest_Distribution{Distribution: "Dist"}, PageSize: 1 << 31}, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_LeafHash{LeafHash: make([]byte, 32)}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		for call := range uint8(5) {
			f.Add(call, b)
		}
	}
	f.Fuzz(func(t *testing.T, call uint8, b []byte) {
		ask := func(m proto.Message, f func(context.Context) error) {
			if proto.Unmarshal(b, m) != nil {
				return // gRPC refuses it
			}
			err := f(t.Context())
			switch code := status.Code(err); code {
			case codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange:
			default:
				t.Errorf("%T %v: %v", m, m, err)
			}
			if reason, _, _ := Reason(err); err != nil && reason == "" {
				t.Errorf("%T %v: %v has no reason", m, m, err)
			}
		}
		switch call % 5 {
		case 0:
			m := new(pb.GetInclusionProofRequest)
			ask(m, func(ctx context.Context) error {
				a, err := w.service.GetInclusionProof(ctx, m)
				if err == nil && a.TreeSize == 300 {
					if err := tree.VerifyInclusion(a.Index, a.TreeSize, tree.LeafHash([]byte(a.Entry)), hashesOf(a.Hashes), root); err != nil {
						t.Errorf("%v: %v", m, err)
					}
				}
				return err
			})
		case 1:
			m := new(pb.GetConsistencyProofRequest)
			ask(m, func(ctx context.Context) error { _, err := w.service.GetConsistencyProof(ctx, m); return err })
		case 2:
			m := new(pb.GetEntryRequest)
			ask(m, func(ctx context.Context) error {
				a, err := w.service.GetEntry(ctx, m)
				if err == nil && (a.Index != m.Index || a.Index >= 300) {
					t.Errorf("%v is answered with entry %d", m, a.Index)
				}
				return err
			})
		case 3:
			m := new(pb.LookupRequest)
			ask(m, func(ctx context.Context) error {
				a, err := w.service.Lookup(ctx, m)
				if err == nil && len(a.Entries) > 1000 {
					t.Errorf("%v is answered with %d entries", m, len(a.Entries))
				}
				return err
			})
		case 4:
			m := new(pb.GetCheckpointRequest)
			ask(m, func(ctx context.Context) error { _, err := w.service.GetCheckpoint(ctx, m); return err })
		}
	})
}

func hashesOf(b [][]byte) (hashes []tree.Hash) {
	for _, h := range b {
		hashes = append(hashes, tree.Hash(h))
	}
	return hashes
}
