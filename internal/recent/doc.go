// Package recent follows the RECENT files of CPAN: it answers what was new or deleted on a tree
// since one looked last.
//
// PAUSE registers each change of its public tree in files beside what they describe, as
// File::Rsync::Mirror::Recent specifies: authors/RECENT-1h.yaml has the changes of the last hour,
// RECENT-6h.yaml those of six hours, and so on to RECENT-Z.yaml, which lists all files that are
// there. Such a family of files is a series here; there may be one below authors/, one below
// modules/, and one at the root of a tree. Mirrors carry them all.
//
// A [Follower] reads the shortest file of each series, and of the longer ones as few as it takes
// to reach back to where it was:
//
//	source, err := recent.OpenHTTP("https://www.cpan.org", "example/1.0 (+mailto:me@example.org)")
//	...
//	follower, err := recent.New(source, recent.Options{})
//	...
//	batch, next, err := follower.Next(ctx, state)
//	for _, e := range batch.Events {
//		look(e.Path) // authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz: e.Type is new or delete
//	}
//	if len(batch.Gaps) > 0 {
//		walkTheTree()
//	}
//	save(next) // after the events are dealt with: a crash before it only repeats them
//
// The zero [State] asks for everything. Who only wants what comes from now on, or walks the tree
// first, begins with [Follower.Start].
//
// # What an answer means
//
// An event says that a path is worth a look, not what is there: the file may be gone again, or
// not have arrived on this mirror. Many events of one path are folded to the newest one.
//
// Whether a file reaches back far enough follows from what its writer promises, in terms of the
// epochs in the file and never of a clock on this side. What is dropped from a file is older than
// all that is left in it. It has been merged into the next longer file, up to the epoch that the meta part
// names under "merged". And a longer file has all of its interval, counted from its newest
// event. (The shortest one counts from when it was written, which it does not say: after a
// silent day it has one event.) The latter two are used only if the file is known to be whole: JSON ends with
// its bracket, and YAML proves it by its oldest epoch, which "minmax" repeats.
//
// Between one file and the next longer one there must not be a hole. If there is one, on either side,
// then these are copies of different times, and the answer is an error: nothing is handed out, and
// the next poll tries again.
//
// The Z file leaves out what was deleted. When it was needed, deletions may be missing, and a [Gap]
// says so. The same goes for a changed dirtymark, with which a writer declares that it has
// inserted events among old ones: all files are read again.
package recent
