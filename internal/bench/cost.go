package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

// Rows that are compared.
const (
	rowKilled   = "after SIGKILL"
	rowClean    = "after a clean end"
	rowResident = "server, resident after 100,000 proofs"
	rowDisk     = "data folder, an entry"
	rowVerify   = "bundle, log and 3 witnesses, Ed25519"
)

// starts: opening the log of n entries, first after a crash, then after a clean end.
func (b *bench) starts(ctx context.Context) error {
	f, err := b.bigFolder(ctx)
	if err != nil {
		return err
	}
	if err := b.release(); err != nil {
		return err
	}
	acknowledged, err := b.crash(ctx, f)
	if err != nil {
		return err
	}
	for _, what := range []string{rowKilled, rowClean} {
		end, err := b.begin("start/" + what)
		if err != nil {
			return err
		}
		began := time.Now()
		b.local, err = openLocal(f.Folder)
		took := time.Since(began)
		end()
		if err != nil {
			return err
		}
		if size := b.local.store.Head().Size; size < acknowledged {
			return fmt.Errorf("%d entries are there, %d were acknowledged", size, acknowledged)
		}
		b.add("start", what, "ms", milliseconds(took))
		if err := b.local.settle(ctx); err != nil {
			return err
		}
		if err := b.release(); err != nil {
			return err
		}
	}
	return nil
}

// crash has a process append a twentieth to the log, kills it while it goes on, and returns how
// many entries it had acknowledged.
func (b *bench) crash(ctx context.Context, f *folder) (uint64, error) {
	to := uint64(b.n + b.round*b.n/20)
	p, err := b.start(ctx, task{Role: crashRole, Dir: f.Dir, To: to})
	if err != nil {
		return 0, err
	}
	said, err := p.line()
	if err != nil {
		return 0, err
	}
	if err := p.kill(); err != nil {
		return 0, err
	}
	return strconv.ParseUint(said, 10, 64)
}

// memory: of a server with n entries after 100,000 proofs.
func (b *bench) memory(ctx context.Context) error {
	s, err := b.bigServer(ctx)
	if err != nil {
		return err
	}
	end, err := b.begin("memory")
	if err != nil {
		return err
	}
	defer end()
	random := b.random(uint64(b.n))
	_, err = repeat(ctx, 64, 100_000, time.Minute, func(i int) error {
		_, err := s.api.GetInclusionProof(ctx, byIndex(random[i]))
		return err
	})
	if err != nil {
		return err
	}
	end()
	for _, x := range [][2]string{{rowResident, "VmRSS:"}, {"server, resident at its peak", "VmHWM:"}} {
		n, err := kilobytes(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid), x[1])
		if err != nil {
			return err
		}
		b.add("memory", x[0], "MiB", float64(n)/(1<<20))
	}
	return nil
}

// disk: of the data folder, all of Pebble's files.
func (b *bench) disk(ctx context.Context) error {
	l, err := b.bigLocal(ctx)
	if err != nil {
		return err
	}
	end, err := b.begin("disk")
	if err != nil {
		return err
	}
	n, err := blocks(b.big.Dir)
	end()
	if err != nil {
		return err
	}
	b.add("disk", rowDisk, "bytes", float64(n)/float64(l.store.Head().Size))
	return b.peerDisk(ctx)
}

// verify: a bundle of the big log, cosigned by three witnesses.
func (b *bench) verify(ctx context.Context) error {
	l, err := b.bigLocal(ctx)
	if err != nil {
		return err
	}
	r, err := b.request(l)
	if err != nil {
		return err
	}
	perSecond, err := b.rate(ctx, "verify", 1, b.atMost(5_000), func(int) error {
		if got := verify.Verify(r); got.Outcome != verify.Verified {
			return fmt.Errorf("%v: %s", got.Outcome, got.Message)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.add("verify", rowVerify, "us", 1e6/perSecond)
	return nil
}

// request is about the file of an entry in the middle of the log.
func (b *bench) request(l *local) (r verify.Request, err error) {
	h := l.store.Head()
	p := &proof.Bundle{Index: h.Size / 2}
	if p.Entry, err = l.store.Entry(p.Index, h.Size); err != nil {
		return r, err
	}
	if p.Hashes, err = l.store.Inclusion(p.Index, h.Size); err != nil {
		return r, err
	}
	note, err := checkpoint.ParseNote(h.Note)
	if err != nil {
		return r, err
	}
	logs, err := b.big.Policy("")
	if err != nil {
		return r, err
	}
	policy := fmt.Sprintf("log %s\n", logs.Logs()[0].Key)
	for i := range 3 {
		w, err := checkpoint.GenerateSigner(checkpoint.CosignatureV1, fmt.Sprintf("witness%d.example", i), nil)
		if err != nil {
			return r, err
		}
		sig, err := w.Sign(checkpoint.Checkpoint{Origin: origin, Size: h.Size, Root: h.State.Root}, h.Time)
		if err != nil {
			return r, err
		}
		note = note.With(sig)
		policy += fmt.Sprintf("witness w%d %s\n", i, w.Verifier())
	}
	if r.Policy, err = checkpoint.ParsePolicy([]byte(policy + "group all all w0 w1 w2\nquorum all\n")); err != nil {
		return r, err
	}
	p.Checkpoint = note.Marshal()
	if r.Bundle, err = p.Marshal(); err != nil {
		return r, err
	}
	e, err := entry.Parse(p.Entry)
	if err != nil {
		return r, err
	}
	r.Path, r.SHA256, r.Size, r.Now = e.Path, e.SHA256, e.Size, time.Now()
	return r, nil
}

// micro: what an append is made of, each alone.
func (b *bench) micro(ctx context.Context) error {
	name := filepath.Join(b.work, fmt.Sprintf("micro-%d.head", b.round))
	at := head.Head{Origin: origin, Root: tree.EmptyRoot}
	if err := head.Create(name, at); err != nil {
		return err
	}
	k, err := head.Open(name)
	if err != nil {
		return err
	}
	defer k.Close()
	signer, err := checkpoint.GenerateSigner(checkpoint.Ed25519, origin, nil)
	if err != nil {
		return err
	}
	c := checkpoint.Checkpoint{Origin: origin, Size: uint64(b.n), Root: tree.EmptyRoot}
	e := upload(0, entry.TimeOf(time.Now()))
	text, err := e.Marshal()
	if err != nil {
		return err
	}
	node := tree.EmptyRoot
	for _, x := range []struct {
		what, name string
		most       int
		f          func(i int) error
	}{
		{"second head, written and synced", "head", 2000, func(int) error {
			at.Size++
			return k.Write(at)
		}},
		{"sign a checkpoint, Ed25519", "sign", 20_000, func(int) error {
			_, err := signer.Sign(c, 0)
			return err
		}},
		{"hash two nodes of the tree", "node", 1_000_000, func(int) error {
			node = tree.NodeHash(node, node)
			return nil
		}},
		{"parse an entry", "parse", 200_000, func(int) error {
			_, err := entry.Parse(text)
			return err
		}},
	} {
		perSecond, err := b.rate(ctx, "micro/"+x.name, 1, b.atMost(x.most), x.f)
		if err != nil {
			return err
		}
		b.add("micro", x.what, "us", 1e6/perSecond)
	}
	return nil
}
