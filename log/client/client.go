// Package client reads a log with everything checked: a checkpoint is verified under
// the policy and must be consistent with the one remembered, a proof and an entry with the
// checkpoint. What it returns can be believed as far as the log's key and the policy's
// witnesses can, whoever sits in between.
package client

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

var (
	// ErrAnswer says that what a server answered proves nothing: it is not the policy's log,
	// or broken, or somebody changed the answer on its way.
	ErrAnswer = errors.New("the server's answer does not verify")

	// ErrBehind says that a server shows an older tree than one that was seen before. A copy
	// may lag; the log itself never goes back.
	ErrBehind = errors.New("the server shows an older tree than was seen before")
)

// A Misbehaviour is an error that carries its proof: two validly signed statements of the
// log which contradict each other.
type Misbehaviour struct {
	Evidence *verify.Evidence
}

func (m *Misbehaviour) Error() string { return "the log misbehaves: " + m.Evidence.String() }

// A Memory is the trust state: the newest checkpoint that was seen of each log. An
// implementation must be durable, refuse to go on when its content is damaged instead of
// forgetting it, and may be used by several processes.
type Memory interface {
	// Load returns the remembered checkpoint of a log, nil if there is none.
	Load(origin string) (note []byte, err error)
	// Save remembers a checkpoint in place of old, which is what Load returned. If another
	// process has saved one since, it returns ErrChanged and remembers nothing.
	Save(origin string, old, note []byte) error
}

// ErrChanged is returned by Memory.Save.
var ErrChanged = errors.New("the remembered checkpoint changed meanwhile")

// A Log is a reader of one log. Its methods may be called concurrently.
type Log struct {
	api    pb.LogClient
	policy *checkpoint.Policy
	memory Memory
	all    bool // ask for all signatures
}

// New returns a reader by a connection. memory may be nil: then nothing is remembered, and
// every checkpoint that verifies is taken.
func New(conn grpc.ClientConnInterface, policy *checkpoint.Policy, memory Memory) *Log {
	return &Log{api: pb.NewLogClient(conn), policy: policy, memory: memory}
}

// AllSignatures returns a reader like l whose proofs carry all signature lines, those of
// ML-DSA (3 KB each) too.
func (l *Log) AllSignatures() *Log {
	all := *l
	all.all = true
	return &all
}

// A Seen is a checkpoint that was verified under the policy and is consistent with all
// that was remembered. If the quorum is not met, Opened.QuorumMet is false.
type Seen struct {
	*checkpoint.Opened
	Note []byte
}

// Checkpoint returns the log's newest checkpoint, with all its signatures.
func (l *Log) Checkpoint(ctx context.Context) (*Seen, error) {
	r, err := l.api.GetCheckpoint(ctx, &pb.GetCheckpointRequest{AllSignatures: true})
	if err != nil {
		return nil, err
	}
	return l.see(ctx, []byte(r.Checkpoint))
}

// see verifies a checkpoint and remembers it.
func (l *Log) see(ctx context.Context, note []byte) (*Seen, error) {
	opened, err := l.policy.Open(note)
	if err != nil && !errors.Is(err, checkpoint.ErrQuorum) {
		return nil, fmt.Errorf("%w: its checkpoint: %w", ErrAnswer, err)
	}
	seen := &Seen{opened, note}
	if l.memory == nil {
		return seen, nil
	}
	for {
		old, err := l.memory.Load(opened.Origin)
		if err != nil {
			return nil, err
		}
		if old != nil {
			switch err := l.compare(ctx, old, seen); {
			case errors.Is(err, errNothingNew):
				return seen, nil
			case err != nil:
				return nil, err
			}
		}
		err = l.memory.Save(opened.Origin, old, note)
		if err == nil {
			return seen, nil
		}
		if !errors.Is(err, ErrChanged) {
			return nil, err
		}
	}
}

// compare checks that a checkpoint continues the remembered one.
func (l *Log) compare(ctx context.Context, old []byte, seen *Seen) error {
	before, err := l.policy.Open(old)
	if err != nil && !errors.Is(err, checkpoint.ErrQuorum) {
		// A policy with other keys: what was remembered says nothing under it.
		if errors.Is(err, checkpoint.ErrUnknownLog) {
			return nil
		}
		return fmt.Errorf("the remembered checkpoint: %w", err)
	}
	if e := verify.Contradiction(l.policy, old, seen.Note); e != nil {
		return &Misbehaviour{e}
	}
	switch {
	case before.Size == seen.Size:
		// Not saved: one tree comes with several sets of signatures, and a reader of many proofs
		// would write the file for each.
		return errNothingNew
	case before.Size < seen.Size:
		return l.extends(ctx, before, seen.Opened, old, seen.Note)
	}
	// Older than what was seen: an answer that was overtaken, if the server can prove that the
	// newer tree continues it, and else a server that has lost entries.
	behind := fmt.Errorf("%w: size %d, and before size %d", ErrBehind, seen.Size, before.Size)
	if seen.Size == 0 {
		return behind
	}
	if err := l.extends(ctx, seen.Opened, before, seen.Note, old); err != nil {
		if reason, _ := Reason(err); reason == "not-logged" || reason == "pending" {
			return behind
		}
		return err
	}
	return errNothingNew
}

