// Package trust remembers, in files, the newest checkpoint that was seen of each log. It
// is why a log cannot show one reader two histories, and so it is no cache: it is never
// reset because something is wrong with it.
//
//	DIR/<hex SHA-256 of the origin>/checkpoint   the signed note
//	DIR/<hex SHA-256 of the origin>/lock         held while the note is compared and replaced
//	DIR/evidence/pauselog-evidence-*.txt         what convicts a log
//
// Any number of processes may use a folder at the same time.
package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

// ErrDamaged says that what was remembered is not there as it was written.
var ErrDamaged = errors.New("the remembered checkpoint is damaged")

// ErrNoFolder says that there is no place to remember anything.
var ErrNoFolder = errors.New("there is no folder for what was seen of a log: neither XDG_STATE_HOME nor HOME says where; name one with --state-dir")

// A Dir is a folder of remembered checkpoints; it implements client.Memory. It need not
// exist: Save makes it.
type Dir struct{ path string }

var _ client.Memory = Dir{}

// Open returns the folder at path, or, if that is "", the user's: pauselog in
// $XDG_STATE_HOME, which is ~/.local/state if it is not set.
func Open(path string) (Dir, error) {
	if path != "" {
		abs, err := filepath.Abs(path)
		return Dir{abs}, err
	}
	// The XDG specification has relative values ignored.
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return Dir{filepath.Join(state, "pauselog")}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return Dir{}, ErrNoFolder
	}
	return Dir{filepath.Join(home, ".local", "state", "pauselog")}, nil
}

// Path returns where the folder is.
func (d Dir) Path() string { return d.path }

func (d Dir) of(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(d.path, hex.EncodeToString(sum[:]))
}

// File returns where the checkpoint of a log is remembered.
func (d Dir) File(origin string) string { return filepath.Join(d.of(origin), "checkpoint") }

// Load implements client.Memory. It changes nothing, not even by making the folder.
func (d Dir) Load(origin string) ([]byte, error) {
	name := d.File(origin)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the remembered checkpoint of %s: %w", origin, err)
	}
	defer f.Close()
	note, err := io.ReadAll(io.LimitReader(f, checkpoint.MaxNoteSize+1))
	if err != nil {
		return nil, fmt.Errorf("the remembered checkpoint of %s: %w", origin, err)
	}
	if err := check(origin, note); err != nil {
		return nil, fmt.Errorf("%w: %s should hold one of %s: %w. Look for a backup of the file and put it back. "+
			"Delete it only if you accept that nothing remains to compare the log with: whoever damaged it could then show you another log", ErrDamaged, name, origin, err)
	}
	return note, nil
}

func check(origin string, note []byte) error {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("found a checkpoint of %q", c.Origin)
	}
	return err
}

// Save implements client.Memory.
func (d Dir) Save(origin string, old, note []byte) error {
	if err := check(origin, note); err != nil {
		return fmt.Errorf("refusing to remember what Load would refuse: %w", err)
	}
	dir := d.of(origin)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot remember the checkpoint of %s: %w", origin, err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("cannot remember the checkpoint of %s: %w", origin, err)
	}
	defer unlock()
	current, err := d.Load(origin)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(current, old):
		return client.ErrChanged
	case bytes.Equal(current, note):
		return nil
	}
	removeLeftovers(dir)
	if err := atomicfile.Write(d.File(origin), note, 0o600); err != nil {
		return fmt.Errorf("cannot remember the checkpoint of %s: %w", origin, err)
	}
	// The entry of the folder itself, should it be new.
	return atomicfile.SyncDir(d.path)
}

// Known returns the remembered checkpoints of a policy's logs.
func (d Dir) Known(p *checkpoint.Policy) (notes [][]byte, err error) {
	seen := map[string]bool{}
	for _, l := range p.Logs() {
		origin := l.Key.Name()
		if seen[origin] {
			continue
		}
		seen[origin] = true
		note, err := d.Load(origin)
		if err != nil {
			return nil, err
		}
		if note != nil {
			notes = append(notes, note)
		}
	}
	return notes, nil
}

// WriteEvidence writes an evidence file and returns its name, which the content decides.
func (d Dir) WriteEvidence(e *verify.Evidence) (string, error) {
	text := e.Marshal()
	dir := filepath.Join(d.path, "evidence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := filepath.Join(dir, EvidenceName(text))
	return name, atomicfile.Write(name, text, 0o600)
}

// EvidenceName returns the name of an evidence file, so that one contradiction that is
// found a thousand times is one file.
func EvidenceName(text []byte) string {
	sum := sha256.Sum256(text)
	return "pauselog-evidence-" + hex.EncodeToString(sum[:6]) + ".txt"
}
