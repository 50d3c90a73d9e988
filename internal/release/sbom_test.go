package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// a program as the linker describes it, small.
func built(change func(*debug.BuildInfo)) *debug.BuildInfo {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Path: "github.com/Pauselog/pauselog/cmd/tool", Main: debug.Module{Path: "github.com/Pauselog/pauselog", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "gopkg.in/z.v1", Version: "v1.0.0+incompatible", Sum: "h1:zzz="},
			{Path: "github.com/DataDog/zstd", Version: "v1.5.7", Sum: "h1:aaa="},
		},
		Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}}}
	if change != nil {
		change(info)
	}
	return info
}

func TestBOM(t *testing.T) {
	b, err := newBOM(built(nil), "v1.2.3", strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,` +
		`"metadata":{"component":{"type":"application","bom-ref":"pkg:golang/github.com/pauselog/pauselog@v1.2.3#cmd/tool","name":"tool","version":"v1.2.3",` +
		`"hashes":[{"alg":"SHA-256","content":"` + strings.Repeat("0", 64) + `"}],"purl":"pkg:golang/github.com/pauselog/pauselog@v1.2.3#cmd/tool",` +
		`"properties":[{"name":"go:build:-trimpath","value":"true"}]}},` +
		`"components":[` +
		`{"type":"library","bom-ref":"pkg:golang/github.com/datadog/zstd@v1.5.7","name":"github.com/DataDog/zstd","version":"v1.5.7",` +
		`"purl":"pkg:golang/github.com/datadog/zstd@v1.5.7","properties":[{"name":"go:sum","value":"h1:aaa="}]},` +
		`{"type":"library","bom-ref":"pkg:golang/gopkg.in/z.v1@v1.0.0%2Bincompatible","name":"gopkg.in/z.v1","version":"v1.0.0+incompatible",` +
		`"purl":"pkg:golang/gopkg.in/z.v1@v1.0.0%2Bincompatible","properties":[{"name":"go:sum","value":"h1:zzz="}]},` +
		`{"type":"library","bom-ref":"pkg:golang/std@1.26.8","name":"std","version":"go1.26.8","purl":"pkg:golang/std@1.26.8"}],` +
		`"dependencies":[{"ref":"pkg:golang/github.com/pauselog/pauselog@v1.2.3#cmd/tool","dependsOn":` +
		`["pkg:golang/github.com/datadog/zstd@v1.5.7","pkg:golang/gopkg.in/z.v1@v1.0.0%2Bincompatible","pkg:golang/std@1.26.8"]}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestABOMSaysNothingThatItDoesNotKnow(t *testing.T) {
	for name, change := range map[string]func(*debug.BuildInfo){
		"a module that is replaced":   func(i *debug.BuildInfo) { i.Deps[0].Replace = &debug.Module{Path: "../z"} },
		"a module without a checksum": func(i *debug.BuildInfo) { i.Deps[1].Sum = "" },
		"a module that is there twice": func(i *debug.BuildInfo) {
			i.Deps = append(i.Deps, i.Deps[0])
		},
		"a compiler that is no release": func(i *debug.BuildInfo) { i.GoVersion = "devel +abc" },
		"no module":                     func(i *debug.BuildInfo) { i.Main = debug.Module{} },
	} {
		if b, err := newBOM(built(change), "v1.2.3", "00"); err == nil {
			t.Errorf("%s: %v", name, b)
		}
	}
}

// The SBOM of a real program names what go.mod and go.sum name, and is the same each time.
func TestDescribe(t *testing.T) {
	b, dir, name := build(t)
	file := filepath.Join(dir, name)
	first, err := describe(file, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	second, err := describe(file, "v1.2.3")
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("not the same twice, %v", err)
	}
	var got bom
	d := json.NewDecoder(bytes.NewReader(first))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	goSum, err := os.ReadFile(filepath.Join(b.root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	modules := 0
	for _, c := range got.Components {
		if c.Name == "std" {
			continue
		}
		modules++
		if line := c.Name + " " + c.Version + " " + c.Properties[0].Value + "\n"; !bytes.Contains(goSum, []byte(line)) {
			t.Errorf("go.sum has no line %q", line)
		}
	}
	if modules == 0 || got.Metadata.Component.Name != "pausewitness" || len(got.Dependencies[0].DependsOn) != len(got.Components) {
		t.Errorf("%d modules: %s", modules, first)
	}
	if _, err := describe(filepath.Join(b.root, "go.mod"), "v1.2.3"); err == nil {
		t.Error("a file that is no program has an SBOM")
	}
}
