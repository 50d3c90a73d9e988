package verify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
)

// The words of each finding. Whoever reads them has a file in front of them that was stopped, and
// most likely nothing bad has happened: so the innocent causes come first, each with a way
// to find out, and what is bad is called so only at the end. No sentence begins with a capital
// or ends in a period, and none says that something is harmless, or tampered with.

// Whom to tell, when it comes to that.
const (
	tellSecurity = "if it stays so, tell the CPAN Security Group (https://security.metacpan.org)"
	tellOperator = "tell the log's operator and the CPAN Security Group (https://security.metacpan.org)"
)

// verified is the one outcome that needs no advice.
func (v *verification) verified() finding {
	f := finding{
		outcome: Verified,
		message: fmt.Sprintf("%s is logged as entry %d of %s, and the same for everyone", v.file.Path, v.main.bundle.Index, v.main.opened.Origin),
	}
	f.expected = describe(v.SHA256, v.Size)
	f.found = f.expected
	if v.Policy.QuorumNone() {
		// Without a witness nobody has compared what different readers are shown.
		f.message = fmt.Sprintf("%s is logged as entry %d of %s", v.file.Path, v.main.bundle.Index, v.main.opened.Origin)
		v.note("the policy needs no witness, so that everyone is shown the same log is the word of the log alone")
	}
	return f
}

// absent is about there being no bundle.
func (v *verification) absent() finding {
	f := finding{expected: "a proof that " + v.subject() + " is logged", found: plain(v.AbsenceDetail)}
	switch v.Absence {
	case SaidNotLogged:
		f.outcome = NotLogged
		f.message = v.subject() + " is not logged, says the log"
		f.causes = []string{
			"the path is not spelled as on CPAN: case matters",
			"it was published before the log began, and is not backfilled yet",
			"it is so new that PAUSE has not submitted it yet",
			"it never was on PAUSE under this path",
		}
		if ok, why := entry.IsUpload(v.Path); entry.Author(v.Path) != "" && !ok {
			f.causes = append([]string{"files like this are never logged: " + why}, f.causes...)
		}
		f.next = []string{v.lookup(), "compare the path with https://www.cpan.org/ or https://metacpan.org/"}
		if f.found == "" {
			f.found = "no entry"
		}
	case SaidPending:
		f.outcome = Pending
		f.message = v.subject() + " is logged, but newer than the newest published checkpoint"
		f.causes = []string{
			"it was published a moment ago",
			"the log is waiting for its witnesses",
		}
		f.next = []string{"try again in a minute, or verify with --wait"}
		if f.found == "" {
			f.found = "an entry that no published checkpoint covers"
		}
	default:
		f.outcome = Unverifiable
		f.message = "there is no proof to be had for " + v.subject() + ": nothing is known to be wrong with it, and nothing to be right"
		f.causes = []string{
			"this machine is offline, or the log cannot be reached from it",
			"the mirror does not carry proofs, or not yet this one",
			"it is not logged",
			"somebody withholds the proof",
		}
		f.next = []string{"when there is a connection: " + v.lookup(), "try another mirror, or put the file's bundle beside it as FILE" + proof.Extension}
		if f.found == "" {
			f.found = "none"
		}
	}
	return f
}

