package hostile

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // for the bombs
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// reads are the calls that everybody may make, with the fields of their requests that are numbers.
var reads = []struct {
	method  string
	request func(a, b uint64) (proto.Message, url.Values)
	answer  func() proto.Message
}{
	{"GetEntry", func(a, _ uint64) (proto.Message, url.Values) {
		return &pb.GetEntryRequest{Index: a}, url.Values{"index": {fmt.Sprint(a)}}
	}, func() proto.Message { return new(pb.GetEntryResponse) }},
	{"GetInclusionProof", func(a, b uint64) (proto.Message, url.Values) {
		return &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: a}, TreeSize: b}, url.Values{"index": {fmt.Sprint(a)}, "treeSize": {fmt.Sprint(b)}}
	}, func() proto.Message { return new(pb.GetInclusionProofResponse) }},
	{"GetConsistencyProof", func(a, b uint64) (proto.Message, url.Values) {
		return &pb.GetConsistencyProofRequest{OldSize: a, NewSize: b}, url.Values{"oldSize": {fmt.Sprint(a)}, "newSize": {fmt.Sprint(b)}}
	}, func() proto.Message { return new(pb.GetConsistencyProofResponse) }},
	{"Lookup", func(a, _ uint64) (proto.Message, url.Values) {
		n := uint32(min(a, math.MaxUint32))
		return &pb.LookupRequest{By: &pb.LookupRequest_Author{Author: "EXAMPLE"}, PageSize: n, PageToken: fmt.Sprint(a)},
			url.Values{"author": {"EXAMPLE"}, "pageSize": {fmt.Sprint(n)}, "pageToken": {fmt.Sprint(a)}}
	}, func() proto.Message { return new(pb.LookupResponse) }},
}

// plain are the codes with which a request is answered that is wrong in itself.
var plain = []codes.Code{codes.OK, codes.InvalidArgument, codes.NotFound, codes.OutOfRange, codes.FailedPrecondition}

// numbers asks for indexes and sizes at and past every edge, through both front doors: the answer is clear, and the same.
func numbers(ctx context.Context, t *target, _ scale, s *score) error {
	conn, err := dial(t)
	if err != nil {
		return err
	}
	defer conn.Close()
	edges := []uint64{0, 1, 255, 256, 257, 1<<31 - 1, 1 << 31, 1 << 32, 1 << 40, 1<<53 + 1, 1 << 62, math.MaxInt64, 1 << 63, math.MaxUint64 - 1, math.MaxUint64}
	for _, call := range reads {
		for _, a := range edges {
			for _, b := range edges {
				if call.method == "GetEntry" || call.method == "Lookup" {
					if b != 0 {
						continue
					}
				}
				s.inputs.Add(1)
				message, query := call.request(a, b)
				err := conn.Invoke(ctx, "/pauselog.v1.Log/"+call.method, message, call.answer())
				if !slices.Contains(plain, status.Code(err)) {
					return fmt.Errorf("%s of %d and %d over gRPC: %w", call.method, a, b, err)
				}
				// The log grows meanwhile: only sizes that it will not reach have to be answered alike.
				if over := max(a, b); over < 1<<31 || b != 0 && b < 1<<31 {
					continue
				}
				answer, err2 := ask(ctx, t, s, request("GET", "/pauselog.v1.Log/"+call.method+"?"+query.Encode()))
				if err2 != nil {
					return err2
				}
				if over := codeOf(answer); over != status.Code(err) {
					return fmt.Errorf("%s of %d and %d: over HTTP %v (status %d, %.200s), over gRPC %w", call.method, a, b, over, answer.status, answer.body, err)
				}
			}
		}
	}
	for _, n := range []string{"-1", "+1", "01", "1.5", "0x10", "%201", "1%20", "", "18446744073709551616", "99999999999999999999999999", "NaN", "Infinity", "null", "true", "%00", "１", "1&index=2", "1&Index=2"} {
		a, err := ask(ctx, t, s, request("GET", "/pauselog.v1.Log/GetEntry?index="+n))
		if err != nil {
			return err
		}
		if a.status != 400 || codeOf(a) != codes.InvalidArgument {
			return fmt.Errorf("GetEntry?index=%s: status %d, expected 400: %.200s", n, a.status, a.body)
		}
	}
	return nil
}

// codeOf is the code of an answer over HTTP.
func codeOf(a answer) codes.Code {
	if a.status == 200 {
		return codes.OK
	}
	var e struct{ Error struct{ Code string } }
	if json.Unmarshal([]byte(a.body), &e) != nil {
		return codes.Unknown
	}
	n, ok := code.Code_value[e.Error.Code]
	if !ok {
		return codes.Unknown
	}
	return codes.Code(n)
}

// verbatim sends bytes as they are.
type verbatim struct{}

func (verbatim) Name() string { return "proto" }
func (verbatim) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (verbatim) Unmarshal(mem.BufferSlice, any) error { return nil }

