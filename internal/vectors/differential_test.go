package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/verify"
)

var (
	seed         = flag.Uint64("seed", 0, "the seed of TestDifferential (0: a new one)")
	differential = flag.Duration("differential", 10*time.Second, "how long TestDifferential makes new cases; give go test a -timeout that is longer")
)

// shortCases is how many cases are tried with -short.
const shortCases = 150

// bigintShare: one case of so many is asked with big integers, which take some tenths of a second for a signature.
const bigintShare = 200

// Whoever reads what the other refuses can be shown another truth. So valid and invalid cases are changed at random, and
// both verifiers must end in the same word, by the same check, with the same evidence and the same memory.
//
//	go test ./internal/vectors -run TestDifferential -differential 15m -timeout 20m -seed 7
//
// A case that fails is printed as a vector.
func TestDifferential(t *testing.T) {
	all, root := generated(t)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	m := newMutator(*seed, all)
	native, bigint := startPerl(t, root, "native", m), startPerl(t, root, "bigint", m)
	words := make(map[string]int)
	cases := 0
	for end := time.Now().Add(*differential); ; cases++ {
		if testing.Short() && cases == shortCases || !testing.Short() && time.Now().After(end) {
			break
		}
		v := m.next()
		if v.Kind != Signature && hasMLDSA(v.Policy) {
			continue // there the verifiers differ, as they say
		}
		p := native
		if cases%bigintShare == 0 {
			p = bigint
		}
		want, got := v.answered(), p.ask(v)
		words[string(v.Kind)+" "+want.Word]++
		if want != got {
			line := must(v.json())
			t.Fatalf("-seed %d, case %d, with %s integers: Go says %+v, Perl says %+v, to\n%s", *seed, cases, p.way, want, got, line)
		}
	}
	t.Logf("%d cases: %v", cases, words)
	if cases == 0 || len(words) < 5 {
		t.Errorf("%d cases with the answers %v: that is too few to say anything", cases, words)
	}
}

// An answered is what a verifier says, in a form that can be compared.
type answered struct {
	Word, Failed, Evidence, Remembered string

	Refused bool // a part of the question could not be read
}

func (v *Vector) answered() answered {
	a, err := v.ask()
	if err != nil {
		return answered{Refused: true}
	}
	return answered{Word: a.word, Failed: a.failed, Evidence: string(a.evidence), Remembered: string(a.remembered)}
}

func (v *Vector) json() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// A perl is a process that answers vectors.
type perl struct {
	t   *testing.T
	way string
	in  io.Writer
	out *bufio.Reader
	err *bytes.Buffer
}

func startPerl(t *testing.T, root, way string, m *mutator) *perl {
	t.Helper()
	program, err := exec.LookPath("perl")
	if err != nil {
		t.Fatalf("%v: the Perl verifier cannot be tested", err)
	}
	dist := filepath.Join(root, filepath.Dir(filepath.Dir(output)))
	cmd := exec.CommandContext(t.Context(), program, "-I"+filepath.Join(dist, "lib"), "-I"+filepath.Join(dist, "t", "lib"), filepath.Join("testdata", "answer.pl"))
	cmd.Env = append(perlEnvironment(), "CPAN_TLOG_ED25519="+way)
	p := &perl{t: t, way: way, err: new(bytes.Buffer)}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	cmd.Stderr = p.err
	if inErr != nil || outErr != nil {
		t.Fatal(inErr, outErr)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("perl: %v: %s", err, p.err)
		}
	})
	p.in, p.out = in, bufio.NewReaderSize(out, 1<<20)
	p.send(must(json.Marshal(map[string]any{"kind": "trees", "trees": m.trees})))
	return p
}

func (p *perl) send(line []byte) {
	if _, err := p.in.Write(append(bytes.TrimSuffix(line, []byte("\n")), '\n')); err != nil {
		p.t.Fatalf("perl: %v: %s", err, p.err)
	}
}

func (p *perl) ask(v *Vector) answered {
	p.t.Helper()
	p.send(must(v.json()))
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("perl: %v: %s", err, p.err)
	}
	var a struct {
		Word, Failed, Error, Kind string
		Evidence, Remembered      []byte
	}
	if err := json.Unmarshal(line, &a); err != nil {
		p.t.Fatalf("perl: %v: %s", err, line)
	}
	if a.Error != "" && a.Kind == "local" {
		return answered{Word: "died: " + a.Error}
	}
	return answered{a.Word, a.Failed, string(a.Evidence), string(a.Remembered), a.Error != ""}
}

// hasMLDSA reports whether a text, which may be no policy, has a key of ML-DSA: they are long.
func hasMLDSA(policy []byte) bool {
	for word := range strings.FieldsSeq(string(policy)) {
		if parts := strings.SplitN(word, "+", 3); len(parts) == 3 && len(parts[2]) > 1000 {
			return true
		}
	}
	return false
}

// Trees with more levels of tiles than the vectors have, and at their borders.
func TestPerlReadsLargeTrees(t *testing.T) {
	_, root := generated(t)
	m := &mutator{world: newWorld(), trees: make(map[string]proofTree)}
	var cases []*Vector
	for _, size := range []int{1, 2, 255, 256, 257, 65_536, 66_000} {
		entries := make([][]byte, size)
		for i := range entries {
			entries[i] = fmt.Append(nil, i)
		}
		uploads := []int{0, 1, 255, 256, size / 2, 65_279, 65_280, 65_535, 65_536, 65_791, 65_792, size - 2, size - 1}
		uploads = slices.DeleteFunc(uploads, func(i int) bool { return i < 0 || i >= size })
		for _, i := range uploads {
			entries[i] = upload(fmt.Sprintf(manyPath, i), manyFile(i), 0)
		}
		l := newLog(entries...)
		name := fmt.Sprintf("%d entries", size)
		m.trees[name] = l.files(size, m.world.lines(l.text(size), signed, m.w...)...)
		older := l.text(max(1, size/3))
		for _, i := range uploads {
			cases = append(cases, &Vector{Kind: Tree, Policy: m.policy(twoOf3), Files: name, files: m.trees[name], Path: fmt.Sprintf(manyPath, i),
				File: manyFile(i), Known: []Bytes{Bytes(noteOf(older, m.world.lines(older, signed, m.w...)...))}})
		}
	}
	p := startPerl(t, root, "native", m)
	for _, v := range cases {
		want, got := v.answered(), p.ask(v)
		if want != got || want.Word != verify.Verified.String() || want.Remembered != string(v.files["checkpoint"]) {
			t.Errorf("%s, %s: Go says %+v, Perl says %+v", v.Files, v.Path, want, got)
		}
	}
}
