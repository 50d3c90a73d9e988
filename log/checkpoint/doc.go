// Package checkpoint is what a log and its witnesses sign, and what a reader
// needs to believe it: the checkpoint text (C2SP tlog-checkpoint), the signed
// note around it (C2SP signed-note), the keys and signatures of logs and
// witnesses (C2SP tlog-cosignature), and the policy that says which of them
// are trusted (C2SP tlog-policy).
//
// A checkpoint is three lines, and a note adds signature lines to it:
//
//	log.example/pause                              origin: which log
//	8                                              size: how many entries
//	XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=   root: of the tree of that size
//
//	— log.example/pause E4ML+w735cVr/gE+CegS...
//	— witness.example/w1 3xwKNQAAAABpVbkAW4fO...
//
// # From bytes to trust
//
// [ParseNote] takes a note apart and [ParseText] a checkpoint; neither verifies
// anything. [Policy.Open] does all of it and is what a reader calls: it parses,
// checks every signature line whose key the policy lists, and evaluates the
// quorum of witnesses. Its errors are sentinels for [errors.Is], one for each
// thing that a caller would do differently.
//
// # One encoding
//
// Every value has exactly one accepted encoding: a note, a text or a key that
// parses is, written again, the same bytes. Two parsers that disagree on what a
// signed text says are how a log shows different trees to different readers,
// and a witness that stores and signs what it parsed must not change it. So
// base64 is canonical, numbers have no leading zeros, lines end in LF alone,
// and no two signature lines have the same key name and key id.
//
// # Keys
//
// Three signature types are known: [Ed25519] (0x01), by which the log signs
// each checkpoint; [CosignatureV1] (0x04), Ed25519 with a time, by witnesses;
// and [MLDSA44] (0x06), the post-quantum signature with a time, by both. The
// key name of a log's key is the log's origin.
//
// The package opens no socket and no file and reads no clock: the time is
// always a parameter, in seconds since 1970.
package checkpoint
