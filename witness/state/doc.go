// Package state is what a witness has seen: of each log the size and root that it cosigned
// last. It is all that keeps a witness from signing a fork, so the package would rather end
// the process than guess.
//
// # On disk
//
// Each log has a record, canonical JSON, in a file of its own with two slots (package slot):
// <folder>/<origin hash>.log. Every change of any record takes the next number of one
// sequence, and the record carries it. A head file outside of the folder (package head) says
// how far the sequence is, and the digest of all records: SHA-256 over the pairs of origin
// hash and SHA-256 of the record's bytes, in order of the origin hash.
//
// # The order of writing
//
// A change writes the record, then the head, then shows it in memory; only then is anybody
// answered.
//
//   - A crash before or during the record's write leaves the old record: nothing happened.
//   - A crash between the two writes leaves the folder one change ahead of the head. The next
//     start finds that with the record's previous value, still in its other slot, the digest
//     is the head's, and writes the head. The change is one that nobody was told of, and that
//     would have been told: to keep it is as good as to undo it, and a signature that did get
//     out is accounted for.
//   - A crash after both leaves a change that nobody may have been told of. A log that asks
//     again finds it.
//
// A write or a sync that fails has an unknown outcome. The State then refuses everything,
// with ErrBroken, and has the process ended; the next start reads what there is.
//
// # What is refused
//
// Open refuses, with ErrRefused, whatever else the two say: a folder that was lost, emptied or
// restored, a record that was removed or damaged or that is of another history, an older head,
// no head. There is no override. The newest copy of what is older has to be put back.
//
// A State is never made as a side effect: Init does it, which is a deliberate act, and refuses
// where a folder or a head file exists. Nor is a log that is not known taken to be at size 0.
//
// # What cannot be told
//
// If folder and head were both restored to the same earlier moment, they agree, and nothing
// here can tell. Only the logs can: they remember the larger size that this witness cosigned,
// and a checkpoint sent with that size as the old one is answered 409 with a smaller size than
// the log was once given. So the two must not be in one backup, and neither should be restored
// from one; a count of starts, as the log keeps it beside its store, would be restored with
// them and is left out.
//
// When the state is really gone, the keys must be retired: taken out of use for ever, and
// their owners' policies told. A new witness then starts with a new name, or at least with new
// keys. To start again from nothing with the old keys is to be ready to sign any fork.
package state
