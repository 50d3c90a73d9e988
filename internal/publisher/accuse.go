package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

// advice is what an operator can do when witnesses contradict the log.
func (p *Publisher) advice() string {
	c := p.c.Log.Signed()
	return fmt.Sprintf("The log's newest checkpoint is of size %d, root %v. ", c.Size, c.Root) + advice
}

const advice = "If the data folder and its head were restored from an older copy, put back the newest copies. " +
	"If they are the newest and the witness is wrong, take it out of the policy, or override it for one start (deploy/OPERATING.md)"

// An accusation is what a witness says against this log.
type accusation struct {
	what   error
	proven bool   // a note with this log's own valid signature contradicts its tree
	note   []byte // what the witness shows; nil: nothing
}

// accused makes an answer an accusation, and asks the witness for what it has seen: its word alone
// must not stop the log, a note with this log's own signature must.
func (p *Publisher) accused(ctx context.Context, a *answer, what error) {
	a.outcome, a.err = Accuses, what
	a.accusation = &accusation{what: what}
	one, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	a.requests++
	note, err := a.asker.Checkpoint(one, p.c.Origin)
	if err != nil {
		return
	}
	a.accusation.note = note
	c, err := p.ownCheckpoint(note)
	if err != nil {
		return
	}
	// Read after the note came: whatever this process signed before is in it.
	if newest := p.c.Log.Signed().Size; c.Size > newest {
		a.accusation.proven = true
		a.accusation.what = fmt.Errorf("%w; and shows a checkpoint of size %d that this log signed, which holds %d entries", what, c.Size, newest)
		return
	}
	root, err := p.c.Tree.Root(c.Size)
	if err == nil && root != c.Root {
		a.accusation.proven = true
		a.accusation.what = fmt.Errorf("%w; and shows a checkpoint of size %d that this log signed, with root %v, while its tree of that size has root %v", what, c.Size, c.Root, root)
	}
}

// accuse takes an accusation. At the start any refuses it. Later the witness is set aside, and the log
// stops when the accusation is proven, or when no quorum is left without the accusers.
func (p *Publisher) accuse(w *witness, a *answer) error {
	kept, err := p.keep(w, a)
	if err != nil {
		p.c.Logger.Error("what a witness says against this log could not be written", "witness", w.name, "error", err)
	}
	p.c.Logger.Error("a witness contradicts this log", "witness", w.name, "says", a.accusation.what, "proven", a.accusation.proven, "evidence", kept)
	if p.starting && !p.c.Override {
		return fmt.Errorf("%w: refusing to go on: %s says: %w. %s", ErrAccused, w.name, a.accusation.what, p.advice())
	}
	p.setAside(w, accuses, a.accusation.what)
	switch {
	case a.accusation.proven && !p.c.Override:
		return fmt.Errorf("%w: %s: %w. %s", ErrAccused, w.name, a.accusation.what, p.advice())
	case !p.c.Policy.Satisfied(p.usable(nil)) && !p.c.Override:
		return fmt.Errorf("%w: without %s no quorum is left: %w. %s", ErrAccused,
			strings.Join(p.namesOf(func(w *witness) bool { return w.aside == accuses }), ", "), a.accusation.what, p.advice())
	}
	return nil
}

// setAside makes sure that a witness is never asked or counted again.
func (p *Publisher) setAside(w *witness, aside string, why error) {
	w.aside, w.why = aside, why.Error()
	if p.round != nil {
		p.round.forget(w)
	}
	p.remember()
}

// keep writes what a witness shows, and what this log says instead, into the evidence folder, and
// returns the file's name.
func (p *Publisher) keep(w *witness, a *answer) (string, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "The witness %s (%s) contradicts the log %s:\n%v\n\nWhat the witness shows:\n\n%s\nThe newest checkpoint of the log:\n\n%s",
		w.name, w.url, p.c.Origin, a.accusation.what, a.accusation.note, p.c.Log.Signed().Note)
	if err := os.MkdirAll(p.c.Evidence, 0o700); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b.Bytes())
	name := filepath.Join(p.c.Evidence, fmt.Sprintf("witness-%x.txt", sum[:8]))
	return name, atomicfile.Write(name, b.Bytes(), 0o600)
}
