package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxPolicySize is the largest policy file in bytes. A log and a witness of
// ML-DSA keys take 1.8 kB each, and C2SP tlog-policy recommends support for 32
// of both; this is eight times that.
const MaxPolicySize = 1 << 20

// ErrPolicy says that a policy file does not parse.
var ErrPolicy = errors.New("invalid policy")

// A Policy says which logs' checkpoints are accepted, and whose cosignatures
// they need (C2SP tlog-policy):
//
//	log log.example/pause+13830bfb+AYqI...
//
//	witness w1-ed25519 witness.example/w1+df1c0a35+BIE5...
//	witness w1-mldsa   witness.example/w1+e332815c+Bnr9...
//	witness w2         other.example/w2+...
//	group w1 any w1-ed25519 w1-mldsa
//	group both all w1 w2
//	quorum both
//
// A checkpoint needs one of the logs, any, and the quorum. An operator with two
// keys is two witnesses in one "any" group, so that it counts once. A Policy
// does not change and is safe for concurrent use.
type Policy struct {
	logs      []PolicyLog
	witnesses []PolicyWitness
	nodes     []node // in the order of definition: members come before groups
	quorum    int    // index into nodes, or quorumNone
	keys      map[keyRef]*policyKey
}

const quorumNone = -1

// A PolicyLog is a log line.
type PolicyLog struct {
	Key *VerifierKey
	URL string // or empty; what it means is the application's affair
}

// A PolicyWitness is a witness line.
type PolicyWitness struct {
	Name string // within the policy only; any octets but white space and control characters
	Key  *VerifierKey
	URL  string // or empty; the prefix of C2SP tlog-witness
}

// A node is what the quorum can be made of: a witness, or a group of nodes of
// which k are needed.
type node struct {
	name    string
	witness int // index into witnesses, or -1 for a group
	k       int
	members []int
}

// A policyKey is what signature lines are looked up by. One key may be a log's
// and a witness's at once.
type policyKey struct {
	key     *VerifierKey
	log     bool
	witness int // index into witnesses, or -1
}

// ParsePolicy parses a policy file. Every error wraps ErrPolicy and names the
// line.
//
// What C2SP tlog-policy leaves open is decided here: `none` cannot be defined,
// the file ends in a newline (one cut short could end in another name's
// beginning), and Ed25519 (0x01) and ML-DSA keys are for logs, cosignature
// (0x04) and ML-DSA keys for witnesses.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > MaxPolicySize {
		return nil, fmt.Errorf("%w: %d bytes, expected at most %d", ErrPolicy, len(b), MaxPolicySize)
	}
	p := &policyParser{
		Policy:    Policy{quorum: quorumNone, keys: make(map[keyRef]*policyKey)},
		defined:   make(map[string]int),
		member:    make(map[int]string),
		logOf:     make(map[string]int),
		witnessOf: make(map[string]string),
	}
	for len(b) > 0 {
		p.line++
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("%w: line %d: does not end in a newline; is the file complete?", ErrPolicy, p.line)
		}
		b = rest
		if err := p.parseLine(line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrPolicy, p.line, err)
		}
	}
	if p.quorumLine == 0 {
		return nil, fmt.Errorf("%w: expected a quorum line, found none", ErrPolicy)
	}
	return &p.Policy, nil
}

// policyParser is a Policy with what is needed to refuse the next line.
type policyParser struct {
	Policy
	line       int
	quorumLine int               // 0: none yet
	defined    map[string]int    // name to node
	member     map[int]string    // node to the group it is a member of
	logOf      map[string]int    // public key to its line
	witnessOf  map[string]string // public key to its witness
}

func (p *policyParser) parseLine(line []byte) error {
	// Only space and tab separate: Unicode white space is part of a name, and
	// the meaning of a policy does not depend on a Unicode version.
	for _, c := range line {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return fmt.Errorf("found control character 0x%02x; lines end in LF alone", c)
		}
	}
	items := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(items) == 0 || items[0][0] == '#' {
		return nil
	}
	switch args := items[1:]; items[0] {
	case "log":
		return p.parseLog(args)
	case "witness":
		return p.parseWitness(args)
	case "group":
		return p.parseGroup(args)
	case "quorum":
		return p.parseQuorum(args)
	}
	return fmt.Errorf("expected log, witness, group, quorum or a comment, found %s", quote(items[0]))
}

