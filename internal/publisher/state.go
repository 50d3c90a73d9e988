package publisher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/slot"
)

// layout has room for a note of the largest size, escaped, and for each witness's record.
var layout = slot.Layout{Name: "pauselog-published/v1", Size: 512 << 10}

// maxRecords bounds the records of keys: those of the policy, and of what was in it before.
const maxRecords = 256

// A stored is what a publisher keeps: what is published, and what is known of the witnesses.
type stored struct {
	Note      string   `json:"note"`   // with the witnesses' lines of all types; "" before the first
	Policy    string   `json:"policy"` // under which the log published while it was open
	Time      uint64   `json:"time"`   // when its tree became the newest
	Witnesses []record `json:"witnesses"`
}

// A record is what must be remembered of a witness's key.
type record struct {
	Key  string `json:"key"`  // name+key id
	Size uint64 `json:"size"` // the largest that it cosigned
	// AllLines: the witness needs the log's signature lines of all types.
	AllLines bool   `json:"all_lines,omitempty"`
	Aside    string `json:"aside,omitempty"`
	Why      string `json:"why,omitempty"`
}

// state keeps a stored value on disk.
type state struct {
	keeper *slot.Keeper
	value  stored
}

// openState opens the file; if there is none, and there may be none, it makes one. A file that nobody can read is not
// taken for one that is not there.
func openState(d slot.Disk, file string, mustExist bool) (*state, error) {
	k, err := open(d, file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mustExist:
		return nil, fmt.Errorf("%w: %s is gone. It says what was published, and what the witnesses have cosigned; put back the newest copy of the data folder",
			sequencer.ErrRefused, file)
	case errors.Is(err, fs.ErrNotExist):
		if err := create(d, file); err != nil {
			return nil, fmt.Errorf("%s: making the file of what is published: %w", file, err)
		}
		return openState(d, file, true)
	case errors.Is(err, slot.ErrNoValue):
		return nil, fmt.Errorf("%w: %s: %w. It says what was published, and what the witnesses have cosigned; put back the newest copy of the data folder",
			sequencer.ErrRefused, file, err)
	case err != nil:
		return nil, fmt.Errorf("%s: what was published: %w", file, err)
	}
	// What a process before this one wrote, and could not sync, it showed to nobody. It may be what was read now, from the
	// page cache: before it is shown, it is to be on the disk.
	if err := k.Renew(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: what was published: %w", file, err), k.Close())
	}
	s := &state{keeper: k}
	dec := json.NewDecoder(bytes.NewReader(k.Content()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s.value); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), k.Close())
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.Join(fmt.Errorf("%s: there is more than one object in it", file), k.Close())
	}
	return s, nil
}

// open opens and reads the file, on the operating system's disk under a lock.
func open(d slot.Disk, file string) (*slot.Keeper, error) {
	if d == nil {
		return layout.Open(file)
	}
	f, err := d.Open(file)
	if err != nil {
		return nil, err
	}
	k, err := layout.Read(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return k, nil
}

// create makes a file that says that nothing was published: the whole of it or nothing.
func create(d slot.Disk, file string) error {
	b, err := json.Marshal(stored{})
	if err != nil {
		return err
	}
	if d == nil {
		return layout.Create(file, b)
	}
	return layout.CreateOn(d, file, b)
}

// put makes a value durable. After an error it is not known which one is on disk.
func (s *state) put(v stored) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.keeper.Put(b); err != nil {
		return err
	}
	s.value = v
	return nil
}

func (s *state) close() error { return s.keeper.Close() }
