// Command release builds the programs so that anyone can build the same bytes again, and says what is in them.
//
//	go run ./internal/release -version v1.2.3           into dist/: the programs, an SBOM of each, SHA256SUMS
//	go run ./internal/release -version v1.2.3 -verify   the same twice, in different folders without a common cache
//	go run ./internal/release -vulnerabilities          asks govulncheck about the code; builds nothing
//
// What decides the bytes: the source, go.sum, the compiler that go.mod names, the settings in build.go, and
// the version and commit, which the programs tell. Not: the folder, the cache, the machine, its environment, or the time.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// programs are what a release consists of: folders below cmd.
var programs = []string{"pauselog", "pauselogd", "pausewitness"}

// validVersion is what a release may be called: it becomes a tag, and stands in purls and file names.
var validVersion = regexp.MustCompile(`^(devel|v(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}(-[0-9A-Za-z.-]+)?)$`)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		out       = flags.String("out", "dist", "folder for what is built; it is made if it is not there")
		version   = flags.String("version", "devel", "the release's version, its tag: v1.2.3")
		platforms = flags.String("platforms", "linux/amd64,linux/arm64", "what to build for: GOOS/GOARCH, separated by commas")
		commit    = flags.String("commit", "", "the commit that the source is of, in full (default: what git says of a clone)")
		compiler  = flags.String("toolchain", "", "build with this Go, such as go1.26.8, and not with that of go.mod's toolchain line")
		verify    = flags.Bool("verify", false, "build a second time, from a copy of the tree and with a cache of its own, and compare")
		scan      = flags.Bool("vulnerabilities", false, "only ask govulncheck whether the code calls anything with a known vulnerability")
		database  = flags.String("db", cmp.Or(os.Getenv("PAUSELOG_VULNDB"), defaultDatabase), "the vulnerability database: a URL, https or file")
	)
	if err := flags.Parse(args); err != nil {
		return 2
	}
	usage := func(format string, args ...any) int {
		fmt.Fprintf(stderr, "release: "+format+"\n", args...)
		return 2
	}
	if flags.NArg() > 0 {
		return usage("unexpected argument %q", flags.Arg(0))
	}
	if !validVersion.MatchString(*version) {
		return usage("version %q: expected one like v1.2.3", *version)
	}
	if *commit != "" && !validCommit.MatchString(*commit) {
		return usage("commit %q: expected all of its 40 or 64 hexadecimal digits", *commit)
	}
	root, err := moduleRoot(ctx)
	if err == nil && *scan {
		err = vulnerabilities(ctx, root, *database, []string{"./..."}, stdout)
	} else if err == nil {
		err = release(ctx, root, options{out: *out, source: source{*version, *commit}, platforms: strings.Split(*platforms, ","), toolchain: *compiler, verify: *verify, progress: stderr}, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	return 0
}

type options struct {
	out       string
	source    source
	platforms []string
	toolchain string // "": go.mod's
	verify    bool
	progress  io.Writer
}

// release builds and describes, and writes the list of digests last: a folder without it is not a release.
func release(ctx context.Context, root string, o options, stdout io.Writer) error {
	if o.toolchain == "" {
		var err error
		if o.toolchain, err = toolchain(filepath.Join(root, "go.mod")); err != nil {
			return err
		}
	}
	named, err := identify(ctx, root, o.source)
	if err != nil {
		return err
	}
	b, err := newBuilder(ctx, root, o.toolchain)
	if err != nil {
		return err
	}
	b.named = named
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	// An old list beside new programs would be a false one.
	if err := os.Remove(filepath.Join(o.out, sumsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	names, err := b.buildAll(ctx, o.out, programs, o.platforms, o.progress)
	if err != nil {
		return err
	}
	if o.verify {
		if err := b.again(ctx, o.out, programs, o.platforms, o.progress); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "built twice, from two folders and without a common cache: %d programs, the same bytes\n", len(names))
	}
	for _, name := range names {
		bom, err := describe(filepath.Join(o.out, name), b.named.version)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.out, name+bomSuffix), bom, 0o644); err != nil {
			return err
		}
	}
	sums, err := writeSums(o.out, names)
	if err != nil {
		return err
	}
	_, err = stdout.Write(sums)
	return err
}

// moduleRoot returns the folder of the module that the command is called in.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	gomod := strings.TrimSpace(string(out))
	if gomod == "" || gomod == os.DevNull {
		return "", errors.New("not inside a Go module")
	}
	return filepath.Dir(gomod), nil
}
