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
// The links below modules/by-module and the like are names for files below authors/id, and count as these (canonical). Where
// a module is, clients ask other services; these are answered too (metadata.go).
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
// is a mismatch, and only if no other upstream has the logged bytes. No upstream is trusted. BackPAN is asked last,
// and for archives alone.
//
// The cache is kept to a size: what was used least recently goes, but nothing that was used within the last minute. Of
// the decisions, so many are remembered; those that are dropped stay counted.
//
// # What selects, and what verifies
//
// To verify is to know that a file is the one that everyone gets by this name. Which name a client asks for is another
// thing: it follows from the index, and that verifies too. For versions that the index does not list any more it
// follows from a History, which only its operator vouches for. It cannot have anything installed that
// is not logged, but it can name an older version than the newest that fits, with whatever was wrong in
// it, or another logged archive in which somebody put a module of this name. So a server of histories is asked by TLS alone,
// of the log's uploads only those count whose author may release the module, and nobody is asked unless the user says so
// and the verified index lists the module: a history learns which modules somebody pins.
//
// # An index, and how old it is
//
// All that was ever an index is logged, so that one verifies does not say that it is the newest. Whoever shows an old one
// has old versions installed, with the holes that were mended since: a rollback, or, if everything stays as it was, a
// freeze. What tells is the time of the index's entry. PAUSE logs an index at each rewrite, also if nothing has changed, so
// the youngest entry of a digest counts, or of its text. An older proof of the same bytes says nothing against that,
// and a place that knows only other bytes says nothing against a proof: so while what is proven is old, further
// sources of proofs are asked, and further upstreams for a younger index.
//
// With Options.MaxIndexAge an older index is refused, and with it whatever is asked for next: also where the mirror
// carries a log's tree of that time and no other source is to be had, because the entry's own time is old. Without a limit
// a warning says how old the index is. More cannot be known then: to somebody who only sees that mirror, one that lags,
// a PAUSE that stands still, and one that hides a release look the same. An old checkpoint is no contradiction to a newer one
// that is remembered; and what is installed is in any case what everyone got at that time. An index of the client's own,
// for which it does not ask, is out of reach: Summary.Index is then "not asked for", and package installer gives clients
// an empty cache.
//
// authors/02STAMP says when an upstream was last updated. It is not signed, decides nothing, and tells only which innocent
// cause to name first.
//
// Mirrors compress indexes anew. One whose text is logged is served as this machine compresses that text: of the header that
// came with it, and of what some clients read behind its end, nothing goes on.
//
// 01mailrc has the names and mail addresses of authors. No version and no path is taken from it, and it is not
// evaluated; but CPAN.pm shows what is in it, and stops if it cannot have it. To refuse it would stop installations for
// nothing, to pass on one that is not PAUSE's would let a mirror say to whom reports are sent. So an old one passes, as PAUSE's own
// of another day; in the place of one that does not verify, an empty one is served; both are told, neither counts as a
// refusal. Only what is wrong with the log itself, or with this machine, stops here too.
//
// # What is private
//
// Distributions of one's own are in no log. The user says which paths they are at and which mirror has them
// (Private). Such a path is fetched from that mirror and nowhere else, and nobody hears of it: no upstream, no BackPAN, no
// source of proofs, not even for a shard, no history. All other paths are never asked of that mirror. So
// neither can stand in for the other: what a stranger uploads to CPAN under a private path is not looked
// at (and if CPAN's index lists it, that is refused and told), and a private mirror that somebody broke into puts
// nothing in the place of what is logged. What it has itself is passed on as it is: TLS is all that protects it.
//
// An index that lists private modules is in no log either. If the user says that the index is private, it comes
// from the private mirror: that mirror then says which version of every module is the newest, the archives of CPAN
// still verify, and that it shows an old state cannot be seen.
//
// # Refusals
//
// A refusal is a status with a reason that a person understands, because that line is all that some
// clients show: 403 where something is known to be wrong, 503 where it cannot be known. After a refused index
// every archive is refused, until that index verifies: clients would fall back on an old index from their
// own caches.
package mirror
