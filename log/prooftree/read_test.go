package prooftree

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// Whatever is said of how many bytes come, exactly those that come are returned, up to the limit and never more.
func TestReadLimitedTrustsNoSize(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 300)
	for _, size := range []int64{-1, 0, 1, 2999, 3000, 3001, 1 << 50} {
		for _, limit := range []int64{0, 1, 2999, 3000, 3001, 1 << 40} {
			for name, r := range map[string]io.Reader{"at once": bytes.NewReader(content), "byte by byte": iotest.OneByteReader(bytes.NewReader(content)),
				"with its end": iotest.DataErrReader(bytes.NewReader(content))} {
				b, err := readLimited(r, "file", size, limit)
				if limit < 3000 && !errors.Is(err, ErrInvalid) || limit >= 3000 && (err != nil || !bytes.Equal(b, content)) {
					t.Errorf("%s, size %d, limit %d: %d bytes, %v", name, size, limit, len(b), err)
				}
			}
		}
	}
	if _, err := readLimited(iotest.ErrReader(io.ErrClosedPipe), "file", 10, 10); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a fault of reading: %v", err)
	}
}
