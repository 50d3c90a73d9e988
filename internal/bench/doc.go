// Command bench measures a pauselog on the machine that it runs on:
//
//	go run ./internal/bench                       # 1,000,000 entries, 3 rounds: about 5 minutes
//	go run ./internal/bench -n 100000 -rounds 1   # a first impression: under 40 seconds
//	go run ./internal/bench -rows append,inclusion -json figures.json
//
// It prints a table: of each row the median of the rounds, the lowest and the highest,
// and how many cores others used meanwhile. -json writes the same with each round's value and
// the machine. Nothing else is written: the logs are made in a temporary folder (of -dir), which
// is removed also after an error or Ctrl-C. What is measured is always the real thing:
// Pebble on a disk, a head file that is synced with fdatasync, Ed25519 signatures, the
// strict check for repeated and conflicting submissions. A server is another process of
// this program that runs internal/daemon, as pauselogd does, with a token, on loopback
// without TLS; so client and server share the cores. Beware of a /tmp that is in memory:
// give -dir then. Absolute figures drift by half between two minutes of the same virtual
// machine; compare within one run.
//
// Entries are uploads of one path each, under 14,000 PAUSE ids, of 260 bytes on average: a quarter
// more than most of CPAN's own, which have shorter names. They are made before the clock starts.
// Where a row says "on n entries", the log has n and, after each round's crash in the midst of
// appending, 5 % more; without the section start it keeps n. Proofs begin with some calls
// that are not counted, so that caches are warm; the file system's always are.
//
//	append          durable appends, each answered once entries, tree and signed checkpoint are
//	                synced in Pebble and the second head is synced: 1,024 callers of one
//	                entry, and 64 callers of groups of 256
//	grpc-append     the same through a server: unary calls, 64 at a time; 4 streams of one
//	                entry a message with 1,024 on their way on each; 4 streams of 256 a message
//	idle            one append every 5 ms on n entries: from the submission to its durable,
//	                signed checkpoint; the median and the 99th of 100
//	grpc-idle       the same, as one unary call
//	start           opening a log of n entries until it takes submissions: after a clean
//	                end, and after SIGKILL in the midst of appending
//	inclusion       proofs of random entries of n. "proof alone" is store.Inclusion;
//	                "with entry, verified" is what the frontend does for each call: read the
//	                entry, make the proof, hash and verify both
//	consistency     proofs between random sizes, alone; and with both old roots, verified
//	verify          offline verification of a bundle of a log of n entries, with the signatures
//	                of the log and a quorum of three witnesses, all Ed25519
//	grpc-inclusion  unary calls by index, 64 at a time on one connection; a server whose handler
//	                returns one such reply without making it, in alternation; their ratio
//	memory          of a server with n entries after 10,000 proofs: resident, and its peak
//	disk            the data folder's blocks on disk an entry, WAL included, with the lookup index,
//	                which follows behind, complete
//	audit           log/client's audit of the whole log through a server
//	micro           writing the second head (synced), signing a checkpoint, hashing, parsing an entry
//
// # Installers
//
//	go run ./internal/bench -installers                      # 7 rounds: under 4 minutes
//	go run ./internal/bench -installers -rows install -rounds 15
//
// measures what installing through pauselog costs the one who installs, in place of the log. PAUSELOG_CORPUS may name a
// CPAN mirror with Moo and what it needs; without it small distributions are made. A plain file server on loopback
// serves them. A log of n entries has all of them, signed by the log and three witnesses that are all
// needed, as a static proof tree in a folder.
//
//	install      cpanm --notest into an empty folder, builds included: plain; through pauselog mirror, which is
//	             running, with an empty and with a full cache; and with pauselog exec as a whole, full cache
//	fetch        the index and all archives by one client on one connection, nothing built, a mean file:
//	             plain; through a mirror that has just started, with an empty and with a full cache; and
//	             through that one again. Loopback alone is so fast that the ratios mean little: look at the milliseconds
//	judge        from an archive's digest to the verdict, in this process: the entry is found, its proof made and
//	             verified. And SHA-256 of the archives, apart
//	plugin       the same distributions with the CPAN shell, with and without CPAN::Plugin::TLog, builds included
//	perl-verify  pauselog-verify as a process: of one file, and how much longer each further file takes
//
// A ratio is that of the medians, its lowest and highest those of one round. "control" is the plain way
// once more. What chance does to its ratio it does to the others: what is not further from 1 than that was not seen.
// The builds themselves differ by a tenth from one time to the next, so that a few per cent take many rounds
// on a machine that does nothing else.
//
// -profile DIR writes CPU profiles of the rows that run in this process.
package main
