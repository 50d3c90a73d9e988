package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts and tests run the real program: the test binary under another
// name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pauselogd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
		},
	})
}

// What dev gives a newcomer to play with is a real distribution, the same each time.
func TestSampleDistribution(t *testing.T) {
	b, err := helloWorld()
	if err != nil {
		t.Fatal(err)
	}
	again, err := helloWorld()
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("two samples differ (%v)", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if want := []string{"Hello-World-0.01/Makefile.PL", "Hello-World-0.01/lib/Hello/World.pm"}; !slices.Equal(names, want) {
		t.Errorf("the sample has %v", names)
	}
}
