package model

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/jsonrpc"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Those outside: agents that submit, clients that read, and a mirror.

const answerTime = 8 * time.Second // how long they wait for an answer

// connect is somebody's way to a log.
func (w *world) connect(who string, n *logNode) (*jsonrpc.Conn, *http.Client) {
	c := &http.Client{Transport: &wire{network: w.network, link: who + " to " + n.name, to: n, token: "everybody's"}}
	return jsonrpc.NewConn(&url.URL{Scheme: "http", Host: "log.example"}, c), c
}

// fileEntry is the entry of file number n of the run.
func fileEntry(n int, content string, at time.Time) *entry.Entry {
	b := fmt.Appendf(nil, "file %d%s", n, content)
	return &entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/M/MO/MODEL%d/Dist-%d.tar.gz", n%7, n), SHA256: sha256.Sum256(b), Size: uint64(len(b)),
		Time: entry.TimeOf(at), By: "-", Seen: entry.SeenUpload}
}

// asLogged is a submission's entry and leaf.
func asLogged(s *pb.Submission) (string, []byte, error) {
	e := &entry.Entry{Kind: entry.Kind(s.Kind), Path: s.Path, Size: s.Size, By: s.By, Seen: entry.Seen(s.Seen)}
	var err1, err2 error
	e.SHA256, err1 = entry.ParseDigest(s.Sha256)
	e.Time, err2 = entry.ParseTime(s.Time)
	b, err := e.Marshal()
	leaf := tree.LeafHash(b)
	return string(b), leaf[:], errors.Join(err1, err2, err)
}

// An agent submits files until each is acknowledged. What it still has to do outlives it; what it was answered, and
// has not noted yet, does not.
type agent struct {
	world *world
	name  string
	log   *logNode

	mu     sync.Mutex
	todo   []int // guarded by mu
	cancel context.CancelFunc
	lives  int
	ended  sync.WaitGroup
}

func (a *agent) left() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.todo)
}

func (a *agent) start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.lives++
	r := source(a.world.seed, a.name, " ", a.lives)
	a.ended.Go(func() { a.run(ctx, r) })
}

// crash ends it in the middle of whatever it does.
func (a *agent) crash() {
	a.cancel()
	a.ended.Wait()
}

func (a *agent) run(ctx context.Context, r *rand.Rand) {
	conn, _ := a.world.connect(a.name, a.log)
	api := pb.NewLogClient(conn)
	for ctx.Err() == nil {
		if sleep(ctx, time.Duration(r.Int64N(int64(300*time.Millisecond)))) != nil {
			return
		}
		a.mu.Lock()
		if len(a.todo) == 0 {
			a.mu.Unlock()
			return
		}
		file := a.todo[r.IntN(len(a.todo))]
		a.mu.Unlock()
		content := ""
		if _, logged := a.world.check.ackOf(a.log.name, file); logged && r.IntN(4) == 0 {
			content = ", other bytes"
		}
		wait := pb.Wait_WAIT_SEQUENCED
		if r.IntN(2) == 0 {
			wait = pb.Wait_WAIT_PUBLISHED
		}
		e := fileEntry(file, content, time.Now())
		one, cancel := context.WithTimeout(ctx, answerTime)
		answer, err := api.Submit(one, &pb.SubmitRequest{Submission: submit.Message(e, e.Seen), Wait: wait})
		cancel()
		if ctx.Err() != nil {
			return
		}
		reason, _ := client.Reason(err)
		switch {
		case content != "" && err == nil:
			a.world.check.wrong("file %d was logged, and other bytes under its name were taken as entry %d", file, answer.Result.Index)
		case content != "":
			if reason != "conflict" && !later(err) {
				a.world.check.wrong("other bytes for file %d: %v", file, err)
			}
		case err == nil:
			if !a.world.check.answered(a.log.name, file, e, answer.Result) {
				return
			}
			// It notes this after a while, and may crash before: then it submits again.
			if sleep(ctx, time.Duration(r.Int64N(int64(200*time.Millisecond)))) != nil {
				return
			}
			a.done(file)
		case !later(err):
			a.world.check.wrong("submitting file %d: %v", file, err)
			return
		}
	}
}

func (a *agent) done(file int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, f := range a.todo {
		if f == file {
			a.todo = append(a.todo[:i:i], a.todo[i+1:]...)
			return
		}
	}
}

// later says whether what failed may be tried again: nothing false was said.
func later(err error) bool {
	var m *client.Misbehaviour
	if errors.As(err, &m) || errors.Is(err, client.ErrAnswer) || errors.Is(err, client.ErrBehind) {
		return false
	}
	switch reason, _ := client.Reason(err); reason {
	case "held", "closing", "busy", "unpublished", "time", "pending":
		return true
	case "":
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown:
			return true
		}
	}
	return false
}

