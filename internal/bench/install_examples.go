package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Without a mirror of real distributions, these are installed: one that needs some others, each with one
// module and of the size of a usual archive.

const (
	exampleTop    = "Example::Top"
	exampleNeeds  = 2
	exampleFolder = "authors/id/E/EX/EXAMPLE/"
	exampleBytes  = 30_000
)

// writeExamples writes a mirror of them, with all that clients ask for.
func writeExamples(dir string) error {
	put := func(name string, b []byte) error {
		name = filepath.Join(dir, filepath.FromSlash(name))
		return errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, b, 0o666))
	}
	var needed []string
	for i := range exampleNeeds {
		needed = append(needed, fmt.Sprintf("Example::Base%d", i))
	}
	packages, checksums := "", "$cksum = {\n"
	for _, module := range append(needed[:len(needed):len(needed)], exampleTop) {
		var needs []string
		if module == exampleTop {
			needs = needed
		}
		b, err := distribution(module, needs)
		if err != nil {
			return err
		}
		file := strings.ReplaceAll(module, "::", "-") + "-0.01.tar.gz"
		packages += fmt.Sprintf("%-30s 0.01  E/EX/EXAMPLE/%s\n", module, file)
		checksums += fmt.Sprintf("  '%s' => {\n    'cpan_path' => 'E/EX/EXAMPLE',\n    'sha256' => '%x'\n  },\n", file, sha256.Sum256(b))
		if err := put(exampleFolder+file, b); err != nil {
			return err
		}
	}
	date := time.Now().UTC().Format(time.RFC1123)
	index := fmt.Sprintf("File: 02packages.details.txt\nLine-Count: %d\nLast-Updated: %s\n\n%s", exampleNeeds+1, date, packages)
	modlist := fmt.Sprintf("File: 03modlist.data\nDate: %s\n\npackage CPAN::Modulelist;\nsub data { {} }\n1;\n", date)
	for name, text := range map[string]string{
		packagesIndex:               index,
		"modules/03modlist.data.gz": modlist,
		"authors/01mailrc.txt.gz":   "alias EXAMPLE \"An Example <example@example.org>\"\n",
	} {
		b, err := gzipped([]byte(text))
		if err != nil {
			return err
		}
		if err := put(name, b); err != nil {
			return err
		}
	}
	return put(exampleFolder+"CHECKSUMS", []byte(checksums+"};\n"))
}

func gzipped(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

// examplePath is where a module is, below a lib folder.
func examplePath(module string) string { return strings.ReplaceAll(module, "::", "/") + ".pm" }

// distribution makes one of a module that needs others.
func distribution(module string, needs []string) ([]byte, error) {
	dist := strings.ReplaceAll(module, "::", "-")
	var prereqs, requires []string
	for _, n := range needs {
		prereqs, requires = append(prereqs, "'"+n+"' => 0"), append(requires, `"`+n+`":"0"`)
	}
	pm := "lib/" + examplePath(module)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, text string }{
		{"Makefile.PL", fmt.Sprintf("use ExtUtils::MakeMaker;\nWriteMakefile(NAME => '%s', VERSION_FROM => '%s', PREREQ_PM => { %s });\n", module, pm, strings.Join(prereqs, ", "))},
		{"META.json", fmt.Sprintf(`{"name":"%s","version":"0.01","abstract":"x","author":["x"],"dynamic_config":0,"generated_by":"x","license":["perl_5"],`+
			`"release_status":"stable","meta-spec":{"version":"2","url":"x"},"prereqs":{"runtime":{"requires":{%s}}}}`, dist, strings.Join(requires, ","))},
		{"MANIFEST", "Makefile.PL\nMETA.json\nMANIFEST\n" + pm + "\n"},
		{pm, "package " + module + ";\nour $VERSION = '0.01';\n1;\n__END__\n" + incompressible(module)},
	} {
		err := w.WriteHeader(&tar.Header{Name: dist + "-0.01/" + f.name, Mode: 0o644, Size: int64(len(f.text)), ModTime: time.Unix(1.7e9, 0)})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return gzipped(b.Bytes())
}

// incompressible is text that stays exampleBytes long when it is compressed: two digits of hex hold one byte.
func incompressible(seed string) string {
	var b strings.Builder
	for sum := sha256.Sum256([]byte(seed)); b.Len() < 2*exampleBytes; sum = sha256.Sum256(sum[:]) {
		fmt.Fprintf(&b, "%x\n", sum)
	}
	return b.String()
}
