package checkpoint

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Keys for policies: %[1]s to %[6]s in the texts below.
func policyKeys(t testing.TB) []any {
	var keys []any
	for i, v := range []struct {
		alg  Algorithm
		name string
	}{
		{Ed25519, goldenOrigin}, {MLDSA44, goldenOrigin}, {Ed25519, "other.example"},
		{CosignatureV1, "w.example/1"}, {CosignatureV1, "w.example/2"}, {MLDSA44, "w.example/1"},
	} {
		keys = append(keys, signer(t, v.alg, v.name, byte(i)).Verifier().String())
	}
	return keys
}

func TestParsePolicyAccepts(t *testing.T) {
	keys := policyKeys(t)
	for _, v := range []struct{ name, text, canonical string }{
		{"quorum none", "quorum none\n", ""}, // PO-1, PO-6: no logs, no witnesses
		{"one log", "log %[1]s\nquorum none\n", ""},
		{"log with URL", "log %[1]s https://log.example/\nquorum none\n", ""},
		{"two keys of a log", "log %[1]s\nlog %[2]s\nquorum none\n", ""},
		{"two logs", "log %[1]s\nlog %[3]s\nquorum none\n", ""},
		{"witness without URL as quorum", "witness a %[4]s\nquorum a\n", ""},
		{"witness with URL", "witness a %[4]s https://w.example/\nquorum a\n", ""},
		{"witness that does not count", "witness a %[4]s\nquorum none\n", ""},
		{"group any", "witness a %[4]s\nwitness b %[5]s\ngroup g any a b\nquorum g\n", "witness a %[4]s\nwitness b %[5]s\ngroup g 1 a b\nquorum g\n"},
		{"group all", "witness a %[4]s\nwitness b %[5]s\ngroup g all a b\nquorum g\n", "witness a %[4]s\nwitness b %[5]s\ngroup g 2 a b\nquorum g\n"},
		{"group of groups", "witness a %[4]s\nwitness b %[6]s\ngroup g 1 a b\nwitness c %[5]s\ngroup h 2 g c\nquorum h\n", ""}, // PO-12
		{"quorum before other definitions", "witness a %[4]s\nquorum a\nlog %[1]s\nwitness b %[5]s\n", "log %[1]s\nwitness a %[4]s\nwitness b %[5]s\nquorum a\n"},
		{"blank lines, comments, tabs", "# a comment\n\n \t\n\t# another\n \twitness\t \ta  %[4]s\t\n  quorum a  \n", "witness a %[4]s\nquorum a\n"},
		{"a comment of any octets", "# \xff\xfe \u00a0\nquorum none\n", "quorum none\n"},
		{"names of any octets", "witness \xff\u00a0K %[4]s\nwitness \u212a %[5]s\ngroup K any \xff\u00a0K \u212a\nquorum K\n", "witness \xff\u00a0K %[4]s\nwitness \u212a %[5]s\ngroup K 1 \xff\u00a0K \u212a\nquorum K\n"}, // PO-8
		{"names that are keywords", "witness group %[4]s\nwitness #b %[5]s\ngroup any any group #b\nquorum any\n", "witness group %[4]s\nwitness #b %[5]s\ngroup any 1 group #b\nquorum any\n"},
		{"one key for a log and a witness", "log %[2]s\nwitness a %[2]s\nquorum a\n", ""}, // PO-5
	} {
		text := fmt.Sprintf(v.text+"%[7]s", append(keys, "")...)
		canonical := text
		if v.canonical != "" {
			canonical = fmt.Sprintf(v.canonical+"%[7]s", append(keys, "")...)
		}
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if p.String() != canonical {
			t.Errorf("%s: String = %q, want %q", v.name, p, canonical)
		}
		if again, err := ParsePolicy([]byte(p.String())); err != nil || again.String() != canonical {
			t.Errorf("%s: parsed again: %v, %v", v.name, again, err)
		}
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	keys := policyKeys(t)
	const ab = "witness a %[4]s\nwitness b %[5]s\n"
	for _, v := range []struct {
		name, text string
		line       int // that the error names; 0: none
		says       string
	}{
		// PO-1
		{"empty file", "", 0, "quorum"},
		{"no quorum", "witness a %[4]s\n", 0, "quorum"},
		{"two quorums", "witness a %[4]s\nquorum a\nquorum a\n", 3, "line 2"},
		{"quorum none twice", "quorum none\nquorum none\n", 2, "line 1"},
		{"quorum before its definition", "quorum a\nwitness a %[4]s\n", 1, "earlier line"},
		{"quorum of an unknown name", ab + "quorum c\n", 3, "earlier line"},
		{"quorum without a name", ab + "quorum\n", 3, "found 0 items"},
		{"quorum of two names", ab + "quorum a b\n", 3, "found 2 items"},
		{"member before its definition", "witness a %[4]s\ngroup g any a b\nwitness b %[5]s\nquorum g\n", 2, "earlier line"},
		{"group in itself", "witness a %[4]s\ngroup g any a g\nquorum g\n", 2, "earlier line"},

		// PO-2
		{"two witnesses of one name", "witness a %[4]s\nwitness a %[5]s\nquorum a\n", 2, "already defined"},
		{"witness and group of one name", "witness a %[4]s\ngroup a any a\nquorum a\n", 2, "already defined"},
		{"two groups of one name", ab + "group g any a\ngroup g any b\nquorum g\n", 4, "already defined"},
		{"none as member", "witness a %[4]s\ngroup g any a none\nquorum g\n", 2, "earlier line"},
		{"none as witness", "witness none %[4]s\nquorum none\n", 1, "predefined"},
		{"none as group", "witness a %[4]s\ngroup none any a\nquorum none\n", 2, "predefined"},

		// PO-3, PR-2
		{"group of nothing", "group g any\nquorum g\n", 1, "found 2 items"},
		{"group all of nothing", "group g all\nquorum g\n", 1, "found 2 items"},
		{"k = 0", ab + "group g 0 a b\nquorum g\n", 3, "from 1 to 2"},
		{"k over n", ab + "group g 3 a b\nquorum g\n", 3, "from 1 to 2"},
		{"k with a leading zero", ab + "group g 01 a b\nquorum g\n", 3, "from 1 to 2"},
		{"k with a sign", ab + "group g +1 a b\nquorum g\n", 3, "from 1 to 2"},
		{"k negative", ab + "group g -1 a b\nquorum g\n", 3, "from 1 to 2"},
		{"k over 64 bits", ab + "group g 18446744073709551617 a b\nquorum g\n", 3, "from 1 to 2"},
		{"k forgotten", ab + "group g a b\nquorum g\n", 3, "from 1 to 1"},
		{"ALL in capitals", ab + "group g ALL a b\nquorum g\n", 3, "from 1 to 2"},

		// PO-4
		{"member twice in a group", ab + "group g any a a\nquorum g\n", 3, "already a member"},
		{"member of two groups", ab + "group g any a\ngroup h any b a\nquorum h\n", 4, "already a member"},
		{"group in two groups", ab + "group g any a\ngroup h any g\ngroup i any b g\nquorum i\n", 5, "already a member"},

		// PO-5: the key's bytes count, not the verifier key's text.
		{"log twice", "log %[1]s\nlog %[1]s\nquorum none\n", 2, "line 1"},
		{"one log key under two names", "log %[1]s\nlog %[8]s\nquorum none\n", 2, "line 1"},
		{"witness twice", "witness a %[4]s\nwitness b %[4]s\nquorum a\n", 2, "witness \"a\""},
		{"one witness key under two names", "witness a %[4]s\nwitness b %[9]s\nquorum a\n", 2, "witness \"a\""},

		// PO-7
		{"witness of type 0x01", "witness a %[1]s\nquorum a\n", 1, "0x01"},
		{"log of type 0x04", "log %[4]s\nquorum none\n", 1, "0x04"},

		// Lines
		{"unknown word", "witnes a %[4]s\nquorum none\n", 1, "witnes"},
		{"word in capitals", "Quorum none\n", 1, "Quorum"},
		{"comment at a line's end", "quorum none # nobody\n", 1, "found 3 items"},
		{"comment after a member", ab + "group g any a b # both\nquorum g\n", 3, "earlier line"},
		{"log without a key", "log\nquorum none\n", 1, "found 0 items"},
		{"log of three items", "log %[1]s https://log.example more\nquorum none\n", 1, "found 3 items"},
		{"witness without a key", "witness a\nquorum none\n", 1, "found 1 items"},
		{"witness of four items", "witness a %[4]s https://w.example more\nquorum none\n", 1, "found 4 items"},
		{"bad verifier key", "log log.example+00000000+AAAA\nquorum none\n", 1, "invalid key"},
		{"wrong key id", "witness a w.example+00000000+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\nquorum a\n", 1, "key id"},
		{"private key", "log " + goldenLogSecret + "\nquorum none\n", 1, "private"},
		{"no newline at the end", "witness a %[4]s\nquorum a", 2, "newline"},

		// Octets; PO-8: Unicode spaces separate nothing.
		{"CRLF", "quorum none\r\n", 1, "0x0d"},
		{"CRLF after a comment", "# comment\r\nquorum none\n", 1, "0x0d"},
		{"NUL", "quorum\x00none\n", 1, "0x00"},
		{"DEL", "# \x7f\nquorum none\n", 1, "0x7f"},
		{"vertical tab", "quorum\vnone\n", 1, "0x0b"},
		{"NBSP as separator", "quorum\u00a0none\n", 1, "expected log"},
		{"NBSP before a line", "\u00a0quorum none\n", 1, "expected log"},
		{"NBSP between members", ab + "group g any a\u00a0b\nquorum g\n", 3, "earlier line"},
		{"byte order mark", "\ufeffquorum none\n", 1, "expected log"},
		{"Kelvin sign for K", "witness K %[4]s\nquorum \u212a\n", 2, "earlier line"},

		{"larger than allowed", strings.Repeat("#\n", MaxPolicySize/2) + "quorum none\n", 0, "bytes"},
	} {
		all := append(keys, "",
			signer(t, Ed25519, "renamed.example", 0).Verifier().String(),
			signer(t, CosignatureV1, "renamed.example", 3).Verifier().String(), "")
		p, err := ParsePolicy(fmt.Appendf(nil, v.text+"%[10]s", all...))
		if !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: ParsePolicy = %v, %v; want ErrPolicy", v.name, p, err)
			continue
		}
		if v.line > 0 && !strings.Contains(err.Error(), fmt.Sprintf("line %d:", v.line)) {
			t.Errorf("%s: error does not name line %d: %v", v.name, v.line, err)
		}
		if !strings.Contains(err.Error(), v.says) {
			t.Errorf("%s: error does not say %q: %v", v.name, v.says, err)
		}
	}
}

