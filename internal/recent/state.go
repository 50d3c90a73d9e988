package recent

import (
	"fmt"
	"maps"
)

// A State is how far a reader has come. It is made by a Follower and kept by the caller, as JSON
// for instance. The zero State is that of someone who knows nothing.
type State struct {
	// Series are the positions by folder: "authors/", "modules/", and "" for the root.
	Series map[string]Position `json:"series"`
}

// A Position is how far a reader has come in one series.
type Position struct {
	// Newest is the newest epoch of the events that were handed out: all up to it were.
	Newest Epoch `json:"newest"`
	// Dirtymark is that of the series' shortest file when it was read.
	Dirtymark Epoch `json:"dirtymark"`
	// Format is json or yaml.
	Format string `json:"format"`
}

func (s State) clone() State {
	c := State{maps.Clone(s.Series)}
	if c.Series == nil {
		c.Series = map[string]Position{}
	}
	return c
}

func (s State) validate() error {
	for dir, p := range s.Series {
		if _, ok := foreign[dir]; !ok || p.Format != "json" && p.Format != "yaml" || p.Newest.IsZero() {
			return fmt.Errorf("a state: the position in %.80q is not one of a follower", dir)
		}
	}
	return nil
}

// A Batch is what a Follower found.
type Batch struct {
	// Events are the newest event of each path, oldest first. A path of more than one series may
	// come once as new and once as deleted, as the clocks of their writers may differ.
	Events []Event
	// Gaps are the times of which events may be missing. If there are any, the tree is to be walked, which
	// is best done after the State of the same answer was taken: nothing falls between them.
	Gaps []Gap
	// Skipped counts new events that could not be read. One that is in several files
	// counts as often.
	Skipped int
}

// A Gap is a time of which events may be missing.
type Gap struct {
	Dir           string // the series
	After, Before Epoch  // zero After: from the beginning
	// Deletions says that only deletions may be missing.
	Deletions bool
}
