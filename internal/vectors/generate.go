package main

import (
	"fmt"
)

// A generator collects vectors.
type generator struct {
	*world
	dir  string // the module's
	all  []*Vector
	seen map[string]bool
	err  error
}

// generate returns all vectors. It fails if one has an answer that log/verify does not give.
func generate(root string) ([]*Vector, error) {
	g := &generator{world: newWorld(), dir: root, seen: make(map[string]bool)}
	g.verifying()
	g.quorums()
	g.combinations()
	g.postQuantum()
	g.bundles()
	g.checkpoints()
	g.entriesRead()
	g.policies()
	g.notes()
	g.inclusions()
	g.signatures()
	g.distributions()
	g.trees()
	g.packs()
	if err := g.golden(); err != nil {
		return nil, err
	}
	return g.all, g.err
}

func (g *generator) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
}

// add adds a vector whose answer is word, from both.
func (g *generator) add(name, word string, v Vector) { g.addBoth(name, word, word, v) }

// addBoth adds a vector whose answers may differ.
func (g *generator) addBoth(name, goWord, perlWord string, v Vector) {
	v.Name, v.Go, v.Perl = name, goWord, perlWord
	if id := string(v.Kind) + " " + name; g.seen[id] {
		g.fail("two vectors are named %s", id)
	} else {
		g.seen[id] = true
	}
	a, err := v.ask()
	switch {
	case err != nil:
		g.fail("%s %s: %w", v.Kind, name, err)
	case a.word != goWord:
		g.fail("%s %s: expected %s, log/verify says %s (%s)", v.Kind, name, goWord, a.word, a.message)
	}
	v.Failed, v.Message = a.failed, a.message
	g.all = append(g.all, &v)
}

// good is a request about the good upload, with everything in order; change may change it.
func (g *generator) good(change func(*Vector)) Vector {
	t := now.Unix()
	v := Vector{Kind: Verify, Policy: g.policy(twoOf3), Path: goodPath, File: goodFile, Bundle: g.proven(iGood), Now: &t}
	if change != nil {
		change(&v)
	}
	return v
}

func seconds(t int64) *int64 { return &t }
