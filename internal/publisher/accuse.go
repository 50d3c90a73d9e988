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
	"If they are the newest, and the witness is wrong or somebody has the log's key, override it for one start (deploy/OPERATING.md); " +
	"a witness that only says so can also be taken out of the policy"

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
// stops when the accusation is proven, or when no quorum is left without the accusers. What an
// operator's override covers is each witness's first answer.
func (p *Publisher) accuse(w *witness, a *answer, overridden bool) error {
	kept, err := p.keep(w, a)
	if err != nil {
		p.c.Logger.Error("what a witness says against this log could not be written", "witness", w.name, "error", err)
	}
	p.c.Logger.Error("a witness contradicts this log", "witness", w.name, "says", a.accusation.what, "proven", a.accusation.proven, "evidence", kept, "overridden", overridden)
	why := fmt.Errorf("%s: %w", w.name, a.accusation.what)
	switch {
	case overridden:
		p.setAside(w.keys, accuses, a.accusation.what)
		return nil
	case p.starting && a.accusation.proven:
		p.setAside(w.keys, proven, a.accusation.what)
		return fmt.Errorf("%w: refusing to go on: %w. %s", ErrAccused, why, p.advice())
	case p.starting:
		return fmt.Errorf("%w: refusing to go on: %w. %s", ErrAccused, why, p.advice())
	case a.accusation.proven:
		p.setAside(w.keys, proven, a.accusation.what)
		return fmt.Errorf("%w: %w. %s", ErrAccused, why, p.advice())
	}
	p.setAside(w.keys, accuses, a.accusation.what)
	if names := p.accusers(); !p.c.Policy.Satisfied(p.counted(func(k *key) bool { return k.aside != accuses })) {
		return fmt.Errorf("%w: without %s no quorum is left: %w. %s", ErrAccused, strings.Join(names, ", "), why, p.advice())
	}
	return nil
}

// accusers are the witnesses that were set aside because they contradict the log.
func (p *Publisher) accusers() []string {
	return p.namesOf(func(w *witness) bool { return w.aside() == accuses })
}

// setAside makes sure that keys of a witness are never asked for or counted again.
func (p *Publisher) setAside(keys []*key, aside string, why error) {
	for _, k := range keys {
		if k.aside == "" {
			k.aside, k.why = aside, why.Error()
		}
		if p.round != nil {
			p.round.forget(k)
		}
	}
	p.remember()
}

// maxEvidence bounds the files of evidence: a log that is started again and again hears the same again.
const maxEvidence = 64

// keep writes what a witness shows, and what this log says instead, into the evidence folder, and
// returns the file's name; "" if there are enough.
func (p *Publisher) keep(w *witness, a *answer) (string, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "The witness %s (%s) contradicts the log %s:\n%v\n\nWhat the witness shows:\n\n%s\nThe newest checkpoint of the log:\n\n%s",
		w.name, w.url, p.c.Origin, a.accusation.what, a.accusation.note, p.c.Log.Signed().Note)
	if err := os.MkdirAll(p.c.Evidence, 0o700); err != nil {
		return "", err
	}
	if there, err := os.ReadDir(p.c.Evidence); err != nil || len(there) >= maxEvidence {
		return "", err
	}
	sum := sha256.Sum256(b.Bytes())
	name := filepath.Join(p.c.Evidence, fmt.Sprintf("witness-%x.txt", sum[:8]))
	return name, atomicfile.Write(name, b.Bytes(), 0o600)
}
