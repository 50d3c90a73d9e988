package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
)

// heldBytes is how much of the path index is held in memory. The lines of a first export of a million
// entries are 57 MB, and one shard of them a quarter of one.
const heldBytes = 16 << 20

// shards are the lines that come to the path index. They are sorted shard by shard at the end; when
// there are too many to hold, those of each shard go to a temporary file outside of the tree.
type shards struct {
	folder *folder
	fresh  bool // the folder's shards are not added to, but made anew
	limit  int

	lines [prooftree.Shards][]byte // as a shard has them, in the order of the log
	held  int
	dir   string // of the temporary files; "" if there are none
}

func (s *shards) add(index uint64, path string) error {
	shard := prooftree.ShardOf(path)
	before := len(s.lines[shard])
	s.lines[shard] = prooftree.AppendLine(s.lines[shard], index, path)
	s.held += len(s.lines[shard]) - before
	if s.held < s.limit {
		return nil
	}
	return s.spill()
}

func (s *shards) spill() (err error) {
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "pauselog-export-"); err != nil {
			return err
		}
	}
	for i, lines := range s.lines {
		f, err := os.OpenFile(s.spilled(byte(i)), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(lines)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		s.lines[i] = lines[:0]
	}
	s.held = 0
	return nil
}

func (s *shards) spilled(shard byte) string {
	return filepath.Join(s.dir, filepath.Base(prooftree.ShardName(shard)))
}

func (s *shards) close() error {
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// write writes the shards that change. size is that of the tree.
func (s *shards) write(ctx context.Context, size uint64) error {
	for i := range s.lines {
		shard := byte(i)
		if err := ctx.Err(); err != nil {
			return err
		}
		lines, err := s.added(shard)
		if err != nil {
			return err
		}
		if !s.fresh {
			if len(lines) == 0 {
				continue
			}
			old, err := s.old(shard, size)
			if err != nil {
				return err
			}
			lines = append(old, lines...)
		}
		text := prooftree.FormatShard(lines)
		if len(text) > prooftree.MaxShard {
			return fmt.Errorf("%s would have %d bytes, and no reader takes more than %d", prooftree.ShardName(shard), len(text), prooftree.MaxShard)
		}
		if err := s.folder.write(prooftree.ShardName(shard), text); err != nil {
			return err
		}
	}
	return nil
}

// added returns the new lines of a shard.
func (s *shards) added(shard byte) ([]prooftree.Line, error) {
	text := s.lines[shard]
	if s.dir != "" {
		spilled, err := os.ReadFile(s.spilled(shard))
		if err != nil {
			return nil, err
		}
		text = append(spilled, text...)
	}
	var lines []prooftree.Line
	for line := range strings.Lines(string(text)) {
		digits, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		index, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the temporary file of %s changed: %w", prooftree.ShardName(shard), err)
		}
		lines = append(lines, prooftree.Line{Index: index, Path: path})
	}
	return lines, nil
}

// old returns the lines that a shard of the folder has. An export that was interrupted may have
// added some of those that are added now, but none beyond the size, unless the server shows less than it did.
func (s *shards) old(shard byte, size uint64) ([]prooftree.Line, error) {
	name := prooftree.ShardName(shard)
	text, err := s.folder.read(name, prooftree.MaxShard)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(s.folder, fmt.Errorf("%w: there is no %s", prooftree.ErrIncomplete, name))
	}
	var lines []prooftree.Line
	if err == nil {
		lines, err = prooftree.ParseShard(shard, text)
	}
	if err != nil {
		return nil, damaged(s.folder, err)
	}
	for _, l := range lines {
		if l.Index >= size {
			return nil, fmt.Errorf("%w: %s has entry %d, from an export that was interrupted, and the server shows size %d", client.ErrBehind, name, l.Index, size)
		}
	}
	return lines, nil
}
