package witnessd

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/state"
)

// A Status is what a witness is and knows, for its operator.
type Status struct {
	Name    string    `json:"name"`
	Data    string    `json:"data"`
	Head    string    `json:"head"`
	Created time.Time `json:"created"`
	Running bool      `json:"running"`

	// Problem is why nothing can be cosigned, apart from the clock: the state is refused or broken.
	Problem string `json:"problem,omitempty"`
	// Clock is why nothing can be cosigned with this clock; "" if nothing is wrong with it.
	Clock string `json:"clock,omitempty"`
	// Last is the latest time that was signed or accepted; the zero time if there is none.
	Last time.Time `json:"last,omitzero"`

	Keys       []KeyStatus `json:"keys"`
	BastionKey string      `json:"bastion_key"` // its hash, the witness's name at a bastion
	Logs       []LogStatus `json:"logs"`
}

// A KeyStatus is about one of the witness's keys.
type KeyStatus struct {
	Type string `json:"type"` // ed25519 or mldsa44
	VKey string `json:"vkey"`
	// Agent is the socket of the ssh-agent that has the key; "" if it is in a file.
	Agent string `json:"agent,omitempty"`
}

// A LogStatus is about one log.
type LogStatus struct {
	Origin   string    `json:"origin"`
	Hash     string    `json:"hash"` // the log's name in URLs of the witness
	Keys     []string  `json:"keys"`
	Retired  []string  `json:"retired,omitempty"` // names and ids of keys that count no more
	Disabled bool      `json:"disabled"`
	QPD      uint64    `json:"qpd,omitempty"`
	Contact  string    `json:"contact,omitempty"`
	Size     uint64    `json:"size"`
	Root     string    `json:"root"`
	Cosigned time.Time `json:"cosigned,omitzero"` // the zero time if never

	// Contradictions are the files of evidence against the log, Unproven those of checkpoints that came
	// with a wrong proof.
	Contradictions int `json:"contradictions"`
	Unproven       int `json:"unproven"`
}

// Status returns the status of the witness that runs, or of the folder if none does. What is wrong
// with the state is part of it and no error.
func (f *Folder) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	if err := f.ask(ctx, http.MethodGet, "/status", nil, s); !nobody(err) {
		return s, err
	}
	return f.statusOnDisk(witness.SystemClock())
}

func (f *Folder) statusOnDisk(clock witness.Clock) (*Status, error) {
	s := f.statusWithoutState()
	st, end, err := f.look()
	switch {
	case errors.Is(err, head.ErrLocked):
		// A witness that starts or ends, or a command: what can be read without the lock.
		s.Running = true
	case err != nil:
		s.Problem = err.Error()
	default:
		defer end()
		s.takeState(st)
		s.Clock = clockProblem(st, clock)
		return s, s.countEvidence(f.evidenceDir())
	}
	// A record that cannot be read is part of the problem that is known.
	logs, err := state.Inspect(f.stateDir())
	if err != nil && s.Problem == "" {
		s.Problem = err.Error()
	}
	s.takeLogs(logs)
	return s, s.countEvidence(f.evidenceDir())
}

func (f *Folder) statusWithoutState() *Status {
	s := &Status{Name: f.Name, Data: f.Dir, Head: f.Head, Created: f.Created, BastionKey: keyHash(f.keys.bastion), Logs: []LogStatus{}}
	for i, v := range f.Verifiers() {
		k := KeyStatus{Type: "ed25519", VKey: v.String()}
		if v.Algorithm() == checkpoint.MLDSA44 {
			k.Type = "mldsa44"
		}
		if i == 0 && f.keys.ed25519 == nil {
			k.Agent = f.keys.agent.socket
		}
		s.Keys = append(s.Keys, k)
	}
	return s
}

func (s *Status) takeState(st *state.State) {
	if floor := st.Floor(); floor > 0 {
		s.Last = time.Unix(int64(floor), 0).UTC()
	}
	s.takeLogs(st.Logs())
}

func (s *Status) takeLogs(logs []state.Log) {
	for _, l := range logs {
		out := LogStatus{Origin: l.Origin, Hash: l.Hash(), Retired: l.Retired, Disabled: l.Disabled, QPD: l.QPD, Contact: l.Contact, Size: l.Size, Root: l.Root.String()}
		if l.Time > 0 {
			out.Cosigned = time.Unix(int64(l.Time), 0).UTC()
		}
		for _, k := range l.Keys {
			out.Keys = append(out.Keys, k.String())
		}
		s.Logs = append(s.Logs, out)
	}
}

