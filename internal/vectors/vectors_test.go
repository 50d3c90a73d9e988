package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
)

func generated(t *testing.T) ([]*Vector, string) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	all, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	return all, root
}

// Each vector's answer is written down by hand. That log/verify and the packages below it give it.
func TestGoGivesTheAnswers(t *testing.T) {
	all, _ := generated(t)
	for _, v := range all {
		a, err := v.ask()
		if err != nil {
			t.Errorf("%s %s: %v", v.Kind, v.Name, err)
		} else if a.word != v.Go || a.failed != v.Failed || a.message != v.Message {
			t.Errorf("%s %s: %+v, want %s, %s, %s", v.Kind, v.Name, a, v.Go, v.Failed, v.Message)
		}
	}
}

// Who changes a verifier changes what others are held to: on purpose, and in the same commit.
func TestTheFileIsUpToDate(t *testing.T) {
	all, root := generated(t)
	want, err := encode(all)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, output))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(gotLines), len(wantLines)) {
		if !bytes.Equal(gotLines[i], wantLines[i]) {
			t.Fatalf("%s: line %d is %.200s\nwant %.200s\nrun 'go run ./internal/vectors'", output, i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%s has %d lines, want %d; run 'go run ./internal/vectors'", output, len(gotLines), len(wantLines))
}

// A second run gives the same bytes: ML-DSA's signatures are the only ones that could differ.
func TestGeneratingIsDeterministic(t *testing.T) {
	a, _ := generated(t)
	b, _ := generated(t)
	first, err1 := encode(a)
	second, err2 := encode(b)
	if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
		t.Errorf("two runs differ, or fail: %v, %v", err1, err2)
	}
}

// Every outcome has vectors, and the two verifiers differ only where ML-DSA decides.
func TestCoverage(t *testing.T) {
	all, _ := generated(t)
	outcomes, kinds := make(map[string]int), make(map[Kind]int)
	for _, v := range all {
		kinds[v.Kind]++
		if v.Kind == Verify {
			outcomes[v.Go]++
		}
		if v.Go != v.Perl && !knowsMLDSA(t, v.Policy) {
			t.Errorf("%s %s: %s in Go, %s in Perl, and the policy has no ML-DSA key", v.Kind, v.Name, v.Go, v.Perl)
		}
	}
	for _, o := range verify.Precedence() {
		if outcomes[o.String()] == 0 {
			t.Errorf("no vector has the outcome %s", o)
		}
	}
	for kind, least := range map[Kind]int{Verify: 400, Policy: 80, Note: 100, Inclusion: 100, Signature: 80, Distribution: 3, Tree: 50, Pack: 40} {
		if kinds[kind] < least {
			t.Errorf("%d vectors of %s, want at least %d", kinds[kind], kind, least)
		}
	}
}

func knowsMLDSA(t *testing.T, text []byte) bool {
	t.Helper()
	p, err := checkpoint.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range p.Logs() {
		if l.Key.Algorithm() == checkpoint.MLDSA44 {
			return true
		}
	}
	for _, w := range p.Witnesses() {
		if w.Key.Algorithm() == checkpoint.MLDSA44 {
			return true
		}
	}
	return false
}

// What is wrong with a vector's expectation is said, and nothing is written.
func TestAWrongExpectationIsAnError(t *testing.T) {
	g := &generator{world: newWorld(), seen: make(map[string]bool)}
	g.add("all is well", "mismatch", g.good(nil))
	if g.err == nil {
		t.Error("a wrong expectation was accepted")
	}
	g.err = nil
	g.add("all is well", "verified", g.good(nil))
	if g.err == nil {
		t.Error("two vectors of one name were accepted")
	}
}

func TestArguments(t *testing.T) {
	var stderr bytes.Buffer
	for _, c := range []struct {
		args []string
		code int
	}{{[]string{"-check"}, 0}, {[]string{"x"}, 2}, {[]string{"-x"}, 2}} {
		if code := run(c.args, &stderr); code != c.code {
			t.Errorf("run(%v) = %d, want %d\n%s", c.args, code, c.code, &stderr)
		}
	}
}

func TestLooseBase64(t *testing.T) {
	for _, s := range []string{"AAAAAAA=", "AAAAAA=="} {
		if loose := looseBase64(s); loose == s || !slices.Contains([]int{len(s)}, len(loose)) {
			t.Errorf("looseBase64(%q) = %q", s, loose)
		}
	}
}