// malformed sends what is no message of the protocol, and messages that are too much.
func malformed(ctx context.Context, t *target, size scale, s *score) error {
	conn, err := dial(t, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(verbatim{})))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = withToken(ctx, t.token)
	var methods []string
	for _, m := range pb.Log_ServiceDesc.Methods {
		methods = append(methods, m.MethodName)
	}
	good, err := proto.Marshal(&pb.SubmitRequest{Submission: submission("authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz", nil)})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(size.seed, 1))
	inputs := [][]byte{{0xff}, []byte("\x0a\xff\xff\xff\xff\x0f"), bytes.Repeat([]byte{0x0a}, 100_000), []byte("\x0a\x05\x12\x03\xff\xfe\xfd"), bytes.Repeat([]byte("\x0b"), 50_000),
		bytes.Repeat([]byte("\xf8\x07\x01"), 100_000), append([]byte("\xfa\xff\xff\xff\x0f\x80\x80\x04"), make([]byte, 1<<16)...), bytes.Repeat([]byte("\x0a\x00"), 200_000)}
	for range 200 {
		m := bytes.Clone(good)
		switch r.IntN(3) {
		case 0:
			m[r.IntN(len(m))] ^= 1 << r.IntN(8)
		case 1:
			m = m[:r.IntN(len(m))]
		default:
			m = make([]byte, r.IntN(200))
			for i := range m {
				m[i] = byte(r.Uint32())
			}
		}
		inputs = append(inputs, m)
	}
	for _, m := range inputs {
		for _, method := range methods {
			s.inputs.Add(1)
			err := conn.Invoke(ctx, "/pauselog.v1.Log/"+method, m, nil)
			// Internal is what the gRPC library says of a message that it cannot decode.
			if !slices.Contains(append(plain, codes.Internal, codes.PermissionDenied), status.Code(err)) || status.Code(err) == codes.Internal && !strings.Contains(err.Error(), "unmarshal") {
				return fmt.Errorf("%s of %.60x: %w", method, m, err)
			}
			if err != nil {
				s.refused.Add(1)
			}
		}
	}
	return tooMuch(ctx, t, s)
}

// tooMuch sends batches over the limit, in number and in bytes, and text that is none.
func tooMuch(ctx context.Context, t *target, s *score) error {
	conn, err := dial(t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewLogClient(conn)
	batch := new(pb.SubmitStreamRequest)
	for range 1025 {
		batch.Submissions = append(batch.Submissions, &pb.Submission{})
	}
	big := &pb.SubmitStreamRequest{Submissions: []*pb.Submission{{Path: strings.Repeat("x", 2<<20)}}}
	for name, c := range map[string]struct {
		request *pb.SubmitStreamRequest
		want    codes.Code
	}{"1,025 submissions": {batch, codes.InvalidArgument}, "a path of 2 MiB": {big, codes.ResourceExhausted}} {
		s.inputs.Add(1)
		stream, err := client.SubmitStream(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(c.request) // Recv says why
		if _, err := stream.Recv(); status.Code(err) != c.want {
			return fmt.Errorf("%s: %v, expected %v", name, err, c.want)
		}
		s.refused.Add(1)
	}
	for _, path := range []string{"authors/id/E/EX/EXAMPLE/\u00e4-1.tar.gz", "authors/id/E/EX/EXAMPLE/a\nb-1.tar.gz", "authors/id/E/EX/EXAMPLE/a\x00-1.tar.gz", "../../etc/passwd", "", "authors/id/E/EX/EXAMPLE/" + strings.Repeat("a", 600) + ".tar.gz",
		"authors/id/E/EX/OTHER/a-1.tar.gz", "authors/id/e/ex/example/a-1.tar.gz", "authors/id/E/EX/EXAMPLE/../EXAMPLE/a-1.tar.gz", "authors/id/E/EX/EXAMPLE/a 1.tar.gz"} {
		s.inputs.Add(1)
		_, err := client.Submit(ctx, &pb.SubmitRequest{Submission: submission(path, nil)})
		if status.Code(err) != codes.InvalidArgument {
			return fmt.Errorf("submit path %.60q: %v, expected InvalidArgument", path, err)
		}
		s.refused.Add(1)
	}
	return nil
}

// bombs sends little that stands for much.
func bombs(ctx context.Context, t *target, size scale, s *score) error {
	conn, err := dial(t, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(verbatim{}), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		return err
	}
	defer conn.Close()
	zeros := make([]byte, size.body)
	for range 4 {
		s.inputs.Add(1)
		err := conn.Invoke(withToken(ctx, t.token), submitPath, zeros, nil, grpc.UseCompressor("gzip"))
		if c := status.Code(err); c != codes.Unimplemented && c != codes.ResourceExhausted {
			return fmt.Errorf("a gzip bomb over gRPC: %v, expected Unimplemented or ResourceExhausted", err)
		}
		s.refused.Add(1)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(zeros); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip", "GZIP"} {
		a, err := ask(ctx, t, s, requestWith("POST", submitPath, bomb.String(), "Content-Encoding: "+coding, "Content-Type: application/json", "Authorization: Bearer "+t.token))
		if err != nil {
			return err
		}
		if a.status != 415 && a.status != 413 {
			return fmt.Errorf("a body in %s: status %d, expected 415 or 413: %.200s", coding, a.status, a.body)
		}
	}
	return nil
}
