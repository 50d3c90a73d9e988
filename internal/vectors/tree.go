package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// A proofTree is the files of a static proof tree.
type proofTree map[string]Bytes

// Get implements prooftree.Source.
func (f proofTree) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	b := f[name]
	switch {
	case b == nil:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%w: %s has over %d bytes", prooftree.ErrInvalid, name, limit)
	}
	return append([]byte{}, b...), nil
}

// files makes the proof tree of the log's first entries.
func (l *log) files(size int, lines ...string) proofTree {
	b := prooftree.NewBuilder()
	f := proofTree{"checkpoint": Bytes(noteOf(l.text(size), lines...))}
	var shards [prooftree.Shards][]prooftree.Line
	for i, text := range l.entries[:size] {
		must(0, b.Add(text))
		if e, err := entry.Parse(text); err == nil && prooftree.Listed(e) {
			shard := prooftree.ShardOf(e.Path)
			shards[shard] = append(shards[shard], prooftree.Line{Index: uint64(i), Path: e.Path})
		}
	}
	for _, x := range b.Full() {
		f[x.Tile.Path()] = x.Data
	}
	for x := range b.Partial() {
		f[x.Tile.Path()] = x.Data
	}
	for i, lines := range shards {
		f[prooftree.ShardName(byte(i))] = append(Bytes{}, prooftree.FormatShard(lines)...)
	}
	return f
}

// A memory1 remembers one checkpoint.
type memory1 struct{ note []byte }

func (m *memory1) Load(origin string) ([]byte, error) {
	if m.note == nil {
		return nil, nil
	}
	n, err := checkpoint.ParseNote(m.note)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("found a checkpoint of %q", c.Origin)
	}
	return m.note, err
}

func (m *memory1) Save(_ string, _, note []byte) error {
	m.note = note
	return nil
}

// judge decides with what one source of several has: there, a proof that proves nothing is as good as none.
func (v *Vector) judge(e *client.Evidence) (*verify.Result, error) {
	policy, err := checkpoint.ParsePolicy(v.Policy)
	if err != nil {
		return nil, err
	}
	request := func(e *client.Evidence) verify.Request {
		r := verify.Request{Policy: policy, Path: v.Path, SHA256: sha256.Sum256(v.File), Size: uint64(len(v.File)), Known: v.known(),
			Bundle: e.Bundle, Revocation: e.Revocation, Deletion: e.Deletion, Absence: e.Absence, AbsenceDetail: e.Detail}
		if v.Now != nil {
			r.Now = time.Unix(*v.Now, 0)
		}
		return r
	}
	r := verify.Verify(request(e))
	if r.Outcome == verify.InvalidProof || r.Outcome == verify.Unverifiable {
		r = verify.Verify(request(&client.Evidence{Detail: r.Message}))
	}
	return r, nil
}

// askTree is what the verifying mirror says with this proof tree as a source of proofs among others.
func (v *Vector) askTree() (answer, error) {
	policy, err := checkpoint.ParsePolicy(v.Policy)
	if err != nil {
		return answer{}, err
	}
	files := proofTree{}
	for name, b := range v.files {
		files[name] = b
	}
	for name, b := range v.Change {
		files[name] = b
	}
	m := new(memory1)
	if len(v.Known) > 0 {
		m.note = v.Known[0]
	}
	if _, err := m.Load(origin); err != nil {
		return answer{word: verify.Error.String(), remembered: m.note}, nil
	}
	still := func() time.Time { return now }
	ctx := context.Background()
	p := mirror.FromTree(ctx, mirror.TreeOptions{Name: "tree", Source: files, Policy: policy, Memory: m, Log: v.Said, Now: still})
	e, err := p.Prove(ctx, v.Path, sha256.Sum256(v.File))
	var misbehaviour *client.Misbehaviour
	switch {
	case errors.As(err, &misbehaviour):
		return answer{word: verify.Misbehaviour.String(), message: misbehaviour.Evidence.String(), evidence: misbehaviour.Evidence.Marshal(), remembered: m.note}, nil
	case err != nil:
		return answer{word: verify.Error.String(), remembered: m.note}, nil
	}
	asked := *v
	asked.Known = nil
	if m.note != nil {
		asked.Known = []Bytes{m.note}
	}
	r, err := asked.judge(e)
	if err != nil {
		return answer{}, err
	}
	a := answerOf(r)
	a.remembered = m.note
	return a, nil
}

// askPack is what a pack has about a file.
func (v *Vector) askPack() (answer, error) {
	p, err := proof.ParsePack(v.Pack)
	switch {
	case errors.Is(err, proof.ErrPackVersion):
		return answer{word: "version"}, nil
	case err != nil:
		return answer{word: "malformed"}, nil
	}
	e := &client.Evidence{Detail: "no proof"}
	if found := p.For(v.Path, sha256.Sum256(v.File)); found != nil {
		for _, x := range []struct {
			from *proof.Bundle
			to   *[]byte
		}{{found.Bundle, &e.Bundle}, {found.Void, &e.Revocation}, {found.Deletion, &e.Deletion}} {
			if x.from != nil {
				*x.to = must(x.from.Marshal())
			}
		}
	}
	r, err := v.judge(e)
	if err != nil {
		return answer{}, err
	}
	return answerOf(r), nil
}
