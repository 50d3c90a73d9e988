// Command vectors writes what every verifier of this project must agree on, whatever
// language it is written in: files, proofs and policies, good and bad, each with the outcome
// that it must have.
//
//	go run ./internal/vectors          write deploy/perl/CPAN-TLog/t/vectors.jsonl
//	go run ./internal/vectors -check   write nothing; exit 1 if the file is not what would be written
//
// Keys, times and signatures are fixed, so the same sources give the same bytes. The
// outcomes are written down by hand, case by case; the tests hold log/verify against
// them, and the Perl distribution's tests hold CPAN::TLog::Verify.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

//go:generate go run .

// output is relative to the module's root.
const output = "deploy/perl/CPAN-TLog/t/vectors.jsonl"

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("vectors", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "write nothing; exit 1 if the file is not what would be written")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintln(stderr, "vectors: takes no arguments")
		return 2
	}
	if err := update(*check); err != nil {
		fmt.Fprintln(stderr, "vectors:", err)
		return 1
	}
	return 0
}

func update(check bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	all, err := generate(root)
	if err != nil {
		return err
	}
	text, err := encode(all)
	if err != nil {
		return err
	}
	name := filepath.Join(root, output)
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case bytes.Equal(old, text):
		return nil
	case check:
		return fmt.Errorf("%s is not what this program writes; run 'go run ./internal/vectors'", output)
	}
	return atomicfile.Write(name, text, 0o644)
}

// moduleRoot returns the folder of go.mod: the present one or one above it.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("go.mod is not in this folder, nor in one above it")
		}
		dir = up
	}
}

// encode writes a line of JSON for each vector, after one with the policies that several of them have and one with the
// proof trees.
func encode(all []*Vector) ([]byte, error) {
	count := make(map[string]int)
	for _, v := range all {
		count[string(v.Policy)]++
	}
	shared, name := make(map[string]Bytes), make(map[string]string)
	for _, v := range all {
		text := string(v.Policy)
		if v.Kind != Policy && count[text] > 1 && text != "" && name[text] == "" {
			name[text] = fmt.Sprintf("policy %d", len(name)+1)
			shared[name[text]] = v.Policy
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"kind": "policies", "policies": shared}); err != nil {
		return nil, err
	}
	trees := make(map[string]proofTree)
	for _, v := range all {
		if v.Kind == Tree {
			trees[v.Files] = v.files
		}
	}
	if err := enc.Encode(map[string]any{"kind": "trees", "trees": trees}); err != nil {
		return nil, err
	}
	for _, v := range all {
		line := *v
		if n := name[string(v.Policy)]; n != "" && v.Kind != Policy {
			line.Policy = Bytes("@" + n)
		}
		if err := enc.Encode(&line); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	return b.Bytes(), nil
}
