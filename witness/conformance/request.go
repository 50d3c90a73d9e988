package conformance

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// A history is what a log's entries are: the honest ones up to index from, those of the fork after it.
// The zero history is the honest log.
type history struct {
	fork string
	from uint64
}

var honest = history{}

// node returns the root of the entries from start to before end, as a tree of their own.
func (h history) node(start, end uint64) (tree.Hash, error) {
	switch end - start {
	case 0:
		return tree.EmptyRoot, nil
	case 1:
		if h.fork != "" && start >= h.from {
			return tree.LeafHash(fmt.Appendf(nil, "%s %d", h.fork, start)), nil
		}
		return tree.LeafHash(fmt.Appendf(nil, "entry %d", start)), nil
	}
	k := uint64(1)
	for k*2 < end-start {
		k *= 2
	}
	left, err := h.node(start, start+k)
	if err != nil {
		return tree.Hash{}, err
	}
	right, err := h.node(start+k, end)
	if err != nil {
		return tree.Hash{}, err
	}
	return tree.NodeHash(left, right), nil
}

func (h history) root(size uint64) tree.Hash {
	root, _ := h.node(0, size) // node never fails
	return root
}

// proof returns the lines of the consistency proof between two sizes: none from 0 and to itself.
func (h history) proof(old, size uint64) []string {
	if old == 0 || old >= size {
		return nil
	}
	return h.subtreeProof(0, old, size)
}

func (h history) subtreeProof(start, end, size uint64) []string {
	hashes, err := tree.SubtreeProof(start, end, size, h.node)
	if err != nil {
		panic("conformance: " + err.Error()) // every caller names a subtree
	}
	return lines(hashes)
}

func lines(hashes []tree.Hash) []string {
	var l []string
	for _, h := range hashes {
		l = append(l, h.String())
	}
	return l
}

// filler returns n proof lines of the right form that prove nothing.
func filler(n int) []string {
	hashes := make([]tree.Hash, n)
	for i := range hashes {
		hashes[i] = tree.LeafHash([]byte(strconv.Itoa(i)))
	}
	return lines(hashes)
}

// A request is an add-checkpoint request in parts that can each be made wrong.
type request struct {
	head  string // the first line without its newline
	proof []string
	text  string // the checkpoint, with its newline

	log    *Log // whose Ed25519 key signs the text, when sigs is nil
	forged bool // the signature does not verify
	sigs   []string
}

// request returns the request of the log itself, as the specification has it.
func (l *Log) request(h history, old, size uint64) *request {
	return &request{
		head:  oldLine(old),
		proof: h.proof(old, size),
		text:  checkpoint.Checkpoint{Origin: l.Origin, Size: size, Root: h.root(size)}.Text(),
		log:   l,
	}
}

func oldLine(old uint64) string { return "old " + strconv.FormatUint(old, 10) }

// signatures returns the note's signature lines.
func (r *request) signatures() []string {
	if r.sigs != nil {
		return r.sigs
	}
	line := r.log.signText(r.text)
	if r.forged {
		line.Blob[7] ^= 1
	}
	return []string{line.Line()}
}

func (r *request) note() string { return r.text + "\n" + strings.Join(r.signatures(), "") }

func (r *request) bytes() string {
	return strings.Join(append([]string{r.head}, r.proof...), "\n") + "\n\n" + r.note()
}

// signText signs any text with the log's Ed25519 key, also what is no checkpoint: whether a witness refuses
// it must not depend on a signature that could not be made.
func (l *Log) signText(text string) checkpoint.Signature {
	key := l.key(checkpoint.Ed25519)
	// PRIVATE+KEY+name+id+base64 of type and seed. Names have no plus sign; base64 has.
	parts := strings.SplitN(key.Secret(), "+", 5)
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		panic("conformance: not an Ed25519 key as text")
	}
	return checkpoint.Signature{
		Name:  l.Origin,
		KeyID: key.Verifier().KeyID(),
		Blob:  ed25519.Sign(ed25519.NewKeyFromSeed(seed[1:]), []byte(text)),
	}
}

// sign signs a checkpoint with the log's key of a type.
func (l *Log) sign(alg checkpoint.Algorithm, c checkpoint.Checkpoint) (checkpoint.Signature, error) {
	return l.key(alg).Sign(c, now())
}

// strangerLine is a line as if by an ML-DSA-44 key that nobody knows.
func strangerLine(i int) string {
	blob := make([]byte, 8+2420)
	binary.BigEndian.PutUint64(blob, now())
	for j := 8; j < len(blob); j++ {
		blob[j] = byte(i + j)
	}
	return checkpoint.Signature{Name: fmt.Sprintf("stranger.example/%d", i), KeyID: uint32(i), Blob: blob}.Line()
}
