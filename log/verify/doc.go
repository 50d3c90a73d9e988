// Package verify answers the one question that everything else in this project exists
// for: is this file what was logged? Bytes' digest, path, proof bundle and policy go in,
// exactly one [Outcome] comes out, with the reason in words that a person can act on.
// The command line, the verifying mirror, the monitor and the web page all call [Verify], so
// that a file cannot pass in one of them and fail in another.
//
// The package is pure. It opens no socket and no file and reads no clock: what the caller
// could not get is said by an [Absence], and the time is a parameter.
//
// # The order of things
//
// A bundle is believed in steps. It is taken apart; its checkpoint is verified under the
// policy; the entry's raw bytes are found to be a leaf of the checkpoint's tree; the
// quorum of witnesses is counted; and only then does anyone look at what the entry says.
// Parsing what nobody vouches for would tell an attacker's story to the reader, and an entry
// of a format newer than this program is still proven to be in the log: the reader is
// asked to upgrade, not told of tampering.
//
// Several things can be wrong at once. Then the outcome is the first of [Precedence]
// that holds: first what makes an answer impossible (usage, error), then what is
// wrong with the log (misbehaviour), the proof (invalid-proof, policy, upgrade), the
// file (mismatch, revoked, stale), and last what is merely missing.
//
// # What makes a file verify
//
// An upload entry, for a file below authors/id, or an index entry, for an index, of
// the path that the caller asked for and of the digest and size that the caller holds.
// A delete, conflict or void entry of the same path and digest is in the log too, and
// proves no such thing.
//
// # Revocation
//
// The log's operator can void an upload entry: a void is an entry of its own that names
// path, digest and the index of the entry that must not be trusted. It
// revokes every upload entry of that path and digest that stands before it, not only
// the one that it names: after a deletion and a restoration the same bytes are logged twice,
// and the older entry must not outlive the newer. An upload entry after the void is the
// log's newer word and counts again. A void speaks of entries of its own log only. Where no
// entry is at hand to compare it with, a void of the caller's path and digest is the last
// word on them.
//
// A void is believed as any entry is: by a bundle that meets the policy. What does not
// is ignored, and listed as a check that failed; otherwise any mirror could revoke
// any file. The reverse cannot be had offline: whoever hands over a bundle can leave the void
// out, and the bundle stays as valid as it was. A caller who can reach the log, or a copy of
// its path index, therefore asks for the void, and must never hide one that it got.
//
// # Misbehaviour
//
// Checkpoints that the caller remembers, and those of all bundles at hand, are
// compared: two validly signed ones of one log and one size have one root, or the log has shown
// two trees. [Evidence] carries the two statements and convinces anyone who has the log's
// key, without trusting whoever found it. Between checkpoints of different sizes only a
// consistency proof tells, which takes a connection: [PrefixContradiction] is for
// callers who got one.
//
// # What an outcome does not say
//
// Verified means: logged, and the same for everyone. A malicious release by its
// own author is logged like every other.
package verify
