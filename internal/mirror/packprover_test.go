package mirror

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

const deletedPath = "authors/id/E/ET/ETHER/Deleted-1.tar.gz"

// packed is a pack of an upload, a voided and a deleted one, and two snapshots of an index.
func packed(t *testing.T) *proof.Pack {
	t.Helper()
	deletion := &entry.Entry{Kind: entry.Delete, Path: deletedPath, SHA256: digest(otherFile), Time: entry.TimeOf(logged), By: "ETHER", Seen: entry.SeenUpload}
	newer := snapshot(indexPath, zipped("newer"))
	newer.Time++
	all := bundles(key(1, checkpoint.Ed25519, origin), upload(goodPath, goodFile), upload(voidedPath, voided),
		&entry.Entry{Kind: entry.Void, Path: voidedPath, SHA256: digest(voided), Index: 1, Time: entry.TimeOf(logged)},
		upload(deletedPath, otherFile), deletion, snapshot(indexPath, indexFile), newer)
	var text bytes.Buffer
	w := proof.NewPackWriter(&text, must(proof.Parse(all[0])).Checkpoint)
	for _, b := range all {
		if err := w.Add(must(proof.Parse(b))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return must(proof.ParsePack(text.Bytes()))
}

func TestPackProver(t *testing.T) {
	p := FromPack("the pack", packed(t))
	policy := newWorld(t).policy
	for _, tt := range []struct {
		name, path string
		file       []byte
		want       verify.Outcome
		note       string
	}{
		{"an upload", goodPath, goodFile, verify.Verified, ""},
		{"other bytes", goodPath, otherFile, verify.Mismatch, ""},
		{"a voided upload", voidedPath, voided, verify.Revoked, ""},
		{"a deleted upload", deletedPath, otherFile, verify.Verified, "deleted from PAUSE"},
		{"an older index", indexPath, indexFile, verify.Verified, ""},
		{"the newest index", indexPath, zipped("newer"), verify.Verified, ""},
		{"an index that is not in it", indexPath, zipped("newest"), verify.Mismatch, ""},
		{"a path that is not in it", absentPath, goodFile, verify.Unverifiable, ""},
	} {
		e, err := p.Prove(t.Context(), tt.path, digest(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		r := verify.Verify(verify.Request{Policy: policy, Path: tt.path, SHA256: digest(tt.file), Size: uint64(len(tt.file)), Now: logged,
			Bundle: e.Bundle, Revocation: e.Revocation, Deletion: e.Deletion, Absence: e.Absence, AbsenceDetail: e.Detail})
		if r.Outcome != tt.want || tt.note != "" && !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
			t.Errorf("%s: %v, %q, want %v with %q", tt.name, r.Outcome, r.Notes, tt.want, tt.note)
		}
		if tt.want == verify.Unverifiable && e.Detail != "the pack has no proof of "+absentPath {
			t.Errorf("%s: %q", tt.name, e.Detail)
		}
	}
}

// A mirror serves by a pack alone, without the digest of an archive that it has not fetched yet.
func TestMirrorWithAPack(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Provers = []Prover{FromPack("the pack", packed(t))} })
	if err := os.WriteFile(filepath.Join(w.dir, deletedPath), otherFile, 0o644); err != nil {
		t.Fatal(err)
	}
	w.wantServed(goodPath, goodFile)
	w.wantServed(deletedPath, otherFile)
	w.wantServed(indexPath, indexFile)
	for path, want := range map[string]string{voidedPath: "revoked", absentPath: "no proof"} {
		if a := w.get(path); a.status == 200 || !strings.Contains(a.line, want) {
			t.Errorf("GET %s: %q, want a refusal with %q", path, a.line, want)
		}
	}
}

func TestArchiveFormat(t *testing.T) {
	for content, want := range map[string]string{string(goodFile): "gzip", "PK\x03\x04": "zip", "text": "", "": ""} {
		if got := ArchiveFormat([]byte(content)); got != want {
			t.Errorf("%.10q is %q, want %q", content, got, want)
		}
	}
}
