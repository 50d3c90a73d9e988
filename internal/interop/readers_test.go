package interop

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// What our log publishes is a log to the readers of others: Tessera's checker finds every tile and entry as signed,
// and Torchwood's client proves each entry to the checkpoint that our witness cosigned.
func TestOtherReaders(t *testing.T) {
	log := newPauselogd(t, "log.example/pause")
	w := newPausewitness(t, "witness.example/one")
	w.addLog(log.vkeys...)
	w.serve()
	log.serve(fmt.Sprintf("witness one %s http://%s\nquorum one\n", w.vkeys[0], w.listen))
	const full = 256 // entries in a tile
	last := full + 3 // a full tile, a partial one, and one of the next level
	log.submit(last)
	log.publish(last)

	t.Run("Tessera fsck", func(t *testing.T) {
		base, err := url.Parse(log.url)
		if err != nil {
			t.Fatal(err)
		}
		fetcher, err := client.NewHTTPFetcher(base, nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := note.NewVerifier(log.vkeys[0])
		if err != nil {
			t.Fatal(err)
		}
		entries := 0
		check := fsck.New(log.origin, key, fetcher, func(bundle []byte) ([][]byte, error) {
			var b api.EntryBundle
			if err := b.UnmarshalText(bundle); err != nil {
				return nil, err
			}
			var hashes [][]byte
			for _, e := range b.Entries {
				h := sha256.Sum256(append([]byte{0}, e...)) // RFC 6962
				hashes = append(hashes, h[:])
			}
			entries += len(hashes)
			return hashes, nil
		}, fsck.Opts{N: 1})
		if err := check.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if entries != last+1 {
			t.Errorf("%d entries were checked, of %d", entries, last+1)
		}
	})

	t.Run("Torchwood client", func(t *testing.T) {
		policy, err := torchwood.ParsePolicy([]byte(log.policy))
		if err != nil {
			t.Fatal(err)
		}
		cp, _, err := torchwood.VerifyCheckpoint(get(t, log.url+"/checkpoint"), policy)
		if err != nil {
			t.Fatal(err)
		}
		tiles, err := torchwood.NewTileFetcher(log.url)
		if err != nil {
			t.Fatal(err)
		}
		reader, err := torchwood.NewClient(tiles)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(last + 1) {
			if _, _, err := reader.Entry(t.Context(), cp.Tree, i); err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
		}
		e, proof, err := reader.Entry(t.Context(), cp.Tree, int64(last))
		if err != nil {
			t.Fatal(err)
		}
		bundle := torchwood.FormatProofWithExtraData(int64(last), e, proof, get(t, log.url+"/checkpoint"))
		if err := tlog.CheckRecord(proof, cp.N, cp.Hash, int64(last), tlog.RecordHash(e)); err != nil {
			t.Error(err)
		}
		verifyOffline(t, log.policy, last, string(bundle))
	})
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, resp.Status, err)
	}
	return b
}
