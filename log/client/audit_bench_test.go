package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
)

// A large log of uploads as CPAN has them, in memory and in a folder.
type large struct {
	*fake
	note []byte
	dir  string
}

func newLarge(b *testing.B, n int) *large {
	l := &large{fake: &fake{key: must(checkpoint.GenerateSigner(checkpoint.Ed25519, origin, bytes.NewReader(make([]byte, 32)))), size: n}, dir: b.TempDir()}
	builder := prooftree.NewBuilder()
	write := func(files []prooftree.File) {
		for _, x := range files {
			name := filepath.Join(l.dir, x.Tile.Path())
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(name, x.Data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := range n {
		e := &entry.Entry{Kind: entry.Upload, Path: "authors/id/E/ET/ETHER/Some-Distribution-Name-" + strconv.Itoa(i) + ".0.tar.gz", SHA256: sha256.Sum256([]byte(strconv.Itoa(i))),
			Size: uint64(i), Time: entry.Time(1_700_000_000 + i), By: "ETHER", Seen: entry.SeenBackfill}
		text := must(e.Marshal())
		l.entries = append(l.entries, text)
		if err := builder.Add(text); err != nil {
			b.Fatal(err)
		}
		write(builder.Full())
	}
	for x := range builder.Partial() {
		write([]prooftree.File{x})
	}
	c := checkpoint.Checkpoint{Origin: origin, Size: uint64(n), Root: builder.Root()}
	l.note = checkpoint.Note{Text: c.Text()}.With(must(l.key.Sign(c, 1))).Marshal()
	if err := os.WriteFile(filepath.Join(l.dir, "checkpoint"), l.note, 0o644); err != nil {
		b.Fatal(err)
	}
	return l
}

// cpu is the processor time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perEntry(b *testing.B, n int, f func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	began := cpu(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	took := cpu(b) - began
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/float64(n), "cpu-ns/entry")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}

func BenchmarkAudit(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		l := newLarge(b, n)
		b.Run(fmt.Sprintf("tree/%d", n), func(b *testing.B) {
			source := must(prooftree.OpenDir(l.dir))
			defer source.Close()
			perEntry(b, n, func() error {
				t, err := prooftree.Open(context.Background(), source, l.policy())
				if err != nil {
					return err
				}
				r, err := AuditTree(context.Background(), t, source, nil)
				if err == nil && r.Violations+uint64(n)-r.Entries > 0 {
					err = fmt.Errorf("%+v", r)
				}
				return err
			})
		})
		b.Run(fmt.Sprintf("stream/%d", n), func(b *testing.B) {
			opened := must(l.policy().Open(l.note))
			perEntry(b, n, func() error {
				a := newAudit(&Seen{opened, l.note}, nil)
				if err := New(listing(l.fake, 256), l.policy(), nil).auditStream(context.Background(), a); err != nil {
					return err
				}
				return a.finish()
			})
		})
	}
}
