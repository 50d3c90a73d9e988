package crashinit

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
	"github.com/pauselog/pauselog/internal/witnessd"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/witness/state"
)

const (
	origin = "log.example/new"
	name   = "witness.example/new"
)

// isKey says whether a text is a signer's key, or the seed of a key for bastions.
func isKey(text string) bool {
	if _, err := checkpoint.ParseSignerKey(text); err == nil {
		return true
	}
	seed, err := hex.DecodeString(text)
	return err == nil && len(seed) == ed25519.SeedSize
}

// openLog starts a log, which takes an entry if it has none.
func openLog(dir string) (vkeys []string, err error) {
	f, err := datafolder.Open(dir)
	if err != nil {
		return nil, err
	}
	if len(f.Signers) != 2 {
		return nil, fmt.Errorf("the log has %d keys, expected 2", len(f.Signers))
	}
	for _, k := range f.Signers {
		vkeys = append(vkeys, k.Verifier().String())
	}
	h, err := head.Open(f.Head)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	s, err := store.Open(f.StoreDir(), store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	seq, err := sequencer.Open(sequencer.Config{Origin: f.Origin, Store: s, Head: h, Signers: f.Signers})
	if err != nil {
		return nil, err
	}
	defer seq.Close()
	e := rig.Upload(1)
	e.Seen = "backfill" // of any time
	r, err := seq.Submit(context.Background(), e)
	if err != nil {
		return nil, err
	}
	if r[0].Err != nil {
		return nil, r[0].Err
	}
	return vkeys, nil
}

// openWitness starts a witness.
func openWitness(dir string) (vkeys []string, err error) {
	f, err := witnessd.Open(dir)
	if err != nil {
		return nil, err
	}
	for _, k := range f.Verifiers() {
		vkeys = append(vkeys, k.String())
	}
	s, err := state.Open(filepath.Join(dir, "state"), f.Head, f.Name, nil)
	if err != nil {
		return nil, err
	}
	return vkeys, s.Close()
}
