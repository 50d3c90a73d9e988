package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
)

const (
	corpusVariable = "PAUSELOG_CORPUS" // a CPAN mirror with Moo and its dependencies
	packagesIndex  = "modules/02packages.details.txt.gz"
)

// A lab is a small CPAN mirror behind a plain file server, and a log that has all of it among n entries, as a static proof
// tree in a folder. It is made once, and its caches are kept from one round to the next.
type lab struct {
	dir      string
	source   string // the module's folder: pauselog's programs and the Perl side are in it
	pauselog string // the program, built from there by whoever fills the cache

	cpan           string // the mirror's folder
	module, marker string // what is installed, and a file that is then there
	files          []logged
	upstream       string // the URL of the plain file server
	server         *fileServer

	policyFile string
	policy     *checkpoint.Policy
	proofs     string // the proof tree
	state      string // what pauselog remembers
	cache      string // of a mirror that served all files before
	filled     bool
	caches     int
	proven     string // a copy of the archives with a .tlog-proof beside each; "" until it is needed
	needed     []string
}

// installLab is made by the first section that needs it.
func (b *bench) installLab(ctx context.Context) (*lab, error) {
	if b.lab != nil {
		return b.lab, nil
	}
	l := &lab{dir: filepath.Join(b.work, "installers"), cpan: os.Getenv(corpusVariable), module: "Moo", marker: "Moo.pm"}
	l.state, l.proofs, l.cache = filepath.Join(l.dir, "state"), filepath.Join(l.dir, "tlog"), filepath.Join(l.dir, "cache")
	l.pauselog = filepath.Join(l.dir, "pauselog")
	if err := os.Mkdir(l.dir, 0o777); err != nil {
		return nil, err
	}
	if l.cpan == "" {
		l.cpan, l.module, l.marker = filepath.Join(l.dir, "cpan"), exampleTop, examplePath(exampleTop)
		if err := writeExamples(l.cpan); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(b.progress, "installing %s from %s\n", l.module, l.cpan)
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w; run this in the source of pauselog, whose programs are measured", err)
	}
	l.source = strings.TrimSpace(string(out))
	if err := l.list(); err != nil {
		return nil, err
	}
	fmt.Fprintf(b.progress, "making a proof tree of %d entries\n", b.n)
	text, err := writeTree(ctx, l.proofs, b.n, l.files)
	if err != nil {
		return nil, err
	}
	if l.policy, err = checkpoint.ParsePolicy(text); err != nil {
		return nil, err
	}
	l.policyFile = filepath.Join(l.dir, "policy")
	if err := os.WriteFile(l.policyFile, text, 0o666); err != nil {
		return nil, err
	}
	if l.server, err = serveFiles(l.cpan); err != nil {
		return nil, err
	}
	l.upstream = l.server.url
	b.lab = l
	return l, nil
}

// closeLab ends what the lab has running; its folder is removed with all others.
func (b *bench) closeLab() error {
	if b.lab == nil {
		return nil
	}
	return b.lab.server.close()
}

// build makes the program as it is in the source.
func (l *lab) build(ctx context.Context) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", l.pauselog, "./cmd/pauselog")
	build.Dir = l.source
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// A logged file is one of the mirror's that the log has.
type logged struct {
	path string
	kind entry.Kind
	file artifact.File
}

// list finds the archives and indexes of the mirror, the indexes first.
func (l *lab) list() error {
	for _, path := range entry.IndexPaths {
		f, err := artifact.ReadRegular(filepath.Join(l.cpan, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		l.files = append(l.files, logged{path, entry.Index, f})
	}
	err := filepath.WalkDir(filepath.Join(l.cpan, "authors", "id"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path, err := filepath.Rel(l.cpan, name)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if ok, _ := entry.IsUpload(path); !ok {
			return nil
		}
		f, err := artifact.ReadRegular(name)
		l.files = append(l.files, logged{path, entry.Upload, f})
		return err
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(l.files, func(f logged) bool { return f.path == packagesIndex }) || len(l.archives()) == 0 {
		return fmt.Errorf("%s is no CPAN mirror: expected %s and archives below authors/id", l.cpan, packagesIndex)
	}
	return nil
}

// archives are the mirror's, without the indexes.
func (l *lab) archives() []logged {
	first := slices.IndexFunc(l.files, func(f logged) bool { return f.kind == entry.Upload })
	if first < 0 {
		return nil
	}
	return l.files[first:]
}

// emptyCache is the name of a folder that is not there yet.
func (l *lab) emptyCache() string {
	l.caches++
	return filepath.Join(l.dir, fmt.Sprintf("cache-%d", l.caches))
}

// archivesNeeded are the paths of what the installation fetches, dependencies first, as far as the order in which a
// client asks says so. It is found by installing once, which also warms the file system's caches.
func (b *bench) archivesNeeded(ctx context.Context) ([]string, error) {
	l := b.lab
	if l.needed != nil {
		return l.needed, nil
	}
	l.server.taken()
	if _, err := b.cpanm(ctx, l.upstream); err != nil {
		return nil, err
	}
	for _, path := range l.server.taken() {
		if ok, _ := entry.IsUpload(path); ok {
			l.needed = append(l.needed, path)
		}
	}
	slices.Reverse(l.needed)
	return l.needed, nil
}

// A fileServer is a plain static one on loopback, which notes what it was asked for.
type fileServer struct {
	url    string
	server *http.Server
	ended  chan error

	mu    sync.Mutex
	asked []string
}

func serveFiles(dir string) (*fileServer, error) {
	l, err := loopback()
	if err != nil {
		return nil, err
	}
	s := &fileServer{url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	files := http.FileServer(http.Dir(dir))
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, strings.TrimPrefix(r.URL.Path, "/"))
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	})}
	go func(l net.Listener) { s.ended <- s.server.Serve(l) }(l)
	return s, nil
}

// taken returns what was asked for since it was called last.
func (s *fileServer) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *fileServer) close() error {
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
