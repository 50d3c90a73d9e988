package fuzz

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

func TestTargetsBelongToThePackageAfterThem(t *testing.T) {
	got := parseList([]byte("FuzzA\nFuzzB\nok  \texample.org/x\t0.01s\n?   \texample.org/none\t[no test files]\nok  \texample.org/y\t0.01s\nFuzzC\nok  \texample.org/z\t(cached)\n"))
	want := []target{{"example.org/x", "FuzzA"}, {"example.org/x", "FuzzB"}, {"example.org/z", "FuzzC"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOnlyTheFuzzersOwnFaultIsTriedAgain(t *testing.T) {
	const late = `fuzz: elapsed: 0s, gathering baseline coverage: 0/257 completed
fuzz: elapsed: 3s, execs: 2605 (868/sec), new interesting: 0 (total: 257)
fuzz: elapsed: 4s, execs: 2605 (0/sec), new interesting: 0 (total: 257)
--- FAIL: FuzzVerify (4.40s)
    context deadline exceeded
FAIL
exit status 1
`
	for name, c := range map[string]struct {
		out  string
		want bool
	}{
		"a worker that ended late": {late, true},
		"an input that fails": {`--- FAIL: FuzzX (0.02s)
    --- FAIL: FuzzX (0.00s)
        x_test.go:9: context deadline exceeded
    Failing input written to testdata/fuzz/FuzzX/3
FAIL
`, false},
		"a panic as well":     {late + "panic: boom\n", false},
		"a failing seed":      {strings.Replace(late, "    context", "    failure while testing seed corpus entry\n    context", 1), false},
		"another test's text": {"--- FAIL: FuzzX (4.40s)\n    x_test.go:9: context deadline exceeded\nFAIL\n", false},
		"a build failure":     {"x.go:1: syntax error\nFAIL\n", false},
	} {
		if got := lateWorker([]byte(c.out)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if n := execs([]byte(late)); n != 2605 {
		t.Errorf("%d inputs, want 2605", n)
	}
}

// A module with one sound and one faulty parser: the faulty one is found, and named with its input.
func TestFindsAParserThatPanics(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/m\n\ngo 1.24\n",
		"p.go":   "package p\n\nfunc parse(b []byte) int {\n\tif len(b) > 3 {\n\t\treturn int(b[len(b)+1-1])\n\t}\n\treturn 0\n}\n",
		"p_test.go": "package p\n\nimport \"testing\"\n\n" +
			"func FuzzParse(f *testing.F) {\n\tf.Add([]byte{})\n\tf.Fuzz(func(t *testing.T, b []byte) { parse(b) })\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	r, err := Campaign.Run(context.Background(), campaign.Options{For: 20 * time.Second, Progress: t.Logf})
	if err == nil || !strings.Contains(err.Error(), "FuzzParse") || !strings.Contains(err.Error(), "testdata/fuzz/FuzzParse") {
		t.Fatalf("%+v, %v", r, err)
	}
}
