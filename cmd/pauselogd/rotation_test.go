package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The procedures of the manual on keys, with witnesses and the real programs.

// bundleOf writes a file that was logged, and its newest bundle, and returns their names.
func (n *network) bundleOf(number int) (name, bundle string) {
	n.t.Helper()
	path, content := file(number)
	name = filepath.Join(n.t.TempDir(), filepath.Base(path))
	write(n.t, name, content)
	text, err := fetch(n.t.Context(), "http://"+n.http+"/proof/"+path+".tlog-proof")
	if err != nil {
		n.t.Fatal(err)
	}
	write(n.t, name+".proof", text)
	return name, name + ".proof"
}

// verifies has pauselog verify a file offline under a policy.
func (n *network) verifies(what, policy string, number int, name, bundle string, want bool) {
	n.t.Helper()
	path, _ := file(number)
	code, stdout, stderr := tryProgram(n.t, "pauselog", "verify", "--policy", policy, "--path", path, "--proof", bundle, "--offline", name)
	if (code == 0) != want {
		n.t.Errorf("%s: exit code %d, want success: %v\n%s%s", what, code, want, stdout, stderr)
	}
}

// keepPolicy copies the policy of now.
func (n *network) keepPolicy() string {
	n.t.Helper()
	b, err := os.ReadFile(n.policy)
	if err != nil {
		n.t.Fatal(err)
	}
	name := filepath.Join(n.t.TempDir(), "policy")
	write(n.t, name, string(b))
	return name
}

const twoOfThree = "group quorum 2 w0 w1 w2"

func TestKeyRotationWithWitnesses(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.startAll()
	n.publish(0, 3)
	name, bundle := n.bundleOf(1)
	before := n.keepPolicy()

	old := slices.Clone(n.vkeys)
	var added []string
	for _, typ := range []string{"ed25519", "mldsa44"} {
		added = append(added, strings.TrimSpace(runProgram(t, "pauselogd", "key", "add", "--data", n.data, "--type", typ)))
	}
	n.log.stop(t)
	n.startLog() // all keys sign; the policy has the old ones still
	n.publish(3, 4)
	for _, w := range n.witnesses {
		if code, _, stderr := tryProgram(t, "pausewitness", "log", "add", "--data", w.data, "--vkey", added[0], "--vkey", added[1]); code != exitError || !strings.Contains(stderr, "--add-key") {
			t.Errorf("a key that nobody announced: exit code %d\n%s", code, stderr)
		}
		runProgram(t, "pausewitness", "log", "add", "--data", w.data, "--vkey", added[0], "--vkey", added[1], "--add-key")
	}
	n.writePolicy(append(slices.Clone(old), added...), twoOfThree, n.witnesses...)
	both := n.keepPolicy()
	n.writePolicy(added, twoOfThree, n.witnesses...)
	onlyNew := n.keepPolicy()
	write(t, n.policy, read(t, both))
	n.log.stop(t)
	n.startLog()
	n.publish(4, 6)
	overlapName, overlap := n.bundleOf(5)

	for _, k := range old {
		runProgram(t, "pauselogd", "key", "retire", "--data", n.data, "--id", strings.Split(k, "+")[1])
	}
	n.log.stop(t)
	n.startLog()
	n.publish(6, 8)
	newName, newer := n.bundleOf(7)
	againName, again := n.bundleOf(1)

	n.verifies("from before, under the new policy that lists both", both, 1, name, bundle, true)
	n.verifies("from before, under the policy of before", before, 1, name, bundle, true)
	n.verifies("from before, under the new keys alone", onlyNew, 1, name, bundle, false)
	for _, policy := range []string{before, both, onlyNew} {
		n.verifies("of the overlap", policy, 5, overlapName, overlap, true)
	}
	n.verifies("by the new keys", both, 7, newName, newer, true)
	n.verifies("by the new keys", onlyNew, 7, newName, newer, true)
	n.verifies("by the new keys", before, 7, newName, newer, false)
	n.verifies("an old entry by the new keys", onlyNew, 1, againName, again, true)
	n.noneSetAside()
	// Every witness follows, not only a quorum.
	for _, w := range n.witnesses {
		n.awaitMetric(`pauselog_witness_size{witness="`+w.name+`"}`, 8)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// One of three witnesses goes on with new keys: as a new witness beside the old one, until the policy has
// both in one group.
func TestWitnessReplaced(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.startAll()
	n.publish(0, 2)
	// A bundle that needs the witness that goes.
	n.witnesses[1].process.stop(t)
	n.publish(2, 3)
	name, bundle := n.bundleOf(2)
	before := n.keepPolicy()
	n.witnesses[1].start(t)

	// The new one cosigns before anybody trusts it: it is asked, and counts in no quorum.
	old, next := n.witnesses[2], newWitnessProgram(t, "w2.example/new", n.vkeys)
	next.start(t)
	n.writePolicy(n.vkeys, twoOfThree, append(slices.Clone(n.witnesses), next)...)
	n.log.stop(t)
	n.startLog()
	n.publish(3, 5)
	for _, w := range []*witnessProgram{old, next} {
		n.awaitMetric(`pauselog_witness_size{witness="`+w.name+`"}`, 5)
	}
	seen := func(w *witnessProgram) string {
		text, err := fetch(t.Context(), witnessCheckpoint(w))
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ = strings.Cut(text, "\n\n")
		return text
	}
	if seen(old) != seen(next) {
		t.Errorf("the old witness has seen\n%s\nand the new one\n%s", seen(old), seen(next))
	}

	// The old keys stay, without a URL.
	n.writePolicy(n.vkeys, "group either any w2 w3\ngroup quorum 2 w0 w1 either", append(slices.Clone(n.witnesses), next)...)
	write(t, n.policy, strings.ReplaceAll(read(t, n.policy), " http://"+old.address+"\n", "\n"))
	replaced := n.keepPolicy()
	n.log.stop(t)
	n.startLog()
	runProgram(t, "pausewitness", "log", "disable", "--data", old.data, "--origin", testOrigin)
	old.process.stop(t)
	// One that needs the new witness.
	n.witnesses[0].process.stop(t)
	n.publish(5, 7)
	newName, newer := n.bundleOf(6)

	n.verifies("from before, under the new policy", replaced, 2, name, bundle, true)
	n.verifies("by the new witness, under the new policy", replaced, 6, newName, newer, true)
	n.verifies("by the new witness, under the policy of before", before, 6, newName, newer, false)
	n.writePolicy(n.vkeys, twoOfThree, n.witnesses[0], n.witnesses[1], next)
	n.verifies("from before, where the old keys are forgotten", n.policy, 2, name, bundle, false)

	// Old and new count once.
	write(t, n.policy, strings.ReplaceAll(read(t, replaced), "group quorum 2 w0 w1 either", "group quorum 2 either w0"))
	n.verifies("one operator, with another that did not sign", n.policy, 6, newName, newer, false)
	n.witnesses[0].start(t)
	n.publish(7, 8)
	for _, w := range []*witnessProgram{n.witnesses[0], n.witnesses[1], next} {
		n.awaitMetric(`pauselog_witness_size{witness="`+w.name+`"}`, 8)
	}
}
