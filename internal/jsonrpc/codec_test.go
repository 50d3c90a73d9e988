package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	pauselogv1 "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func TestDecodeQuery(t *testing.T) {
	proof := func() proto.Message { return new(pauselogv1.GetInclusionProofRequest) }
	submit := func() proto.Message { return new(pauselogv1.SubmitRequest) }
	file := func() proto.Message { return new(descriptorpb.FileDescriptorProto) }
	hash := &pauselogv1.GetInclusionProofRequest{Entry: &pauselogv1.GetInclusionProofRequest_LeafHash{LeafHash: []byte{0xfb, 0xff}}}
	for _, tt := range []struct {
		query string
		new   func() proto.Message
		want  proto.Message // nil: refused
		err   string
	}{
		{"", proof, proof(), ""},
		{"index=0", proof, &pauselogv1.GetInclusionProofRequest{Entry: &pauselogv1.GetInclusionProofRequest_Index{}}, ""},
		{"index=18446744073709551615&all_signatures=true", proof,
			&pauselogv1.GetInclusionProofRequest{Entry: &pauselogv1.GetInclusionProofRequest_Index{Index: 1<<64 - 1}, AllSignatures: true}, ""},
		{"allSignatures=true&treeSize=7", proof, &pauselogv1.GetInclusionProofRequest{AllSignatures: true, TreeSize: 7}, ""},
		{"path=a%2F%22b%5C%0A+%C3%A9", proof, &pauselogv1.GetInclusionProofRequest{Entry: &pauselogv1.GetInclusionProofRequest_Path{Path: "a/\"b\\\n é"}}, ""},
		{"leaf_hash=%2B%2F8%3D", proof, hash, ""},
		{"leaf_hash=%2B%2F8", proof, hash, ""},
		{"leaf_hash=-_8=", proof, hash, ""},
		{"leafHash=-_8", proof, hash, ""},
		{"wait=WAIT_NONE", submit, &pauselogv1.SubmitRequest{Wait: pauselogv1.Wait_WAIT_NONE}, ""},
		{"dependency=a&dependency=b&publicDependency=1", file, &descriptorpb.FileDescriptorProto{Dependency: []string{"a", "b"}, PublicDependency: []int32{1}}, ""},

		{"indx=1", proof, nil, `unknown parameter "indx"`},
		{"Index=1", proof, nil, `unknown parameter "Index"`},
		{"index=1&index=1", proof, nil, `parameter "index" is given 2 times`},
		{"leaf_hash=-_8&leafHash=-_8", proof, nil, "duplicate field"},
		{"index=1&sha256=00", proof, nil, "already set"},
		{"index=", proof, nil, "invalid value for uint64 field index"},
		{"index=-1", proof, nil, "invalid value for uint64 field index"},
		{"index=+1", proof, nil, "invalid value for uint64 field index"},
		{"index=18446744073709551616", proof, nil, "invalid value for uint64 field index"},
		{"index=null", proof, nil, "invalid value for uint64 field index"},
		{"leaf_hash=+/8=", proof, nil, "invalid value for bytes field leafHash"}, // a bare + is a space
		{"path=%FF", proof, nil, `parameter "path": invalid UTF-8`},
		{"all_signatures=1", proof, nil, `"1" is neither true nor false`},
		{"all_signatures", proof, nil, `"" is neither true nor false`},
		{"wait=WAIT_LONG", submit, nil, "invalid value for enum field wait"},
		{"wait=1", submit, nil, "invalid value for enum field wait"},
		{"submission={}", submit, nil, `parameter "submission" is no single value`},
		{"index=1;path=a", proof, nil, "malformed query"},
		{"index=%x", proof, nil, "malformed query"},
	} {
		m := tt.new()
		err := decodeQuery(tt.query, m)
		switch {
		case tt.want == nil && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %v, %v; want %q", tt.query, m, err, tt.err)
		case tt.want == nil && strings.Contains(err.Error(), "line 1:"):
			t.Errorf("%s: %v: speaks of JSON that nobody wrote", tt.query, err)
		case tt.want != nil && (err != nil || !proto.Equal(m, tt.want)):
			t.Errorf("%s: %v, %v; want %v", tt.query, m, err, tt.want)
		}
	}
}

// protojson's own output differs between builds, not between calls: what can be
// seen from here is that nothing of its spacing is left.
func TestEncodeIsOneCompactLine(t *testing.T) {
	line, err := encode(answers, &pauselogv1.SubmitStreamResponse{Results: []*pauselogv1.SubmitResult{{
		Index: 1<<64 - 1, Bundle: "a: b\n", Refusal: &pauselogv1.Refusal{Metadata: map[string]string{"b": "2", "a": "1"}},
	}}})
	want := `{"results":[{"index":"18446744073709551615","leaf_hash":"","entry":"","repeated":false,"bundle":"a: b\n",` +
		`"refusal":{"reason":"","message":"","metadata":{"a":"1","b":"2"}}}]}` + "\n"
	if err != nil || string(line) != want {
		t.Errorf("%s%v, want %s", line, err, want)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 10000) // more than a buffer of bufio
	in := newLines(strings.NewReader("a\n\r\n"+long+"\nb"), len(long))
	for _, want := range []string{"a\n", "\r\n", long + "\n"} {
		if line, err := in.next(); string(line) != want || err != nil {
			t.Fatalf("%.20q, %v; want %.20q", line, err, want)
		}
	}
	if line, err := in.next(); string(line) != "b" || err != io.EOF {
		t.Errorf("last: %q, %v", line, err)
	}
	endless := newLines(endless{}, len(long))
	if _, err := endless.next(); !errors.Is(err, errLineTooLong) {
		t.Errorf("endless line: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// FuzzDecode: whatever is accepted, as a query or as JSON, is a message that is
// written as one line and read back as the same; and no parameter is ignored.
func FuzzDecode(f *testing.F) {
	f.Add("index=1", []byte(`{"index":"1"}`))
	f.Add("leaf_hash=-_8&all_signatures=true", []byte(`{"leafHash":"+/8=","allSignatures":true}`))
	f.Add("path=a%2Fb&tree_size=7", []byte(` {"path":"a\u0000b","tree_size":1e3} `))
	f.Add("sha256=%22%5C", []byte(`{"sha256":null}`))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		var m pauselogv1.GetInclusionProofRequest
		if decode(strict, body, &m) == nil {
			checkRoundTrip(t, &m)
		}
		if decodeQuery(query, &m) != nil {
			return
		}
		checkRoundTrip(t, &m)
		params, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("accepted %q: %v", query, err)
		}
		for name := range params {
			fields := m.ProtoReflect().Descriptor().Fields()
			fd := fields.ByTextName(name)
			if fd == nil {
				fd = fields.ByJSONName(name)
			}
			if fd == nil {
				t.Fatalf("accepted %q with parameter %q", query, name)
			}
			if fd.HasPresence() && !m.ProtoReflect().Has(fd) {
				t.Fatalf("%q: parameter %q had no effect", query, name)
			}
		}
	})
}

func checkRoundTrip(t *testing.T, m proto.Message) {
	t.Helper()
	line, err := encode(answers, m)
	if err != nil {
		t.Fatalf("accepted, but not encodable: %v: %v", m, err)
	}
	if bytes.IndexByte(line, '\n') != len(line)-1 || !json.Valid(line) {
		t.Fatalf("%q is not one line of JSON", line)
	}
	again := m.ProtoReflect().New().Interface()
	if err := decode(strict, line, again); err != nil || !proto.Equal(m, again) {
		t.Fatalf("%s reads back as %v, %v; want %v", line, again, err, m)
	}
}
