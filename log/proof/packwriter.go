package proof

import (
	"bytes"
	"fmt"
	"io"
)

// A PackWriter writes a pack proof by proof, and accepts what ParsePack does. After an error the text is
// of no use.
type PackWriter struct {
	w          io.Writer
	checkpoint []byte
	count      int
	last       uint64
	size       int
}

// NewPackWriter returns a writer for proofs that share this checkpoint, a signed note. Buffering is up to w.
func NewPackWriter(w io.Writer, checkpoint []byte) *PackWriter {
	return &PackWriter{w: w, checkpoint: bytes.Clone(checkpoint)}
}

// Len returns how many proofs were added.
func (p *PackWriter) Len() int { return p.count }

// Size returns how many bytes were written.
func (p *PackWriter) Size() int { return p.size }

// Add writes a proof. It must have an entry and the pack's checkpoint, and an index above that of the one before.
// Errors other than those of the writer wrap ErrMalformedPack.
func (p *PackWriter) Add(b *Bundle) error {
	refused := func(format string, args ...any) error {
		return fmt.Errorf("%w: entry %d: %w", ErrMalformedPack, b.Index, fmt.Errorf(format, args...))
	}
	switch {
	case b.Entry == nil:
		return refused("the bundle carries no entry")
	case !bytes.Equal(b.Checkpoint, p.checkpoint):
		return refused("the bundle has another checkpoint than the pack")
	case p.count > 0 && b.Index <= p.last:
		return refused("it comes after entry %d", p.last)
	case p.count == MaxProofs:
		return refused("over %d proofs", MaxProofs)
	}
	// As a bundle by itself, it has all rules checked.
	text, err := b.Marshal()
	if err != nil {
		return refused("%w", err)
	}
	section := text[len(Header)+1 : len(text)-len(p.checkpoint)]
	first := ""
	if p.count == 0 {
		first = PackHeader + "\n"
	}
	if p.size+len(first)+len(section)+len(checkpointLine)+1+len(p.checkpoint) > MaxPackSize {
		return refused("over %d bytes", MaxPackSize)
	}
	p.count, p.last = p.count+1, b.Index
	return p.write(first, string(section))
}

// Close writes the checkpoint. It does not close what is written to. A pack without proofs is an error.
func (p *PackWriter) Close() error {
	if p.count == 0 {
		return fmt.Errorf("%w: it has no proof", ErrMalformedPack)
	}
	return p.write(checkpointLine+"\n", string(p.checkpoint))
}

func (p *PackWriter) write(parts ...string) error {
	for _, s := range parts {
		n, err := io.WriteString(p.w, s)
		p.size += n
		if err != nil {
			return err
		}
	}
	return nil
}
