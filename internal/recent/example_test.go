package recent_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/pauselog/pauselog/internal/recent"
)

const hour = `{"meta":{"protocol":1,"interval":"1h","dirtymark":"1790000000.5","merged":{"epoch":1790000001.5}},"recent":[
{"epoch":1790000003.5,"path":"id/E/ET/ETHER/Try-Tiny-0.30.tar.gz","type":"delete"},
{"epoch":1790000002.5,"path":"id/E/ET/ETHER/Try-Tiny-0.31.tar.gz","type":"new"},
{"epoch":1790000001.5,"path":"02STAMP","type":"new"}]}`

// Follow a tree from a state that an earlier run saved.
func Example() {
	tree, err := os.MkdirTemp("", "tree")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tree)
	if err := os.Mkdir(filepath.Join(tree, "authors"), 0o700); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "authors", "RECENT-1h.json"), []byte(hour), 0o600); err != nil {
		log.Fatal(err)
	}

	source, err := recent.OpenDir(tree)
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	follower, err := recent.New(source, recent.Options{})
	if err != nil {
		log.Fatal(err)
	}
	last, _ := recent.ParseEpoch("1790000001.5")
	mark, _ := recent.ParseEpoch("1790000000.5")
	state := recent.State{Series: map[string]recent.Position{recent.Authors: {Newest: last, Dirtymark: mark, Format: "json"}}}

	batch, state, err := follower.Next(context.Background(), state)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range batch.Events {
		fmt.Println(e.Type, e.Path)
	}
	fmt.Println("gaps:", len(batch.Gaps), "newest:", state.Series[recent.Authors].Newest)
	// Output:
	// new authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
	// delete authors/id/E/ET/ETHER/Try-Tiny-0.30.tar.gz
	// gaps: 0 newest: 1790000003.5
}
