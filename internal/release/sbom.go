package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
)

// bomSuffix is what a program's SBOM is called after it, as CycloneDX recommends.
const bomSuffix = ".cdx.json"

// A bom is a software bill of materials in the form of CycloneDX 1.6 (ECMA-424), with what we have to say. It has
// no serial number and no time: the same program has the same SBOM, which can be made again and compared.
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Hashes     []hash     `json:"hashes,omitempty"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A dependency says of the program what is linked into it. Which module asked for which other one, the
// program does not know.
type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// describe writes the SBOM of a program from what the linker put into it, and not from go.mod: that names modules which are
// needed for tests alone. version is the release's.
func describe(file, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sum, err := digest(file)
	if err != nil {
		return nil, err
	}
	b, err := newBOM(info, version, fmt.Sprintf("%x", sum))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(b); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// newBOM describes a program with this digest.
func newBOM(info *debug.BuildInfo, version, sha256 string) (*bom, error) {
	goVersion, ok := strings.CutPrefix(info.GoVersion, "go")
	if !ok || info.Main.Path == "" {
		return nil, fmt.Errorf("built by %q from module %q: expected a released Go and a module", info.GoVersion, info.Main.Path)
	}
	program := component{Type: "application", Name: path.Base(info.Path), Version: version, Hashes: []hash{{"SHA-256", sha256}},
		PURL: purl(info.Main.Path, version) + "#" + strings.TrimPrefix(info.Path, info.Main.Path+"/")}
	program.Ref = program.PURL
	for _, s := range info.Settings {
		program.Properties = append(program.Properties, property{"go:build:" + s.Key, s.Value})
	}
	// Not a module in the program's list, and its largest part.
	std := component{Type: "library", Name: "std", Version: info.GoVersion, PURL: purl("std", goVersion)}
	std.Ref = std.PURL
	components := []component{std}
	for _, m := range info.Deps {
		if m.Replace != nil {
			// Such a program is built from something that its module's name does not name.
			return nil, fmt.Errorf("module %s is replaced by %s %s: a release has none such", m.Path, m.Replace.Path, m.Replace.Version)
		}
		if m.Sum == "" {
			return nil, fmt.Errorf("module %s %s has no checksum", m.Path, m.Version)
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: purl(m.Path, m.Version),
			// go.sum's form. It is a digest of the list of the module's files and not of a file, so it is none of `hashes`.
			Properties: []property{{"go:sum", m.Sum}}}
		c.Ref = c.PURL
		components = append(components, c)
	}
	slices.SortFunc(components, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	linked := dependency{Ref: program.Ref}
	for i, c := range components {
		if i > 0 && c.Ref == components[i-1].Ref {
			return nil, fmt.Errorf("%s is in it twice", c.Ref)
		}
		linked.DependsOn = append(linked.DependsOn, c.Ref)
	}
	return &bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Metadata: metadata{program}, Components: components, Dependencies: []dependency{linked}}, nil
}

// purl is the package URL of a module: its type golang has names in lower case only, and no slash in a version.
func purl(module, version string) string {
	segments := strings.Split(strings.ToLower(module), "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	// PathEscape leaves the sign that some Go versions have.
	return "pkg:golang/" + strings.Join(segments, "/") + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
}
