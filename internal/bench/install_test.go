package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// Every row of the installers gives a figure with made distributions, and nothing is left.
func TestInstallers(t *testing.T) {
	t.Setenv(corpusVariable, "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	var progress bytes.Buffer
	runs, err := measure(ctx, options{n: 2000, rounds: 1, installers: true, dir: dir}, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	r := runs[0]
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := json.Marshal(r); err != nil { // as NaN or an infinity would not
		t.Error(err)
	}
	seen, ratios := map[string]bool{}, map[string]int{}
	for _, x := range r.Rows {
		seen[x.Section] = true
		if len(x.Values) != 1 || x.Unit == "" {
			t.Errorf("%s, %s: %+v", x.Section, x.What, x)
		}
		// How much longer one more file takes is a difference, which chance can make negative.
		if x.Median <= 0 && !strings.HasPrefix(x.What, "each further") {
			t.Errorf("%s, %s: %v", x.Section, x.What, x.Median)
		}
		if x.Unit == "x" {
			ratios[x.Section]++
		}
	}
	for _, name := range namesOf(installerSections) {
		if !seen[name] {
			t.Errorf("section %s gave no row", name)
		}
	}
	if ratios["install"] != 4 || ratios["fetch"] != 4 || ratios["plugin"] != 2 {
		t.Errorf("ratios: %v", ratios)
	}
}

// newTestBench is one round of made distributions.
func newTestBench(t *testing.T) *bench {
	t.Helper()
	t.Setenv(corpusVariable, "")
	o := options{n: 1000, rounds: 1, installers: true}
	b := &bench{options: o, work: t.TempDir(), round: 1, progress: new(bytes.Buffer), report: newResults(o, machine{})}
	if _, err := b.installLab(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.closeLab(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// The tree proves every file of the mirror, under a policy that misses any one of its witnesses.
func TestTheTreeOfTheMirror(t *testing.T) {
	b := newTestBench(t)
	l := b.lab
	source, err := prooftree.OpenDir(l.proofs)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	tree, err := prooftree.Open(t.Context(), source, l.policy)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Size != 1000 || len(l.archives()) != exampleNeeds+1 || len(l.files) <= len(l.archives()) {
		t.Errorf("%d entries, %d archives, %d files", tree.Size, len(l.archives()), len(l.files))
	}
	for _, f := range l.files {
		p, err := tree.BundleFor(t.Context(), f.path, f.file.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := p.Bundle.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r := verify.Verify(verify.Request{Policy: l.policy, Path: f.path, SHA256: f.file.SHA256, Size: f.file.Size, Bundle: bundle})
		if r.Outcome != verify.Verified {
			t.Errorf("%s: %v: %s", f.path, r.Outcome, r.Message)
		}
	}
	note, err := checkpoint.ParseNote(tree.Note)
	if err != nil || len(note.Signatures) != 4 {
		t.Fatalf("%d signatures, want those of the log and three witnesses; %v", len(note.Signatures), err)
	}
	for i := 1; i < 4; i++ {
		n := 0
		without := note.Keep(func(checkpoint.Signature) bool { n++; return n-1 != i })
		if _, err := l.policy.Open(without.Marshal()); !errors.Is(err, checkpoint.ErrQuorum) {
			t.Errorf("without witness %d: %v", i-1, err)
		}
	}
}

// What is refused gives no figure.
func TestNoFigureForWhatIsRefused(t *testing.T) {
	b := newTestBench(t)
	name := filepath.Join(b.lab.cpan, filepath.FromSlash(b.lab.archives()[0].path))
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(name, content, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := b.filledCache(t.Context()); err == nil || !strings.Contains(err.Error(), "403 ") {
		t.Errorf("error %v", err)
	}
	if len(b.report.Rows) > 0 || b.lab.filled {
		t.Errorf("rows %v, cache filled: %v", b.report.Rows, b.lab.filled)
	}
}

// A ratio is that of the medians, and each round's is kept.
func TestRatios(t *testing.T) {
	b := &bench{report: newResults(options{}, machine{})}
	seconds := map[string][]float64{"plain": {2, 4, 3}, "other": {3, 4, 6}}
	turn := func(what string) variant {
		return variant{what, func() (time.Duration, error) {
			return time.Duration(seconds[what][b.round-1] * float64(time.Second)), nil
		}}
	}
	for b.round = 1; b.round <= 3; b.round++ {
		if err := b.turns("s", []variant{turn("plain"), turn("other")}, "s", time.Duration.Seconds); err != nil {
			t.Fatal(err)
		}
	}
	x := b.row("s", "ratio: other")
	if x.Median != 4.0/3 || x.Min != 1 || x.Max != 2 || len(x.Values) != 3 {
		t.Errorf("%+v", x)
	}
}

// Each variant is first once, and none is left out.
func TestTurns(t *testing.T) {
	b := &bench{report: newResults(options{}, machine{})}
	var order string
	var variants []variant
	for _, name := range []string{"a", "b", "c"} {
		variants = append(variants, variant{name, func() (time.Duration, error) { order += name; return time.Second, nil }})
	}
	for b.round = 1; b.round <= 4; b.round++ {
		if err := b.turns("s", variants, "s", time.Duration.Seconds); err != nil {
			t.Fatal(err)
		}
	}
	if order != "abc"+"bca"+"cab"+"abc" {
		t.Errorf("order %s", order)
	}
}

func TestMissingClients(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := needs("cpanm", "make")
	if err == nil || !strings.Contains(err.Error(), "cpanm (Debian package cpanminus), make (Debian package make)") {
		t.Errorf("error %v", err)
	}
}

func TestInstallersCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		rounds int
	}{{nil, 5}, {[]string{"-installers"}, 7}, {[]string{"-installers", "-rows", "fetch,judge", "-rounds", "2"}, 2}} {
		if o, err := parse(tt.args, new(bytes.Buffer)); err != nil || o.rounds != tt.rounds {
			t.Errorf("%v: %d rounds, %v", tt.args, o.rounds, err)
		}
	}
	for _, args := range [][]string{{"-rows", "fetch"}, {"-installers", "-rows", "append"}, {"-installers", "-rounds", "0"}} {
		if _, err := parse(args, new(bytes.Buffer)); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
