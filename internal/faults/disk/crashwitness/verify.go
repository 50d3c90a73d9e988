package crashwitness

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/protocol"
)

// record is what matters here of a record on disk.
type record struct {
	Sequence uint64 `json:"sequence"`
	Origin   string `json:"origin"`
	Size     uint64 `json:"size"`
	Root     string `json:"root"`
	Time     uint64 `json:"time"`
}

// verify reads the files of a witness by itself: each record is of the honest history and says no less than what was told,
// and the head file has the digest of all.
func verify(mem *vfs.MemFS, logs []*log, t *told) error {
	names, err := mem.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	digest := sha256.New()
	last := uint64(0)
	found := map[string]record{}
	for _, n := range names {
		hash, ok := strings.CutSuffix(n, ".log")
		if !ok || strings.HasPrefix(n, ".") {
			continue
		}
		b, err := faultfs.ReadFile(mem, path.Join(dir, n))
		if err != nil {
			return err
		}
		content, _, err := oracle.Slot(b, oracle.RecordSlot)
		if err != nil {
			return fmt.Errorf("%w: record %s: %w", oracle.ErrFalse, n, err)
		}
		var r record
		if err := json.Unmarshal(content, &r); err != nil {
			return fmt.Errorf("%w: record %s: %w", oracle.ErrFalse, n, err)
		}
		if sum := sha256.Sum256([]byte(r.Origin)); hex.EncodeToString(sum[:]) != hash {
			return fmt.Errorf("%w: record %s is of %s", oracle.ErrFalse, n, r.Origin)
		}
		id, err := hex.DecodeString(hash)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		digest.Write(id)
		digest.Write(sum[:])
		last = max(last, r.Sequence)
		found[r.Origin] = r
	}
	for _, l := range logs {
		r := found[l.origin]
		if r.Size < t.sizes[l.origin] || r.Time < t.times[l.origin] {
			return fmt.Errorf("%w: of %s size %d at %d was told, on disk are size %d and %d", oracle.ErrLost, l.origin, t.sizes[l.origin], t.times[l.origin], r.Size, r.Time)
		}
		if r.Size > 0 && r.Root != l.honest.root(r.Size).String() {
			return fmt.Errorf("%w: the record of %s has a root of another history", oracle.ErrFork, l.origin)
		}
	}
	b, err := faultfs.ReadFile(mem, headFile)
	if err != nil {
		return err
	}
	content, _, err := oracle.Slot(b, oracle.HeadSlot)
	if err != nil {
		return fmt.Errorf("%w: the head: %w", oracle.ErrFalse, err)
	}
	want := fmt.Sprintf("origin %s\nsize %d\nroot %s\nstarts 0\n", name, last, base64.StdEncoding.EncodeToString(digest.Sum(nil)))
	if string(content) != want {
		return fmt.Errorf("%w: the head says %q, expected %q", oracle.ErrFalse, content, want)
	}
	return nil
}

// errNotNow says that a witness cosigns nothing until its operator has done something.
var errNotNow = errors.New("the witness does not cosign now")

// check starts the witness that a crash left, asks it for forks, and has it go on.
func (w *world) check(mem *vfs.MemFS, at *clock, t *told) error {
	c := &clock{now: at.Now()}
	r, err := start(mem, w.signer, c, t, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errStart, err)
	}
	for _, l := range w.logs {
		s, ok := r.state.Log(protocol.OriginHash(l.origin))
		if !ok {
			if t.sizes[l.origin] > 0 {
				return errors.Join(fmt.Errorf("%w: %s is not known any more", oracle.ErrLost, l.origin), r.state.Close())
			}
			continue
		}
		c.tick()
		err := r.goesOn(l, s.Size, s.Disabled)
		if err != nil {
			return errors.Join(err, r.state.Close())
		}
	}
	if err := r.state.Close(); err != nil {
		return err
	}
	return verify(mem, w.logs, t)
}

func (r *running) goesOn(l *log, size uint64, disabled bool) error {
	if err := r.told.heard(l.origin, size, 0); err != nil {
		return err
	}
	// What a log with two histories would try. Up to size 1 they are the same, and a longer one of either may be its.
	for _, try := range [][2]uint64{{0, entries}, {size, entries}, {size, size}, {size / 2, size}, {1, entries}} {
		if size < 2 {
			break
		}
		if _, err := r.ask(l, l.fork, try[0], try[1]); err == nil || errors.Is(err, oracle.ErrFork) {
			return errors.Join(fmt.Errorf("%w: the fork from %d to %d is cosigned", oracle.ErrFork, try[0], try[1]), err)
		}
	}
	if disabled {
		if err := r.state.Enable(l.origin); err != nil {
			return err
		}
	}
	now, err := r.ask(l, l.honest, size, min(entries, size+3))
	refusal := (*witness.Refusal)(nil)
	if errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable {
		return fmt.Errorf("%w: %w", errNotNow, refusal)
	}
	if refusal != nil {
		return fmt.Errorf("%w: it does not go on from %d, and is at %d: %w", oracle.ErrFalse, size, now, refusal)
	}
	return err
}
