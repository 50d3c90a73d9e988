package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

// A Word says why something was set aside.
type Word string

// The words.
const (
	Differs   Word = "differs"   // the file is not what the hook saw
	Conflict  Word = "conflict"  // the path is logged with another digest
	Refused   Word = "refused"   // the log does not take it, for another reason
	Malformed Word = "malformed" // no hook wrote it
	Unread    Word = "unread"    // neither the hook nor the agent could read it
	Unlogged  Word = "unlogged"  // the deletion of what was never logged
)

// Alarms reports whether somebody has to look at it.
func (w Word) Alarms() bool { return w != Unlogged }

// An Aside is something that cannot be logged as it is, kept until somebody has looked at it and removed it.
type Aside struct {
	Word     Word      `json:"word"`
	Message  string    `json:"message"`
	Path     string    `json:"path"`
	Expected string    `json:"expected"` // digest; empty if it is not known
	Found    string    `json:"found"`
	At       time.Time `json:"at"`
	Spooled  string    `json:"spooled"` // the content of the spool file; empty if it did not come from the spool
}

// aside is the folder of what was set aside: a file each.
type aside struct{ dir string }

func (d aside) keep(name string, x Aside) error {
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(d.dir, name), append(b, '\n'), 0o640)
}

// Named is an Aside with the name of its file.
type Named struct {
	Name string `json:"name"`
	Aside
}

// maxAside is how many are listed; there may be more.
const maxAside = 10_000

// list returns what is set aside, oldest name first.
func (d aside) list() (out []Named, err error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") || len(out) == maxAside {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody has removed it just now
		}
		if err != nil {
			return nil, err
		}
		x := Named{Name: e.Name()}
		if err := json.Unmarshal(b, &x.Aside); err != nil {
			x.Aside = Aside{Word: Malformed, Message: fmt.Sprintf("the note of why it was set aside is damaged: %v", err)}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// count returns how many are set aside, by their words.
func (d aside) count() (map[Word]int, error) {
	list, err := d.list()
	n := map[Word]int{}
	for _, x := range list {
		n[x.Word]++
	}
	return n, err
}
