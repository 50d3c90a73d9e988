package head

import (
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

// What is read as a head is what would be written for it, byte for byte: a head that a disk has changed is none.
func FuzzUnmarshal(f *testing.F) {
	for _, h := range []Head{{Origin: "log.example/pause"}, {Origin: "log.example/pause", Size: 1 << 40, Root: tree.Hash{1, 2, 3}, Starts: 7}} {
		b, err := h.marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add([]byte(strings.Replace(string(b), "size ", "size 0", 1)))
	}
	f.Add([]byte("origin \nsize 0\nroot \nstarts 0\n"))
	f.Add([]byte("origin a\nsize 18446744073709551615\nroot AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nstarts 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := unmarshal(b)
		if err != nil {
			return
		}
		if again, err := h.marshal(); err != nil || string(again) != string(b) {
			t.Errorf("%q is written as %q (%v)", b, again, err)
		}
		if h.Origin == "" || h.Size > tree.MaxSize {
			t.Errorf("%q: %+v", b, h)
		}
	})
}
