package conformance

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// A reference is a witness in memory that is as plain as can be: one lock, one function from top to bottom in the order of
// the package comment's table. Its faults are ways in which a witness can be wrong.
type reference struct {
	faults  faults
	keys    []*checkpoint.SignerKey
	logs    map[string]*Log
	address string

	mu     sync.Mutex
	life   *http.Server // the process that is alive
	stored map[string]*storedCheckpoint
}

type storedCheckpoint struct {
	checkpoint checkpoint.Checkpoint
	note       string
	sigs       string
}

// faults are what is wrong with a broken witness; the zero value is honest.
type faults struct {
	unknownOriginIs403, sizeBeforeSignature                        bool
	lenientOld, lenientBase64, lenientBody, crlf, manyProofLines   bool
	duplicateLines, extensionLines, anyLogsKey, anyGoodLine        bool
	firstContactAnySize, zeroRootUnchecked, proofWithOldZero       bool
	forkConflict, conflictWithoutType, oldBeyondConflict           bool
	noProofCheck, noLock, forgetsOnKill, answersBeforePersisting   bool
	zeroTime, clockBack, repeatsAnswer, onlyEd25519, echoesNote    bool
	noMonitoring, showsNeverCosigned, showsAllLines, anyHashCase   bool
	smallBody, drains, stallsForever, anyMethod, redirects, closes bool
	emptyRefused, subtreeLegacy, subtreeAnyCosignature             bool
	subtreeNoProof                                                 bool
}

func startReference(t testing.TB, f faults) (*reference, *Target) {
	t.Helper()
	logs, err := GenerateLogs(Origins)
	if err != nil {
		t.Fatal(err)
	}
	w := &reference{faults: f, logs: make(map[string]*Log), stored: make(map[string]*storedCheckpoint)}
	for i := range logs {
		w.logs[logs[i].Origin] = &logs[i]
	}
	target := &Target{Logs: logs, Patience: 5 * time.Second, Lag: 2 * time.Second, Restart: w.restart}
	for _, alg := range []checkpoint.Algorithm{checkpoint.CosignatureV1, checkpoint.MLDSA44} {
		k, err := checkpoint.GenerateSigner(alg, "witness.example/reference", nil)
		if err != nil {
			t.Fatal(err)
		}
		w.keys = append(w.keys, k)
		target.Witness = append(target.Witness, k.Verifier())
	}
	w.address = "127.0.0.1:0"
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kill)
	target.Prefix = "http://" + w.address + "/w"
	return w, target
}

// start begins a life: handlers of an earlier one can no longer change anything.
func (w *reference) start() error {
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		return err
	}
	w.address = l.Addr().String()
	server := &http.Server{ReadTimeout: 2 * time.Second, IdleTimeout: 2 * time.Second, WriteTimeout: 4 * time.Second, MaxHeaderBytes: 16 << 10}
	if w.faults.stallsForever {
		server.ReadTimeout, server.IdleTimeout = 0, 0
	}
	server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.handle(server, rw, r) })
	w.mu.Lock()
	w.life = server
	w.mu.Unlock()
	go server.Serve(l)
	return nil
}

func (w *reference) kill() {
	w.mu.Lock()
	server := w.life
	w.life = nil
	if w.faults.forgetsOnKill {
		clear(w.stored)
	}
	w.mu.Unlock()
	server.Close()
}

func (w *reference) restart(context.Context) error {
	w.kill()
	return w.start()
}

// A reply is a status with a text.
type reply struct {
	status int
	text   string
	kind   string
}

func (w *reference) handle(life *http.Server, rw http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/w/")
	hash := regexp.MustCompile("^([0-9a-f]{64})/checkpoint$")
	if w.faults.anyHashCase {
		path = strings.ToLower(path)
	}
	post := path == "add-checkpoint" || path == "sign-subtree"
	get := hash.MatchString(path)
	if w.faults.redirects && strings.Contains(r.URL.Path, "//") {
		http.Redirect(rw, r, strings.ReplaceAll(r.URL.Path, "//", "/"), http.StatusMovedPermanently)
		return
	}
	if w.faults.closes {
		rw.Header().Set("Connection", "close")
	}
	var a reply
	switch {
	case !ok || !post && !get:
		a = reply{status: 404, text: "no such page\n"}
	case post && r.Method != "POST" && !w.faults.anyMethod:
		rw.Header().Set("Allow", "POST")
		a = reply{status: 405, text: "POST\n"}
	case get && r.Method != "GET" && r.Method != "HEAD":
		rw.Header().Set("Allow", "GET, HEAD")
		a = reply{status: 405, text: "GET\n"}
	case get:
		a = w.monitor(path)
	case r.Header.Get("Content-Encoding") != "":
		a = reply{status: 415, text: "no encodings\n"}
	default:
		limit := int64(200 << 10)
		if w.faults.smallBody {
			limit = 16 << 10
		}
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, limit))
		if w.faults.drains {
			io.Copy(io.Discard, r.Body)
		}
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			a = reply{status: 413, text: "too large\n"}
			if w.faults.drains {
				io.Copy(io.Discard, r.Body)
			}
		} else if err != nil {
			a = reply{status: 400, text: "cut off\n"}
		} else if path == "sign-subtree" {
			a = w.signSubtree(string(body))
		} else {
			a = w.add(life, string(body))
		}
	}
	if a.kind == "" {
		a.kind = "text/plain; charset=utf-8"
	}
	rw.Header().Set("Content-Type", a.kind)
	rw.WriteHeader(a.status)
	io.WriteString(rw, a.text)
}

