package soak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Those who read while others submit. Package client verifies what it returns; here it is compared with what
// submitters were told.

// published is one of the acks that must be provable.
func (l *load) published(r *rand.Rand) (ack, error) {
	a, err := l.some(r)
	if err == nil && a.index >= l.known.Load() {
		err = errNothing
	}
	return a, err
}

// sees takes note of a published size.
func (l *load) sees(size uint64) {
	for {
		known := l.known.Load()
		if size <= known || l.known.CompareAndSwap(known, size) {
			return
		}
	}
}

// prove asks for a proof, by index or by path.
func (l *load) prove(ctx context.Context, r *rand.Rand, by int) error {
	a, err := l.published(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var p *client.Proven
	if r.IntN(2) == 0 {
		p, err = l.reader[by].ByIndex(ctx, a.index)
	} else {
		p, err = l.reader[by].ByPath(ctx, l.entry(a.number).Path)
	}
	if err != nil {
		return err
	}
	l.sees(p.Seen.Size)
	if p.Bundle.Index != a.index || tree.LeafHash(p.Bundle.Entry) != a.leaf || !p.Seen.QuorumMet {
		return falsef("entry %d was acknowledged; its proof is of entry %d, quorum met: %v", a.index, p.Bundle.Index, p.Seen.QuorumMet)
	}
	return nil
}

// lookup looks for all entries of a path, which are one.
func (l *load) lookup(ctx context.Context, r *rand.Rand) error {
	a, err := l.published(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path := l.entry(a.number).Path
	found := false
	coverage, err := l.reader[r.IntN(2)].Lookup(ctx, client.Query{Path: path}, func(f client.Found) error {
		if f.Index != a.index || found {
			return falsef("%s is entry %d, and a lookup finds entry %d", path, a.index, f.Index)
		}
		found = true
		return nil
	})
	if err != nil {
		return err
	}
	if !found && a.index < coverage.Indexed {
		return falsef("%s is entry %d, and a lookup in %d entries does not find it", path, a.index, coverage.Indexed)
	}
	return nil
}

// maxStatic bounds a static answer; all are smaller.
const maxStatic = 4 << 20

var httpClient = &http.Client{Timeout: 10 * time.Second}

// static reads a file over plain HTTP: the checkpoint, a tile, or a proof.
func (l *load) static(ctx context.Context, r *rand.Rand) error {
	a, err := l.published(r)
	if err != nil {
		return err
	}
	path := "/checkpoint"
	e := l.entry(a.number)
	full := l.known.Load() / 256
	switch n := r.IntN(4); {
	case n == 1 && full > 0:
		path = fmt.Sprintf("/tile/0/%s", tileName(r.Uint64N(full)))
	case n == 2 && full > 0:
		path = fmt.Sprintf("/tile/entries/%s", tileName(r.Uint64N(full)))
	case n == 3:
		path = "/proof/" + e.Path + ".tlog-proof"
	}
	code, body, err := l.get(ctx, "http://"+l.site.http+path)
	switch {
	case err != nil || code == http.StatusServiceUnavailable:
		return err
	case code != http.StatusOK:
		return falsef("%s: status %d: %.200s", path, code, body)
	case path == "/checkpoint":
		o, err := l.site.policy.Open(body)
		if err != nil {
			return falsef("%s: %v", path, err)
		}
		l.sees(o.Size)
	case bytes.HasPrefix([]byte(path), []byte("/proof/")):
		v := verify.Verify(verify.Request{Policy: l.site.policy, Path: e.Path, SHA256: e.SHA256, Size: e.Size, Bundle: body, Now: time.Now()})
		if v.Outcome != verify.Verified || v.Index != a.index {
			return falsef("%s: %v, index %d, acknowledged %d: %s", path, v.Outcome, v.Index, a.index, v.Message)
		}
	case bytes.HasPrefix([]byte(path), []byte("/tile/0/")) && len(body) != 256*tree.HashSize:
		return falsef("%s: %d bytes", path, len(body))
	}
	return nil
}

// tileName is a tile's number as a path (C2SP tlog-tiles).
func tileName(n uint64) string {
	name := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	return name
}

// get reads over HTTP; a connection that breaks is transient.
func (l *load) get(ctx context.Context, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	a, err := httpClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, maxStatic))
	return a.StatusCode, body, err
}

// audit re-hashes the whole log.
func (l *load) audit(ctx context.Context, r *rand.Rand) error {
	report, err := l.reader[r.IntN(2)].Audit(ctx, nil)
	if err != nil {
		return err
	}
	if report.Violations != 0 || !report.Seen.QuorumMet {
		return falsef("an audit of %d entries: %d violations, quorum met: %v: %v", report.Entries, report.Violations, report.Seen.QuorumMet, report.Findings)
	}
	return nil
}

// watch follows checkpoints until the connection breaks.
func (l *load) watch(ctx context.Context, by int) error {
	stream, err := l.api[by].WatchCheckpoints(ctx, &pb.WatchCheckpointsRequest{})
	if err != nil {
		return err
	}
	last := uint64(0)
	for {
		a, err := stream.Recv()
		if err == io.EOF {
			return errNothing
		}
		if err != nil {
			return err
		}
		o, err := l.site.policy.Open([]byte(a.Checkpoint))
		if err != nil {
			return falsef("a watched checkpoint: %v", err)
		}
		if o.Size < last {
			return falsef("watched checkpoints went from size %d to %d", last, o.Size)
		}
		last = o.Size
		l.sees(o.Size)
	}
}
