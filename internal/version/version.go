// Package version says which build of a program is running: what it answers to --version, and what it calls itself
// to the servers that it asks.
package version

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// What internal/release has the linker set (-X), and nobody else. A program that was built another way is named by what
// the go command knows of it.
var (
	release string // a tag, such as v1.2.3
	commit  string // of the version control system, in full
)

// Unreleased is the version of a program of which nothing else is known.
const Unreleased = "devel"

// Info is what a program knows of its own build.
type Info struct {
	Program  string `json:"program"`
	Version  string `json:"version"`            // a release's tag, or a version that the go command makes of a commit, or Unreleased
	Commit   string `json:"commit,omitempty"`   // in full; "": not known
	Modified bool   `json:"modified,omitempty"` // the source was that commit's, with changes
	Go       string `json:"go"`                 // the compiler
	Platform string `json:"platform"`           // GOOS/GOARCH
}

// Of returns what is known of the program that calls it, under its name.
func Of(program string) Info {
	info, _ := debug.ReadBuildInfo()
	return of(program, release, commit, info)
}

// of prefers what the linker was told. info may be nil.
func of(program, release, commit string, info *debug.BuildInfo) Info {
	i := Info{Program: program, Version: release, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if release != "" {
		return i
	}
	i.Version = Unreleased
	if info == nil {
		return i
	}
	// Of `go install module@version` the go command knows the version; of a checkout, the commit as well.
	if v := info.Main.Version; v != "" && v != "(devel)" {
		i.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	return i
}

// Print writes what a person asks for with --version, a fact a line. The first line is the program and its version.
func (i Info) Print(w io.Writer) error {
	commit := i.Commit
	switch {
	case commit == "":
		commit = "not known"
	case i.Modified:
		commit += ", with changes"
	}
	_, err := fmt.Fprintf(w, "%s %s\ncommit %s\nbuilt with %s for %s\n", i.Program, i.Version, commit, i.Go, i.Platform)
	return err
}

// UserAgent is what the program calls itself over HTTP (RFC 9110, section 10.1.5).
func UserAgent(program string) string { return program + "/" + Of(program).Version }
