// Package datafolder lays out a log's data folder:
//
//	log.json       what this log is: its origin, and where its second head is
//	keys/          its keys, one a file: ed25519.key, mldsa44.key, and later ones
//	keys/retired/  those that sign no more
//	db/            the store (package log/store)
//	tokens.json    who may submit what (package internal/token)
//	starts         how often the log was started
//	scrub          how far the store was compared with what was signed, and what was found
//	snapshot/      the store as it was, while it is being backed up
//	control        a socket for the operator's commands, while the log runs
//
// The second head lies outside of the folder, by default beside it, so that no restore of
// the folder takes it along.
package datafolder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
)

const format = "pauselog-data/v1"

// A Folder is the data folder of one log.
type Folder struct {
	Dir     string
	Origin  string
	Head    string // the head file's path
	Signers []*checkpoint.SignerKey
	Retired []*checkpoint.VerifierKey // keys that signed before and sign no more
}

// description is the content of log.json.
type description struct {
	Format  string `json:"format"`
	Origin  string `json:"origin"`
	Head    string `json:"head"`
	Created string `json:"created"`
}

// StoreDir is where the store is.
func (f *Folder) StoreDir() string { return filepath.Join(f.Dir, "db") }

// StartsFile is where the starts of the log are counted.
func (f *Folder) StartsFile() string { return filepath.Join(f.Dir, "starts") }

// ScrubFile is where the log notes how far it has compared its store with what was signed.
func (f *Folder) ScrubFile() string { return filepath.Join(f.Dir, "scrub") }

// SnapshotDir is where the log puts a snapshot of its store for a backup, and where nothing is otherwise.
func (f *Folder) SnapshotDir() string { return filepath.Join(f.Dir, "snapshot") }

// TokenFile is where the tokens are.
func (f *Folder) TokenFile() string { return filepath.Join(f.Dir, "tokens.json") }

// Init makes a new log: its keys, an empty store, the second head, and the folder's
// description, in this order, each synced. A crash on the way leaves a folder without
// a description, which Open refuses and in which nothing was signed but the empty tree.
func Init(dir, origin, headFile string, now time.Time) (*Folder, error) {
	if err := checkpoint.ValidOrigin(origin); err != nil {
		return nil, err
	}
	var err error
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if headFile == "" {
		headFile = dir + ".head"
	}
	if headFile, err = filepath.Abs(headFile); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(dir, headFile); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return nil, fmt.Errorf("the head file %s must lie outside of the data folder: a restore of the folder would take it along", headFile)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: a log is made in a new folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if _, err := os.Lstat(headFile); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s exists: it may be the head of another log; name another file, or move it away if you know that its log is gone", headFile)
	}
	f := &Folder{Dir: dir, Origin: origin, Head: headFile}
	if err := os.MkdirAll(f.keyDir(), 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	for _, a := range []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.MLDSA44} {
		key, err := checkpoint.GenerateSigner(a, origin, nil)
		if err != nil {
			return nil, err
		}
		if err := writeKey(filepath.Join(f.keyDir(), keyWord(a)+keyExtension), key); err != nil {
			return nil, err
		}
		f.Signers = append(f.Signers, key)
	}
	state, h, err := sequencer.Init(origin, f.Signers, now)
	if err != nil {
		return nil, err
	}
	if err := store.Create(f.StoreDir(), store.Options{}, state); err != nil {
		return nil, err
	}
	if err := head.Create(headFile, h); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(description{format, origin, headFile, now.UTC().Format(time.RFC3339)}, "", "  ")
	if err != nil {
		return nil, err
	}
	return f, atomicfile.Write(filepath.Join(dir, "log.json"), append(b, '\n'), 0o600)
}

// Open reads a folder that Init made.
func Open(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "log.json")
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
			return nil, fmt.Errorf("%s is a log whose init did not finish: remove it and its head file, and run init again", dir)
		}
		return nil, fmt.Errorf("there is no log in %s: make one with 'pauselogd init --data %s --origin NAME'", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	var d description
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s: there is more than one object in it", name)
	}
	if d.Format != format {
		return nil, fmt.Errorf("%s: format %q, this program knows %q", name, d.Format, format)
	}
	if err := checkpoint.ValidOrigin(d.Origin); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !filepath.IsAbs(d.Head) {
		return nil, fmt.Errorf("%s: the head file %q is not an absolute path", name, d.Head)
	}
	f := &Folder{Dir: dir, Origin: d.Origin, Head: d.Head}
	if err := f.takeKeys(); err != nil {
		return nil, err
	}
	return f, nil
}

// Policy returns the policy that trusts this log alone and asks for no witnesses. url
// may be empty.
func (f *Folder) Policy(url string) (*checkpoint.Policy, error) {
	var logs []checkpoint.PolicyLog
	for _, k := range f.Signers {
		logs = append(logs, checkpoint.PolicyLog{Key: k.Verifier(), URL: url})
	}
	return checkpoint.NewPolicy(logs...)
}
