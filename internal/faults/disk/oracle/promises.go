package oracle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// fields takes an entry apart.
func fields(e []byte) map[string]string {
	f := map[string]string{}
	for _, line := range strings.Split(string(e), "\n") {
		name, value, _ := strings.Cut(line, " ")
		f[name] = value
	}
	return f
}

// rules walks all entries: each is one that the log may have taken after those before it, and the tables of paths
// say what the entries say.
func (l *Log) rules() error {
	last := map[string]map[string]string{} // by path
	at := map[string]uint64{}
	seen := map[string]bool{} // conflicts
	keys := make([]byte, 0, 256*8)
	for i := range l.Size {
		e := fields(l.Entry(i))
		p := e["path"]
		before, known := last[p]
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("%w: entry %d (%s of %s): %s", ErrFalse, i, e["kind"], p, fmt.Sprintf(format, args...))
		}
		open := !known || before["kind"] == "void" // the path is free
		switch kind := e["kind"]; {
		case kind == "conflict":
			pair := p + " " + e["sha256"] + " " + e["other"]
			if open || before["sha256"] != e["sha256"] || seen[pair] {
				return wrong("nothing to conflict with, or said before")
			}
			seen[pair] = true
		case kind == "upload" && !open && before["kind"] == "upload":
			return wrong("after the upload with digest %s at %d, without a delete", before["sha256"], at[p])
		case kind == "upload" && !open && before["sha256"] != e["sha256"]:
			return wrong("another digest than %s, logged at %d: one path has two", before["sha256"], at[p])
		case kind == "upload":
		case kind == "index" && !open && before["time"] >= e["time"]:
			return wrong("its time %s is not after %s at %d", e["time"], before["time"], at[p])
		case kind == "index":
		case kind == "delete" || kind == "void":
			if open || before["sha256"] != e["sha256"] || kind == "delete" && before["kind"] != "upload" {
				return wrong("of what is not logged")
			}
		default:
			return wrong("an unknown kind")
		}

		var hash [8]byte
		if e["kind"] != "conflict" {
			if prev, ok := l.kv[key('v', i)]; ok != known || ok && (len(prev) != 8 || binary.BigEndian.Uint64(prev) != at[p]) {
				return wrong("the entry before it for its path is %d (%v), stored is %x (%v)", at[p], known, prev, ok)
			}
			last[p], at[p] = e, i
			sum := sha256.Sum256([]byte(p))
			copy(hash[:], sum[:8])
		} else if _, ok := l.kv[key('v', i)]; ok {
			return wrong("a conflict has a predecessor")
		}
		keys = append(keys, hash[:]...)
		if len(keys) == cap(keys) {
			if !bytes.Equal(l.kv[key('k', i/256)], keys) {
				return wrong("key tile %d is not that of its entries", i/256)
			}
			keys = keys[:0]
		}
	}
	return nil
}

// Keeps checks what was told: each acknowledged entry is where it was said to be, and each tree that was signed is
// the beginning of this one.
func (l *Log) Keeps(acks []Ack, trees []Tree, keys []string) error {
	for _, a := range acks {
		if a.Index >= l.Size {
			return fmt.Errorf("%w: entry %d was acknowledged, there are %d", ErrLost, a.Index, l.Size)
		}
		e := l.Entry(a.Index)
		if a.Entry != nil && !bytes.Equal(e, a.Entry) {
			return fmt.Errorf("%w: entry %d was acknowledged as %q, and is %q", ErrLost, a.Index, a.Entry, e)
		}
		if f := fields(e); a.Entry == nil && (f["kind"] != "conflict" || f["path"] != a.Path || f["other"] != a.Other) {
			return fmt.Errorf("%w: the conflict of %s with %s was said to be entry %d, which is %q", ErrLost, a.Path, a.Other, a.Index, e)
		}
	}
	for i, t := range trees {
		root, err := l.RootOf(t.Size)
		if err != nil {
			return err
		}
		if root != t.Root {
			return fmt.Errorf("%w: size %d was signed with root %x, and has %x", ErrFork, t.Size, t.Root, root)
		}
		if size, noted, err := Checkpoint(t.Note, keys); err != nil || size != t.Size || noted != t.Root {
			return fmt.Errorf("%w: the checkpoint of size %d says %d: %v", ErrFork, t.Size, size, err)
		}
		if i > 0 && t.Size < trees[i-1].Size {
			return fmt.Errorf("%w: size %d was published after size %d", ErrFork, t.Size, trees[i-1].Size)
		}
	}
	return nil
}

// Head reads the newest slot of a head file, and compares it with the log: the head never says more than there
// is, and at most one commit less.
func (l *Log) Head(b []byte, exact bool) error {
	content, _, err := Slot(b, HeadSlot)
	if err != nil {
		return fmt.Errorf("%w: the head file: %w", ErrFalse, err)
	}
	var size uint64
	var root string
	f := fields(content)
	if _, err := fmt.Sscanf(f["size"]+" "+f["root"], "%d %s", &size, &root); err != nil {
		return fmt.Errorf("%w: the head file: %w", ErrFalse, err)
	}
	r, err := l.RootOf(size)
	if err != nil {
		return fmt.Errorf("the head file: %w", err)
	}
	if got := base64.StdEncoding.EncodeToString(r[:]); got != root || exact && size != l.Size {
		return fmt.Errorf("%w: the head file says size %d and root %s, on disk are %d entries, and that tree has root %s", ErrFork, size, root, l.Size, got)
	}
	return nil
}

// The sizes of slots.
const (
	HeadSlot   = 4096
	RecordSlot = 1 << 16 // of a witness
)

// Slot reads the newer valid slot of a file with two of this size.
func Slot(b []byte, size int) (content []byte, counter uint64, err error) {
	for n := range 2 {
		line, rest, _ := bytes.Cut(b[min(n*size, len(b)):min((n+1)*size, len(b))], []byte("\n"))
		var name, sum string
		var n uint64
		var length int
		if _, err := fmt.Sscanf(string(line), "%s %d %d %s", &name, &n, &length, &sum); err != nil || length < 0 || length > len(rest) {
			continue
		}
		covered := fmt.Appendf(nil, "%s %d %d\n%s", name, n, length, rest[:length])
		if fmt.Sprintf("%x", sha256.Sum256(covered)) == sum && n > counter {
			content, counter = rest[:length], n
		}
	}
	if counter == 0 {
		return nil, 0, errors.New("no slot is valid")
	}
	return content, counter, nil
}
