package mirror

import (
	"context"
	"fmt"
	"io"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
)

// A Prover is a place where proofs may be found. What it returns is verified like any stranger's word.
//
// Prove returns all that this place has on a path. digest is that of the file at hand; it is zero if
// the file is not at hand yet, which is so for archives: a path is uploaded once. That there is no proof here is
// no error: the bundle is then nil, and the evidence says what is known of why. Prove may claim
// verify.SaidNotLogged and verify.SaidPending only for the policy's log itself. An error is a client.Misbehaviour, or
// local (the trust state is damaged), or that of an ended context: the run cannot go on as if there were
// no proof here.
type Prover interface {
	String() string
	Prove(ctx context.Context, path string, digest entry.Digest) (*client.Evidence, error)
}

// A LogProver asks the log itself, which so learns the path.
type LogProver struct {
	Log *client.Log
	// Trusted says that the connection is to the policy's log, so that its word counts that there is no entry.
	Trusted bool
}

func (p LogProver) String() string { return "the log" }

// Prove implements Prover.
func (p LogProver) Prove(ctx context.Context, path string, digest entry.Digest) (*client.Evidence, error) {
	return p.Log.Gather(ctx, path, digest, p.Trusted)
}

// A sideProver looks for FILE.tlog-proof beside the file on an upstream.
type sideProver struct{ upstream Upstream }

// BesideFiles returns a Prover that looks for the proof beside the file on an upstream.
func BesideFiles(u Upstream) Prover { return sideProver{u} }

func (p sideProver) String() string { return "the proofs beside the files of " + p.upstream.String() }

func (p sideProver) Prove(ctx context.Context, path string, _ entry.Digest) (*client.Evidence, error) {
	in, err := p.upstream.open(ctx, path+proof.Extension)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return &client.Evidence{Detail: err.Error()}, nil
	}
	defer in.body.Close()
	b, err := io.ReadAll(io.LimitReader(in.body, proof.MaxSize+1))
	if err != nil || !in.whole {
		return &client.Evidence{Detail: fmt.Sprintf("the proof of %s is cut short: %v", p.upstream, err)}, nil
	}
	return &client.Evidence{Bundle: append([]byte{}, b...)}, nil
}

// A bundleProver has one proof, that of a file which the user named.
type bundleProver struct {
	name, path string
	bundle     []byte
}

// OneBundle returns a Prover that has one bundle, for the path that it says.
func OneBundle(name string, bundle []byte) (Prover, error) {
	b, err := proof.Parse(bundle)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e, err := entry.Parse(b.Entry)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bundleProver{name, e.Path, bundle}, nil
}

func (p bundleProver) String() string { return p.name }

func (p bundleProver) Prove(_ context.Context, path string, _ entry.Digest) (*client.Evidence, error) {
	if path != p.path {
		return &client.Evidence{Detail: fmt.Sprintf("%s is a proof of %s", p.name, p.path)}, nil
	}
	return &client.Evidence{Bundle: p.bundle}, nil
}
