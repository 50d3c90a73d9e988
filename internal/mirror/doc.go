// Package mirror is the verifying mirror: to cpanm, CPAN.pm, Carton, cpm and minicpan a CPAN
// mirror on loopback, which passes on only what is logged.
//
// A request is classified by its path (classify); all that a CPAN client does not need is 404. What is left
// is one of five things:
//
//	archive    an upload's path: verified against an upload entry
//	index      02packages, 06perms, 01mailrc: verified against an index entry
//	checksums  CHECKSUMS, which clients evaluate: a literal hash that contradicts nothing verified
//	document   what is never logged (README, .meta): small, and no archive by its bytes
//	modlist    03modlist, empty since 2013: a constant of ours
//
// # The way of a file
//
// A file is fetched whole into the cache folder, hashed on the way, verified with package verify,
// and only then served. The fetch is its own task and not its request's: a client that gives up
// and tries again joins it. Every read of the cache is hashed anew before its first byte goes on, and
// goes on from the descriptor that was hashed, so that the cache need not be trusted and may be deleted
// at any time.
//
// The upstreams are tried in their order. What is missing, cut short or a web page says that an
// upstream has not got the file; only a complete file with other bytes than the log's
// is a mismatch, and only if no other upstream has the logged bytes. No upstream is trusted.
//
// # Refusals
//
// A refusal is a status with a reason that a person understands, because that line is all that some
// clients show: 403 where something is known to be wrong, 503 where it cannot be known. After a refused index
// every archive is refused, until that index verifies: clients would fall back on an old index from their
// own caches.
package mirror
