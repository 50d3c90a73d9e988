// Command bench measures a pauselog on the machine that it runs on, and Tessera beside it:
//
//	go run ./internal/bench                       # 1,000,000 entries, 5 rounds: about 6 minutes
//	go run ./internal/bench -n 100000 -rounds 1   # a first impression: about a minute
//	go run ./internal/bench -tessera=false        # the log alone: about 4 minutes
//	go run ./internal/bench -rows append,inclusion -json figures.json -markdown table.md
//	go run ./internal/bench -sizes 10000,1000000,10000000 -rounds 3   # how cost grows: about 20 minutes, 10 GB of disk
//
// It prints a table: of each row the median of the rounds, the lowest and the highest,
// and how many cores others used meanwhile. A second one, computed from the first, has each row beside what Tessera does, and
// against its aim, which is for two cores: met if the median reaches it. "Times better" is taken round by round, because the two
// take turns in each and what disturbs a round disturbs both: its median, lowest and highest; of rates it is ours by theirs,
// of times and sizes theirs by ours. With several sizes a third one says how many times as much each row costs
// with the most entries, and whether that is more than the logarithm grew; each round is then of all sizes, and the rows of micro,
// which do not depend on the log, show what chance did.
//
// -json writes the same with each round's value and the machine, -markdown the second and third table. Nothing else is written: the logs are made in a temporary folder (of -dir), which
// is removed also after an error or Ctrl-C. What is measured is always the real thing:
// Pebble on a disk, a head file that is synced with fdatasync, Ed25519 signatures, the
// strict check for repeated and conflicting submissions. A server is another process of
// this program that runs internal/daemon, as pauselogd does, with a token, on loopback
// without TLS; so client and server share the cores. Beware of a /tmp that is in memory:
// give -dir then. Absolute figures drift by half between two minutes of the same virtual
// machine; compare within one run.
//
// Entries are uploads of one path each, under 14,000 PAUSE ids, of 260 bytes on average: a quarter
// more than most of CPAN's own, which have shorter names. They are made before the clock starts; those of the log of n entries while
// it is filled, so that memory does not depend on n.
// Where a row says "on n entries", the log has n and, after each round's crash in the midst of
// appending, 5 % more; without the section start it keeps n. Proofs begin with some calls
// that are not counted, so that caches are warm; the file system's always are.
//
// # Tessera
//
// It is v1.0.4 with POSIX storage, in a module of its own (internal/bench/tessera, whose documentation says how it is measured
// and checked), each row in a new process. It gets the same entries, on the same disk, and settings with
// which it was fastest here; they are printed. Its entries count as appended when they are durable and integrated, before there is a checkpoint
// of them, which is in its favour; the rows "in a signed checkpoint" wait for that once, at the end. Deduplication is an
// option of it; the log's is always there, and a conflict check too. Over HTTP it is a handler like that of its own example
// server, one POST an entry, and the client is the one that posts to the log. Its proofs are made from a log of n entries, at most 1,000,000, by
// its own client from local files, with a proof builder for each goroutine. "Cold" is with none of the log's files in memory, on both sides.
//
// # Rows
//
//	append          durable appends, each answered once entries, tree and signed checkpoint are
//	                synced in Pebble and the second head is synced: 3,072 callers of one
//	                entry, and 64 callers of groups of 256
//	grpc-append     the same through a server: unary calls, 64 at a time; 4 streams of one
//	                entry a message with 1,024 on their way on each; 4 streams of 256 a message
//	http-append     the same by POST requests, one entry each, on 512 connections: as JSON to the log, plain to Tessera
//	idle            one append every 5 ms on n entries: from the submission to its durable,
//	                signed checkpoint; the median and the 99th of 100
//	grpc-idle       the same, as one unary call
//	fill            what making the log of n entries came to at its end, lookup index included; once a run
//	start           opening a log of n entries until it takes submissions: after a clean
//	                end, and after SIGKILL in the midst of appending
//	inclusion       proofs of random entries of n. "cold" is just after opening. "proof alone" is store.Inclusion;
//	                "with entry, verified" is what the frontend does for each call: read the
//	                entry, make the proof, hash and verify both
//	consistency     proofs between random sizes, alone; and with both old roots, verified
//	verify          offline verification of a bundle of a log of n entries, with the signatures
//	                of the log and a quorum of three witnesses, all Ed25519
//	grpc-inclusion  unary calls by random index, others each time, 64 at a time on one connection, to a server
//	                asked for one in sixteen of all entries before, for at most 20 s; a server whose handler
//	                returns one such reply without making it, in alternation; their ratio
//	published       one append every 25 ms, as a unary call, on n entries, until it is published: three witnesses, each a
//	                process that runs internal/witnessd as pausewitness does, all needed, must have cosigned
//	memory          of a server with n entries after 100,000 proofs: resident, and its peak
//	disk            the data folder's blocks on disk an entry, WAL included, with the lookup index,
//	                which follows behind, complete
//	audit           log/client's audit of the whole log, nothing in memory at the start: through a
//	                server, and of what it serves in a folder
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