// badProof is about a bundle that is malformed or proves nothing.
func (v *verification) badProof() finding {
	c := v.main
	f := finding{outcome: InvalidProof, found: c.err.Error()}
	damaged := "the bundle was damaged on the way: one changed bit is enough"
	madeUp := "somebody made it up"
	f.next = []string{"get the bundle again, from another mirror or from the log: " + v.lookup(), "without a bundle that verifies, treat the file as one that has none"}
	switch c.failed {
	case checkBundle:
		f.message = "the proof bundle cannot be read, so it proves nothing"
		f.expected = "a text that begins with " + proof.Header
		f.causes = []string{"its download was cut short", "another file, or a web page with an error, was saved in its place", damaged}
		if errors.Is(c.err, proof.ErrVersion) {
			f.message = "the proof bundle is of a later version than this program reads, so it proves nothing here"
			f.causes = []string{"this program is older than the one that made the bundle"}
			f.next = []string{"update this program", "or get the bundle in the older form: " + v.lookup()}
		}
	case checkCheckpoint:
		f.message = "the bundle's checkpoint is not one that the policy's log signed, so the bundle proves nothing"
		f.expected = "a checkpoint with a valid signature of " + v.logs()
		f.causes = []string{damaged, madeUp}
		if errors.Is(c.err, checkpoint.ErrUnknownLog) {
			f.causes = []string{"the bundle is of another log", "the policy is older than the log's present key", madeUp}
			f.next = append(f.next, "compare the policy with the one that the log's operator publishes")
		}
	case checkInclusion:
		f.message = "the bundle does not prove that its entry is in the log"
		f.expected = fmt.Sprintf("hashes that lead from entry %d to root %v", c.bundle.Index, c.opened.Root)
		f.causes = []string{damaged, "it was put together from parts of two proofs", madeUp}
	case checkEntry:
		f.message = fmt.Sprintf("entry %d of %s is in the log and is no entry that can be read", c.bundle.Index, c.opened.Origin)
		f.expected = "an entry of " + entry.Version
		f.causes = []string{"the log has a fault: it should never have taken this", "this program has one"}
		f.next = append(f.next, "tell the log's operator, with the bundle")
	}
	return f
}

func (v *verification) otherPath(e *entry.Entry) finding {
	return finding{
		outcome:  InvalidProof,
		message:  "the bundle is of another path, so it proves nothing about this one",
		expected: v.Path,
		found:    e.Path,
		causes:   []string{"the file or the bundle was renamed, or saved beside the wrong one", "a mirror mixes up its files", "somebody passes one file off as another"},
		next:     []string{"get the bundle of this path: " + v.lookup(), "if you know the file to be " + e.Path + ", verify it with --path " + shell(e.Path)},
	}
}

func (v *verification) otherKind(e *entry.Entry, want entry.Kind) finding {
	return finding{
		outcome:  InvalidProof,
		message:  fmt.Sprintf("the bundle proves that the log has a %s entry of this path, which does not make a file verify", e.Kind),
		expected: fmt.Sprintf("an entry of kind %s", want),
		found:    fmt.Sprintf("entry %d, of kind %s", v.main.bundle.Index, e.Kind),
		causes:   []string{"the bundle of another entry of this path was taken", "there is no other: the file was deleted or refused"},
		next:     []string{v.lookup()},
	}
}

func (v *verification) quorumUnmet() finding {
	var all, signed []string
	for _, w := range v.Policy.Witnesses() {
		all = append(all, w.Name)
	}
	for _, c := range v.main.opened.Cosignatures {
		signed = append(signed, c.Witness)
	}
	return finding{
		outcome:  PolicyUnmet,
		message:  "the proof is the log's, but too few witnesses of the policy have signed its checkpoint",
		expected: "cosignatures that make the policy's quorum, of the witnesses " + list(all),
		found:    "cosignatures of " + list(signed),
		causes: []string{
			"the bundle is older than the policy, which has got new witnesses since",
			"signature lines were left out on the way, for instance those of ML-DSA keys",
			"the policy is older than the log's present witnesses",
			"the witnesses have not seen the tree that you are shown",
		},
		next: []string{
			"get a newer bundle, with all signature lines: " + v.lookup(),
			"compare the policy with the one that the log's operator publishes",
			tellSecurity,
		},
	}
}

func (v *verification) newerEntry() finding {
	c := v.main
	return finding{
		outcome:  Upgrade,
		message:  fmt.Sprintf("entry %d is in the log, and its format is newer than this program", c.bundle.Index),
		expected: "an entry of " + entry.Version + " and of a known kind",
		found:    c.err.Error(),
		causes:   []string{"this program is older than the entry"},
		next:     []string{"update this program, and verify again"},
	}
}

