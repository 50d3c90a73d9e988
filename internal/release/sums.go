package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// sumsFile lists the digests of a release's files, in the form that `sha256sum -c` reads.
const sumsFile = "SHA256SUMS"

// writeSums lists the programs and their SBOMs, sorted by name, and returns what it wrote. Other files
// in the folder are no part of the release.
func writeSums(dir string, programs []string) ([]byte, error) {
	var names []string
	for _, name := range programs {
		names = append(names, name, name+bomSuffix)
	}
	slices.Sort(names)
	var sums bytes.Buffer
	for _, name := range names {
		sum, err := digest(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, name)
	}
	return sums.Bytes(), os.WriteFile(filepath.Join(dir, sumsFile), sums.Bytes(), 0o644)
}

func digest(file string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
