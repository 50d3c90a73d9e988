package protocol_test

import (
	"fmt"

	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/protocol"
)

// A request on its way: what a log writes, and what a witness reads.
func ExampleParseAddCheckpoint() {
	request := protocol.AddCheckpoint{
		Old:   1,
		Proof: []tree.Hash{tree.LeafHash([]byte("second\n"))},
		Note: []byte("log.example/pause\n" +
			"2\n" +
			"eQFnCmMC5lotxVr5W8YHV0bP5FH6Xiev8w2T2z6gigo=\n" +
			"\n" +
			"— log.example/pause ...\n"),
	}
	body := request.Marshal()
	fmt.Printf("%s", body)

	r, err := protocol.ParseAddCheckpoint(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Old, len(r.Proof), protocol.Origin(r.Note))

	_, err = protocol.ParseAddCheckpoint([]byte("old 01\n\nlog.example/pause\n"))
	fmt.Println(err)
	// Output:
	// old 1
	// 4ivsvOHZfR/pVdxGxqbkfqx6nOSru4Uq6Aw27w+Hn+4=
	//
	// log.example/pause
	// 2
	// eQFnCmMC5lotxVr5W8YHV0bP5FH6Xiev8w2T2z6gigo=
	//
	// — log.example/pause ...
	// 1 1 log.example/pause
	// malformed: expected a decimal number up to 2^63-1 without leading zeros, found "01"
}
