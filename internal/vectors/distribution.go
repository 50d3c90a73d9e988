package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"time"
)

// distributions are what a plugin of an installer is tried with: one that is logged, one of
// which a mirror has other bytes, and one that nobody logged.
func (g *generator) distributions() {
	path := func(name string) string { return "authors/id/T/TL/TLOGTEST/" + name + ".tar.gz" }
	good, swapped, unlogged := archive("TLog-Good-0.01"), archive("TLog-Swapped-0.01"), archive("TLog-Unlogged-0.01")
	l := newLog(g.entries[iOther], upload(path("TLog-Good-0.01"), good, 0), upload(path("TLog-Swapped-0.01"), swapped, 0))
	lines := g.lines(l.text(3), signed, g.w...)
	files := l.files(3, lines...)
	for _, c := range []struct {
		name, word   string
		file, bundle []byte
	}{
		{"TLog-Good-0.01", "verified", good, l.bundle(1, lines...)},
		// The other bytes are a distribution too, so that only their digest is wrong.
		{"TLog-Swapped-0.01", "mismatch", archive("TLog-Swapped-0.01", "# and something that nobody published\n"), l.bundle(2, lines...)},
		{"TLog-Unlogged-0.01", "unverifiable", unlogged, nil},
	} {
		g.add(c.name, c.word, g.good(func(v *Vector) {
			v.Kind, v.Path, v.File, v.Bundle, v.Now = Distribution, path(c.name), c.file, c.bundle, nil
		}))
		g.add(c.name, c.word, g.good(func(v *Vector) {
			v.Kind, v.Path, v.File, v.Bundle, v.Now = Tree, path(c.name), c.file, nil, nil
			v.Files, v.files = "distributions", files
		}))
	}
}

// archive makes a .tar.gz that the CPAN shell takes. It is not compressed, because compressors
// change and these bytes must not.
func archive(name string, more ...string) []byte {
	dist := name[:strings.LastIndexByte(name, '-')]
	module := strings.ReplaceAll(dist, "-", "::")
	file := "lib/" + strings.ReplaceAll(dist, "-", "/") + ".pm"
	files := []struct{ name, text string }{
		{"Makefile.PL", fmt.Sprintf("use ExtUtils::MakeMaker;\nopen my $out, '>', 'configured' or die;\nclose $out;\nWriteMakefile(NAME => '%s', VERSION_FROM => '%s');\n", module, file)},
		{"MANIFEST", "MANIFEST\nMakefile.PL\n" + file + "\n"},
		{file, fmt.Sprintf("package %s;\nour $VERSION = '0.01';\n%s1;\n", module, strings.Join(more, ""))},
	}
	var b bytes.Buffer
	z := must(gzip.NewWriterLevel(&b, gzip.NoCompression))
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: name + "/" + f.name, Mode: 0o644, Size: int64(len(f.text)), ModTime: time.Unix(at2020, 0), Format: tar.FormatUSTAR}
		must(0, w.WriteHeader(h))
		must(w.Write([]byte(f.text)))
	}
	must(0, w.Close())
	must(0, z.Close())
	return b.Bytes()
}

const at2020 = 1577836800
