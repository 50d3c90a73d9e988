// Command protogen writes the Go code of every .proto file below proto/, next
// to it, with nothing but a Go toolchain: no protoc, no buf. Compiling is
// protocompile's; the plugins are those that protoc would run, fetched and
// built by the go command at the versions fixed here and in go.mod, so the same
// sources give the same bytes on every machine.
//
//	go run ./internal/protogen          write the files
//	go run ./internal/protogen -check   write nothing; exit 1 and name the files that differ
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugins are what `go run` is given. The first has the version of the protobuf
// module in go.mod: the code that it writes and the library that runs it belong
// together. The second is a module of its own that nothing here imports.
var plugins = []string{
	"google.golang.org/protobuf/cmd/protoc-gen-go",
	"google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
}

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("protogen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "write nothing; exit 1 and name the files that differ")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintln(stderr, "protogen: takes no arguments: it generates everything below proto/")
		return 2
	}
	if err := protogen(*check); err != nil {
		fmt.Fprintln(stderr, "protogen:", err)
		return 1
	}
	return 0
}

// protogen brings the generated files up to date, or only says which are not.
func protogen(check bool) error {
	dir, err := protoDir()
	if err != nil {
		return err
	}
	files, err := generate(context.Background(), dir)
	if err != nil {
		return err
	}
	stale, err := differing(dir, files)
	if err != nil {
		return err
	}
	if check && len(stale) > 0 {
		return fmt.Errorf("not what the .proto files generate: %s; run 'go generate ./proto/...' in the top folder", strings.Join(stale, ", "))
	}
	for _, name := range stale {
		path := filepath.Join(dir, name)
		if content, wanted := files[name]; wanted {
			err = errors.Join(err, os.WriteFile(path, content, 0o644))
		} else { // what a .proto that is gone has left behind
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// protoDir returns the module's proto folder. go generate runs in the folder of
// the file that asks, tests run in theirs: the module is what they share.
func protoDir() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	gomod := strings.TrimSpace(string(out))
	if gomod == "" || gomod == os.DevNull {
		return "", errors.New("not inside a Go module")
	}
	return filepath.Join(filepath.Dir(gomod), "proto"), nil
}

// generate returns the generated files by their names below dir.
func generate(ctx context.Context, dir string) (map[string][]byte, error) {
	sources, err := find(dir, ".proto")
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // carries the comments
	}
	compiled, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}

	// The request names no compiler version: the headers then say "(unknown)"
	// instead of something that differs between machines.
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      proto.String("paths=source_relative"),
	}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() { // plugins want a file after its imports
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range compiled {
		add(f)
	}

	files := make(map[string][]byte)
	for _, plugin := range plugins {
		response, err := runPlugin(ctx, dir, plugin, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
		for _, f := range response.File {
			files[f.GetName()] = []byte(f.GetContent())
		}
	}
	return files, nil
}

// runPlugin speaks protoc's plugin protocol: the request on stdin, the response
// on stdout. It runs in dir, so that go.mod decides on a version not named.
func runPlugin(ctx context.Context, dir, plugin string, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "run", plugin)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(in), &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	response := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out.Bytes(), response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response, nil
}

// differing returns, sorted, the names of the files whose content on disk is
// another, and of generated files that are left over from a .proto now gone.
func differing(dir string, files map[string][]byte) ([]string, error) {
	stale, err := find(dir, ".pb.go")
	if err != nil {
		return nil, err
	}
	stale = slices.DeleteFunc(stale, func(name string) bool { return files[name] != nil })
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(content, files[name]) {
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	return stale, nil
}

// find returns the names of the files below dir that end with suffix, sorted,
// relative to dir and with slashes, as .proto files import each other.
func find(dir, suffix string) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
		return err
	})
	return names, err
}
