package checkpoint_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// A reader has a policy from a source that it trusts, and a note from anywhere.
func ExamplePolicy_Open() {
	policy, err := checkpoint.ParsePolicy([]byte(`
log log.example/pause+13830bfb+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
witness w1 witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU
quorum w1
`))
	if err != nil {
		log.Fatal(err)
	}
	note := []byte(`log.example/pause
8
XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=

— log.example/pause E4ML+w735cVr/gE+CegSY4yMIvBKxxRkxMfu91Bnzm/zr/l3vZD2BLENdYX+qKLiCgvFokfmSRhYFMO2YG0mdKMJvAI=
— witness.example/w1 3xwKNQAAAABpVbkAW4fOruII1FTBO8+YtN57Gnj9UIOM1mnUFnoy03wE1QzpTRqT5JmN/NunviJR7LqPKzXnlJZc317ao13JlXe/CQ==
`)
	opened, err := policy.Open(note)
	switch {
	case errors.Is(err, checkpoint.ErrQuorum):
		log.Fatal("the log's, but too few witnesses have seen it: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(opened.Origin, opened.Size, opened.Root)
	for _, c := range opened.Cosignatures {
		fmt.Println("seen by", c.Witness, "at", c.Time)
	}
	// An hour later, was it the newest at most a day ago?
	fmt.Println("fresh:", opened.Fresh(policy, 1767225600+3600, 24*3600))
	// Output:
	// log.example/pause 8 XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=
	// seen by w1 at 1767225600
	// fresh: true
}

// A log signs its checkpoint, and a witness adds a line.
func ExampleSignerKey_Sign() {
	logKey, err := checkpoint.GenerateSigner(checkpoint.Ed25519, "log.example/pause", nil)
	if err != nil {
		log.Fatal(err)
	}
	witness, err := checkpoint.GenerateSigner(checkpoint.CosignatureV1, "witness.example/w1", nil)
	if err != nil {
		log.Fatal(err)
	}

	c := checkpoint.Checkpoint{Origin: "log.example/pause", Size: 0, Root: tree.EmptyRoot}
	note := checkpoint.Note{Text: c.Text()}
	for _, k := range []*checkpoint.SignerKey{logKey, witness} {
		sig, err := k.Sign(c, 1767225600)
		if err != nil {
			log.Fatal(err)
		}
		note = note.With(sig)
	}

	policy, err := checkpoint.NewPolicy(checkpoint.PolicyLog{Key: logKey.Verifier()})
	if err != nil {
		log.Fatal(err)
	}
	opened, err := policy.Open(note.Marshal())
	fmt.Println(err, opened.Origin, opened.Size, len(opened.Note.Signatures))
	// Output: <nil> log.example/pause 0 2
}
