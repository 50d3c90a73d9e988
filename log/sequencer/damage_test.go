package sequencer

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/store"
)

// A byte that is wrong anywhere in the files of the store, after a crash, never makes the log forget what it acknowledged: either it
// does not start, and says that it is damaged, or every path that was acknowledged is found, or whoever looks for
// it is told of the damage. Pebble itself opens without a word in some of these cases.
func TestAWrongByteLosesNothingSilently(t *testing.T) {
	c := &crasher{fs: vfs.NewCrashableMem(), acked: map[string]uint64{}}
	create(t, c.fs)
	l := mustOpen(t, c.fs)
	for round := range 40 {
		var group []*entry.Entry
		for i := range 1 + round*7%30 {
			group = append(group, upload(round*1000+i, i))
		}
		for i, r := range submit(t, l, group...) {
			c.ack(group[i].Path, r.Index)
		}
		if round == 25 {
			// What is before this is in tables, the rest in a WAL.
			l.close(t)
			l = mustOpen(t, c.fs)
		}
	}
	c.crash()
	l.close(t)
	im := c.images[0]

	names, err := im.fs.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(31, 32))
	trials := 25
	if testing.Short() {
		trials = 6
	}
	refused, behindHead, told, sound := 0, 0, 0, 0
	for _, name := range names {
		name := "data/log/" + name
		info, err := im.fs.Stat(name)
		if err != nil || info.IsDir() || info.Size() == 0 {
			continue
		}
		for range trials {
			fs := vfs.NewMem()
			clone(t, im.fs, fs, "data")
			clone(t, im.fs, fs, "head")
			at := rnd.Int64N(info.Size())
			flip(t, fs, name, at, byte(1)<<rnd.IntN(8))
			l, err := openLog(fs, fs, order)
			if err != nil {
				refused++
				if errors.Is(err, ErrRefused) && errors.Is(err, store.ErrDamaged) {
					behindHead++
				}
				continue
			}
			size := l.store.Head().Size
			for path, index := range im.acked {
				last, err := l.store.Last(path, size)
				switch {
				case errors.Is(err, store.ErrDamaged):
					told++
				case err != nil || last == nil || last.Index != index:
					t.Fatalf("%s, byte %d: %s was acknowledged at %d, found %+v, %v", name, at, path, index, last, err)
				default:
					sound++
				}
			}
			l.close(t)
		}
	}
	if refused == 0 || behindHead == 0 || sound == 0 {
		t.Errorf("%d refused, %d of them behind their head, %d told, %d sound: the test did not see all that there is to see", refused, behindHead, told, sound)
	}
}

func flip(t *testing.T, fs vfs.FS, name string, at int64, bit byte) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	b[at] ^= bit
	g, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Write(b)
	if err := errors.Join(err, g.Close()); err != nil {
		t.Fatal(err)
	}
}
