package hostile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A wire is an HTTP/2 connection on which anything can be written.
type wire struct {
	*http2.Framer
	conn net.Conn
	out  *bytes.Buffer // frames that are to be sent at once
	read chan error    // what ended the reading
}

// openWire connects and says hello. What the server sends is read and dropped.
func openWire(ctx context.Context, t *target) (*wire, error) {
	conn, err := connect(ctx, t.grpc)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(cmp.Or(t.patience, patience))); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	w := &wire{conn: conn, out: new(bytes.Buffer), read: make(chan error, 1)}
	w.Framer = http2.NewFramer(w.out, nil)
	w.AllowIllegalWrites = true
	w.out.WriteString(http2.ClientPreface)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		w.read <- err
	}()
	return w, w.WriteSettings()
}

// flush sends what was written. It says whether the connection is still open.
func (w *wire) flush() bool {
	_, err := w.out.WriteTo(w.conn)
	return err == nil
}

// ended waits for the server to end the connection, after all of it was sent.
func (w *wire) ended() bool { return !errors.Is(<-w.read, os.ErrDeadlineExceeded) }

// head is a call's header block. Each has a fresh encoder: dynamic tables are not of interest here.
func head(extra ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: submitPath}, {Name: ":authority", Value: "log.example"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}}, extra...) {
		if err := e.WriteField(f); err != nil {
			panic(err) // a bytes.Buffer takes all
		}
	}
	return b.Bytes()
}

func stream(i int) uint32 { return uint32(2*i + 1) }

// flooding is what a client does on one connection: step is called until it has been called often enough or the
// connection has ended. mustEnd: the server has to end it.
type flooding struct {
	name    string
	mustEnd bool
	often   int // steps for each of scale.frames, as a fraction 1/often
	step    func(*wire, int) error
}

var floodings = []flooding{
	{"rapid resets", false, 1, func(w *wire, i int) error {
		return errors.Join(w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: head(), EndHeaders: true}), w.WriteRSTStream(stream(i), http2.ErrCodeCancel))
	}},
	{"a head that never ends", true, 10, func(w *wire, i int) error {
		if i == 0 {
			return w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head()})
		}
		// A field that no table has, 16 KiB at a time.
		return w.WriteContinuation(1, false, append([]byte{0x00, 0x01, 'x', 0x7f, 0x80, 0x7e}, bytes.Repeat([]byte("x"), 127+126*128)...))
	}},
	{"a head that expands", false, 10, func(w *wire, i int) error {
		// 4 KiB in the dynamic table, and then named by one byte each.
		block := head(hpack.HeaderField{Name: "x", Value: string(bytes.Repeat([]byte("x"), 3900))})
		return w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: append(block, bytes.Repeat([]byte{0xbe}, 12<<10)...), EndHeaders: true, EndStream: true})
	}},
	{"settings", false, 1, func(w *wire, _ int) error {
		return w.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	}},
	{"pings", false, 1, func(w *wire, _ int) error { return w.WritePing(false, [8]byte{}) }},
	{"empty data", false, 1, func(w *wire, i int) error {
		if i == 0 {
			return w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(), EndHeaders: true})
		}
		return w.WriteData(1, false, nil)
	}},
	{"window updates", false, 1, func(w *wire, _ int) error { return w.WriteWindowUpdate(0, 1) }},
	{"a window that overflows", false, 1, func(w *wire, _ int) error { return w.WriteWindowUpdate(0, 1<<31-1) }},
	{"priorities", false, 1, func(w *wire, i int) error {
		return w.WritePriority(stream(i), http2.PriorityParam{StreamDep: stream(i + 1), Weight: 255})
	}},
	{"streams of the server", true, 1, func(w *wire, i int) error {
		return w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i) + 1, BlockFragment: head(), EndHeaders: true})
	}},
	{"streams that wait", false, 20, func(w *wire, i int) error {
		return w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: head(), EndHeaders: true})
	}},
	{"messages announced as 4 GiB", false, 20, func(w *wire, i int) error {
		data := binary.BigEndian.AppendUint32([]byte{0}, 1<<32-1)
		return errors.Join(w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: head(), EndHeaders: true}), w.WriteData(stream(i), false, data))
	}},
	{"data past the window", false, 100, func(w *wire, i int) error {
		if i == 0 {
			return w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(), EndHeaders: true})
		}
		return w.WriteData(1, false, append([]byte{0, 0, 0x10, 0, 0}, make([]byte, 16<<10-5)...))
	}},
	{"frames of an unknown type", false, 1, func(w *wire, _ int) error { return w.WriteRawFrame(0xee, 0xff, 0, nil) }},
	{"frames that are too large", true, 1000, func(w *wire, _ int) error { return w.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<20)) }},
	{"heads that do not decode", true, 10, func(w *wire, i int) error {
		return w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: bytes.Repeat([]byte{0xff}, 100), EndHeaders: true})
	}},
}

// floods does to HTTP/2 what its framing allows, and what it does not.
func floods(ctx context.Context, t *target, size scale, s *score) error {
	for _, f := range floodings {
		if err := flood(ctx, t, f, max(50, size.frames/f.often), s); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func flood(ctx context.Context, t *target, f flooding, steps int, s *score) (err error) {
	w, err := openWire(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.conn.Close()) }()
	for i := range steps {
		if ctx.Err() != nil {
			return nil
		}
		s.inputs.Add(1)
		if err := f.step(w, i); err != nil {
			return err
		}
		if w.out.Len() < 64<<10 && i+1 < steps {
			continue
		}
		if !w.flush() {
			break // the server has had enough
		}
	}
	if f.mustEnd {
		if !w.ended() {
			return fmt.Errorf("the connection is still open after %d frames", steps)
		}
		s.refused.Add(1)
	}
	return nil
}
