// Package prooftree reads and makes the static proof tree: the files from which anybody
// builds any proof at one checkpoint, and tells nobody what they install. They are the same
// bytes from the log, from a CDN, and below modules/tlog/ on a CPAN mirror:
//
//	checkpoint                the newest published checkpoint, with all signature lines
//	tile/<L>/<N>[.p/<W>]      the tree (C2SP tlog-tiles)
//	tile/entries/<N>[.p/<W>]  the entries, 256 in a file
//	paths/<xx>                the path index: 256 shards, each always there
//
// # The path index
//
// A shard lists the entries of all paths whose SHA-256 begins with the byte xx (two lowercase
// hex digits), in lines
//
//	<index> SP <path> LF
//
// sorted by path, as bytes, and then by index, as a number; the index is decimal, without
// leading zeros. Of an archive's path it lists every entry of kind upload, delete and void: what
// decides whether a file verifies. Of an index file's path, which gets an entry with every
// change, it lists the newest 100: a mirror that lags has one of them. Conflict entries make
// nothing verify and are never listed. One list of entries makes one set of shards.
//
// A reader who asked for one path at a time would tell the server what it installs. A shard is
// the answer for a 256th of CPAN: at a million entries it is about 225 kB, a third of
// that compressed, and hides a path among thousands. Fewer shards would hide better and cost
// more, and an update of the log rewrites those of the changed paths. The hash spreads paths evenly,
// which their first letters would not do. The text is sorted so that a reader can search it as
// it is, and that it compresses.
//
// Nothing signs a shard and nothing needs to. Each line is a hint, and what it points to is
// proven to be in the tree, and compared with the path, before it is believed. So whoever
// changes a shard can
//
//   - leave out an entry, or a whole path. Then there is no proof from this source, the same
//     as when the file is missing: no file is called good or bad because of it;
//   - leave out a void, or the upload after it, and so show what held before it. So can whoever keeps an
//     older tree, or an older proof beside the file. Who must hear of revocations at once asks the
//     log, or limits the checkpoint's age against sources that only lag;
//   - point to another path's entry, or to none. That is seen, and the source is no longer used for
//     this path.
//
// It cannot make a file verify that the log has not, nor show two readers different entries.
// The cure for omission is an index that is proven itself; this format leaves room beside paths/.
//
// # Order
//
// Whoever writes a tree writes tiles and shards first and the checkpoint last, and keeps the
// partial tiles of the checkpoint before. So a reader finds all that its checkpoint implies, and shards that may
// be newer: it skips what they list beyond the checkpoint's size. A copy that is made file by file
// can have a checkpoint that is newer than its tiles for a while: there is no proof from it
// until the next copy.
//
// # Errors
//
// What a source lacks (ErrIncomplete), and what it has wrong (ErrInvalid), is no proof, and no
// misbehaviour of the log either: any mirror can lose a file or flip a bit. The log's own contradictions
// are for package verify to find, between checkpoints that are validly signed.
package prooftree