// countEvidence counts the files of evidence, which package witness names by the origin hash.
func (s *Status) countEvidence(dir string) error {
	files, err := evidenceFiles(dir)
	if err != nil {
		return err
	}
	at := make(map[string]*LogStatus, len(s.Logs))
	for i := range s.Logs {
		at[s.Logs[i].Hash] = &s.Logs[i]
	}
	for _, file := range files {
		switch l := at[file.originHash]; {
		case l == nil:
		case file.contradiction:
			l.Contradictions++
		default:
			l.Unproven++
		}
	}
	return nil
}

// An evidenceFile is a file of evidence.
type evidenceFile struct {
	path          string
	originHash    string
	contradiction bool // and not an unproven checkpoint, which anybody can cause
}

// evidenceFiles returns the files in a folder of evidence. One that does not exist has none.
func evidenceFiles(dir string) (files []evidenceFile, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		hash, rest, ok := strings.Cut(e.Name(), "-")
		if !ok || len(hash) != 64 {
			continue
		}
		f := evidenceFile{path: filepath.Join(dir, e.Name()), originHash: hash}
		switch filepath.Ext(rest) {
		case ".evidence", ".notes":
			f.contradiction = true
		case ".unproven":
		default:
			continue
		}
		files = append(files, f)
	}
	return files, nil
}

// status is Status of the witness that runs, asked through its control socket.
func (r *running) status() *Status {
	s := r.Folder.statusWithoutState()
	s.Running = true
	s.takeState(r.state)
	if err := r.state.Err(); err != nil {
		s.Problem = err.Error()
	}
	if err := r.witness.ClockProblem(); err != nil {
		s.Clock = err.Error()
	}
	if err := s.countEvidence(r.Folder.evidenceDir()); err != nil && s.Problem == "" {
		s.Problem = err.Error()
	}
	return s
}

// clockProblem says what a witness with this state and clock would say of the clock.
func clockProblem(st *state.State, clock witness.Clock) string {
	// Any key will do: nothing is signed.
	key, err := checkpoint.GenerateSigner(checkpoint.MLDSA44, st.Name(), nil)
	var w *witness.Witness
	if err == nil {
		w, err = witness.New(witness.Config{State: st, Signers: []witness.Signer{key}, Clock: clock})
	}
	if err == nil {
		err = w.ClockProblem()
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// look opens the state as state.Open would, and changes nothing on disk: it opens a copy of the head
// file beside links to the records, of which Open writes only to the former. Meanwhile it has the
// lock; if somebody else has it, the error wraps head.ErrLocked.
func (f *Folder) look() (st *state.State, end func(), err error) {
	k, err := head.Open(f.Head)
	if errors.Is(err, head.ErrLocked) {
		return nil, nil, err
	} else if err == nil {
		defer func() { err = errors.Join(err, k.Close()) }()
	}
	// Whatever else is wrong with the head file, Open is to say it.
	dir, err := os.MkdirTemp("", "pausewitness-look-")
	if err != nil {
		return nil, nil, err
	}
	opened, err := f.openCopy(dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	return opened, func() { opened.Close(); os.RemoveAll(dir) }, nil
}

func (f *Folder) openCopy(dir string) (*state.State, error) {
	records, headFile := filepath.Join(dir, "state"), filepath.Join(dir, "head")
	b, err := os.ReadFile(f.Head)
	if err == nil {
		err = os.WriteFile(headFile, b, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := os.ReadDir(f.stateDir())
	if err == nil {
		err = os.Mkdir(records, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(f.stateDir(), e.Name()), filepath.Join(records, e.Name())); err != nil {
			return nil, err
		}
	}
	st, err := state.Open(records, headFile, f.Name, nil)
	if err != nil {
		// The operator knows nothing of the copy.
		return nil, looked{strings.NewReplacer(records, f.stateDir(), headFile, f.Head).Replace(err.Error()), err}
	}
	return st, nil
}

// looked is an error of a copy in the words of what was copied.
type looked struct {
	text string
	err  error
}

func (l looked) Error() string { return l.text }
func (l looked) Unwrap() error { return l.err }