func (v *verification) otherBytes(e *entry.Entry) finding {
	f := finding{
		outcome:  Mismatch,
		message:  v.file.Path + " is logged with other bytes than these",
		expected: describe(e.SHA256, e.Size),
		found:    describe(v.SHA256, v.Size),
		causes: []string{
			"the file was saved under another file's name",
			"the mirror has a damaged copy, or a proxy changed it",
		},
		next: []string{
			"do not use this copy; download it again, from another mirror",
			v.lookup(),
			tellSecurity,
		},
	}
	first := ""
	switch {
	case v.Size < e.Size:
		first = fmt.Sprintf("the download was cut short: it has %d bytes of %d", v.Size, e.Size)
	case e.Kind == entry.Index:
		first = "the mirror got a newer index, or a newer proof, between the two downloads"
	case v.Size > e.Size:
		first = "the file was unpacked or changed after the download"
	}
	if first != "" {
		f.causes = append([]string{first}, f.causes...)
	}
	f.causes = append(f.causes, "somebody replaced the file")
	return f
}

func (v *verification) voided(c *claim) finding {
	found := fmt.Sprintf("entry %d of %s, which voids entry %d", c.bundle.Index, c.entry.Time, c.entry.Index)
	return finding{
		outcome:  Revoked,
		message:  c.entry.Path + " with these bytes was revoked by the log's operator",
		expected: "no void of this path and digest",
		found:    found,
		causes: []string{
			"it was logged by mistake, and the right file is logged under this path since",
			"these bytes never should have been on PAUSE",
		},
		next: []string{"do not use this copy", v.lookup(), "ask the log's operator why"},
	}
}

func (v *verification) oldCheckpoint() finding {
	f := finding{
		outcome:  Stale,
		message:  "the proof's checkpoint is not known to be as young as the limit",
		expected: fmt.Sprintf("signatures of the quorum at most %v old, and at most %v ahead", v.MaxAge, seconds(checkpoint.FutureTolerance)),
		found:    "signatures " + v.signedWhen(),
		causes: []string{
			"the bundle was made when the file was new, and kept since",
			"the mirror lags",
			"this machine's clock is wrong",
			"somebody holds newer checkpoints back",
		},
		next: []string{"get a new bundle: " + v.lookup(), "or set a longer --max-age"},
	}
	if v.Policy.QuorumNone() {
		f.expected = fmt.Sprintf("a signature of the log with a time at most %v old", v.MaxAge)
		f.causes = append([]string{"the bundle has no signature line with a time: the log's Ed25519 signatures carry none, its ML-DSA ones do"}, f.causes...)
	}
	return f
}

func (v *verification) oldIndex(age int64) finding {
	f := finding{
		outcome:  Stale,
		message:  "this index is older than the limit",
		expected: fmt.Sprintf("an index dated at most %v ago", v.MaxIndexAge),
		found:    fmt.Sprintf("one dated %s, %s ago", v.file.Time, seconds(age)),
		causes: []string{
			"the mirror lags",
			"PAUSE has not made a new index",
			"this machine's clock is wrong",
			"somebody holds newer indexes back, to hide a release",
		},
		next: []string{"download it again, from another mirror", v.lookup(), "or set a longer --max-index-age"},
	}
	if age < 0 {
		f.message = "this index is dated in the future"
		f.found = fmt.Sprintf("one dated %s, %s ahead", v.file.Time, seconds(-age))
		f.causes = []string{"this machine's clock is wrong", "PAUSE's clock was"}
		f.next = []string{"set this machine's clock", v.lookup()}
	}
	return f
}

// A log that contradicts itself is most often badly run, and the evidence is the same.
var misbehaviourCauses = []string{
	"the policy or the remembered checkpoints are of a test log that was set up anew with its old key",
	"the log was restored from a backup, or ran twice, against its own rules",
	"the log's key is in other hands, or its operator shows different logs to different people",
}

