package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/protocol"
	"github.com/pauselog/pauselog/witness/server"
	"github.com/pauselog/pauselog/witness/state"
)

// A witnessNode is a machine that runs a witness.
type witnessNode struct {
	name, url string
	world     *world
	keys      []*checkpoint.SignerKey
	clock     atomic.Int64 // how far it is off, in nanoseconds
	began     time.Time
	life      atomic.Pointer[witnessLife]
	lives     int
	rolled    atomic.Bool // its whole state was put back to an older copy: it may go back
}

type witnessLife struct {
	dead    atomic.Bool
	state   *state.State
	witness *witness.Witness
	handler http.Handler
}

func (n *witnessNode) serving() (http.Handler, func() bool) {
	l := n.life.Load()
	if l == nil {
		return nil, nil
	}
	return l.handler, func() bool { return !l.dead.Load() }
}

// Now and Elapsed make a node a witness.Clock.
func (n *witnessNode) Now() time.Time         { return time.Now().Add(time.Duration(n.clock.Load())) }
func (n *witnessNode) Elapsed() time.Duration { return time.Since(n.began) }

func (n *witnessNode) folder() string   { return filepath.Join(n.world.dir, n.name) }
func (n *witnessNode) headFile() string { return filepath.Join(n.world.dir, n.name+".head") }

// init makes its state, with the log in it.
func (n *witnessNode) init() error {
	if err := state.Init(n.folder(), n.headFile(), n.name); err != nil {
		return err
	}
	s, err := state.Open(n.folder(), n.headFile(), n.name, nil)
	if err != nil {
		return err
	}
	_, err = s.Add(origin, []*checkpoint.VerifierKey{n.world.keys[0].Verifier()}, 0, "")
	return errors.Join(err, s.Close())
}

func (n *witnessNode) start() error {
	if n.world.sabotage.forgetful && n.lives > 0 && n == n.world.witnesses[1] {
		if err := errors.Join(os.RemoveAll(n.folder()), os.Remove(n.headFile()), n.init()); err != nil {
			return err
		}
	}
	s, err := state.Open(n.folder(), n.headFile(), n.name, nil)
	if err != nil {
		return err
	}
	l := &witnessLife{state: s}
	var signers []witness.Signer
	for _, k := range n.keys {
		signers = append(signers, k)
	}
	if l.witness, err = witness.New(witness.Config{State: s, Signers: signers, EvidenceDir: filepath.Join(n.world.dir, n.name+"-evidence"), Clock: n}); err != nil {
		return errors.Join(err, s.Close())
	}
	srv, err := server.New(server.Config{Cosigner: observed{l.witness, n}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	l.handler = srv.Handler()
	n.lives++
	n.life.Store(l)
	return nil
}

// end ends its life. All that it does, it does within a moment of simulated time, so that a crash and a clean end are the
// same; what a crash in the middle leaves is that a request or its answer is lost.
func (n *witnessNode) end() error {
	l := n.life.Load()
	if l == nil {
		return nil
	}
	n.life.Store(nil)
	l.dead.Store(true)
	return l.state.Close()
}

// observed tells the checker what a witness signs, when it signs it.
type observed struct {
	*witness.Witness
	node *witnessNode
}

func (o observed) AddCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	lines, err := o.Witness.AddCheckpoint(ctx, body)
	if err == nil {
		o.node.world.check.cosigned(o.node, body, lines)
	}
	return lines, err
}

// listening tells the checker what a log sends to its witnesses.
type listening struct {
	next http.RoundTripper
	life *life
}

func (t listening) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.GetBody != nil {
		b, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(b)
		if err != nil {
			return nil, err
		}
		if a, err := protocol.ParseAddCheckpoint(body); err == nil && t.life.alive() {
			t.life.node.world.check.signed(t.life.node.name, a.Note)
			t.life.node.world.overheard(body)
		}
	}
	return t.next.RoundTrip(r)
}

// A witnessBackup is a copy of all that a witness keeps.
type witnessBackup struct {
	folder, head string
	size         uint64
}

func (n *witnessNode) backup(number int) (*witnessBackup, error) {
	b := &witnessBackup{folder: filepath.Join(n.world.dir, fmt.Sprintf("%s-backup-%d", n.name, number)), size: n.world.check.newestOf(n.name)}
	b.head = b.folder + ".head"
	return b, errors.Join(copyFolder(n.folder(), b.folder), copyFile(n.headFile(), b.head))
}

// putBack lays a copy over the witness's folder, and over its head file too if head is set.
func (n *witnessNode) putBack(b *witnessBackup, head bool) error {
	if err := os.RemoveAll(n.folder()); err != nil {
		return err
	}
	err := copyFolder(b.folder, n.folder())
	if head {
		err = errors.Join(err, copyFile(b.head, n.headFile()))
	}
	return err
}