func (p *policyParser) parseLog(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("expected log <vkey> [<url>], found %d items after log", len(args))
	}
	k, err := ParseVerifierKey(args[0])
	if err != nil {
		return err
	}
	// 0x04 is for cosigners other than the log (C2SP tlog-checkpoint).
	if k.alg != Ed25519 && k.alg != MLDSA44 {
		return fmt.Errorf("expected a log key of type %v or %v, found %v", Ed25519, MLDSA44, k.alg)
	}
	if first, ok := p.logOf[string(k.public)]; ok {
		return fmt.Errorf("the public key of %s is already that of the log in line %d", quote(k.name), first)
	}
	known, err := p.register(k)
	if err != nil {
		return err
	}
	p.logOf[string(k.public)] = p.line
	known.log = true
	p.logs = append(p.logs, PolicyLog{Key: k, URL: optional(args[1:])})
	return nil
}

func (p *policyParser) parseWitness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return fmt.Errorf("expected witness <name> <vkey> [<url>], found %d items after witness", len(args))
	}
	name := args[0]
	if err := p.checkNew(name); err != nil {
		return err
	}
	k, err := ParseVerifierKey(args[1])
	if err != nil {
		return err
	}
	// A signature of type 0x01 has no time and is what a log says, not what a
	// witness has seen.
	if k.alg != CosignatureV1 && k.alg != MLDSA44 {
		return fmt.Errorf("expected a witness key of type %v or %v, found %v", CosignatureV1, MLDSA44, k.alg)
	}
	// Listed twice, one signer would be two votes.
	if first, ok := p.witnessOf[string(k.public)]; ok {
		return fmt.Errorf("the public key of witness %s is already that of witness %s", quote(name), quote(first))
	}
	known, err := p.register(k)
	if err != nil {
		return err
	}
	p.witnessOf[string(k.public)] = name
	known.witness = len(p.witnesses)
	p.define(node{name: name, witness: len(p.witnesses)})
	p.witnesses = append(p.witnesses, PolicyWitness{Name: name, Key: k, URL: optional(args[2:])})
	return nil
}

func (p *policyParser) parseGroup(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("expected group <name> (all | any | <k>) <member>..., found %d items after group", len(args))
	}
	name, rule, members := args[0], args[1], args[2:]
	if err := p.checkNew(name); err != nil {
		return err
	}
	g := node{name: name, witness: -1}
	switch rule {
	case "all":
		g.k = len(members)
	case "any":
		g.k = 1
	default:
		k, err := strconv.Atoi(rule)
		if err != nil || strconv.Itoa(k) != rule || k < 1 || k > len(members) {
			return fmt.Errorf("expected all, any or a number from 1 to %d, found %s", len(members), quote(rule))
		}
		g.k = k
	}
	for _, m := range members {
		i, err := p.find(m)
		if err != nil {
			return err
		}
		// Once in the whole file, so that a witness counts in one way only.
		if group, ok := p.member[i]; ok {
			return fmt.Errorf("%s is already a member of group %s", quote(m), quote(group))
		}
		p.member[i] = name
		g.members = append(g.members, i)
	}
	p.define(g)
	return nil
}

func (p *policyParser) parseQuorum(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected quorum (<name> | none), found %d items after quorum", len(args))
	}
	if p.quorumLine != 0 {
		return fmt.Errorf("expected one quorum line, found a second; the first is line %d", p.quorumLine)
	}
	p.quorumLine = p.line
	if args[0] == "none" {
		return nil
	}
	var err error
	p.quorum, err = p.find(args[0])
	return err
}

// checkNew reports why name cannot be defined.
func (p *policyParser) checkNew(name string) error {
	if name == "none" {
		return errors.New(`"none" is predefined and cannot be defined`)
	}
	if _, ok := p.defined[name]; ok {
		return fmt.Errorf("%s is already defined; witnesses and groups share their names", quote(name))
	}
	return nil
}

func (p *policyParser) define(n node) {
	p.defined[n.name] = len(p.nodes)
	p.nodes = append(p.nodes, n)
}