// PO-10: 32 logs, witnesses and groups; here ten times as many, of ML-DSA, and
// the groups nested in one another.
func TestLargePolicy(t *testing.T) {
	var b strings.Builder
	for i := range 320 {
		name := fmt.Sprintf("n%d.example", i)
		seed := strings.NewReader(fmt.Sprintf("%032d", i))
		k, err := GenerateSigner(MLDSA44, name, seed)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "witness w%d %s\n", i, k.Verifier())
		if i == 0 {
			b.WriteString("group g0 all w0\n")
		} else {
			fmt.Fprintf(&b, "group g%d all w%d g%d\n", i, i, i-1)
		}
	}
	b.WriteString("quorum g319\n")
	p := mustPolicy(t, b.String())
	if !p.Satisfied(func(string) bool { return true }) {
		t.Error("not satisfied by all witnesses")
	}
	if p.Satisfied(func(w string) bool { return w != "w0" }) {
		t.Error("satisfied without the innermost witness")
	}
}

// The most deeply nested file that is allowed.
func TestDeeplyNestedPolicy(t *testing.T) {
	var b strings.Builder
	b.WriteString("witness 0 " + goldenWitnessKey + "\n")
	n := 0
	for b.Len() < MaxPolicySize-100 {
		n++
		fmt.Fprintf(&b, "group %d all %d\n", n, n-1)
	}
	fmt.Fprintf(&b, "quorum %d\n", n)
	p := mustPolicy(t, b.String())
	for _, signed := range []bool{true, false} {
		if got := p.Satisfied(func(string) bool { return signed }); got != signed {
			t.Errorf("%d groups deep: Satisfied = %v, want %v", n, got, signed)
		}
	}
}

