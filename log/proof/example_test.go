package proof_test

import (
	"fmt"

	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// Reading a bundle. The size and root must come from its checkpoint, and only
// after the signatures on it met a policy.
func ExampleParse() {
	text := "c2sp.org/tlog-proof@v1\n" +
		"extra c2Vjb25kCg==\n" +
		"index 1\n" +
		"/+zuFHO92M61JLpvpPQnwXwAQM7aU6tOfVvryIcW5FM=\n" +
		"\n" +
		"log.example/pause\n" +
		"2\n" +
		"eQFnCmMC5lotxVr5W8YHV0bP5FH6Xiev8w2T2z6gigo=\n" +
		"\n" +
		"— log.example/pause ...\n"

	b, err := proof.Parse([]byte(text))
	if err != nil {
		fmt.Println(err)
		return
	}
	// Here the checkpoint's signatures are verified, which gives:
	size, root := uint64(2), tree.NodeHash(tree.LeafHash([]byte("first\n")), tree.LeafHash([]byte("second\n")))

	fmt.Printf("%q\n", b.Entry)
	fmt.Println(b.Verify(size, root))
	fmt.Println(b.Verify(size, tree.EmptyRoot) != nil)
	// Output:
	// "second\n"
	// <nil>
	// true
}

func ExampleBundle_Marshal() {
	b := proof.Bundle{
		Entry:      []byte("second\n"),
		Index:      1,
		Hashes:     []tree.Hash{tree.LeafHash([]byte("first\n"))},
		Checkpoint: []byte("log.example/pause\n2\n...\n"),
	}
	text, err := b.Marshal()
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// c2sp.org/tlog-proof@v1
	// extra c2Vjb25kCg==
	// index 1
	// /+zuFHO92M61JLpvpPQnwXwAQM7aU6tOfVvryIcW5FM=
	//
	// log.example/pause
	// 2
	// ...
	// <nil>
}