func (p *policyParser) find(name string) (int, error) {
	i, ok := p.defined[name]
	if !ok {
		return 0, fmt.Errorf("expected a witness or group of an earlier line, found %s", quote(name))
	}
	return i, nil
}

// register makes k known. Two keys of one name and key id would leave open whose
// a line is: an accident of one in 2^32, or an attack on those 32 bits.
func (p *policyParser) register(k *VerifierKey) (*policyKey, error) {
	known, ok := p.keys[k.ref()]
	if !ok {
		known = &policyKey{key: k, witness: -1}
		p.keys[k.ref()] = known
	} else if known.key.String() != k.String() {
		return nil, fmt.Errorf("another key has the name %s and the key id %08x too", quote(k.name), k.id)
	}
	return known, nil
}

func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// NewPolicy returns the policy that trusts these logs and needs no witness
// (`quorum none`): the log's word alone, with nobody to notice that others are
// shown another tree.
func NewPolicy(logs ...PolicyLog) (*Policy, error) {
	var b bytes.Buffer
	for _, l := range logs {
		if l.Key == nil {
			return nil, fmt.Errorf("%w: expected a key for each log, found none", ErrPolicy)
		}
		// A URL is one item of a line: whatever else is in it must not become
		// another item or line.
		if strings.ContainsFunc(l.URL, func(r rune) bool { return r <= 0x20 || r == 0x7f }) {
			return nil, fmt.Errorf("%w: expected a URL without spaces and control characters, found %s", ErrPolicy, quote(l.URL))
		}
		writeItems(&b, "log", l.Key.String(), l.URL)
	}
	writeItems(&b, "quorum", "none")
	return ParsePolicy(b.Bytes())
}

// Logs returns the logs, in the order of their lines.
func (p *Policy) Logs() []PolicyLog { return slices.Clone(p.logs) }

// Witnesses returns the witnesses, in the order of their lines; also those
// that are in no group and so count for nothing.
func (p *Policy) Witnesses() []PolicyWitness { return slices.Clone(p.witnesses) }

// QuorumNone reports whether no cosignatures are needed.
func (p *Policy) QuorumNone() bool { return p.quorum == quorumNone }

// KnowsOrigin reports whether the policy has a key of the log of this origin.
func (p *Policy) KnowsOrigin(origin string) bool {
	return slices.ContainsFunc(p.logs, func(l PolicyLog) bool { return l.Key.name == origin })
}

// Satisfied reports whether the quorum is met when exactly those witnesses have
// signed for which signed is true, by their name in the policy.
func (p *Policy) Satisfied(signed func(witnessName string) bool) bool {
	if p.QuorumNone() {
		return true
	}
	// Members are defined before their groups, so one pass in that order needs
	// no recursion, however deep a file nests its groups.
	met := make([]bool, p.quorum+1)
	for i := range met {
		n := p.nodes[i]
		if n.witness >= 0 {
			met[i] = signed(n.name)
			continue
		}
		count := 0
		for _, m := range n.members {
			if met[m] {
				count++
			}
		}
		met[i] = count >= n.k
	}
	return met[p.quorum]
}

// String returns the policy as a file without comments, logs first. Parsed
// again it is the same policy.
func (p *Policy) String() string {
	var b bytes.Buffer
	for _, l := range p.logs {
		writeItems(&b, "log", l.Key.String(), l.URL)
	}
	for _, n := range p.nodes {
		if n.witness >= 0 {
			w := p.witnesses[n.witness]
			writeItems(&b, "witness", w.Name, w.Key.String(), w.URL)
			continue
		}
		items := []string{"group", n.name, strconv.Itoa(n.k)}
		for _, m := range n.members {
			items = append(items, p.nodes[m].name)
		}
		writeItems(&b, items...)
	}
	quorum := "none"
	if !p.QuorumNone() {
		quorum = p.nodes[p.quorum].name
	}
	writeItems(&b, "quorum", quorum)
	return b.String()
}

// writeItems writes a line; an item that is empty, a URL, is left out.
func writeItems(b *bytes.Buffer, items ...string) {
	items = slices.DeleteFunc(items, func(s string) bool { return s == "" })
	b.WriteString(strings.Join(items, " ") + "\n")
}
