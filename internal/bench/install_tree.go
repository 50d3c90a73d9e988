package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
)

// writeTree writes the proof tree of a log of n entries, in which those of some files are spread evenly, and whose
// checkpoint the log and three witnesses signed. It returns a policy that needs them all. One list of entries
// makes one tree, so this one is what an export of such a log would write.
func writeTree(ctx context.Context, dir string, n int, files []logged) ([]byte, error) {
	if n < len(files) {
		return nil, fmt.Errorf("a log of %d entries is too small for %d files", n, len(files))
	}
	b := prooftree.NewBuilder()
	made := map[string]bool{} // folders
	put := func(name string, data []byte) error {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if parent := filepath.Dir(name); !made[parent] {
			made[parent] = true
			if err := os.MkdirAll(parent, 0o777); err != nil {
				return err
			}
		}
		return os.WriteFile(name, data, 0o666)
	}
	shards := make([][]prooftree.Line, prooftree.Shards)
	now := entry.TimeOf(time.Now())
	step := n / len(files)
	for i := range n {
		e := upload(uint64(i), now)
		if i%step == step-1 && i/step < len(files) {
			e = files[i/step].entry(now)
		}
		text, err := e.Marshal()
		if err != nil {
			return nil, err
		}
		if err := b.Add(text); err != nil {
			return nil, err
		}
		shard := prooftree.ShardOf(e.Path)
		shards[shard] = append(shards[shard], prooftree.Line{Index: uint64(i), Path: e.Path})
		for _, f := range b.Full() {
			if err := put(f.Tile.Path(), f.Data); err != nil {
				return nil, err
			}
		}
		if i%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	for f := range b.Partial() {
		if err := put(f.Tile.Path(), f.Data); err != nil {
			return nil, err
		}
	}
	for i, lines := range shards {
		if err := put(prooftree.ShardName(byte(i)), prooftree.FormatShard(lines)); err != nil {
			return nil, err
		}
	}
	note, policy, err := witnessed(checkpoint.Checkpoint{Origin: origin, Size: b.Size(), Root: b.Root()})
	if err != nil {
		return nil, err
	}
	return policy, put("checkpoint", note)
}

func (f logged) entry(at entry.Time) entry.Entry {
	e := entry.Entry{Kind: f.kind, Path: f.path, SHA256: f.file.SHA256, Size: f.file.Size, Time: at}
	if f.kind == entry.Upload {
		e.By, e.Seen = entry.Author(f.path), entry.SeenUpload
	}
	return e
}

// witnessed signs a checkpoint with new keys, of a log and three witnesses, and returns it with a policy that
// needs all of them. The log has no address: all that is asked for is in the tree.
func witnessed(c checkpoint.Checkpoint) (note, policy []byte, err error) {
	now := uint64(time.Now().Unix())
	n := checkpoint.Note{Text: c.Text()}
	key, err := checkpoint.GenerateSigner(checkpoint.Ed25519, c.Origin, nil)
	if err != nil {
		return nil, nil, err
	}
	sig, err := key.Sign(c, now)
	if err != nil {
		return nil, nil, err
	}
	n = n.With(sig)
	policy = fmt.Appendf(nil, "log %s\n", key.Verifier())
	for i := range 3 {
		w, err := checkpoint.GenerateSigner(checkpoint.CosignatureV1, fmt.Sprintf("witness%d.example", i), nil)
		if err != nil {
			return nil, nil, err
		}
		sig, err := w.Sign(c, now)
		if err != nil {
			return nil, nil, err
		}
		n = n.With(sig)
		policy = fmt.Appendf(policy, "witness w%d %s\n", i, w.Verifier())
	}
	return n.Marshal(), append(policy, "group all all w0 w1 w2\nquorum all\n"...), nil
}