func TestNewPolicy(t *testing.T) {
	keys := policyKeys(t)
	log1, log2 := mustKey(t, keys[0].(string)), mustKey(t, keys[1].(string))
	p, err := NewPolicy(PolicyLog{Key: log1, URL: "https://log.example/"}, PolicyLog{Key: log2})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("log %s https://log.example/\nlog %s\nquorum none\n", log1, log2)
	if p.String() != want || !p.QuorumNone() || len(p.Logs()) != 2 || len(p.Witnesses()) != 0 {
		t.Errorf("NewPolicy = %q, want %q", p, want)
	}
	if !p.KnowsOrigin(goldenOrigin) || p.KnowsOrigin("other.example") {
		t.Error("KnowsOrigin is wrong")
	}
	for _, logs := range [][]PolicyLog{
		{{}},
		{{Key: log1}, {Key: log1}},
		{{Key: mustKey(t, goldenWitnessKey)}},
		{{Key: log1, URL: "https://log.example/ more"}},
		{{Key: log1, URL: "https://log.example/\nquorum none"}},
		{{Key: log1, URL: "\t"}},
	} {
		if p, err := NewPolicy(logs...); !errors.Is(err, ErrPolicy) {
			t.Errorf("NewPolicy(%v) = %v, %v; want ErrPolicy", logs, p, err)
		}
	}
}

