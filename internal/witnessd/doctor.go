package witnessd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/sshagent"
)

// A Severity says how bad a Finding is.
type Severity string

const (
	Fine    Severity = "ok"
	Warning Severity = "warning" // to be looked at; the witness works
	Wrong   Severity = "wrong"   // the witness does not work, or is in danger, or has evidence to hand on
)

// A Finding is one result of Doctor.
type Finding struct {
	Check    string   `json:"check"` // one word: folder, keys, head, state, clock, evidence, logs
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Do       string   `json:"do,omitempty"` // what to do about it
}

// A Diagnosis is what Doctor found, with the status behind it: sizes, to compare with what the logs
// say.
type Diagnosis struct {
	Findings []Finding `json:"findings"`
	Status   *Status   `json:"status,omitempty"` // nil if there is no witness
}

// Wrong reports whether anything is wrong; warnings are not.
func (d *Diagnosis) Wrong() bool {
	return slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Severity == Wrong })
}

func (d *Diagnosis) add(check string, s Severity, do, format string, args ...any) {
	d.Findings = append(d.Findings, Finding{check, s, fmt.Sprintf(format, args...), do})
}

// Retire is what remains when a witness's state is lost.
const Retire = "put back the newest copies of folder and head file. If there are none, the state is gone: retire the keys. " +
	"This witness must never sign again with these keys, because it could sign a fork; " +
	"make a new one with 'pausewitness init' in a new folder, under a new name, " +
	"and tell the operators of the logs to take the old keys out of their policies"

// Doctor looks for what is wrong with a witness and its folder, and changes nothing. It uses no network.
// Logs without a cosignature for stale are pointed out.
func Doctor(ctx context.Context, dir string, stale time.Duration, clock witness.Clock) *Diagnosis {
	d := new(Diagnosis)
	f, err := describe(dir)
	if err != nil {
		d.add("folder", Wrong, "name the right folder with --data, or put back what is missing from your newest copy", "%v", err)
		return d
	}
	d.folder(f)
	d.keys(f)
	d.head(f)
	if f.keys.mldsa44 == nil {
		// Without the keys nothing can be asked for by their names; the state can.
		s := &Status{Name: f.Name, Data: f.Dir, Head: f.Head, Created: f.Created}
		d.stateOnDisk(f, s, clock)
		return d
	}
	s, err := f.Status(ctx)
	if err != nil {
		d.add("state", Wrong, "read the witness's own log", "%v", err)
		return d
	}
	if !s.Running {
		// The same with this clock.
		if s, err = f.statusOnDisk(clock); err != nil {
			d.add("state", Wrong, "see what the system says", "%v", err)
			return d
		}
	}
	d.status(f, s, stale, clock)
	return d
}

func (d *Diagnosis) folder(f *Folder) {
	before := len(d.Findings)
	info, err := os.Stat(f.Dir)
	if err != nil {
		d.add("folder", Wrong, "see what the system says", "%v", err)
		return
	}
	if m := info.Mode().Perm(); m&0o022 != 0 {
		d.add("folder", Wrong, "run 'chmod go-w "+f.Dir+"', and think about who has been there",
			"%s can be written by others (mode %04o)", f.Dir, m)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	foreign := 0
	filepath.WalkDir(f.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read is found by who needs it
		}
		if i, err := e.Info(); err == nil && i.Sys().(*syscall.Stat_t).Uid != owner {
			foreign++
		}
		return nil
	})
	if foreign > 0 {
		d.add("folder", Wrong, fmt.Sprintf("run 'chown -R %d %s'", owner, f.Dir),
			"%d files in %s belong to another user than the folder: the witness may be unable to open them", foreign, f.Dir)
	}
	if len(d.Findings) == before {
		d.add("folder", Fine, "", "%s is of the witness %s", f.Dir, f.Name)
	}
}

func (d *Diagnosis) keys(f *Folder) {
	keys, err := f.readKeys()
	if err != nil {
		d.add("keys", Wrong, "without its keys the witness is another one: put them back from your copy, readable by their owner only", "%v", err)
		return
	}
	f.keys = keys
	if keys.ed25519 == nil {
		if _, err := sshagent.Open(keys.agent.socket, keys.agent.vkey); err != nil {
			d.add("keys", Wrong, "start the agent, and add the key with ssh-add", "%v", err)
			return
		}
	}
	d.add("keys", Fine, "", "both keys are there, and readable by their owner only")
}

func (d *Diagnosis) head(f *Folder) {
	folder, err1 := os.Stat(f.Dir)
	h, err2 := os.Stat(f.Head)
	if err := errors.Join(err1, err2); err != nil {
		return // the state is compared with it, and says more
	}
	if m := h.Mode().Perm(); m&0o022 != 0 {
		d.add("head", Wrong, "run 'chmod 600 "+f.Head+"'", "%s can be written by others (mode %04o)", f.Head, m)
		return
	}
	if folder.Sys().(*syscall.Stat_t).Dev == h.Sys().(*syscall.Stat_t).Dev {
		d.add("head", Warning, "if you can, keep it on another disk: stop the witness, move it, and change \"head\" in "+f.descriptionFile(),
			"the head file %s is on the same device as the folder: "+
				"whoever restores the device restores both, and nobody here can see it", f.Head)
		return
	}
	d.add("head", Fine, "", "the head file %s is on another device than the folder", f.Head)
}

