package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// entries are as bench sends them.
func entries(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		e := fmt.Sprintf("entry %d of a test\n", i)
		b.Write([]byte{byte(len(e) >> 8), byte(len(e))})
		b.WriteString(e)
	}
	return b.Bytes()
}

// row runs a task to its end, with as many entries as it says.
func row(t *testing.T, x task) result {
	t.Helper()
	r, err := tryRow(t, x, entries(x.Entries))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryRow(t *testing.T, x task, entries []byte) (r result, err error) {
	t.Helper()
	in, stdin := io.Pipe()
	go func() {
		stdin.Write(entries)
		io.WriteString(stdin, "go\n") // and not the end
	}()
	defer stdin.Close()
	var out bytes.Buffer
	if err := run(t.Context(), []string{argument(t, x)}, in, &out); err != nil {
		return r, err
	}
	d := json.NewDecoder(&out)
	var ready map[string]string
	if err := d.Decode(&ready); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r, nil
}

func argument(t *testing.T, x task) string {
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// folder is one that a log may still write to when the test has ended, because it does not say when it is done.
func folder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "tessera")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "log")
}

func many(t *testing.T, name string) task {
	return task{Row: name, Dir: folder(t), Entries: 1500, Callers: 300, Batch: 256, Age: 20 * time.Millisecond,
		Interval: 100 * time.Millisecond, Memory: 1, Limit: time.Minute, Seed: 1}
}

// size is that of the log's checkpoint, whose signature is verified.
func size(t *testing.T, dir string) uint64 {
	t.Helper()
	m, err := (&session{task: task{Dir: dir}}).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m.checkpoint.Size
}

// All entries are integrated and in a signed checkpoint when the row says so, with deduplication and without; the
// row itself has then verified a sample of them, and that repeated ones have the old index.
func TestAppend(t *testing.T) {
	for _, persist := range []bool{false, true} {
		x := many(t, "append")
		x.Persist = persist
		r := row(t, x)
		f := r.Figures
		if f["entries"] != 1500 || f["integrated"] <= 0 || f["published"] <= 0 || f["published"] > f["integrated"] {
			t.Errorf("%+v", r)
		}
		if n := size(t, x.Dir); n != 1500 {
			t.Errorf("a checkpoint of %d entries", n)
		}
		if r.Version != "v1.0.4" {
			t.Errorf("version %q", r.Version)
		}
		if strings.Contains(r.Settings, "Badger") != persist {
			t.Errorf("settings %q", r.Settings)
		}
	}
}

// The time ends a row too; it counts what was answered.
func TestTheTimeEndsAppending(t *testing.T) {
	x := many(t, "append")
	x.Callers, x.Batch, x.Limit = 4, 1, 20*time.Millisecond // a batch of one takes more than a tenth of that
	n := row(t, x).Figures["entries"]
	if n >= 1500 || n != float64(size(t, x.Dir)) {
		t.Errorf("%v entries were answered, the checkpoint is of %d", n, size(t, x.Dir))
	}
}

// The check finds a log that does not hold what was answered, and a repeated entry that was logged twice.
func TestCheckFinds(t *testing.T) {
	x := many(t, "append")
	s := &session{task: x}
	l, err := s.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sample []answered
	for _, e := range []string{"one", "two", "one"} { // without deduplication
		i, err := l.add(t.Context(), []byte(e))
		if err != nil {
			t.Fatal(err)
		}
		sample = append(sample, answered{[]byte(e), i.Index})
	}
	if err := l.check(t.Context(), 3, sample); err != nil {
		t.Errorf("all is there: %v", err)
	}
	if err := l.check(t.Context(), 2, sample); err == nil {
		t.Error("a checkpoint of 3 entries passed for one of 2")
	}
	if err := l.check(t.Context(), 3, []answered{{[]byte("four"), 1}}); err == nil {
		t.Error("an entry that is not there passed")
	}

	x = many(t, "append")
	x.Persist = true
	if l, err = (&session{task: x}).create(t.Context()); err != nil {
		t.Fatal(err)
	}
	i, err := l.add(t.Context(), []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.check(t.Context(), 1, []answered{{[]byte("one"), i.Index}}); err != nil {
		t.Errorf("a repeated entry: %v", err)
	}
	if err := l.checkRepeats(t.Context(), 1, []answered{{[]byte("new"), 0}}); err == nil {
		t.Error("an entry that was not there before passed for a repeated one")
	}
}

func TestIdle(t *testing.T) {
	x := many(t, "idle")
	x.Entries, x.Callers, x.Batch = 4, 1, 1
	f := row(t, x).Figures
	if f["integrated"] <= 0 || f["published"] < f["integrated"] || f["published-max"] < f["published"] || size(t, x.Dir) != 4 {
		t.Errorf("%+v", f)
	}
}

// Over HTTP each entry is answered with its index.
func TestServe(t *testing.T) {
	x := many(t, "serve")
	x.Entries, x.Batch = 0, 1
	in, stdin := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(t.Context(), []string{argument(t, x)}, in, stdout)
		stdout.Close()
	}()
	lines := bufio.NewReader(out)
	d := json.NewDecoder(lines)
	var ready struct{ Address string }
	if err := d.Decode(&ready); err != nil {
		t.Fatal(err, <-ended)
	}
	io.WriteString(stdin, "go\n")
	for i := range 3 {
		resp, err := http.Post("http://"+ready.Address+"/add", "", strings.NewReader(fmt.Sprint("entry ", i)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(b) != fmt.Sprint(i) {
			t.Errorf("entry %d: %s %q %v", i, resp.Status, b, err)
		}
	}
	stdin.Close()
	var r result
	if err := d.Decode(&r); err != nil || r.Figures["entries"] != 3 || size(t, x.Dir) != 3 {
		t.Errorf("%+v, %v, %v", r, err, <-ended)
	}
}

// Proofs are of the log that was made, and the rows verify a sample of them.
func TestProofs(t *testing.T) {
	x := many(t, "fill")
	if f := row(t, x).Figures; f["entries"] != 1500 || size(t, x.Dir) != 1500 {
		t.Fatalf("%+v", f)
	}
	x.Entries, x.Limit = 0, 50*time.Millisecond
	for name, figures := range map[string][]string{"inclusion": {"cold", "warm-1", "warm-2"}, "consistency": {"warm-1"}} {
		x.Row = name
		r := row(t, x)
		for _, f := range figures {
			if r.Figures[f] <= 0 {
				t.Errorf("%s: no %s in %+v", name, f, r)
			}
		}
	}
	// A log that is not what its checkpoint says does not give figures.
	if err := os.Rename(filepath.Join(x.Dir, "tile", "entries"), filepath.Join(x.Dir, "gone")); err != nil {
		t.Fatal(err)
	}
	x.Row = "inclusion"
	if _, err := tryRow(t, x, nil); err == nil {
		t.Error("the proofs of a log without entries were measured")
	}
}

func TestTasksThatAreNone(t *testing.T) {
	for _, args := range [][]string{nil, {"{}"}, {`{"Row":"nothing"}`}, {`{"Rows":"append"}`}, {"append"}, {"{}", "{}"}} {
		if err := run(t.Context(), args, strings.NewReader(""), io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	x := many(t, "append")
	for name, in := range map[string]string{"no entries": "", "half an entry": "\x00\x05ab"} {
		if err := run(t.Context(), []string{argument(t, x)}, strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
