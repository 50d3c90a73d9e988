package faultfs

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func put(t *testing.T, fs vfs.FS, name, content string, sync bool) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte(content))
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// content is a file's, or "gone".
func content(mem *vfs.MemFS, name string) string {
	b, err := ReadFile(mem, name)
	if err != nil {
		return "gone"
	}
	return string(b)
}

func TestOperationsAreNumberedAndFail(t *testing.T) {
	for _, tt := range []struct {
		fault Fault
		at    int
		want  string // what is in the file then
	}{
		{Fault{Err: ErrInjected}, 1, "gone"},
		{Fault{Err: ErrInjected, Stored: true}, 1, ""},
		{Fault{Err: ErrInjected}, 2, ""},
		{Fault{Err: ErrInjected, Prefix: 3}, 2, "con"},
		{Fault{Err: ErrInjected, Stored: true}, 2, "content"},
		{Fault{Err: ErrInjected}, 3, "content"},
	} {
		fs := New(vfs.NewCrashableMem())
		var ops []string
		fs.Before(func(o Op) Fault {
			ops = append(ops, fmt.Sprint(o.N, " ", o.Kind))
			if o.N == tt.at {
				return tt.fault
			}
			return Fault{}
		})
		f, err := fs.Create("/file", vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write([]byte("content"))
			err = errors.Join(err, f.Sync(), f.Close())
			if want := []string{"1 create", "2 write", "3 sync", "4 close"}; !slices.Equal(ops, want) {
				t.Errorf("operations %q, want %q", ops, want)
			}
		}
		if !errors.Is(err, ErrInjected) {
			t.Errorf("%+v at %d: %v", tt.fault, tt.at, err)
		}
		if got := content(fs.Image(All, 0), "/file"); got != tt.want {
			t.Errorf("%+v at %d: the file is %q, want %q", tt.fault, tt.at, got, tt.want)
		}
	}
}

func TestImages(t *testing.T) {
	fs := New(vfs.NewCrashableMem())
	put(t, fs, "/old", "old", true)
	if err := syncDir(fs, "/"); err != nil {
		t.Fatal(err)
	}
	put(t, fs, "/synced", "data", true)
	put(t, fs, "/new", "new", false)
	if err := fs.Rename("/old", "/moved"); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("/new"); err != nil {
		t.Fatal(err)
	}
	all, none := fs.Image(All, 0), fs.Image(None, 0)
	for name, want := range map[string][2]string{"/old": {"gone", "old"}, "/moved": {"old", "gone"}, "/synced": {"data", "gone"}, "/new": {"gone", "gone"}} {
		if got := [2]string{content(all, name), content(none, name)}; got != want {
			t.Errorf("%s is %q with all and with nothing kept, want %q", name, got, want)
		}
	}
	// A journal does not know of a rename half done, nor forgets what a later sync made durable.
	seen := map[string]bool{}
	for seed := range uint64(100) {
		some := fs.Image(Some, seed)
		state := content(some, "/old") + " " + content(some, "/moved") + " " + content(some, "/synced")
		if state != "old gone data" && state != "gone old data" {
			t.Errorf("seed %d: %s", seed, state)
		}
		seen[state] = true
		if again := fs.Image(Some, seed); content(again, "/moved") != content(some, "/moved") {
			t.Errorf("seed %d does not decide", seed)
		}
	}
	if len(seen) != 2 {
		t.Errorf("only %v", seen)
	}
}

func TestTear(t *testing.T) {
	fs := New(vfs.NewCrashableMem())
	put(t, fs, "/file", "......", true)
	f, err := fs.OpenReadWrite("/file", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	torn := ""
	fs.Before(func(o Op) Fault {
		if o.Len() > 0 {
			image := o.Image(All, 0)
			if !o.Tear(image, 2) {
				t.Error("nothing to tear")
			}
			torn = content(image, "/file")
			if o.Tear(vfs.NewCrashableMem(), 2) {
				t.Error("a file was made")
			}
		}
		return Fault{}
	})
	if _, err := f.WriteAt([]byte("abc"), 1); err != nil {
		t.Fatal(err)
	}
	if torn != ".ab..." || content(fs.Image(All, 0), "/file") != ".abc.." {
		t.Errorf("torn it is %q", torn)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Of a process that is gone nothing is done any more, and nothing returns to it.
func TestNothingHappensAfterTheEnd(t *testing.T) {
	fs := New(vfs.NewCrashableMem())
	reached, returned := make(chan struct{}), make(chan struct{})
	fs.Before(func(Op) Fault { close(reached); return Fault{Err: ErrInjected, Last: true} })
	go func() {
		_, _ = fs.Create("/file", vfs.WriteCategoryUnspecified)
		close(returned)
	}()
	<-reached
	if got := content(fs.Image(All, 0), "/file"); got != "gone" {
		t.Errorf("the file is %q", got)
	}
	select {
	case <-returned:
		t.Error("an operation returned to a process that is gone")
	default:
	}
}

// A process that ends takes nothing with it that it wrote; a crash after it takes what it did not sync.
func TestTheNextProcessReadsWhatWasNotSynced(t *testing.T) {
	fs := New(vfs.NewCrashableMem())
	put(t, fs, "/file", "old", true)
	if err := syncDir(fs, "/"); err != nil {
		t.Fatal(err)
	}
	fs.Before(func(o Op) Fault {
		if o.Kind == Sync {
			return Fault{Err: ErrInjected}
		}
		return Fault{}
	})
	f, err := fs.OpenReadWrite("/file", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("new"), 0)
	if err := errors.Join(err, f.Sync()); !errors.Is(err, ErrInjected) {
		t.Fatal(err)
	}
	next := fs.Next()
	b, err := (&Disk{FS: next}).ReadFile("/file")
	if err != nil || string(b) != "new" {
		t.Errorf("the next process reads %q, %v", b, err)
	}
	if all, none := content(next.Image(All, 0), "/file"), content(next.Image(None, 0), "/file"); all != "new" || none != "old" {
		t.Errorf("then a crash leaves %q with all and %q with nothing kept", all, none)
	}
	put(t, next, "/file", "newer", true)
	if err := syncDir(next, "/"); err != nil {
		t.Fatal(err)
	}
	if got := content(next.Image(None, 0), "/file"); got != "newer" || next.Count() != 5 {
		t.Errorf("after a sync it is %q, after %d operations", got, next.Count())
	}
}

func TestDiskReplacesWholeFiles(t *testing.T) {
	fs := New(vfs.NewCrashableMem())
	d := &Disk{FS: fs}
	if err := d.WriteFile("/clock", []byte("one")); err != nil {
		t.Fatal(err)
	}
	n := 0
	fs.Before(func(o Op) Fault {
		for _, k := range Keeps {
			n++
			if got := content(o.Image(k, uint64(o.N)), "/clock"); got != "one" && (got != "two" || o.Kind == Create || o.Kind == WriteAt) {
				t.Errorf("before %v, %s: %q", o, k, got)
			}
		}
		return Fault{}
	})
	if err := d.WriteFile("/clock", []byte("two")); err != nil || content(fs.Image(None, 0), "/clock") != "two" {
		t.Errorf("it is %q, %v", content(fs.Image(None, 0), "/clock"), err)
	}
	if n < 15 {
		t.Errorf("only %d images", n)
	}
	if _, err := d.Open("/other"); err == nil {
		t.Error("Open made a file")
	}
}