// stateOnDisk looks at the state alone.
func (d *Diagnosis) stateOnDisk(f *Folder, s *Status, clock witness.Clock) {
	st, end, err := f.look()
	if err != nil {
		d.add("state", Wrong, Retire, "%v", err)
		return
	}
	defer end()
	s.takeState(st)
	s.Clock = clockProblem(st, clock)
	d.Status = s
	d.add("state", Fine, "", "folder and head file agree")
	d.clock(s)
}

func (d *Diagnosis) status(f *Folder, s *Status, stale time.Duration, clock witness.Clock) {
	d.Status = s
	switch {
	case s.Problem != "" && s.Running:
		d.add("state", Wrong, "look at the disk, and start the witness again: the start compares folder and head file", "%s", s.Problem)
	case s.Problem != "":
		d.add("state", Wrong, Retire, "%s", s.Problem)
	case s.Running:
		d.add("state", Fine, "", "the witness runs; it compared folder and head file when it started")
	default:
		d.add("state", Fine, "", "folder and head file agree; the witness does not run")
	}
	if s.Problem == "" || s.Running {
		d.clock(s)
	}
	d.evidence(f, s)
	d.logs(s, stale, clock.Now())
}

func (d *Diagnosis) clock(s *Status) {
	if s.Clock != "" {
		d.add("clock", Wrong, "compare this machine's clock with others. If it is wrong, put it right; "+
			"if it is right, and was wrong before, run 'pausewitness clock accept --data "+s.Data+"'",
			"nothing is cosigned: %s", s.Clock)
		return
	}
	d.add("clock", Fine, "", "the clock is not before the last time that was signed")
}

func (d *Diagnosis) evidence(f *Folder, s *Status) {
	files, err := evidenceFiles(f.evidenceDir())
	if err != nil {
		d.add("evidence", Wrong, "see what the system says", "%v", err)
		return
	}
	contradictions, unproven := 0, 0
	for _, file := range files {
		if !file.contradiction {
			unproven++
			continue
		}
		contradictions++
		d.add("evidence", Wrong, "publish the file, and tell the log's operator and the other witnesses; "+
			"it says nothing against this witness. Then move it out of the folder",
			"%s: %s", file.path, judge(file, s))
	}
	if unproven > 0 {
		d.add("evidence", Warning, "anybody can cause them with a checkpoint that was published; "+
			"compare their roots with what the log shows now, and remove them",
			"%d checkpoints with a valid signature came with a wrong proof: %s", unproven, filepath.Join(f.evidenceDir(), "*.unproven"))
	}
	if len(files) == 0 {
		d.add("evidence", Fine, "", "there is no evidence against any log")
	}
}

// judge says what a file of evidence proves.
func judge(file evidenceFile, s *Status) string {
	i := slices.IndexFunc(s.Logs, func(l LogStatus) bool { return l.Hash == file.originHash })
	if i < 0 {
		return "it is about a log that this witness does not know"
	}
	l := s.Logs[i]
	if filepath.Ext(file.path) == ".notes" {
		return fmt.Sprintf("the log %s signed checkpoints that cannot all be true; compare the notes in the file", l.Origin)
	}
	if err := checkEvidence(file.path, l); err != nil {
		return fmt.Sprintf("it is against the log %s, and cannot be checked: %v", l.Origin, err)
	}
	return fmt.Sprintf("it proves that the log %s signed two trees", l.Origin)
}

func checkEvidence(path string, l LogStatus) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	e, err := verify.ParseEvidence(b)
	if err != nil {
		return err
	}
	keys, err := parseKeys(l.Keys)
	if err != nil {
		return err
	}
	var logs []checkpoint.PolicyLog
	for _, k := range keys {
		logs = append(logs, checkpoint.PolicyLog{Key: k})
	}
	policy, err := checkpoint.NewPolicy(logs...)
	if err != nil {
		return err
	}
	return e.Check(policy)
}

func (d *Diagnosis) logs(s *Status, stale time.Duration, now time.Time) {
	var silent, disabled []string
	for _, l := range s.Logs {
		switch {
		case l.Disabled:
			disabled = append(disabled, l.Origin)
		case l.Cosigned.IsZero():
			silent = append(silent, l.Origin+" (never)")
		case now.Sub(l.Cosigned) > stale:
			silent = append(silent, l.Origin+" ("+age(now, l.Cosigned)+")")
		}
	}
	if len(silent) > 0 {
		d.add("logs", Warning, "ask their operators whether they know this witness's URL and keys, and whether they can reach it",
			"%d logs were not cosigned for %v: %s", len(silent), stale, some(silent))
	}
	if len(disabled) > 0 {
		d.add("logs", Warning, "", "%d logs are disabled: %s", len(disabled), some(disabled))
	}
	switch {
	case len(s.Logs) == 0:
		d.add("logs", Warning, "add one with 'pausewitness log add'", "the witness knows no logs")
	case len(silent)+len(disabled) == 0:
		d.add("logs", Fine, "", "all %d logs were cosigned in the last %v", len(s.Logs), stale)
	}
}

// some is the first few of a list; the table of all logs follows.
func some(names []string) string {
	const few = 10
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// age says how long ago a moment was.
func age(now, then time.Time) string {
	switch d := now.Sub(then); {
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}
