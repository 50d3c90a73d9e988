package hostile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// patience is how long a well-behaved client waits for an answer that takes milliseconds on a quiet machine.
const patience = 15 * time.Second

// pace is how often it asks.
const pace = 20 * time.Millisecond

// A neighbour is a well-behaved client of all servers: it submits, reads and verifies nothing special, over connections that
// it keeps. Beside it there is a newcomer, who makes a new connection each time.
type neighbour struct {
	score  *score
	cancel context.CancelFunc
	done   sync.WaitGroup
	close  func() error

	log          pb.LogClient
	acknowledged uint64
	crowded      atomic.Bool // a newcomer may have to wait

	mu      sync.Mutex
	failed  error
	late    error // the last of a newcomer that had no right to more
	took    []time.Duration
	entries map[string][]byte // path to leaf hash, of what was acknowledged
}

func newNeighbour(s *site, total *score) *neighbour {
	ctx, cancel := context.WithCancel(context.Background())
	n := &neighbour{score: total, cancel: cancel, entries: make(map[string][]byte)}
	conn, err := dial(s.log)
	if err != nil {
		n.fail(err)
		n.close = func() error { return nil }
		return n
	}
	kept := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	fresh := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	n.log = pb.NewLogClient(conn)
	n.close = func() error {
		kept.CloseIdleConnections()
		return conn.Close()
	}
	n.done.Go(func() {
		n.repeat(ctx, func(i int) error { return errors.Join(n.submit(ctx, s.log, i), n.read(ctx)) })
	})
	n.done.Go(func() {
		n.repeat(ctx, func(int) error {
			return errors.Join(get(ctx, kept, s.log, "/checkpoint", 200, nil), get(ctx, kept, s.witness, s.witness.get, 404, nil), get(ctx, kept, s.mirror, s.mirror.get, 200, s.content))
		})
	})
	n.done.Go(func() {
		n.repeat(ctx, func(int) error {
			err := errors.Join(get(ctx, fresh, s.log, "/checkpoint", 200, nil), get(ctx, fresh, s.witness, s.witness.get, 404, nil), get(ctx, fresh, s.mirror, s.mirror.get, 200, s.content))
			if err != nil && ctx.Err() == nil && n.crowded.Load() {
				n.score.late.Add(1)
				n.mu.Lock()
				n.late = err
				n.mu.Unlock()
				return nil
			}
			return err
		})
	})
	return n
}

// repeat calls f until the end, or until it fails.
func (n *neighbour) repeat(ctx context.Context, f func(int) error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := 0; ; i++ {
		began := time.Now()
		err := f(i)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.fail(fmt.Errorf("after %v: %w", time.Since(began).Round(time.Millisecond), err))
			return
		}
		n.score.served.Add(1)
		n.mu.Lock()
		n.took = append(n.took, time.Since(began))
		n.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *neighbour) submit(ctx context.Context, t *target, i int) error {
	path := fmt.Sprintf("authors/id/G/GO/GOOD/Neighbour-%d.tar.gz", i)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := n.log.Submit(withToken(ctx, t.token), &pb.SubmitRequest{Submission: submission(path, []byte(path))})
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	n.mu.Lock()
	n.entries[path] = r.Result.LeafHash
	n.acknowledged = uint64(len(n.entries))
	n.mu.Unlock()
	return nil
}

func (n *neighbour) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := n.log.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: 0}}); err != nil {
		return fmt.Errorf("get a proof: %w", err)
	}
	return nil
}

// get reads a path, which must be answered with this status, and with this body if there is one.
func get(ctx context.Context, c *http.Client, t *target, path string, status int, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.http+path, nil)
	if err != nil {
		return err
	}
	r, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", t.name, path, err)
	}
	if r.StatusCode != status || body != nil && !bytes.Equal(got, body) {
		return fmt.Errorf("%s: %s: %s, expected %d: %.200q", t.name, path, r.Status, status, got)
	}
	return nil
}

func (n *neighbour) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed = errors.Join(n.failed, err)
}

// expect says whether newcomers may have to wait from now on.
func (n *neighbour) expect(crowded bool) { n.crowded.Store(crowded) }

// check returns what went wrong so far.
func (n *neighbour) check() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

func (n *neighbour) stop() {
	n.cancel()
	n.done.Wait()
}

// lost counts the entries that were acknowledged and are not in the log, or have another leaf.
func (n *neighbour) lost(ctx context.Context) (lost uint64, err error) {
	for path, leaf := range n.entries {
		r, err := n.log.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: path}})
		if err != nil {
			return lost, fmt.Errorf("%s, which was acknowledged: %w", path, err)
		}
		// RFC 6962, 2.1.
		if got := sha256.Sum256(append([]byte{0}, r.Entry...)); !bytes.Equal(got[:], leaf) {
			lost++
		}
	}
	return lost, nil
}

func (n *neighbour) note(total *score) string {
	slices.Sort(n.took)
	at := func(q float64) time.Duration {
		return n.took[min(len(n.took)-1, int(q*float64(len(n.took))))].Round(10 * time.Microsecond)
	}
	if len(n.took) == 0 {
		return "no well-behaved client asked for anything"
	}
	note := fmt.Sprintf("well-behaved clients: %d rounds of calls, all served; median %v, 99 %% %v, slowest %v; newcomers that were not while all connections were taken: %d",
		total.served.Load(), at(0.5), at(0.99), at(1), total.late.Load())
	if n.late != nil {
		note += fmt.Sprintf(", the last with %.300q", n.late.Error())
	}
	return note
}

func dial(t *target, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+t.grpc, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func submission(path string, content []byte) *pb.Submission {
	return &pb.Submission{Kind: "upload", Path: path, Sha256: fmt.Sprintf("%x", sha256.Sum256(content)), Size: uint64(len(content)),
		Time: "2020-01-01T00:00:00Z", By: "-", Seen: "backfill"}
}

// submitOne logs an archive.
func submitOne(ctx context.Context, t *target, path string, content []byte) error {
	conn, err := dial(t)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = pb.NewLogClient(conn).Submit(withToken(ctx, t.token), &pb.SubmitRequest{Submission: submission(path, content)})
	return err
}