func (w *reference) monitor(path string) reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults.noMonitoring {
		return reply{status: 404}
	}
	for origin := range w.logs {
		if checkpointPath(origin) != path {
			continue
		}
		if s := w.stored[origin]; s != nil {
			return reply{status: 200, text: s.note + s.sigs}
		}
		if w.faults.showsNeverCosigned {
			return reply{status: 200}
		}
	}
	return reply{status: 404, text: "never cosigned\n"}
}

// parseHead takes the lines before the blank line apart.
func (w *reference) parseHead(body string) (first string, hashes []tree.Hash, note string, err error) {
	if w.faults.crlf {
		body = strings.ReplaceAll(body, "\r\n", "\n")
	}
	head, note, ok := strings.Cut(body, "\n\n")
	if !ok {
		return "", nil, "", errors.New("no blank line")
	}
	lines := strings.Split(head, "\n")
	if len(lines) > 65 && !w.faults.manyProofLines {
		return "", nil, "", errors.New("too many lines")
	}
	for _, l := range lines[1:] {
		encoding := base64.StdEncoding.Strict()
		if w.faults.lenientBase64 {
			encoding = base64.StdEncoding
		}
		b, err := encoding.DecodeString(l)
		if err != nil || len(b) != 32 || strings.Contains(l, "\r") {
			return "", nil, "", errors.New("not a hash")
		}
		hashes = append(hashes, tree.Hash(b))
	}
	return lines[0], hashes, note, nil
}

func number(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil && strconv.FormatUint(n, 10) == s
}

func (w *reference) add(life *http.Server, body string) reply {
	// 1: the body is a request.
	first, proof, noteBytes, err := w.parseHead(body)
	oldText, ok := strings.CutPrefix(first, "old ")
	old, decimal := number(oldText)
	if w.faults.lenientOld {
		old, err = strconv.ParseUint(strings.TrimLeft(oldText, "+ 0"), 10, 63)
		if err != nil {
			old, err = 0, nil
		}
		decimal = true
	}
	if err != nil || !ok || !decimal || len(proof) > 63 && !w.faults.manyProofLines {
		return reply{status: 400, text: "malformed\n"}
	}
	origin, _, _ := strings.Cut(noteBytes, "\n")
	if w.faults.lenientBody {
		noteBytes = strings.TrimRight(noteBytes, " \n\x00") + "\n"
	}
	if w.faults.duplicateLines {
		lines := strings.SplitAfter(noteBytes, "\n")
		var kept []string
		for i, l := range lines {
			if i == 0 || l != lines[i-1] {
				kept = append(kept, l)
			}
		}
		noteBytes = strings.Join(kept, "")
	}
	note, err := checkpoint.ParseNote([]byte(noteBytes))
	if err != nil {
		return reply{status: 400, text: "no note\n"}
	}

	// 2 and 3: a log that is known, and a signature of its keys.
	log := w.logs[origin]
	var verified []checkpoint.Signature
	bad, strange := false, log == nil
	if log != nil {
		keys := log.Keys
		if w.faults.anyLogsKey {
			keys = nil
			for _, l := range w.logs {
				keys = append(keys, l.Keys...)
			}
		}
		for _, s := range note.Signatures {
			for _, k := range keys {
				if !k.Verifier().Matches(s) {
					continue
				}
				if w.verifies(k.Verifier(), note.Text, s) {
					verified = append(verified, s)
				} else {
					bad = true
				}
			}
		}
	}
	if w.faults.anyGoodLine {
		bad = false
	}
	switch {
	case strange && w.faults.unknownOriginIs403:
		return reply{status: 403, text: "unknown\n"}
	case strange:
		return reply{status: 404, text: "unknown\n"}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life != life {
		panic(http.ErrAbortHandler) // the dead do not answer
	}
	var known checkpoint.Checkpoint
	known.Root = tree.EmptyRoot
	if s := w.stored[origin]; s != nil {
		known = s.checkpoint
	}
	conflict := reply{status: 409, text: fmt.Sprintf("%d\n", known.Size), kind: sizeType}
	if w.faults.conflictWithoutType {
		conflict.kind = ""
	}
	if w.faults.sizeBeforeSignature && old != known.Size {
		return conflict
	}
	if bad || len(verified) == 0 {
		return reply{status: 403, text: "not signed\n"}
	}

	// 4 to 6: the checkpoint.
	text := note.Text
	if w.faults.extensionLines {
		text = strings.Join(strings.SplitAfter(text, "\n")[:3], "")
	}
	c, err := checkpoint.ParseText(text)
	emptyOtherRoot := errors.Is(err, checkpoint.ErrEmptyRoot) && strings.Count(text, "\n") == 3
	if err != nil && !emptyOtherRoot {
		return reply{status: 400, text: "no checkpoint\n"}
	}
	switch {
	case old > c.Size && w.faults.oldBeyondConflict:
		return conflict
	case old > c.Size:
		return reply{status: 400, text: "old beyond\n"}
	case emptyOtherRoot && !w.faults.zeroRootUnchecked, c.Size == 0 && w.faults.emptyRefused:
		return reply{status: 422, text: "size 0\n"}
	}

	// 7 to 10: the step from what was cosigned last.
	if w.faults.noLock {
		w.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		w.mu.Lock()
	}
	switch {
	case w.faults.firstContactAnySize && w.stored[origin] == nil:
		proof, old, known = nil, 0, checkpoint.Checkpoint{Root: tree.EmptyRoot}
	case old != known.Size:
		return conflict
	case old == 0 && len(proof) > 0 && w.faults.proofWithOldZero:
		proof = nil
	case old == 0 && len(proof) > 0:
		return reply{status: 422, text: "a proof from nothing\n"}
	}
	if old == c.Size && known.Root != c.Root && w.faults.forkConflict {
		return reply{status: 409}
	}
	if err := tree.VerifyConsistency(old, c.Size, proof, known.Root, c.Root); err != nil && !w.faults.noProofCheck && !w.faults.zeroRootUnchecked {
		return reply{status: 422, text: "no proof\n"}
	}

	// 11: persist, then answer.
	now := uint64(time.Now().Unix())
	if w.faults.clockBack && len(w.stored) > 0 && c.Size == known.Size {
		now -= 5
	}
	var sigs strings.Builder
	for _, k := range w.keys {
		if w.faults.onlyEd25519 && k.Verifier().Algorithm() == checkpoint.MLDSA44 {
			continue
		}
		s, err := k.Sign(c, now)
		if err != nil {
			return reply{status: 500, text: err.Error()}
		}
		if w.faults.zeroTime {
			clear(s.Blob[:8])
		}
		sigs.WriteString(s.Line())
	}
	s := &storedCheckpoint{checkpoint: c, sigs: sigs.String()}
	lines := verified
	if w.faults.showsAllLines {
		lines = note.Signatures
	}
	s.note = c.Text() + "\n"
	for _, l := range lines {
		s.note += l.Line()
	}
	if prev := w.stored[origin]; w.faults.repeatsAnswer && prev != nil && prev.checkpoint == c {
		return reply{status: 200, text: prev.sigs}
	}
	if w.faults.answersBeforePersisting {
		time.AfterFunc(20*time.Millisecond, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.life == life {
				w.stored[origin] = s
			}
		})
	} else {
		w.stored[origin] = s
	}
	if w.faults.echoesNote {
		return reply{status: 200, text: s.note + s.sigs}
	}
	return reply{status: 200, text: s.sigs}
}

