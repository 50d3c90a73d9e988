package backfill_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pauselog/pauselog/internal/backfill"
	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// The same against a log as users run it.

type anybody struct{}

func (anybody) Bearer(string) (frontend.Permission, error)                 { return anybody{}, nil }
func (anybody) Certificate(*x509.Certificate) (frontend.Permission, error) { return anybody{}, nil }
func (anybody) Allows(entry.Kind, entry.Seen) error                        { return nil }

type bearer struct{}

func (bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer x"}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

func newFolder(t testing.TB) *datafolder.Folder {
	t.Helper()
	f, err := datafolder.Init(filepath.Join(t.TempDir(), "log"), "log.example/backfill", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serve runs a log until stop, and returns its address.
func serve(t testing.TB, f *datafolder.Folder, address string) (at string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan daemon.Addresses, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{Folder: f, GRPC: address, HTTP: "127.0.0.1:0", Auth: anybody{},
			Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { panic(err) }}, func(a daemon.Addresses) { ready <- a })
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case a := <-ready:
		return a.GRPC, stop
	case err := <-ended:
		ended <- nil
		t.Fatalf("the log does not start: %v", err)
	}
	return "", nil
}

func dial(t testing.TB, address string) pb.LogClient {
	t.Helper()
	conn, err := grpc.NewClient("dns:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewLogClient(conn)
}

// fill makes n archives of about size bytes, a hundred for each author.
func fill(t testing.TB, n, size int) (root string) {
	t.Helper()
	root = t.TempDir()
	content := make([]byte, size)
	for i := range n {
		id := fmt.Sprintf("A%c%c%04d", 'A'+i/100%26, 'A'+i/2600%26, i/100)
		dir := filepath.Join(root, "authors/id", id[:1], id[:2], id)
		copy(content, fmt.Sprint(i))
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("Dist-%d.tar.gz", i)), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Many small files, while the log is stopped and started again in between.
func TestALogThatRestarts(t *testing.T) {
	const files = 20_000
	root, folder := fill(t, files, 64), newFolder(t)
	address, stop := serve(t, folder, "127.0.0.1:0")
	c := backfill.Config{Roots: []string{root}, Log: dial(t, address), State: t.TempDir()}
	restarts, retried := 0, 0
	c.Progress = func(p backfill.Progress) {
		if p.Paths > uint64(restarts+1)*files/3 && restarts < 2 {
			restarts++
			stop()
		}
	}
	c.Retry = func(error, time.Duration) {
		if retried++; retried == restarts { // the second time it is only slow to come back
			_, stop = serve(t, folder, address)
		}
	}
	seen := map[string]bool{}
	c.Each = func(o backfill.Outcome) error {
		if seen[o.Path] {
			return fmt.Errorf("%s was reported twice", o.Path)
		}
		seen[o.Path] = true
		return nil
	}
	s, err := backfill.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Counts[backfill.Logged] + s.Counts[backfill.Known]; n != files || restarts != 2 || retried < 2 {
		t.Errorf("%v after %d restarts and %d retries", s.Counts, restarts, retried)
	}
	// What was sent and not answered when the log stopped, and nothing more, was submitted twice.
	if known := s.Counts[backfill.Known]; known > 2*7*256 {
		t.Errorf("%d were submitted twice", known)
	}
	c.Progress, c.Retry, c.Each = nil, nil, nil
	again, err := backfill.Run(t.Context(), c)
	if err != nil || again.Counts[backfill.Known] != files {
		t.Errorf("once more: %v, %v", again.Counts, err)
	}
}

// A file that is logged with other bytes is a conflict, and the log says so to everyone.
func TestAConflictIsPublic(t *testing.T) {
	root := fill(t, 3, 64)
	address, _ := serve(t, newFolder(t), "127.0.0.1:0")
	c := backfill.Config{Roots: []string{root}, Log: dial(t, address)}
	if _, err := backfill.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	path := "authors/id/A/AA/AAA0000/Dist-1.tar.gz"
	if err := os.WriteFile(filepath.Join(root, path), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	var found []backfill.Outcome
	c.Each = func(o backfill.Outcome) error {
		if o.Word == backfill.Conflict {
			found = append(found, o)
		}
		return nil
	}
	s, err := backfill.Run(t.Context(), c)
	if err != nil || s.Counts[backfill.Known] != 2 || len(found) != 1 || found[0].Path != path || found[0].SHA256 != sha256.Sum256([]byte("other")) || len(found[0].Logged) != 64 {
		t.Errorf("%v, %v, %+v", s.Counts, err, found)
	}
	r, err := c.Log.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 3})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := entry.Parse([]byte(r.Entry)); err != nil || e.Kind != entry.Conflict || e.Path != path {
		t.Errorf("entry 3 is %+v, %v", e, err)
	}
}

// What a backfill costs besides reading and hashing the same files, on as many cores. The log runs on the same machine.
func BenchmarkBackfill(b *testing.B) {
	const files = 20_000
	for _, size := range []int{2_000, 100_000} {
		n := files * 2_000 / size
		root := fill(b, n, size)
		rate := func(b *testing.B) {
			b.SetBytes(int64(n * size))
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
		}
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) {
			for range b.N {
				if got, err := bare(root); err != nil || got != n {
					b.Fatal(got, err)
				}
			}
			rate(b)
		})
		b.Run(fmt.Sprintf("dry-run/%d", size), func(b *testing.B) {
			for range b.N {
				if _, err := backfill.Run(b.Context(), backfill.Config{Roots: []string{root}, DryRun: true}); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
		b.Run(fmt.Sprintf("new/%d", size), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				address, stop := serve(b, newFolder(b), "127.0.0.1:0")
				c := backfill.Config{Roots: []string{root}, Log: dial(b, address), State: b.TempDir()}
				b.StartTimer()
				s, err := backfill.Run(b.Context(), c)
				if err != nil || s.Counts[backfill.Logged] != uint64(n) {
					b.Fatal(s, err)
				}
				b.StopTimer()
				stop()
				b.StartTimer()
			}
			rate(b)
		})
	}
}

// bare reads and hashes all archives.
func bare(root string) (n int, err error) {
	names := make(chan string, 1024)
	var all sync.WaitGroup
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for name := range names {
				f, failed := os.Open(name)
				if failed == nil {
					_, failed = io.Copy(sha256.New(), f)
					f.Close()
				}
				mu.Lock()
				n, err = n+1, errors.Join(err, failed)
				mu.Unlock()
			}
		})
	}
	walked := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names <- name
		}
		return err
	})
	close(names)
	all.Wait()
	return n, errors.Join(err, walked)
}
