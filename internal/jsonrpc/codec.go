package jsonrpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	mediaJSON   = "application/json"
	mediaNDJSON = "application/x-ndjson"
)

var (
	// Answers spell out zero values for their human readers. Requests don't: a
	// server older than the client would refuse the name of a new field, though
	// its zero value asks for nothing new.
	answers  = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}
	requests = protojson.MarshalOptions{UseProtoNames: true}

	// The server is strict, the client takes answers of newer servers.
	strict  = protojson.UnmarshalOptions{}
	lenient = protojson.UnmarshalOptions{DiscardUnknown: true}
)

// encode returns m as one line of JSON, line feed included, the same bytes each
// time: protojson puts in spaces at random, so that nobody relies on them.
func encode(opts protojson.MarshalOptions, m any) ([]byte, error) {
	pm, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a protobuf message", m)
	}
	b, err := opts.Marshal(pm)
	if err != nil {
		return nil, trimError(err)
	}
	var line bytes.Buffer
	line.Grow(len(b) + 1)
	if err := json.Compact(&line, b); err != nil {
		return nil, err
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// decode reads one JSON object, and nothing after it, into m.
func decode(opts protojson.UnmarshalOptions, b []byte, m any) error {
	pm, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is not a protobuf message", m)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("the body is empty; a request without fields is {}")
	}
	return trimError(opts.Unmarshal(b, pm))
}

// decodeQuery reads the query of a URL into m. A query is a way to write the
// JSON object whose members are its parameters, so it is turned into that and
// read by the same parser: both have one set of rules about values, names and
// oneofs.
func decodeQuery(query string, m any) error {
	pm, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is not a protobuf message", m)
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("malformed query: %w", err)
	}
	fields := pm.ProtoReflect().Descriptor().Fields()
	members := make([]string, 0, len(params))
	for _, name := range slices.Sorted(maps.Keys(params)) { // sorted: the same query has the same error
		fd := fields.ByJSONName(name)
		if fd == nil {
			fd = fields.ByTextName(name)
		}
		switch {
		case fd == nil:
			return fmt.Errorf("unknown parameter %q", name)
		case fd.Message() != nil:
			return fmt.Errorf("parameter %q is no single value: POST it as JSON", name)
		case !fd.IsList() && len(params[name]) > 1:
			return fmt.Errorf("parameter %q is given %d times", name, len(params[name]))
		}
		values := make([]string, len(params[name]))
		for i, v := range params[name] {
			if values[i], err = queryValue(fd, v); err != nil {
				return fmt.Errorf("parameter %q: %w", name, err)
			}
		}
		value := strings.Join(values, ",")
		if fd.IsList() {
			value = "[" + value + "]"
		}
		members = append(members, fmt.Sprintf("%q:%s", fd.TextName(), value))
	}
	err = trimError(strict.Unmarshal([]byte("{"+strings.Join(members, ",")+"}"), pm))
	if err != nil {
		// A position in JSON that the client has not written says nothing to it.
		return errors.New(position.ReplaceAllString(err.Error(), ""))
	}
	return nil
}

var position = regexp.MustCompile(`\(line \d+:\d+\): `)

// queryValue returns the JSON of one parameter. Protobuf's JSON takes strings
// for everything but booleans.
func queryValue(fd protoreflect.FieldDescriptor, v string) (string, error) {
	if fd.Kind() == protoreflect.BoolKind {
		if v != "true" && v != "false" {
			return "", fmt.Errorf("%q is neither true nor false", v)
		}
		return v, nil
	}
	if !utf8.ValidString(v) { // json.Marshal would put U+FFFD in its place
		return "", errors.New("invalid UTF-8")
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// trimError takes away the "proto:" of protobuf's errors, which is followed, at
// random, by a space or a non-breaking one.
func trimError(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0"))
}

// lines reads lines as they come, each of at most max bytes before its end.
type lines struct {
	r   *bufio.Reader
	max int
}

func newLines(r io.Reader, max int) *lines { return &lines{bufio.NewReader(r), max} }

var errLineTooLong = errors.New("line is too long")

// next returns a line that the caller may keep. With io.EOF comes what was not
// ended by a line feed, if anything.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		if len(bytes.TrimRight(line, "\r\n")) > l.max {
			return nil, errLineTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
