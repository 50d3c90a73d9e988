package rig

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
)

// lived is a log at rest with two full tiles, and what it told.
func lived(t *testing.T) (*vfs.MemFS, Keys, []string, *Told) {
	t.Helper()
	phases, err := Script(5)
	if err != nil {
		t.Fatal(err)
	}
	fs, told := faultfs.New(vfs.NewCrashableMem()), new(Told)
	if err := Create(fs, phases[0].Keys); err != nil {
		t.Fatal(err)
	}
	for _, p := range phases {
		if err := live(fs, p, told); err != nil {
			t.Fatal(err)
		}
	}
	return fs.Image(faultfs.All, 0), phases[len(phases)-1].Keys, Verifiers(phases), told
}

func TestAHealthyLogPasses(t *testing.T) {
	mem, keys, verifiers, told := lived(t)
	acks, trees := told.Until(told.Mark())
	if len(acks) < 300 || len(trees) < 10 {
		t.Errorf("%d answers and %d trees are little", len(acks), len(trees))
	}
	conflicts := 0
	for _, a := range acks {
		if a.Entry == nil {
			conflicts++
		}
	}
	if conflicts == 0 {
		t.Error("the script has no conflicts")
	}
	if err := Check(mem, keys, verifiers, told); err != nil {
		t.Error(err)
	}
}

// Whatever is changed in the store below the log, the verifier sees it.
func TestTheVerifierSeesEachChange(t *testing.T) {
	mem, _, verifiers, told := lived(t)
	key := func(p byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{p}, n) }
	for _, tt := range []struct {
		name  string
		key   []byte
		value []byte // nil: the key is deleted
		want  error
	}{
		{"an entry is gone", key('z', 3), nil, oracle.ErrLost},
		{"an entry is another", key('z', 3), []byte("pauselog/v1\nkind upload\n"), oracle.ErrFork},
		{"a tile is wrong", key('t', 0), make([]byte, 256*32), oracle.ErrFalse},
		{"a tile is gone", key('t', 1), nil, oracle.ErrFalse},
		{"a key tile is wrong", key('k', 0), make([]byte, 256*8), oracle.ErrFalse},
		{"the nodes above a tile are wrong", key('n', 0), make([]byte, 16*32), oracle.ErrFalse},
		{"a predecessor that there is not", key('v', 0), make([]byte, 8), oracle.ErrFalse},
		{"an entry beyond the end", key('z', 1<<20), []byte("x"), oracle.ErrFalse},
		{"another state", []byte("c"), make([]byte, 100), oracle.ErrFork},
	} {
		changed := faultfs.Copy(mem)
		db, err := pebble.Open(StoreDir+"/log", &pebble.Options{FS: changed, FormatMajorVersion: pebble.FormatNewest})
		if err != nil {
			t.Fatal(err)
		}
		if tt.value == nil {
			err = db.Delete(tt.key, pebble.Sync)
		} else {
			err = db.Set(tt.key, tt.value, pebble.Sync)
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if err := Verify(changed, verifiers, told); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	// What was told and is not so.
	disk, err := oracle.Read(mem, StoreDir+"/log", verifiers)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		ack  oracle.Ack
		tree oracle.Tree
		want error
	}{
		"an entry beyond the end":    {oracle.Ack{Index: disk.Size}, oracle.Tree{}, oracle.ErrLost},
		"other bytes":                {oracle.Ack{Index: 1, Entry: []byte("x")}, oracle.Tree{}, oracle.ErrLost},
		"a conflict that is not one": {oracle.Ack{Index: 0, Path: "x"}, oracle.Tree{}, oracle.ErrLost},
		"another tree":               {oracle.Ack{}, oracle.Tree{Size: 7}, oracle.ErrFork},
		"a larger tree":              {oracle.Ack{}, oracle.Tree{Size: disk.Size + 1}, oracle.ErrFork},
	} {
		var acks []oracle.Ack
		var trees []oracle.Tree
		if errors.Is(tt.want, oracle.ErrLost) {
			acks = append(acks, tt.ack)
		} else {
			trees = append(trees, tt.tree)
		}
		if err := disk.Keeps(acks, trees, verifiers); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