// errNothingNew is a checkpoint that is consistent with the remembered one, and no newer.
var errNothingNew = errors.New("nothing new")

// extends checks that the newer checkpoint's tree continues that of the older.
func (l *Log) extends(ctx context.Context, older, newer *checkpoint.Opened, olderNote, newerNote []byte) error {
	hashes, err := l.consistency(ctx, older.Size, newer.Size)
	if err != nil {
		return err
	}
	if err := tree.VerifyConsistency(older.Size, newer.Size, hashes, older.Root, newer.Root); err != nil {
		if e := l.convict(ctx, older.Size, newer, olderNote, newerNote, hashes); e != nil {
			return &Misbehaviour{e}
		}
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

// convict returns evidence that the newer tree does not begin with the older one, if there
// is any in what the log itself says.
func (l *Log) convict(ctx context.Context, oldSize uint64, newer *checkpoint.Opened, olderNote, newerNote []byte, hashes []tree.Hash) *verify.Evidence {
	if bits.OnesCount64(oldSize) != 1 {
		return verify.PrefixContradiction(l.policy, olderNote, newerNote, hashes)
	}
	// A consistency proof from a power of two leaves the old root out. The newer tree's own is a
	// sibling on the way from the entry behind it; which one, the proof itself tells.
	r, err := l.api.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{
		Entry: &pb.GetInclusionProofRequest_Index{Index: oldSize}, TreeSize: newer.Size})
	if err != nil {
		return nil
	}
	siblings, err := hashesOf(r.Hashes)
	if err != nil {
		return nil
	}
	for _, h := range siblings {
		if e := verify.PrefixContradiction(l.policy, olderNote, newerNote, append([]tree.Hash{h}, hashes...)); e != nil {
			return e
		}
	}
	return nil
}

func (l *Log) consistency(ctx context.Context, oldSize, newSize uint64) ([]tree.Hash, error) {
	if oldSize == 0 {
		return nil, nil
	}
	r, err := l.api.GetConsistencyProof(ctx, &pb.GetConsistencyProofRequest{OldSize: oldSize, NewSize: newSize})
	if err != nil {
		return nil, err
	}
	return hashesOf(r.Hashes)
}

func hashesOf(b [][]byte) ([]tree.Hash, error) {
	if len(b) > tree.MaxProof {
		return nil, fmt.Errorf("%w: a proof of %d hashes", ErrAnswer, len(b))
	}
	out := make([]tree.Hash, len(b))
	for i := range b {
		if len(b[i]) != tree.HashSize {
			return nil, fmt.Errorf("%w: a hash of %d bytes", ErrAnswer, len(b[i]))
		}
		out[i] = tree.Hash(b[i])
	}
	return out, nil
}

// A Proven is an entry with its proof.
type Proven struct {
	Seen   *Seen
	Bundle *proof.Bundle
	Text   []byte // the bundle as a file has it
}

// ByPath proves what a path's file verifies by: the newest upload of an archive, or
// the newest entry of an index file.
func (l *Log) ByPath(ctx context.Context, path string) (*Proven, error) {
	return l.prove(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: path}})
}

// ByIndex proves one entry.
func (l *Log) ByIndex(ctx context.Context, index uint64) (*Proven, error) {
	p, err := l.prove(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: index}})
	if err == nil && p.Bundle.Index != index {
		return nil, fmt.Errorf("%w: asked for entry %d, got entry %d", ErrAnswer, index, p.Bundle.Index)
	}
	return p, err
}

// BySHA256 proves the newest upload or index entry of a digest.
func (l *Log) BySHA256(ctx context.Context, d entry.Digest) (*Proven, error) {
	return l.prove(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Sha256{Sha256: d.String()}})
}

func (l *Log) prove(ctx context.Context, r *pb.GetInclusionProofRequest) (*Proven, error) {
	r.AllSignatures = l.all
	a, err := l.api.GetInclusionProof(ctx, r)
	if err != nil {
		return nil, err
	}
	seen, err := l.see(ctx, []byte(a.Checkpoint))
	if err != nil {
		return nil, err
	}
	hashes, err := hashesOf(a.Hashes)
	if err != nil {
		return nil, err
	}
	b := &proof.Bundle{Entry: []byte(a.Entry), Index: a.Index, Hashes: hashes, Checkpoint: seen.Note}
	if err := b.Verify(seen.Size, seen.Root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	text, err := b.Marshal()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return &Proven{seen, b, text}, nil
}

// isLocal tells errors of this machine (the trust state) from those of a connection.
func isLocal(err error) bool {
	if _, ok := status.FromError(err); ok {
		return false
	}
	return !errors.Is(err, ErrAnswer) && !errors.Is(err, ErrBehind)
}

// Reason returns the word of an error that the log answered, from the list in the .proto
// file, and its metadata; "" if the error is not an answer of a log.
func Reason(err error) (string, map[string]string) {
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.OK {
		return "", nil
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == "pauselog" {
			return info.Reason, info.Metadata
		}
	}
	return "", nil
}

func message(err error) string { return status.Convert(err).Message() }

func isCanceled(err error) bool { return status.Code(err) == codes.Canceled }
