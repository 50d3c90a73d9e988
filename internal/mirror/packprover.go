package mirror

import (
	"context"
	"fmt"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
)

// A packProver has the proofs of a pack, at the one checkpoint that they share.
type packProver struct {
	name string
	pack *proof.Pack
}

// FromPack returns a Prover that has the proofs of a pack. The name is for people. A pack does not
// grow: what was logged or voided after it was made, it does not know.
func FromPack(name string, pack *proof.Pack) Prover { return packProver{name, pack} }

func (p packProver) String() string { return p.name }

// Prove implements Prover.
func (p packProver) Prove(_ context.Context, path string, digest entry.Digest) (*client.Evidence, error) {
	found := p.pack.For(path, digest)
	if found == nil {
		return &client.Evidence{Detail: fmt.Sprintf("%s has no proof of %s", p.name, path)}, nil
	}
	e := &client.Evidence{}
	for _, x := range []struct {
		from *proof.Bundle
		to   *[]byte
	}{{found.Bundle, &e.Bundle}, {found.Void, &e.Revocation}, {found.Deletion, &e.Deletion}} {
		if x.from == nil {
			continue
		}
		b, err := x.from.Marshal()
		if err != nil {
			return &client.Evidence{Detail: fmt.Sprintf("%s: %v", p.name, err)}, nil
		}
		*x.to = b
	}
	return e, nil
}
