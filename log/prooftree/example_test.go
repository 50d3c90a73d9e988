package prooftree_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// A file is verified with nothing but a policy and a copy of the proof tree, here one that lies on
// a mirror's disk.
func Example() {
	const path = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"
	file, err := os.ReadFile("/srv/cpan/" + path)
	if err != nil {
		fmt.Println(err)
		return
	}
	policy, err := readPolicy("pause.policy")
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := prooftree.OpenDir("/srv/cpan/modules/tlog")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()

	ctx := context.Background()
	tree, err := prooftree.Open(ctx, source, policy)
	if err != nil {
		fmt.Println(err)
		return
	}
	digest := sha256.Sum256(file)
	p, err := tree.BundleFor(ctx, path, digest)
	if err != nil {
		fmt.Println(err) // errors.Is(err, prooftree.ErrIncomplete): no proof from this source
		return
	}
	request := verify.Request{Policy: policy, Path: path, SHA256: digest, Size: uint64(len(file))}
	if request.Bundle, err = p.Bundle.Marshal(); err != nil {
		fmt.Println(err)
		return
	}
	if p.Voided() {
		if request.Revocation, err = p.Void.Marshal(); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(verify.Verify(request).Outcome)
}

func readPolicy(name string) (*checkpoint.Policy, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return checkpoint.ParsePolicy(b)
}
