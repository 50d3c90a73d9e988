package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// An override is an operator's word that the newest checkpoint in the data folder is the newest that this
// log ever signed. It is a file, because it is for one start and for one tree: it names size and
// root, must fit the folder exactly, and is deleted before it is used.
//
//	pauselog-override/v1
//	origin log.example/pause
//	size 8
//	root XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=
const overrideHeader = "pauselog-override/v1"

func overrideFile(f *datafolder.Folder) string { return filepath.Join(f.Dir, "override") }

// overrideText is the override that fits a log.
func overrideText(origin string, size uint64, root tree.Hash) string {
	return fmt.Sprintf("%s\norigin %s\nsize %d\nroot %v\n", overrideHeader, origin, size, root)
}

// takeOverride uses the override up, if there is one, and says whether there was. One for another
// tree is an error, and stays.
func takeOverride(f *datafolder.Folder, h *store.Head) (bool, error) {
	b, err := os.ReadFile(overrideFile(f))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if want := overrideText(f.Origin, h.Size, h.State.Root); string(b) != want {
		return false, fmt.Errorf("%w: %s is for another log or tree: the data folder holds %s, the override says %s",
			sequencer.ErrRefused, overrideFile(f), describe(want), describe(string(b)))
	}
	// Gone before it is used: a crash must not leave it for a start that nobody meant.
	if err := os.Remove(overrideFile(f)); err != nil {
		return false, err
	}
	return true, atomicfile.SyncDir(f.Dir)
}

// describe makes an override's text one line for a message.
func describe(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 4 || lines[0] != overrideHeader {
		return strconv.Quote(text[:min(len(text), 200)])
	}
	return strconv.Quote(strings.Join(lines[1:], ", "))
}

// startsOf reads a data folder's count of starts.
func startsOf(f *datafolder.Folder) (uint64, error) {
	b, err := os.ReadFile(startsFile(f))
	if err != nil {
		return 0, err
	}
	return entry.ParseNumber(strings.TrimSuffix(string(b), "\n"))
}
