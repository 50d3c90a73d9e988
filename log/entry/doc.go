// Package entry is the record that the log keeps of each thing that PAUSE
// published: its bytes, what they may say, what may follow what, and what a
// submitter is refused. It is pure: bytes and values in, bytes and values out.
//
// # The format
//
// An entry is text. Line 1 is exactly "pauselog/v1"; then come lines of a name,
// one space, a value and a line feed. Each kind has one fixed list of lines:
//
//	upload    kind path sha256 size time by seen   an archive that PAUSE published below authors/id
//	index     kind path sha256 size time           a snapshot of a file that changes by nature
//	delete    kind path sha256 time by seen        an upload was deleted; the digest is the logged one
//	conflict  kind path sha256 other time          `other` was submitted for a path logged with sha256
//	void      kind path sha256 index time          the upload entry with that index must not be trusted
//
// for example:
//
//	pauselog/v1
//	kind upload
//	path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
//	sha256 3300d31d8a4075b26d8f46ce864a1d913e0e8467ceeba6655d5d2b2e206c11be
//	size 35784
//	time 2026-11-22T10:00:00Z
//	by ETHER
//	seen upload
//
// An append-only log cannot migrate its entries, so each rule is argued here.
//
// One value has one encoding. Two encodings of one fact would be two leaves,
// and a verifier and a monitor that disagree about one of them are the start of
// an attack. Hence no optional lines, no spaces to spare, no escapes.
//
// Text, because it must be re-hashable in ten lines of Perl without modules,
// readable in an evidence file, and parseable in thirty years. Lines, because
// JSON has many encodings of one value. No length prefixes: no value can hold a
// line feed.
//
// Whatever is unknown is "-", so that a line's absence never means anything.
// Only `by` can be unknown: everything else is known to whoever has the file.
//
// Path is what is logged, not a name and a version: it is the one name that PAUSE
// never lets be used again, that mirrors serve, and that every installer asks for
// whichever index it used. It is printable ASCII without spaces (0x21 to 0x7E),
// at most 512 bytes, relative to the CPAN root, without empty, "." or ".." segments;
// case matters. An archive lies at authors/id/<c>/<cc>/<ID>/<rest>, c and cc being the
// first one and two letters of the id, so that the author is in the path and cannot
// differ from it. Names that do not fit (PAUSE accepts none since long) cannot be
// logged in this version; a backfill lists them.
//
// Size is logged so that a reader may stop reading when a server sends more.
// Sizes and indexes are decimals of at most 15 digits: exact in an IEEE double,
// so JavaScript and a perl without 64-bit integers read what was written.
//
// Time is 20 characters, RFC 3339 in UTC with Z and without fractions, a real date
// between 1970 and 9999 (what time(3) and mtime can say; no leap second, since
// POSIX has none). It is what PAUSE or a file's mtime says: a claim. When something
// was logged at the latest is said by the witnesses' cosignatures, not by this.
//
// By is the PAUSE id that entered the upload; it may differ from the path's (an
// administrator acting for an author). Nothing else about a person is ever
// logged: no name, no mail address, no IP address. A PAUSE id stays published
// even when an account is erased.
//
// Seen says how much the log's word is worth: "upload", PAUSE's own hook saw
// it; "follow", it was noticed through the RECENT files; "backfill", it was found
// later, so that the log vouches only for what it found.
//
// A conflict is an entry and not a silent refusal, because a second digest for an
// archive's name means that something went wrong at the root, and that must be public.
// It is written once per pair of digests, by the sequencer itself.
//
// A void does not remove anything. It says that an entry must not be trusted, and
// frees the path: otherwise one mistaken entry would block a name for ever.
//
// An entry has at most 1,024 bytes, twice what its longest path needs, so that a
// full bundle of 256 stays far below tlog-tiles' 64 KiB an entry.
//
// # What is an upload
//
// Uploads are all files that PAUSE publishes below an author's directory and never
// lets change: archives of every kind, patches, .pm.gz, signatures, perl itself, and
// files below Perl6/. Not CHECKSUMS*, *.meta, *.readme and *.tlog-proof (made by
// others than the author, and they change), not dotfiles and temporary names (mirrors
// and editors leave them), and not documents that may be uploaded again under
// their name. The last list is that of PAUSE's may_overwrite_file as of commit
// 9c4a7b05 (April 2026): without one .gz or .bz2 of any case, a name that ends in
// readme, or in .html .txt .mkdn .md .xml .yml .json .pdf .rdf .pod, of any case.
// [IsUpload] decides by name; that the file is a regular file and no symbolic link
// is for the submitter to see.
//
// # Reading
//
// A reader checks signatures, quorum and inclusion over the raw bytes first and
// only then parses. [Parse] tells three cases apart: an entry; one that is well
// formed as far as this version can tell but of another version or kind (up to
// 16 KiB, [ErrUpgrade]: the reader is too old); and bytes that no version could
// have written ([ErrMalformed]).
//
// # What may follow what
//
// [Last.Decide] holds the rules by which a submission becomes a new entry, repeats
// one, or is refused, and [Last.Follows] the same rules as an auditor checks them.
package entry
