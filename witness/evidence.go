package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
	"github.com/pauselog/pauselog/witness/state"
)

const (
	// maxEvidence is how many contradictions of a log are kept. One is enough to prove it.
	maxEvidence = 16

	// maxUnproven is how many notes of a log with a wrong proof are kept, the newest.
	maxUnproven = 4
)

// The files of evidence are named <origin hash>-<size>-<16 hex digits>.<kind>. The digits are of
// the SHA-256 of the checkpoint's text: the signature lines around it can be varied without end
// by anybody, and would make many files of one contradiction.
const (
	// suffixEvidence is the text of a verify.Evidence of kind roots.
	suffixEvidence = ".evidence"

	// suffixNotes is two notes, or one that is a contradiction by itself, where no such text
	// can be made.
	suffixNotes = ".notes"

	// suffixUnproven is a note whose proof was wrong. It is evidence of nothing by itself, and
	// may be a piece of some.
	suffixUnproven = ".unproven"
)

// evidence is the folder of what logs did wrong.
type evidence struct {
	dir string

	mu       sync.Mutex
	names    map[string]bool // of all files
	unproven []string        // of those with suffixUnproven, in the order in which they came since the start
}

// newEvidence makes the folder if it does not exist. An empty name is no folder.
func newEvidence(dir string) (*evidence, error) {
	e := &evidence{dir: dir, names: make(map[string]bool)}
	if dir == "" {
		return e, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder for evidence: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the folder for evidence: %w", err)
	}
	for _, f := range entries {
		e.names[f.Name()] = true
		if strings.HasSuffix(f.Name(), suffixUnproven) {
			e.unproven = append(e.unproven, f.Name())
		}
	}
	return e, nil
}

// keep writes a file, unless it exists or the log has as many of them as it may. isNew says
// that it is the first time; then path is the file's, or empty without a folder.
func (e *evidence) keep(originHash string, size uint64, text, suffix string, limit int, content []byte) (path string, isNew bool, err error) {
	sum := sha256.Sum256([]byte(text))
	name := fmt.Sprintf("%s-%d-%s%s", originHash, size, hex.EncodeToString(sum[:8]), suffix)
	e.mu.Lock()
	defer e.mu.Unlock()
	count := 0
	for n := range e.names {
		if strings.HasPrefix(n, originHash+"-") && (strings.HasSuffix(n, suffixUnproven) == (suffix == suffixUnproven)) {
			count++
		}
	}
	if e.names[name] {
		return "", false, nil
	}
	if count >= limit {
		if suffix != suffixUnproven {
			return "", false, nil
		}
		// Anybody can fill the places with what proves nothing: the newest stay.
		if err := e.removeOldest(originHash); err != nil {
			return "", true, err
		}
	}
	if e.dir != "" {
		path = filepath.Join(e.dir, name)
		if err := atomicfile.Write(path, content, 0o600); err != nil {
			return "", true, err
		}
	}
	e.names[name] = true
	if suffix == suffixUnproven {
		e.unproven = append(e.unproven, name)
	}
	return path, true, nil
}

// removeOldest removes the oldest note without a proof of a log.
func (e *evidence) removeOldest(originHash string) error {
	i := slices.IndexFunc(e.unproven, func(n string) bool { return strings.HasPrefix(n, originHash+"-") })
	if i < 0 {
		return nil
	}
	name := e.unproven[i]
	e.unproven = slices.Delete(e.unproven, i, i+1)
	delete(e.names, name)
	if e.dir == "" {
		return nil
	}
	if err := os.Remove(filepath.Join(e.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// compare looks for a contradiction between a request and what was cosigned last.
func (w *Witness) compare(r *request, l state.Log) {
	if l.Time != 0 && r.checkpoint.Size == l.Size && r.checkpoint.Root != l.Root {
		w.contradiction(r, l, l.Size)
	}
}

// contradiction keeps a checkpoint that the log signed and that cannot be true beside what it
// had cosigned. Whatever is answered: a log that lies about the old size is not let off.
//
// SPEC: WS-14, a witness may keep what its log signed and should not have.
func (w *Witness) contradiction(r *request, l state.Log, size uint64) {
	w.stats.contradiction(r.hash)
	suffix, content := suffixEvidence, roots(l, r.AddCheckpoint.Note)
	if content == nil {
		suffix, content = suffixNotes, slices.Concat(l.Note, r.AddCheckpoint.Note)
	}
	path, isNew, err := w.evidence.keep(r.hash, size, r.note.Text, suffix, maxEvidence, content)
	if err != nil {
		w.log.Error("evidence against a log cannot be written", "log", l.Origin, "size", size, "error", err)
	} else if isNew {
		w.log.Error("a log contradicts itself", "log", l.Origin, "size", size, "evidence", path)
	}
}

// roots returns the evidence that a log signed two roots for one size, in the form that anybody
// can check. It is nil where that form has no place for it: when one note alone is the
// contradiction, and when the log's keys have other names than its origin.
func roots(l state.Log, note []byte) []byte {
	var logs []checkpoint.PolicyLog
	for _, k := range l.Keys {
		logs = append(logs, checkpoint.PolicyLog{Key: k})
	}
	policy, err := checkpoint.NewPolicy(logs...)
	if err != nil {
		return nil
	}
	e := verify.Contradiction(policy, l.Note, note)
	if e == nil {
		return nil
	}
	return e.Marshal()
}

// unproven keeps a checkpoint that the log signed and that came with a wrong proof.
func (w *Witness) unproven(r *request, l state.Log) {
	w.stats.unproven(r.hash)
	path, isNew, err := w.evidence.keep(r.hash, r.checkpoint.Size, r.note.Text, suffixUnproven, maxUnproven, r.AddCheckpoint.Note)
	if err != nil {
		w.log.Error("a note without a proof cannot be kept", "log", l.Origin, "size", r.checkpoint.Size, "error", err)
	} else if isNew {
		w.log.Warn("a checkpoint came with a wrong proof", "log", l.Origin, "size", r.checkpoint.Size, "old", r.Old, "note", path)
	}
}
