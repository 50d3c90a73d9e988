package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A watcher reads a log and its witnesses as a stranger does who has nothing of this project: with the
// packages of Go's checksum database, and a few lines for what C2SP tlog-cosignature adds to
// them.
type watcher struct {
	t         testing.TB
	n         *network
	keys      note.Verifiers
	logKey    note.Verifier
	witnesses map[string]bool // their names

	mu     sync.Mutex
	trees  map[shownTree]string // every tree that anybody signed and showed, and where
	newest map[string]int64     // by who showed it
}

type shownTree struct {
	size int64
	root tlog.Hash
}

func newWatcher(n *network) *watcher {
	n.t.Helper()
	w := &watcher{t: n.t, n: n, witnesses: map[string]bool{}, trees: map[shownTree]string{}, newest: map[string]int64{}}
	var err error
	if w.logKey, err = note.NewVerifier(n.vkeys[0]); err != nil {
		n.t.Fatal(err)
	}
	keys := []note.Verifier{w.logKey}
	for _, p := range n.witnesses {
		k, err := newCosigner(p.vkeys[0])
		if err != nil {
			n.t.Fatal(err)
		}
		keys = append(keys, k)
		w.witnesses[k.name] = true
	}
	w.keys = note.VerifierList(keys...)
	return w
}

// A cosigner verifies cosignatures of C2SP tlog-cosignature by an Ed25519 key.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("%q is no verifier key", vkey)
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	if len(key) != 1+ed25519.PublicKeySize || key[0] != 0x04 {
		return nil, fmt.Errorf("%s is no Ed25519 cosigner's key", vkey)
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if want := hex.EncodeToString(sum[:4]); want != parts[1] {
		return nil, fmt.Errorf("%s has the id %s", vkey, want)
	}
	return &cosigner{parts[0], binary.BigEndian.Uint32(sum[:]), key[1:]}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	return seconds > 0 && ed25519.Verify(c.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, msg), sig[8:])
}

// open verifies a checkpoint, which needs the log's signature and those of so many witnesses.
func (w *watcher) open(text string, quorum int) (shownTree, error) {
	n, err := note.Open([]byte(text), w.keys)
	if err != nil {
		return shownTree{}, fmt.Errorf("%w\n%s", err, text)
	}
	signed, cosigned := false, map[string]bool{}
	for _, s := range n.Sigs {
		signed = signed || s.Name == w.logKey.Name()
		if w.witnesses[s.Name] {
			cosigned[s.Name] = true
		}
	}
	if !signed || len(cosigned) < quorum {
		return shownTree{}, fmt.Errorf("signed by the log: %v, and by %d witnesses, expected %d\n%s", signed, len(cosigned), quorum, text)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != testOrigin || lines[3] != "" {
		return shownTree{}, fmt.Errorf("the checkpoint is %q", n.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return shownTree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return shownTree{size, root}, err
}

// see takes a checkpoint that somebody shows; who never shows a smaller one than before.
func (w *watcher) see(who, text string, quorum int) {
	tr, err := w.open(text, quorum)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.t.Errorf("%s: %v", who, err)
		return
	}
	if newest := w.newest[who]; tr.size < newest {
		w.t.Errorf("%s shows size %d after size %d", who, tr.size, newest)
	}
	w.newest[who] = tr.size
	if _, ok := w.trees[tr]; !ok {
		w.trees[tr] = who
	}
}

func (w *watcher) size(who string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest[who]
}

func witnessCheckpoint(p *witnessProgram) string {
	return fmt.Sprintf("http://%s/%x/checkpoint", p.address, sha256.Sum256([]byte(testOrigin)))
}

// watch looks at all that the log and the witnesses show until the context ends. What cannot be
// reached is tried again.
func (w *watcher) watch(ctx context.Context) (wait func()) {
	var wg sync.WaitGroup
	poll := func(who, url string, quorum int) {
		wg.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				if text, err := fetch(ctx, url); err == nil {
					w.see(who, text, quorum)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	poll("/checkpoint", "http://"+w.n.http+"/checkpoint", 2)
	for _, p := range w.n.witnesses {
		poll(p.name, witnessCheckpoint(p), 1)
	}
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			w.stream(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return wg.Wait
}

// stream sees what is published as it is published, until the stream ends.
func (w *watcher) stream(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.n.http+"/pauselog.v1.Log/WatchCheckpoints", nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // the log is down
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var m struct{ Checkpoint string }
		if json.Unmarshal(lines.Bytes(), &m) == nil && m.Checkpoint != "" {
			w.see("WatchCheckpoints", m.Checkpoint, 2)
		}
	}
}

// A history is all that a log holds, fetched and hashed.
type history struct {
	entries [][]byte
	hashes  []tlog.Hash // as package tlog stores them
}

func (h *history) root(size int64) (tlog.Hash, error) {
	return tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, err error) {
		for _, i := range indexes {
			if i >= int64(len(h.hashes)) {
				return nil, fmt.Errorf("there are only %d entries", len(h.entries))
			}
			found = append(found, h.hashes[i])
		}
		return found, nil
	}))
}

// fetchAll rebuilds the tree of a size from the tiles with the entries.
func (w *watcher) fetchAll(size int64) (*history, error) {
	h := &history{}
	for n := int64(0); n*256 < size; n++ {
		width := min(256, size-n*256)
		// C2SP tlog-tiles has the paths of tlog, without the height, and another word for the data.
		path := strings.Replace(tlog.Tile{H: 8, L: -1, N: n, W: int(width)}.Path(), "tile/8/data/", "tile/entries/", 1)
		text, err := fetch(w.t.Context(), "http://"+w.n.http+"/"+path)
		if err != nil {
			return nil, err
		}
		data := []byte(text)
		for range width {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s is cut short", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			if err := h.add(data[2:end]); err != nil {
				return nil, err
			}
			data = data[end:]
		}
		if len(data) > 0 {
			return nil, fmt.Errorf("%s is too long", path)
		}
	}
	return h, nil
}

