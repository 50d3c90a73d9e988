package mirror

import (
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// Once the log has contradicted itself, nothing passes that it vouches for, neither what was verified before nor what comes later.
func TestMisbehaviourIsNotForgotten(t *testing.T) {
	now := logged.Add(time.Hour)
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return now } })
	if a := w.get(goodPath); !strings.Contains(a.line, "200") {
		t.Fatalf("before: %s", a.line)
	}
	e := verify.Contradiction(w.policy, treeOf(t, uploads(3, "")...)["checkpoint"], treeOf(t, uploads(3, "x")...)["checkpoint"])
	w.mu.Lock()
	w.failure = &client.Misbehaviour{Evidence: e}
	w.mu.Unlock()
	w.get(otherPath)
	w.mu.Lock()
	w.failure = nil
	w.mu.Unlock()
	for range 2 {
		for _, path := range []string{goodPath, otherPath} {
			if a := w.get(path); !strings.Contains(a.line, "403 Not In Transparency Log: the log contradicts itself") {
				t.Errorf("%s: %s", path, a.line)
			}
		}
		now = now.Add(keepVerified + time.Second)
	}
	if s := w.mirror.Summary(); s.Worst != verify.Misbehaviour || s.Verified != 0 {
		t.Errorf("%v, worst %v", s, s.Worst)
	}
}

// A mirror can hide a void. The log's own tree, which is asked before, does not.
func TestAVoidThatAMirrorHides(t *testing.T) {
	void := &entry.Entry{Kind: entry.Void, Path: voidedPath, SHA256: digest(voided), Index: 0, Time: entry.TimeOf(logged)}
	all := []*entry.Entry{upload(voidedPath, voided), void, upload(goodPath, goodFile)}
	without := treeOf(t, all...)
	without[prooftree.ShardName(prooftree.ShardOf(voidedPath))] = prooftree.FormatShard([]prooftree.Line{{Index: 0, Path: voidedPath}})
	for name, hiding := range map[string]files{"an older tree": treeOf(t, all[0]), "a line left out": without} {
		own := treeOptions(treeOf(t, all...))
		own.Log = true
		w := newWorld(t, func(o *Options) {
			o.Provers = []Prover{FromTree(t.Context(), own), FromTree(t.Context(), treeOptions(hiding))}
		})
		if a := w.get(voidedPath); !strings.Contains(a.line, "403 Not In Transparency Log: revoked") {
			t.Errorf("%s: %s", name, a.line)
		}
	}
}

// A server of metadata can name older versions, and nothing that takes the place of the index's.
func TestMetadataThatIsTooNew(t *testing.T) {
	w := newWorld(t, with(&told{releases: []Release{{Version: "99.0", Path: "authors/id/E/EV/EVIL/Try-Tiny-99.0.tar.gz"}}}))
	for _, path := range []string{"v1/download_url/Try::Tiny?version=0.1", "v1.0/history/Try::Tiny"} {
		if a := w.get(path); strings.Contains(string(a.body), "EVIL") || !strings.Contains(a.line, "200") {
			t.Errorf("%s: %s\n%s", path, a.line, a.body)
		}
	}
}
