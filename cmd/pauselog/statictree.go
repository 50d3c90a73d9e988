package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/internal/dial"
	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// Where the proofs of many files come from: files of a static tree, which tell nobody what they are for. Only --lookup tells
// the log paths.

// openSources opens the sources of proofs in their order.
func (b *bulk) openSources() error {
	v, policy := b.verifier, b.request.Policy
	var memory client.Memory // nil: there is no place for one
	if state, err := trust.Open(v.app.stateDir); err == nil {
		memory = state
	}
	if v.proofs != "" {
		named, err := b.named(policy, memory)
		if err != nil {
			return err
		}
		b.sources = append(b.sources, named)
	}
	b.sources = append(b.sources, beside{b.dir})
	if v.offline {
		return nil
	}
	if base, own := v.app.logTree(policy); base != "" {
		b.sources = append(b.sources, &lazy{name: base, open: func(ctx context.Context) (cpanmirror.Prover, error) {
			source, err := b.openHTTP(base, true)
			if err != nil {
				return nil, err
			}
			return cpanmirror.FromTree(ctx, cpanmirror.TreeOptions{Name: base, Source: source, Policy: policy, Memory: memory, Log: own}), nil
		}})
	}
	if v.lookup {
		b.sources = append(b.sources, &lazy{name: "the log", open: func(context.Context) (cpanmirror.Prover, error) {
			if err := v.online.connect(); err != nil {
				return nil, err
			}
			return cpanmirror.LogProver{Log: v.online.log, Trusted: v.app.trusted}, nil
		}})
	}
	return nil
}

// named opens what --proofs names. If that is of no use, the run ends: there would be the same to say of every file.
func (b *bulk) named(policy *checkpoint.Policy, memory client.Memory) (cpanmirror.Prover, error) {
	where := b.proofs
	var source prooftree.Source
	if strings.Contains(where, "://") {
		if b.offline {
			return nil, usagef("--proofs %s is not on this machine, and --offline allows no connection", where)
		}
		s, err := b.openHTTP(where, false)
		if err != nil {
			return nil, usageError{err}
		}
		source = s
	} else {
		info, err := os.Stat(where)
		if err != nil {
			return nil, usagef("--proofs: %w", err)
		}
		if !info.IsDir() {
			return namedFile(where, policy)
		}
		s, err := prooftree.OpenDir(where)
		if err != nil {
			return nil, usagef("--proofs: %w", err)
		}
		b.closers = append(b.closers, func() { s.Close() })
		source = s
	}
	return &lazy{name: where, open: func(ctx context.Context) (cpanmirror.Prover, error) {
		return cpanmirror.FromTree(ctx, cpanmirror.TreeOptions{Name: where, Source: source, Policy: policy, Memory: memory}), nil
	}}, nil
}

// namedFile opens a pack, or a single proof.
func namedFile(name string, policy *checkpoint.Policy) (cpanmirror.Prover, error) {
	pack, bundle, err := readProofs(name)
	if err != nil {
		return nil, fmt.Errorf("--proofs: %w", err)
	}
	if pack == nil {
		p, err := cpanmirror.OneBundle(name, bundle)
		if err != nil {
			return nil, outcomeError{verify.InvalidProof, fmt.Errorf("--proofs: %w", err)}
		}
		return p, nil
	}
	if _, err := policy.Open(pack.Checkpoint()); err != nil && !errors.Is(err, checkpoint.ErrQuorum) {
		return nil, outcomeError{verify.InvalidProof, fmt.Errorf("--proofs: %s: its checkpoint: %w", name, err)}
	}
	return cpanmirror.FromPack(name, pack), nil
}

// logTree returns where the log's own static tree is, or "". own says that it is the policy's log itself, by TLS or on this
// machine, so that its word counts that a path is not logged.
func (a *app) logTree(p *checkpoint.Policy) (base string, own bool) {
	isHTTP := func(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }
	if isHTTP(a.server) {
		base = a.server // one that speaks gRPC has no files
	}
	var named []string // the hosts that the policy names
	for _, l := range p.Logs() {
		u, err := url.Parse(l.URL)
		if err != nil || l.URL == "" {
			continue
		}
		named = append(named, u.Hostname())
		if base == "" && isHTTP(l.URL) {
			base = l.URL
		}
	}
	u, err := url.Parse(base)
	if err != nil || base == "" {
		return "", false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	own = loopback || u.Scheme == "https" && (len(named) == 0 || slices.Contains(named, host))
	return strings.TrimRight(base, "/"), own
}

// openTreeAt returns the tree at a URL; ofLog says that it is the log's own. --ca says who may be the log, and nobody else, as it does
// for the log's other answers: the word of its own tree counts that a path is not logged. In any other tree nothing counts but what
// is proven, and most lie on mirrors that have certificates of public authorities: there --ca is beside these.
func (a *app) openTreeAt(base string, ofLog bool) (*prooftree.HTTPSource, error) {
	s, err := prooftree.OpenHTTP(base, userAgent())
	if err != nil || a.dial.CAFile == "" {
		return s, err
	}
	roots := x509.NewCertPool()
	if !ofLog {
		// Without any on this machine, those of --ca are all that there are.
		if system, err := x509.SystemCertPool(); err == nil {
			roots = system
		}
	}
	if err := dial.ReadAuthorities(a.dial.CAFile, roots); err != nil {
		return nil, usagef("--ca: %w", err)
	}
	s.TrustRoots(roots)
	return s, nil
}

// openHTTP returns the tree at a URL, of which nothing is fetched twice.
func (v *verifier) openHTTP(base string, ofLog bool) (prooftree.Source, error) {
	s, err := v.app.openTreeAt(base, ofLog)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pauselog-tree")
	if err != nil {
		s.Close()
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closers = append(v.closers, func() {
		s.Close()
		os.RemoveAll(dir)
	})
	return &fetchedOnce{Source: s, dir: dir}, nil
}

// fetchedOnce keeps in a temporary folder what was fetched of a tree. The files of a mirror come in the order of their names,
// and their entries stand everywhere in the log, so that a tree of any size would pass through memory again and again.
// What comes from the folder is verified as what comes from the network is; what was damaged when it came stays so for the run.
type fetchedOnce struct {
	prooftree.Source
	dir string

	mu         sync.Mutex
	checkpoint []byte
	generation int // of the shards: they are fetched again when the checkpoint is another one
}

// Get implements prooftree.Source.
func (f *fetchedOnce) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == "checkpoint" || strings.Contains(name, ".p/") {
		b, err := f.Source.Get(ctx, name, limit)
		if err == nil && name == "checkpoint" {
			f.mu.Lock()
			if !bytes.Equal(f.checkpoint, b) {
				f.checkpoint = bytes.Clone(b)
				f.generation++
			}
			f.mu.Unlock()
		}
		return b, err
	}
	kept := strings.ReplaceAll(name, "/", "_")
	if strings.HasPrefix(name, "paths/") {
		f.mu.Lock()
		kept = fmt.Sprintf("%s-%d", kept, f.generation)
		f.mu.Unlock()
	}
	kept = filepath.Join(f.dir, kept)
	if b, err := os.ReadFile(kept); err == nil && int64(len(b)) <= limit {
		return b, nil
	}
	b, err := f.Source.Get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	// A full disk costs time and nothing else. The name comes last, so that nobody reads a part.
	if t, err := os.CreateTemp(f.dir, ".new"); err == nil {
		_, err := t.Write(b)
		if errors.Join(err, t.Close()) != nil || os.Rename(t.Name(), kept) != nil {
			os.Remove(t.Name())
		}
	}
	return b, nil
}
