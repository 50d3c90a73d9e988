package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		path string
		kind entry.Kind
		err  error
	}{
		{"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz", entry.Upload, nil},
		{"authors/id/E/ET/ETHER/sub/Try-Tiny.pm.gz", entry.Upload, nil},
		{"authors/id/E/ET/ETHER/Perl6/Dist-1.tar.gz", entry.Upload, nil},
		{"modules/02packages.details.txt.gz", entry.Index, nil},
		{"authors/01mailrc.txt.gz", entry.Index, nil},
		{"authors/id/E/ET/ETHER/README", "", ErrNever},
		{"authors/id/E/ET/ETHER/CHECKSUMS", "", ErrNever},
		{"authors/id/E/ET/ETHER/Try-Tiny-0.31.meta", "", ErrNever},
		{"authors/02STAMP", "", ErrNever},
		{"modules/03modlist.data.gz", "", ErrNever},
		{"authors/RECENT-1h.yaml", "", ErrNever},
		{"authors/id/E/ET/ETHER/with a space.tar.gz", "", ErrName},
		{"authors/id/E/ET/ether/Try-Tiny-0.31.tar.gz", "", ErrName},
	} {
		kind, err := Classify(tt.path)
		if kind != tt.kind || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.path, kind, err, tt.kind, tt.err)
		}
	}
}

func item(i int) Item {
	return Item{Entry: entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/E/EX/EXAMPLE/Dist-%d.tar.gz", i), Size: uint64(i), By: "-", Seen: entry.SeenUpload}, Seen: entry.SeenUpload, Tag: i}
}

// fakeLog answers a stream as a log does, or as none should.
type fakeLog struct {
	pb.LogClient
	pb.Log_SubmitStreamClient

	ctx      context.Context
	requests chan *pb.SubmitStreamRequest
	answers  int  // how many to give at most; 0: all
	surplus  int  // results that nobody asked for, in each answer
	silent   bool // answers nothing
	after    bool // one answer more at the end
}

func (f *fakeLog) SubmitStream(ctx context.Context, _ ...grpc.CallOption) (pb.Log_SubmitStreamClient, error) {
	f.ctx, f.requests = ctx, make(chan *pb.SubmitStreamRequest, 100)
	return f, nil
}

func (f *fakeLog) Send(r *pb.SubmitStreamRequest) error { f.requests <- r; return nil }
func (f *fakeLog) CloseSend() error                     { close(f.requests); return nil }

func (f *fakeLog) Recv() (*pb.SubmitStreamResponse, error) {
	if f.silent {
		<-f.ctx.Done()
		return nil, f.ctx.Err()
	}
	select {
	case r, ok := <-f.requests:
		if f.answers--; f.answers == 0 || !ok && !f.after {
			return nil, io.EOF
		}
		out := &pb.SubmitStreamResponse{}
		if ok {
			for _, s := range r.Submissions {
				out.Results = append(out.Results, &pb.SubmitResult{Index: s.Size})
			}
		}
		for range f.surplus {
			out.Results = append(out.Results, &pb.SubmitResult{})
		}
		return out, nil
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
}

func TestStream(t *testing.T) {
	failed := errors.New("failed")
	type run struct {
		log    fakeLog
		groups [][]int // negative: an item with an Err
		fail   error   // of produce, after the groups
		settle error
		want   error
		text   string
	}
	for name, tt := range map[string]run{
		"in their order, with nil for what was not sent": {groups: [][]int{{1, -2, 3}, {-4}, {}, {5}}},
		"nothing":                     {},
		"a result too many":           {log: fakeLog{surplus: 1}, groups: [][]int{{1}}, want: client.ErrAnswer, text: "2 results for 1 submissions"},
		"the answers end early":       {log: fakeLog{answers: 2}, groups: [][]int{{1}, {2}}, want: client.ErrAnswer, text: "end early"},
		"an answer too many":          {log: fakeLog{after: true}, groups: [][]int{{1}}, want: client.ErrAnswer, text: "more answers"},
		"the files cannot be read":    {groups: [][]int{{1}}, fail: failed, want: failed},
		"what came cannot be settled": {groups: [][]int{{1}, {2}}, settle: failed, want: failed},
		"a log that says nothing":     {log: fakeLog{silent: true}, groups: [][]int{{1}, {2}, {3}, {4}, {5}, {6}, {7}}, want: ErrStall},
		"a group that is too large":   {groups: [][]int{make([]int, Window+1)}, text: "a group of 257 items"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []int
				err := Stream(t.Context(), &tt.log, pb.Wait_WAIT_SEQUENCED, func(_ context.Context, send func([]Item) error) error {
					for _, g := range tt.groups {
						var group []Item
						for _, i := range g {
							x := item(max(i, -i))
							if i < 0 {
								x.Err = failed
							}
							group = append(group, x)
						}
						if err := send(group); err != nil {
							return err
						}
					}
					return tt.fail
				}, func(group []Item, results []*pb.SubmitResult) error {
					if len(group) != len(results) {
						t.Fatalf("%d results for %d items", len(results), len(group))
					}
					for i, x := range group {
						switch {
						case x.Err != nil && results[i] == nil:
							got = append(got, -x.Tag.(int))
						case x.Err == nil && results[i] != nil && results[i].Index == x.Entry.Size:
							got = append(got, x.Tag.(int))
						default:
							t.Errorf("item %v: %v, result %v", x.Tag, x.Err, results[i])
						}
					}
					return tt.settle
				})
				if tt.want != nil && !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil && tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if err == nil && !slices.Equal(got, slices.Concat(tt.groups...)) {
					t.Errorf("settled %v, want %v", got, tt.groups)
				}
			})
		})
	}
}

func TestCheckLogged(t *testing.T) {
	e := item(1).Entry
	text, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	leaf := tree.LeafHash(text)
	good := func() *pb.SubmitResult { return &pb.SubmitResult{Entry: string(text), LeafHash: leaf[:]} }
	if err := CheckLogged(&e, good()); err != nil {
		t.Error(err)
	}
	// Who submitted it first may have said other things of it.
	other := e
	other.By, other.Seen, other.Time = "EXAMPLE", entry.SeenBackfill, 7
	if err := CheckLogged(&other, good()); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(want *entry.Entry, r *pb.SubmitResult){
		"another path":   func(want *entry.Entry, _ *pb.SubmitResult) { want.Path += ".gz" },
		"another digest": func(want *entry.Entry, _ *pb.SubmitResult) { want.SHA256[0] ^= 1 },
		"another size":   func(want *entry.Entry, _ *pb.SubmitResult) { want.Size++ },
		"another kind":   func(want *entry.Entry, _ *pb.SubmitResult) { want.Kind = entry.Delete },
		"no entry":       func(_ *entry.Entry, r *pb.SubmitResult) { r.Entry = "" },
		"another leaf":   func(_ *entry.Entry, r *pb.SubmitResult) { r.LeafHash = make([]byte, 32) },
	} {
		want, r := e, good()
		change(&want, r)
		if err := CheckLogged(&want, r); !errors.Is(err, client.ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