var misbehaviourNext = []string{
	"keep the evidence: it convinces everyone who has the log's key, whoever shows it",
	"do not install what this log alone vouches for",
	"pauselog audit",
	tellOperator,
}

func (v *verification) twoRoots(e *Evidence, earlier, later *statement) finding {
	return finding{
		outcome:  Misbehaviour,
		message:  fmt.Sprintf("%s signed two different trees of size %d", e.Origin(), later.checkpoint.Size),
		expected: fmt.Sprintf("root %v, in %s", earlier.checkpoint.Root, earlier.source),
		found:    fmt.Sprintf("root %v, in %s", later.checkpoint.Root, later.source),
		causes:   slices.Clone(misbehaviourCauses),
		next:     slices.Clone(misbehaviourNext),
	}
}

func (v *verification) twoEntries(e *Evidence) finding {
	return finding{
		outcome:  Misbehaviour,
		message:  fmt.Sprintf("%s signed two trees that have different entries at index %d", e.Origin(), e.first.bundle.Index),
		expected: fmt.Sprintf("one entry %d in all of its trees", e.first.bundle.Index),
		found:    fmt.Sprintf("two, in its trees of size %d and %d", e.first.checkpoint.Size, e.second.checkpoint.Size),
		causes:   slices.Clone(misbehaviourCauses),
		next:     slices.Clone(misbehaviourNext),
	}
}

// noPath is the answer for a file of which nobody said what it should be. To take the bundle's
// word would let every logged file pass for every other.
func (v *verification) noPath() finding {
	f := finding{
		outcome:  Usage,
		message:  "the path of the file on CPAN was not given",
		expected: "--path or --root, or --any-path to accept what the bundle says",
		found:    "a file without a path",
		next:     []string{"say which file this should be, with --path authors/id/..."},
	}
	if v.result.Path != "" {
		f.message = "the path of the file on CPAN was not given; the bundle proves an entry of " + v.result.Path
		f.found = "a bundle of " + v.result.Path
		f.next = []string{"if that is the file that you asked for, verify it with --path " + shell(v.result.Path)}
	}
	return f
}

func (v *verification) badPath(err error) finding {
	return finding{
		outcome:  Usage,
		message:  "no file of this path can be logged",
		expected: "a path like authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz or modules/02packages.details.txt.gz",
		found:    err.Error(),
		causes:   []string{"the path is not relative to the CPAN root", "it has a typing error"},
		next:     []string{"give the path as it is below the CPAN root"},
	}
}

// subject is what the sentences are about.
func (v *verification) subject() string {
	if v.Path == "" {
		return "the file"
	}
	return plain(v.Path)
}

// lookup is the command that shows what the log has.
func (v *verification) lookup() string {
	if path := v.result.Path; path != "" {
		return "pauselog lookup --path " + shell(plain(path))
	}
	return "pauselog lookup --sha256 " + v.SHA256.String()
}

// logs names the policy's logs.
func (v *verification) logs() string {
	var names []string
	for _, l := range v.Policy.Logs() {
		if !slices.Contains(names, l.Key.Name()) {
			names = append(names, l.Key.Name())
		}
	}
	return list(names)
}

// signedWhen says when the bundle's checkpoint was signed by those whose times are known.
func (v *verification) signedWhen() string {
	var times []uint64
	for _, t := range v.main.opened.LogTimes {
		if t != 0 && v.Policy.QuorumNone() {
			times = append(times, t)
		}
	}
	if !v.Policy.QuorumNone() {
		for _, c := range v.main.opened.Cosignatures {
			times = append(times, c.Time)
		}
	}
	if len(times) == 0 {
		return "without a time"
	}
	var words []string
	for _, t := range times {
		words = append(words, when(t))
	}
	return "of " + list(words)
}