// verifies checks a line, also over a text that is no checkpoint.
func (w *reference) verifies(k *checkpoint.VerifierKey, text string, s checkpoint.Signature) bool {
	_, err := k.Verify(text, s)
	return err == nil
}

func (w *reference) signSubtree(body string) reply {
	first, hashes, noteBytes, err := w.parseHead(body)
	fields := strings.Split(first, " ")
	if err != nil || len(fields) != 3 || fields[0] != "subtree" || len(hashes) < 1 || len(hashes) > 64 {
		return reply{status: 400, text: "malformed\n"}
	}
	start, ok1 := number(fields[1])
	end, ok2 := number(fields[2])
	note, err := checkpoint.ParseNote([]byte(noteBytes))
	if !ok1 || !ok2 || !tree.ValidSubtree(start, end) || err != nil {
		return reply{status: 400, text: "malformed\n"}
	}
	origin, _, _ := strings.Cut(noteBytes, "\n")
	if w.logs[origin] == nil {
		return reply{status: 404, text: "unknown\n"}
	}
	c, err := checkpoint.ParseText(note.Text)
	if err != nil || end > c.Size {
		return reply{status: 400, text: "malformed\n"}
	}
	own := false
	for _, k := range w.keys {
		_, err := k.Verifier().Verify(note.Text, note.Signatures[0])
		own = own || k.Verifier().Matches(note.Signatures[0]) && err == nil
	}
	if (!own || len(note.Signatures) != 1) && !w.faults.subtreeAnyCosignature {
		return reply{status: 403, text: "not cosigned\n"}
	}
	if err := tree.VerifySubtree(start, end, c.Size, hashes[0], hashes[1:], c.Root); err != nil && !w.faults.subtreeNoProof {
		return reply{status: 422, text: "no proof\n"}
	}
	sig, err := w.keys[1].SignSubtree(origin, start, end, hashes[0])
	if err != nil {
		return reply{status: 500, text: err.Error()}
	}
	if w.faults.subtreeLegacy {
		k := w.keys[1].Verifier()
		return reply{status: 200, text: checkpoint.Signature{Name: k.Name(), KeyID: k.KeyID(), Blob: append(make([]byte, 8), sig...)}.Line()}
	}
	return reply{status: 200, text: base64.StdEncoding.EncodeToString(sig) + "\n"}
}