// isOlderAnswer says whether an answer is that of a log which was put back to an older copy and has not heard so from its
// witnesses yet: it shows what was published then, which is true, and who saw more notices.
func isOlderAnswer(err error) bool {
	reason, _ := client.Reason(err)
	return errors.Is(err, client.ErrBehind) || reason == "pending" || reason == "not-logged"
}

// memory is what a reader remembers.
type memory struct {
	mu   sync.Mutex
	note []byte
}

func (m *memory) Load(string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.note, nil
}

func (m *memory) Save(_ string, old, note []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if string(old) != string(m.note) {
		return client.ErrChanged
	}
	m.note = note
	return nil
}

// read asks for what was acknowledged, and verifies it.
func (w *world) read(ctx context.Context, who string, n *logNode) {
	r := source(w.seed, who)
	conn, _ := w.connect(who, n)
	log := client.New(conn, w.policy, &memory{})
	seen := uint64(0) // published, as far as this one knows
	for sleep(ctx, time.Duration(r.Int64N(int64(700*time.Millisecond)))) == nil {
		file := r.IntN(w.files)
		a, ok := w.check.ackOf(n.name, file)
		if !ok {
			continue
		}
		e := fileEntry(file, "", time.Now())
		one, cancel := context.WithTimeout(ctx, answerTime)
		var p *client.Proven
		var err error
		if r.IntN(2) == 0 {
			p, err = log.ByIndex(one, a.index)
		} else {
			p, err = log.ByPath(one, e.Path)
		}
		cancel()
		switch reason, _ := client.Reason(err); {
		case err == nil:
			if p.Bundle.Index != a.index || !w.check.bundle(who, e, a.index, p.Text) {
				w.check.wrong("%s asked for entry %d, and was proven entry %d", who, a.index, p.Bundle.Index)
				return
			}
			seen = max(seen, p.Seen.Size)
		case w.isOlder() && isOlderAnswer(err):
		case reason == "pending" && a.index < seen:
			w.check.wrong("%s saw size %d published, and then entry %d was not published yet", who, seen, a.index)
			return
		case reason == "not-logged" && a.index >= seen:
			// Before it is published, one whose log was started again may not know it.
		case !later(err):
			w.check.wrong("%s asked for entry %d: %v", who, a.index, err)
			return
		}
	}
}

// mirror copies the whole log now and then, checks the copy, and makes proofs from it for whoever asks.
func (w *world) mirror(ctx context.Context, who string, n *logNode) {
	r := source(w.seed, who)
	conn, _ := w.connect(who, n)
	log, api := client.New(conn, w.policy, nil), pb.NewLogClient(conn)
	for sleep(ctx, time.Duration(r.Int64N(int64(4*time.Second)))) == nil {
		one, cancel := context.WithTimeout(ctx, answerTime)
		seen, entries, err := copyLog(one, log, api)
		cancel()
		if err != nil {
			if !later(err) && !(w.isOlder() && isOlderAnswer(err)) {
				w.check.wrong("%s: %v", who, err)
				return
			}
			continue
		}
		if !w.check.shown(who, seen.Note) || len(entries) == 0 {
			continue
		}
		f, err := newForest(entries)
		if err != nil || !f.has(statement{seen.Size, seen.Root}) {
			w.check.wrong("%s copied %d entries, which are not those of the checkpoint of size %d, %v", who, len(entries), seen.Size, err)
			return
		}
		// Somebody asks it for a proof.
		index := r.IntN(len(entries))
		e, err := entry.Parse(entries[index])
		if err != nil {
			w.check.wrong("%s: entry %d: %v", who, index, err)
			return
		}
		if e.Kind != entry.Upload {
			continue
		}
		path, err := tlog.ProveRecord(int64(len(entries)), int64(index), f.hashes)
		if err != nil {
			w.check.wrong("%s: a proof of entry %d: %v", who, index, err)
			return
		}
		b := &proof.Bundle{Entry: entries[index], Index: uint64(index), Checkpoint: seen.Note}
		for _, h := range path {
			b.Hashes = append(b.Hashes, tree.Hash(h))
		}
		text, err := b.Marshal()
		if err != nil || !w.check.bundle("a client of "+who, e, uint64(index), text) {
			w.check.wrong("%s: entry %d: %v", who, index, err)
			return
		}
	}
}

// copyLog reads all entries of the newest checkpoint.
func copyLog(ctx context.Context, log *client.Log, api pb.LogClient) (*client.Seen, [][]byte, error) {
	seen, err := log.Checkpoint(ctx)
	if err != nil || seen.Size == 0 {
		return seen, nil, err
	}
	stream, err := api.ListEntries(ctx, &pb.ListEntriesRequest{End: seen.Size})
	if err != nil {
		return nil, nil, err
	}
	var entries [][]byte
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return seen, entries, nil
		}
		if err != nil {
			return nil, nil, err
		}
		for _, e := range m.Entries {
			entries = append(entries, []byte(e))
		}
	}
}
