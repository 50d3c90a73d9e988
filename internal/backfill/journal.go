package backfill

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

// journalHead is the first line of a journal.
const journalHead = "pauselog backfill v1"

// writeEvery is how often a journal is written at most: a crash has so much submitted again.
const writeEvery = time.Second

// A journal remembers how far a walk has come: every path up to one was settled. It is a file of its own for each key,
// and so other trees, or another log, begin at the beginning.
//
// It is replaced as a whole, so a crash leaves the old one or the new one. Both are true, since the log had
// said that all entries up to there are durable before any of them was written; the old one only has more submitted
// again. That holds also for two walks with one journal, whichever of them wrote last. A journal that
// cannot be read is as none: to walk again costs time, and nothing else.
type journal struct {
	name  string // "": there is none
	key   string
	after string // where this walk went on

	last    string
	written time.Time
	dirty   bool
}

func openJournal(dir, key string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder of the journal: %w", err)
	}
	j := &journal{name: filepath.Join(dir, "backfill-"+key[:16]), key: key}
	b, err := os.ReadFile(j.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the journal: %w", err)
	}
	j.after = parseJournal(string(b), key)
	j.last = j.after
	return j, nil
}

func (j *journal) text() string {
	return fmt.Sprintf("%s\nwalk %s\nafter %s\n", journalHead, j.key, strconv.QuoteToASCII(j.last))
}

// parseJournal returns the path that a journal names, or "" if it is none of this key.
func parseJournal(text, key string) string {
	_, quoted, _ := strings.Cut(text, "\nafter ")
	last, err := strconv.Unquote(strings.TrimSuffix(quoted, "\n"))
	if again := (&journal{key: key, last: last}); err != nil || again.text() != text || !strings.HasPrefix(last, archives+"/") {
		return ""
	}
	return last
}

// settled says that all up to a path is durable in the log, and has been reported.
func (j *journal) settled(path string) error {
	j.last, j.dirty = path, true
	if j.written.IsZero() {
		j.written = time.Now()
	}
	if time.Since(j.written) < writeEvery {
		return nil
	}
	return j.write()
}

func (j *journal) write() error {
	if j.name == "" || !j.dirty {
		return nil
	}
	if err := atomicfile.Write(j.name, []byte(j.text()), 0o600); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	j.written, j.dirty = time.Now(), false
	return nil
}

// remove ends a walk that came to its end: the next begins anew. A crash before has it walk over the end once more.
func (j *journal) remove() error {
	if j.name == "" {
		return nil
	}
	if err := os.Remove(j.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the journal: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(j.name))
}
