package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// fixed are the settings of the go command that decide what it makes. Each is given explicitly, so that
// neither the environment nor a file of `go env -w` has a say.
var fixed = map[string]string{
	"CGO_ENABLED":  "0",     // no C compiler and no libc of whoever builds
	"GOAMD64":      "v1",    // any 64-bit machine
	"GOARM64":      "v8.0",  // the same
	"GOEXPERIMENT": "",      // the compiler's own
	"GOFIPS140":    "off",   // the standard library's own cryptography
	"GOFLAGS":      "",      //
	"GOENV":        "off",   // see carried
	"GOWORK":       "off",   // this module alone
	"GODEBUG":      "",      //
	"GO111MODULE":  "on",    //
	"GOROOT":       "",      // the toolchain knows its own
	"GOOS":         "linux", // for newBuilder's questions; each build says its own
}

// carried are settings that only say where modules come from and are kept. go.sum decides what they are, so that no
// choice of these changes the result; without them the go command could not reach them on some networks.
var carried = []string{"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOMODCACHE", "GOCACHE"}

// flags of every build. The go command asks no version control system: an archive of the source, a copy and a clone
// with other tags give the same program. What the release is called is said to the linker (builder.named).
var buildFlags = []string{"-trimpath", "-buildvcs=false", "-mod=readonly"}

// A builder builds the programs of the module in root.
type builder struct {
	root    string
	environ []string
	named   source
}

// versionPackage has the variables that the linker sets. It sets those that are not there without a word.
const versionPackage = "github.com/pauselog/pauselog/internal/version"

// linkerFlags has the programs say what they are. Both are the release's, and so the same for who builds it again.
func (b *builder) linkerFlags() string {
	return fmt.Sprintf("-ldflags=-X %[1]s.release=%[2]s -X %[1]s.commit=%[3]s", versionPackage, b.named.version, b.named.commit)
}

// toolchain returns the Go that go.mod names. Its go line alone does not do: that is the oldest one that can
// build the module, and two releases of a compiler give two programs.
func toolchain(gomod string) (string, error) {
	data, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	f, err := modfile.Parse(gomod, data, nil)
	if err != nil {
		return "", err
	}
	if f.Toolchain == nil {
		return "", fmt.Errorf("%s has no toolchain line, so nothing says which compiler a release is built with: "+
			"add one ('toolchain %s'), or choose with -toolchain", gomod, runtime.Version())
	}
	return f.Toolchain.Name, nil
}

// newBuilder finds the toolchain; the go command fetches it if it is another than its own.
func newBuilder(ctx context.Context, root, toolchain string) (*builder, error) {
	out, err := output(exec.CommandContext(ctx, "go", append([]string{"env", "-json"}, carried...)...))
	if err != nil {
		return nil, err
	}
	settings := make(map[string]string)
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("go env -json: %w", err)
	}
	maps.Copy(settings, fixed)
	settings["GOTOOLCHAIN"] = toolchain
	b := &builder{root: root, environ: withSettings(os.Environ(), settings)}
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir, cmd.Env = root, b.environ
	out, err = output(cmd)
	if err != nil {
		return nil, fmt.Errorf("there is no %s to build with: %w", toolchain, err)
	}
	if found := strings.TrimSpace(string(out)); found != toolchain {
		return nil, fmt.Errorf("the compiler is %s, and the release's is %s", found, toolchain)
	}
	return b, nil
}

// withSettings returns an environment in which nothing else says anything about Go.
func withSettings(environ []string, settings map[string]string) []string {
	environ = slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		return strings.HasPrefix(v, "GO") || strings.HasPrefix(v, "CGO_")
	})
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		environ = append(environ, name+"="+settings[name])
	}
	return environ
}

// buildAll builds each program for each platform into a folder, and returns the names of the files.
func (b *builder) buildAll(ctx context.Context, out string, programs, platforms []string, progress io.Writer) ([]string, error) {
	var names []string
	for _, platform := range platforms {
		goos, goarch, ok := strings.Cut(platform, "/")
		if !ok || goos == "" || goarch == "" || strings.ContainsAny(goarch, "/ ") {
			return nil, fmt.Errorf("platform %q: expected GOOS/GOARCH", platform)
		}
		for _, program := range programs {
			name := fileName(program, goos, goarch)
			fmt.Fprintf(progress, "building %s\n", name)
			if err := b.build(ctx, program, goos, goarch, filepath.Join(out, name)); err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, nil
}

func fileName(program, goos, goarch string) string {
	name := program + "-" + goos + "-" + goarch
	if goos == "windows" {
		name += ".exe"
	}
	return name
}

func (b *builder) build(ctx context.Context, program, goos, goarch, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	args := append([]string{"build", "-o", file}, buildFlags...)
	cmd := exec.CommandContext(ctx, "go", append(args, b.linkerFlags(), "./cmd/"+program)...)
	cmd.Dir = b.root
	cmd.Env = append(slices.Clone(b.environ), "GOOS="+goos, "GOARCH="+goarch)
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("%s for %s/%s: %w", program, goos, goarch, err)
	}
	return nil
}

// again builds everything once more, as somebody else would: from a copy of the tree in another folder and without
// anything that was compiled before. Without a cache of its own the go command would find the first result there.
func (b *builder) again(ctx context.Context, first string, programs, platforms []string, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "pauselog-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	other := &builder{root: filepath.Join(dir, "elsewhere", "tree"), environ: append(slices.Clone(b.environ), "GOCACHE="+filepath.Join(dir, "cache")), named: b.named}
	if err := copyTree(other.root, b.root); err != nil {
		return err
	}
	second := filepath.Join(dir, "built")
	if err := os.Mkdir(second, 0o755); err != nil {
		return err
	}
	fmt.Fprintln(progress, "building everything again")
	names, err := other.buildAll(ctx, second, programs, platforms, progress)
	if err != nil {
		return err
	}
	return compare(first, second, names)
}

// compare says which of the files differ in two folders.
func compare(first, second string, names []string) error {
	var differ []error
	for _, name := range names {
		a, err := digest(filepath.Join(first, name))
		if err != nil {
			return err
		}
		b, err := digest(filepath.Join(second, name))
		if err != nil {
			return err
		}
		if a != b {
			differ = append(differ, fmt.Errorf("%s is not reproducible: SHA-256 %x, built again %x", name, a, b))
		}
	}
	return errors.Join(differ...)
}

// copyTree copies the source of a module: its files, without what is hidden and without folders that hold what was built.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (strings.HasPrefix(rel, ".") && rel != "." || rel == "bin" || rel == "dist"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}

// output runs a command. Its error says what it wrote about it.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