func (h *history) add(entry []byte) error {
	more, err := tlog.StoredHashes(int64(len(h.entries)), entry, tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, _ error) {
		for _, i := range indexes {
			found = append(found, h.hashes[i])
		}
		return found, nil
	}))
	h.entries, h.hashes = append(h.entries, entry), append(h.hashes, more...)
	return err
}

// judge compares all that was seen, and all that was answered, with all that the log now holds.
func (w *watcher) judge(size int64, answers []*answered) {
	w.t.Helper()
	h, err := w.fetchAll(size)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for tr, who := range w.trees {
		if root, err := h.root(tr.size); err != nil || root != tr.root {
			w.t.Errorf("%s showed size %d with root %v; the log now holds %v, %v", who, tr.size, tr.root, root, err)
		}
	}
	bundles := 0
	for _, a := range answers {
		if a.index >= uint64(len(h.entries)) || string(h.entries[a.index]) != a.entry || tlog.RecordHash([]byte(a.entry)) != tlog.Hash(a.leaf) {
			w.t.Errorf("%s was answered as entry %d with\n%s", a.path, a.index, a.entry)
		}
		if !strings.Contains(a.entry, "\npath "+a.path+"\n") || !strings.Contains(a.entry, "\nsha256 "+a.sum+"\n") {
			w.t.Errorf("%s was answered with an entry of something else:\n%s", a.path, a.entry)
		}
		if a.bundle == "" {
			continue
		}
		bundles++
		if err := w.bundle(h, a); err != nil {
			w.t.Errorf("the bundle of %s: %v\n%s", a.path, err, a.bundle)
		}
	}
	w.t.Logf("%d entries, %d different trees were shown, %d answers, %d bundles", len(h.entries), len(w.trees), len(answers), bundles)
	if len(answers) == 0 || bundles == 0 || len(w.trees) == 0 {
		w.t.Error("too little was seen for this to mean anything")
	}
}

// bundle verifies a proof bundle (C2SP tlog-proof) and compares its checkpoint with the log.
func (w *watcher) bundle(h *history, a *answered) error {
	head, checkpoint, ok := strings.Cut(a.bundle, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" || lines[2] != fmt.Sprintf("index %d", a.index) ||
		lines[1] != "extra "+base64.StdEncoding.EncodeToString([]byte(a.entry)) {
		return errors.New("it is not of the form")
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tr, err := w.open(checkpoint, 2)
	if err != nil {
		return err
	}
	root, err := h.root(tr.size)
	if err != nil || root != tr.root {
		return fmt.Errorf("the log now holds another tree of size %d: %v, %v", tr.size, root, err)
	}
	return tlog.CheckRecord(proof, tr.size, tr.root, int64(a.index), tlog.RecordHash([]byte(a.entry)))
}
