// Package witness is what a witness does: it looks at the checkpoints of logs that it was
// told of, and cosigns one only if the log did nothing but append since the last. Whoever
// wants the cosignatures of several independent witnesses on a checkpoint can then not be shown another tree
// than everybody else, not even by one who has the log's key (C2SP tlog-witness).
//
// So a witness is worth what it remembers. A Witness distrusts its clients, its clock, its
// signers and itself:
//
//   - What it signs is a re-encoding of what it parsed, never the client's bytes.
//   - What it keeps and hands on has only signature lines that it verified or made.
//   - What a signer returns is verified before it is used.
//   - All checks are made against the stored checkpoint while no other request of that log is under
//     way, and the store compares again when it replaces it (package state).
//   - A time is never signed that is before one that was signed, unless an operator accepted
//     the clock.
//
// # The order
//
// AddCheckpoint checks, signs, persists the log's record, persists the witness's head, and
// only then returns the signatures. A crash, or an error,
//
//   - before the record is on disk leaves the old checkpoint; the signatures went nowhere;
//   - between record and head leaves a state that the next start completes;
//   - after the head leaves the new checkpoint. The log that was not answered asks again, is
//     told the new size with status 409, and gets new signatures of the same checkpoint.
//
// A signature that gets out is thus always of a checkpoint that is on disk in both places.
//
// # Evidence
//
// A log that signs two trees makes a proof against itself. The Witness keeps both notes, as
// far as files are allowed (EvidenceDir), and whatever it answers.
package witness
