package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/witnessd"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const rowPublished = "one append to published, 3 witnesses, median"

// witnesses is how many a published checkpoint needs, all of them.
const witnesses = 3

// serveWitness is a witness's process: internal/witnessd, as pausewitness runs it.
func serveWitness(ctx context.Context, dir string) error {
	f, err := witnessd.Open(dir)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var said error
	err = witnessd.Run(ctx, witnessd.Config{Folder: f, Listen: "127.0.0.1:0", Log: log}, func(a witnessd.Addresses) {
		said = json.NewEncoder(os.Stdout).Encode(a)
	})
	return errors.Join(err, said)
}

// published: one append at a time on the log of n entries, until it is in a checkpoint that three witnesses, each a
// process of its own, have cosigned and the log has kept.
func (b *bench) published(ctx context.Context) (err error) {
	f, err := b.bigFolder(ctx)
	if err != nil {
		return err
	}
	if err := b.release(); err != nil {
		return err
	}
	policy, stop, err := b.startWitnesses(ctx, f.Folder)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	parsed, err := checkpoint.ParsePolicy([]byte(policy))
	if err != nil {
		return err
	}
	s, err := b.serve(ctx, f, policy)
	if err != nil {
		return err
	}
	err = b.publishes(ctx, s, parsed)
	// The log is as it was before: what follows is without witnesses.
	return errors.Join(err, s.close(), os.Remove(filepath.Join(f.Dir, "policy")), os.Remove(filepath.Join(f.Dir, "published")))
}

// publishes measures at a pace that leaves room below the 50 requests a second that a witness takes.
func (b *bench) publishes(ctx context.Context, s *server, policy *checkpoint.Policy) error {
	const pace = 25 * time.Millisecond
	count := min(80, max(20, b.n/100))
	entries := b.more(count + 1)
	var last *pb.SubmitResult
	submit := func(i int) error {
		r, err := s.api.Submit(ctx, &pb.SubmitRequest{Submission: submissions(entries[i : i+1])[0], Wait: pb.Wait_WAIT_PUBLISHED})
		if err != nil {
			return err
		}
		if last = r.Result; last.Repeated {
			return fmt.Errorf("entry %d was there before", last.Index)
		}
		return nil
	}
	// The witnesses first say that they have seen nothing newer.
	opened, err := b.paced(ctx, "published/open", pace, 1, func(int) error { return untilOpen(ctx, func() error { return submit(count) }) })
	if err != nil {
		return fmt.Errorf("after %v: %w", opened, err)
	}
	took, err := b.paced(ctx, "published", pace, count, submit)
	if err != nil {
		return err
	}
	b.add("published", rowPublished, "ms", milliseconds(quantile(took, 0.5)))
	b.add("published", "one append to published, 3 witnesses, 99th of 100", "ms", milliseconds(quantile(took, 0.99)))
	e := entries[count-1]
	got := verify.Verify(verify.Request{Policy: policy, Bundle: []byte(last.Bundle), Path: e.Path, SHA256: e.SHA256, Size: e.Size, Now: time.Now()})
	if got.Outcome != verify.Verified {
		return fmt.Errorf("what was published last: %v: %s", got.Outcome, got.Message)
	}
	return nil
}

// untilOpen tries until the log takes submissions.
func untilOpen(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if status.Code(err) != codes.Unavailable {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// startWitnesses makes new witnesses that know the log, and starts them. The policy needs all of them. stop is never
// nil.
func (b *bench) startWitnesses(ctx context.Context, f *datafolder.Folder) (policy string, stop func() error, err error) {
	var running []*process
	dir := filepath.Join(b.work, fmt.Sprintf("witnesses-%d", b.round))
	stop = func() (err error) {
		for _, p := range running {
			err = errors.Join(err, p.finish())
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", stop, err
	}
	var vkeys []string
	for _, k := range f.Signers {
		vkeys = append(vkeys, k.Verifier().String())
		policy += fmt.Sprintf("log %v\n", k.Verifier())
	}
	group := ""
	for i := range witnesses {
		w, err := witnessd.Init(filepath.Join(dir, fmt.Sprint(i)), "", fmt.Sprintf("witness%d.example", i), time.Now())
		if err != nil {
			return "", stop, err
		}
		if err := w.AddLog(vkeys...); err != nil {
			return "", stop, err
		}
		p, err := b.start(ctx, task{Role: witnessRole, Dir: w.Dir})
		if err != nil {
			return "", stop, err
		}
		running = append(running, p)
		var a witnessd.Addresses
		if err := p.decode(&a); err != nil {
			return "", stop, err
		}
		policy += fmt.Sprintf("witness w%d %v %s\n", i, w.Verifiers()[0], a.URL)
		group += fmt.Sprintf(" w%d", i)
	}
	return policy + "group all all" + group + "\nquorum all\n", stop, nil
}
