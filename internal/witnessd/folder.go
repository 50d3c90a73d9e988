package witnessd

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/state"
)

const format = "pausewitness-data/v1"

// A Folder is the data folder of one witness.
type Folder struct {
	Dir     string
	Name    string // the witness's, which its keys have
	Head    string // the head file's path
	Created time.Time

	keys keys
}

// description is the content of witness.json.
type description struct {
	Format  string `json:"format"`
	Name    string `json:"name"`
	Head    string `json:"head"`
	Created string `json:"created"`
}

func (f *Folder) descriptionFile() string { return filepath.Join(f.Dir, "witness.json") }
func (f *Folder) stateDir() string        { return filepath.Join(f.Dir, "state") }
func (f *Folder) evidenceDir() string     { return filepath.Join(f.Dir, "evidence") }

// Verifiers returns the witness's verifier keys, Ed25519 (0x04) first. They go into the policies of
// those who trust it.
func (f *Folder) Verifiers() []*checkpoint.VerifierKey {
	return []*checkpoint.VerifierKey{f.keys.ed25519Verifier(), f.keys.mldsa44.Verifier()}
}

// BastionKey returns the key by which bastions know the witness.
func (f *Folder) BastionKey() ed25519.PrivateKey { return f.keys.bastion }

// An Agent says that the Ed25519 key of a new witness is one that an ssh-agent has.
type Agent struct {
	Socket string // the agent's Unix socket
	Key    string // the key's fingerprint or comment
}

// Init makes a new witness that knows no logs: its keys, an empty state with its head file, and the
// folder's description, in this order, each synced. A crash on the way leaves a folder without a
// description, which Open refuses and in which nothing was signed.
//
// headFile lies outside of the folder; "" is DIR.head.
func Init(dir, headFile, name string, now time.Time) (*Folder, error) {
	return initialise(dir, headFile, name, nil, now)
}

// InitWithAgent is Init for a witness whose Ed25519 key is in an ssh-agent.
func InitWithAgent(dir, headFile, name string, agent Agent, now time.Time) (*Folder, error) {
	return initialise(dir, headFile, name, &agent, now)
}

func initialise(dir, headFile, name string, agent *Agent, now time.Time) (*Folder, error) {
	if err := checkpoint.ValidOrigin(name); err != nil {
		return nil, fmt.Errorf("the witness's name: %w", err)
	}
	f, err := newFolder(dir, headFile, name, now)
	if err != nil {
		return nil, err
	}
	// Asked before anything is made: it is what most likely fails.
	if f.keys, err = newKeys(name, agent); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.keyDir(), 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.evidenceDir(), 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(atomicfile.SyncDir(filepath.Dir(f.Dir)), atomicfile.SyncDir(f.Dir)); err != nil {
		return nil, err
	}
	if err := f.writeKeys(); err != nil {
		return nil, err
	}
	if err := state.Init(f.stateDir(), f.Head, name); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(description{format, name, f.Head, f.Created.Format(time.RFC3339)}, "", "  ")
	if err != nil {
		return nil, err
	}
	return f, atomicfile.Write(f.descriptionFile(), append(b, '\n'), 0o600)
}

// newFolder says where everything will be, and refuses what may be another witness's.
func newFolder(dir, headFile, name string, now time.Time) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if headFile == "" {
		headFile = dir + ".head"
		// Beside a folder that is made with what leads to it. A folder that somebody names is not made: it may
		// be a disk that is not mounted.
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return nil, err
		}
	}
	if headFile, err = filepath.Abs(headFile); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(dir, headFile); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return nil, fmt.Errorf("the head file %s must lie outside of the data folder: a restore of the folder would take it along", headFile)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: a witness is made in a new folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if info, err := os.Stat(filepath.Dir(headFile)); err != nil {
		return nil, fmt.Errorf("the head file's folder: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("the head file's folder %s is not a directory", filepath.Dir(headFile))
	}
	if _, err := os.Lstat(headFile); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s exists: it may be the head of another witness; name another file, or move it away if you know that its witness is retired", headFile)
	}
	return &Folder{Dir: dir, Name: name, Head: headFile, Created: now.UTC().Truncate(time.Second)}, nil
}

// Open reads a folder that Init made, and its keys.
func Open(dir string) (*Folder, error) {
	f, err := describe(dir)
	if err != nil {
		return nil, err
	}
	if f.keys, err = f.readKeys(); err != nil {
		return nil, err
	}
	return f, nil
}

// describe is Open without the keys.
func describe(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir}
	b, err := os.ReadFile(f.descriptionFile())
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(f.keyDir()); err == nil {
			return nil, fmt.Errorf("%s is a witness whose init did not finish: remove it and its head file, and run init again. "+
				"If it is one that has signed, and witness.json was lost, put back the newest copy of that file", dir)
		}
		return nil, fmt.Errorf("there is no witness in %s: make one with 'pausewitness init --data %s --name NAME'", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	if err := f.parseDescription(b); err != nil {
		return nil, fmt.Errorf("%s: %w", f.descriptionFile(), err)
	}
	return f, nil
}

func (f *Folder) parseDescription(b []byte) error {
	var d description
	if err := decodeOne(b, &d); err != nil {
		return err
	}
	if d.Format != format {
		return fmt.Errorf("format %q, this program knows %q", d.Format, format)
	}
	if err := checkpoint.ValidOrigin(d.Name); err != nil {
		return fmt.Errorf("the witness's name: %w", err)
	}
	if !filepath.IsAbs(d.Head) {
		return fmt.Errorf("the head file %q is not an absolute path", d.Head)
	}
	created, err := time.Parse(time.RFC3339, d.Created)
	if err != nil {
		return err
	}
	f.Name, f.Head, f.Created = d.Name, d.Head, created.UTC()
	return nil
}

// decodeOne decodes one JSON object without unknown fields and with nothing behind it.
func decodeOne(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("expected one object, found more behind it")
	}
	return nil
}

// checkOwner reports that another user's process would make files in the folder: the witness, which
// runs as the folder's owner, could not open them at its next start.
func (f *Folder) checkOwner() error {
	info, err := os.Stat(f.Dir)
	if err != nil {
		return err
	}
	owner, user := info.Sys().(*syscall.Stat_t).Uid, os.Geteuid()
	if int(owner) != user {
		return fmt.Errorf("%s belongs to user %d, and this is user %d, whose files the witness could not open: "+
			"run it as that user, for example with 'sudo -u \\#%d'", f.Dir, owner, user, owner)
	}
	return nil
}

// openState opens the state under its lock.
func (f *Folder) openState(fatal func(error)) (*state.State, error) {
	if err := f.checkOwner(); err != nil {
		return nil, err
	}
	return state.Open(f.stateDir(), f.Head, f.Name, fatal)
}