func TestPolicyListsAreCopies(t *testing.T) {
	p := mustPolicy(t, goldenPolicy)
	p.Logs()[0].URL = "https://elsewhere.example"
	p.Witnesses()[0].Name = "other"
	if p.String() != goldenPolicy {
		t.Errorf("changing the lists changed the policy to %q", p)
	}
}

// rule is a quorum rule as a tree, evaluated by listing subsets: nothing of the
// parser's data structures.
type rule struct {
	name    string
	k       int
	members []*rule // none: a witness
}

func (r *rule) met(signed map[string]bool) bool {
	if len(r.members) == 0 {
		return signed[r.name]
	}
	// By definition: is there a subset of exactly k members, all met?
	for subset := range 1 << len(r.members) {
		size, all := 0, true
		for i, m := range r.members {
			if subset&(1<<i) != 0 {
				size++
				all = all && m.met(signed)
			}
		}
		if size == r.k && all {
			return true
		}
	}
	return false
}

// For random policies of up to six witnesses, every one of the sets of signers
// gets the answer that the definition gives.
func TestSatisfiedAgreesWithBruteForce(t *testing.T) {
	var vkeys []string
	for i := range 6 {
		vkeys = append(vkeys, signer(t, CosignatureV1, "w.example", byte(i)).Verifier().String())
	}
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var free []*rule // in no group yet
		n := rapid.IntRange(1, len(vkeys)).Draw(t, "witnesses")
		for i := range n {
			r := &rule{name: fmt.Sprintf("w%d", i)}
			fmt.Fprintf(&text, "witness %s %s\n", r.name, vkeys[i])
			free = append(free, r)
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "groups") {
			shuffled := rapid.Permutation(free).Draw(t, "order")
			take := rapid.IntRange(1, len(shuffled)).Draw(t, "members")
			g := &rule{name: fmt.Sprintf("g%d", i), members: shuffled[:take]}
			g.k = rapid.IntRange(1, take).Draw(t, "k")
			k := fmt.Sprint(g.k)
			if word := rapid.Bool().Draw(t, "word"); word && g.k == 1 {
				k = "any"
			} else if word && g.k == take {
				k = "all"
			}
			fmt.Fprintf(&text, "group %s %s", g.name, k)
			for _, m := range g.members {
				fmt.Fprintf(&text, " %s", m.name)
			}
			text.WriteString("\n")
			free = append([]*rule{g}, shuffled[take:]...)
		}
		quorum := rapid.SampledFrom(free).Draw(t, "quorum")
		fmt.Fprintf(&text, "quorum %s\n", quorum.name)
		p, err := ParsePolicy([]byte(text.String()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		for set := range 1 << n {
			signed := make(map[string]bool)
			for i := range n {
				signed[fmt.Sprintf("w%d", i)] = set&(1<<i) != 0
			}
			got := p.Satisfied(func(w string) bool { return signed[w] })
			if want := quorum.met(signed); got != want {
				t.Fatalf("signed %v: Satisfied = %v, want %v, under\n%s", signed, got, want, text.String())
			}
		}
	})
}
