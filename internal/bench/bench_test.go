package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

// TestMain lets this binary be the processes that rows need.
func TestMain(m *testing.M) {
	if os.Getenv(taskVariable) != "" {
		os.Exit(run(nil, os.Stdout, os.Stderr))
	}
	if len(os.Args) == 2 && strings.HasPrefix(os.Args[1], "{") {
		os.Exit(report(os.Stderr, fakeTessera(os.Args[1])))
	}
	os.Exit(m.Run())
}

// Every row gives a figure in a small run, the JSON has what the table has, and nothing is left.
func TestAllRows(t *testing.T) {
	dir := t.TempDir()
	logs, file, text := filepath.Join(dir, "logs"), filepath.Join(dir, "figures.json"), filepath.Join(dir, "figures.md")
	if err := os.Mkdir(logs, 0o777); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-n", "2000", "-rounds", "1", "-tessera=false", "-dir", logs, "-json", file, "-markdown", text}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, &stderr)
	}
	if left, err := os.ReadDir(logs); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r results
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Entries != 2000 || r.Machine.Cores < 1 || r.Machine.CPU == "" || r.Machine.Filesystem == "unknown" {
		t.Errorf("%+v", r)
	}
	seen := map[string]bool{}
	for _, x := range r.Rows {
		seen[x.Section] = true
		if len(x.Values) != 1 || x.Min <= 0 || x.Min != x.Median || x.Median != x.Max || x.Unit == "" {
			t.Errorf("%s, %s: %+v", x.Section, x.What, x)
		}
		if !strings.Contains(stdout.String(), x.What) {
			t.Errorf("the table has no %q", x.What)
		}
	}
	checkTargets(t, &r, false)
	if len(r.Comparison) != len(targets()) {
		t.Errorf("%d lines of the comparison, there are %d targets", len(r.Comparison), len(targets()))
	}
	md, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Comparison {
		if !strings.Contains(string(md), "| "+v.What+" |") || !strings.Contains(stdout.String(), v.What) {
			t.Errorf("the Markdown or the table has no %q", v.What)
		}
	}
	for _, name := range names() {
		if !seen[name] {
			t.Errorf("section %s gave no row", name)
		}
	}
}

// With several sizes there is a run of each, in order, and how cost grows.
func TestSizes(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-sizes", "4000,1000", "-rounds", "1", "-tessera=false", "-rows", "verify,disk", "-dir", t.TempDir(), "-json", "-"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, &stderr)
	}
	var got struct {
		Runs   []results
		Growth []growth
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Runs) != 2 || got.Runs[0].Entries != 1000 || got.Runs[1].Entries != 4000 {
		t.Errorf("%+v", got.Runs)
	}
	seen := map[string]bool{}
	for _, g := range got.Growth {
		seen[g.Section] = g.Cost > 0 && g.Word != "" && len(g.Medians) == 2
	}
	if !seen["verify"] || !seen["disk"] {
		t.Errorf("%+v", got.Growth)
	}
}

// What is appended beside the logs is never the same twice.
func TestMoreIsNew(t *testing.T) {
	b, seen := new(bench), map[string]bool{}
	for _, n := range []int{500, 81, 1, 500} {
		for _, e := range b.more(n) {
			if seen[e.Path] {
				t.Fatalf("%s was made twice", e.Path)
			}
			seen[e.Path] = true
		}
	}
}

// An interrupt ends the run early, with an error, and nothing is left.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	progress := writerFunc(func(b []byte) (int, error) {
		if strings.Contains(string(b), "making a log") {
			cancel() // while another process fills it
		}
		return len(b), nil
	})
	_, err := measure(ctx, options{n: 1_000_000, rounds: 1, rows: []string{"start"}, dir: dir}, progress)
	if err == nil || err.Error() != "start: interrupted" {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-rows", "nothing"}, {"-n", "10"}, {"-rounds", "0"}, {"-sizes", "1000,many"}, {"-sizes", "10"}, {"-x"}, {"more"}} {
		if code := run(args, new(bytes.Buffer), new(bytes.Buffer)); code != exitUsage {
			t.Errorf("%v: exit %d, want %d", args, code, exitUsage)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing")
	var stderr bytes.Buffer
	if code := run([]string{"-dir", missing}, new(bytes.Buffer), &stderr); code != exitError || !strings.Contains(stderr.String(), missing) {
		t.Errorf("a folder that is not there: exit %d, %s", code, &stderr)
	}
}

// What is appended are entries that the log takes, no two of one path.
func TestEntries(t *testing.T) {
	paths, authors := map[string]bool{}, map[string]bool{}
	for _, first := range []uint64{0, 999_990, 1 << 40} {
		for _, e := range uploads(first, 20_000) {
			if err := e.CheckSubmission(); err != nil {
				t.Fatal(err)
			}
			if paths[e.Path] && first != 999_990 {
				t.Fatalf("%s was made twice", e.Path)
			}
			paths[e.Path], authors[entry.Author(e.Path)] = true, true
		}
	}
	if len(paths) != 60_000 || len(authors) < 10_000 {
		t.Errorf("%d paths of %d authors", len(paths), len(authors))
	}
	if size := meanSize(); size < 250 || size > 320 {
		t.Errorf("entries of %.0f bytes on average", size)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{1234567.8: "1,234,568", 999.6: "1,000", 512: "512", 41.25: "41.2", 0.5: "0.50"} {
		if got := figure(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	if m := median([]float64{5, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v", m)
	}
}
