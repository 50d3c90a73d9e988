package frontend

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// get reads a target as it would stand in the request line.
func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	return do(h, httptest.NewRequest(http.MethodGet, target, nil), header...)
}

func do(h http.Handler, r *http.Request, header ...string) *httptest.ResponseRecorder {
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func post(h http.Handler, target, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return do(h, r, "Content-Type", "application/json")
}

func fromJSON(t testing.TB, b []byte, m proto.Message) {
	t.Helper()
	if err := protojson.Unmarshal(b, m); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
}

// tile is the content of a hash tile as tlog has it.
func (r *reference) tile(t testing.TB, level int, n int64, width int) []byte {
	t.Helper()
	b, err := tlog.ReadTileData(tlog.Tile{H: 8, L: level, N: n, W: width}, r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bundle is the content of an entry bundle, by its definition.
func (r *reference) bundle(n, width int) (b []byte) {
	for _, e := range r.entries[n*256:][:width] {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(e))), e...)
	}
	return b
}

func TestStaticHeaders(t *testing.T) {
	w := newWorld(t, 300)
	const forever, now, never = "public, max-age=31536000, immutable", "no-cache", "no-store"
	const text, binary = "text/plain; charset=utf-8", "application/octet-stream"
	proofPath := "/proof/" + upload(1).Path + ".tlog-proof"
	for target, want := range map[string]struct {
		status             int
		mediaType, caching string
		vary               string
	}{
		"/":                         {200, text, now, ""},
		"/checkpoint":               {200, text, now, ""},
		"/tile/0/000":               {200, binary, forever, ""},
		"/tile/0/001.p/44":          {200, binary, forever, ""},
		"/tile/1/000.p/1":           {200, binary, forever, ""},
		"/tile/entries/000":         {200, binary, forever, "Accept-Encoding"},
		"/tile/entries/001.p/44":    {200, binary, forever, "Accept-Encoding"},
		proofPath:                   {200, text, now, ""},
		proofPath + "?all=1":        {200, text, now, ""},
		"/tile/0/001":               {404, text, never, ""}, // will be there: a 404 must not last
		"/tile/entries/001":         {404, text, never, ""},
		"/tile/0/0":                 {404, text, never, ""},
		"/proof/nothing.tlog-proof": {404, text, never, ""},
		"/favicon.ico":              {404, text, never, ""},
		"/checkpoint?x=y":           {200, text, now, ""},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := do(w.static, httptest.NewRequest(method, target, nil))
			h := r.Header()
			if r.Code != want.status {
				t.Errorf("%s %s: %d, want %d", method, target, r.Code, want.status)
			}
			for name, value := range map[string]string{"Content-Type": want.mediaType, "Cache-Control": want.caching, "Vary": want.vary,
				"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff", "Content-Encoding": "", "Location": "", "Set-Cookie": ""} {
				if got := strings.Join(h.Values(name), ", "); got != value {
					t.Errorf("%s %s: %s: %q, want %q", method, target, name, got, value)
				}
			}
			if r.Code == 200 && method == http.MethodGet && h.Get("Content-Length") != fmt.Sprint(r.Body.Len()) {
				t.Errorf("GET %s: Content-Length %s of %d bytes", target, h.Get("Content-Length"), r.Body.Len())
			}
		}
	}
}

func TestStaticHead(t *testing.T) {
	w := newWorld(t, 300)
	server := httptest.NewServer(w.static)
	defer server.Close()
	for _, path := range []string{"/", "/checkpoint", "/tile/0/000", "/tile/entries/000", "/proof/" + upload(1).Path + ".tlog-proof", "/tile/0/007"} {
		full, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		full.Body.Close()
		head, err := http.Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer head.Body.Close()
		if b, err := io.ReadAll(head.Body); err != nil || len(b) != 0 || head.StatusCode != full.StatusCode {
			t.Errorf("HEAD %s: %d with %d bytes, %v", path, head.StatusCode, len(b), err)
		}
		if full.StatusCode == 200 && path != "/tile/entries/000" && head.ContentLength != full.ContentLength { // Go's client asks a GET for gzip
			t.Errorf("HEAD %s: Content-Length %d, GET has %d", path, head.ContentLength, full.ContentLength)
		}
	}
}

func TestStaticMethods(t *testing.T) {
	w := newWorld(t, 1)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PROPFIND"} {
		for _, target := range []string{"/", "/checkpoint", "/tile/0/000.p/1", "/nothing"} {
			r := do(w.static, httptest.NewRequest(method, target, nil))
			if r.Code != http.StatusMethodNotAllowed || r.Header().Get("Allow") != "GET, HEAD" || r.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %d, Allow %q", method, target, r.Code, r.Header().Get("Allow"))
			}
		}
	}
}

// One thing has one URL. What is spelt in another way is not there, and not redirected either:
// a cache or a mirror in between might otherwise keep two different answers for it.
func TestStaticPathsAreCanonical(t *testing.T) {
	w := newWorld(t, 600)
	for _, target := range []string{
		"/tile/00/000", "/tile/0/0", "/tile/0/00", "/tile/0/0000", "/tile/0/x000/001", "/tile/0/x001", "/tile/0/000/", "/tile/0/000/000",
		"/tile/0/000.p", "/tile/0/000.p/", "/tile/0/000.p/0", "/tile/0/000.p/256", "/tile/0/000.p/257", "/tile/0/000.p/01", "/tile/0/000.p/-1",
		"/tile/0/000.p/+1", "/tile/0/000.p/1.p/1", "/tile/0/000.P/1", "/tile/0/002.p/88/", "/tile/0/+00", "/tile/0/-01",
		"/tile/64/000", "/tile/-1/000", "/tile/8/0/000", "/tile/x0/000", "/tile/255/000", "/tile/99999999999999999999/000",
		"/tile", "/tile/", "/tile/0", "/tile/0/", "/tile//000", "/tile/entries", "/tile/entries/", "/tile/entries/000.p/44/",
		"/tile/entries/0", "/tile/entries/000/", "/tile/Entries/000", "/tile/data/000",
		"//tile/0/000", "/tile/0//000", "//checkpoint", "/./checkpoint", "/tile/../checkpoint", "/tile/./0/000", "/tile/0/../0/000",
		"/checkpoint/", "/Checkpoint", "/checkpoint.txt", "/TILE/0/000", "/Tile/0/000",
		"/tile/0/%30%30%30", "/%74ile/0/000", "/tile%2F0%2F000", "/tile/0/000%2Ep/44", "/tile/0/002.p%2F88", "/tile/%30/000", "/tile/entries/%30%30%30",
		"/%63heckpoint", "/check%70oint", "/checkpoint%00", "/checkpoint%0A", "/tile/0/000%20", "/tile/0/000%00", "/%2e%2e/checkpoint", "/tile/0/000%3f",
		"/tile/0/000;x", "/tile/0/\\000", "/latest", "/index.html", "/proof", "/proof/",
		"/tile/0/" + strings.Repeat("x000/", 20) + "000", "/tile/0/" + strings.Repeat("9", 4000),
	} {
		r := get(w.static, target)
		if r.Code != http.StatusNotFound || r.Header().Get("Location") != "" || r.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s: %d, location %q", target, r.Code, r.Header().Get("Location"))
		}
	}
}

// At each size exactly the tiles are served that a tree of this size has, and their content
// is what an independent implementation makes of the entries.
func TestStaticTiles(t *testing.T) {
	w := newWorld(t, 0)
	if r := get(w.static, "/tile/0/000.p/1"); r.Code != 404 {
		t.Errorf("an empty log has a tile: %d", r.Code)
	}
	for _, size := range []int{1, 2, 255, 256, 257, 511, 512, 600} {
		w.fill(t, int(w.Sequencer.Published().Size), size)
		ref := referenceOf(t, w)
		for n := 0; n <= size/256+1; n++ {
			has := min(256, max(0, size-n*256))
			for width := 1; width <= 256; width++ {
				path := fmt.Sprintf("%03d", n)
				if width < 256 {
					path += fmt.Sprintf(".p/%d", width)
				}
				hashes, entries := get(w.static, "/tile/0/"+path), get(w.static, "/tile/entries/"+path)
				if width > has {
					if hashes.Code != 404 || entries.Code != 404 {
						t.Errorf("size %d: %s is not implied, but served: %d, %d", size, path, hashes.Code, entries.Code)
					}
					continue
				}
				if hashes.Code != 200 || !bytes.Equal(hashes.Body.Bytes(), ref.tile(t, 0, int64(n), width)) {
					t.Errorf("size %d: /tile/0/%s: %d with %d bytes", size, path, hashes.Code, hashes.Body.Len())
				}
				if entries.Code != 200 || !bytes.Equal(entries.Body.Bytes(), ref.bundle(n, width)) {
					t.Errorf("size %d: /tile/entries/%s: %d with %d bytes", size, path, entries.Code, entries.Body.Len())
				}
			}
		}
		// Level 1 has one hash for each full tile, level 2 none below 65,536 entries.
		for width := 1; width <= 4; width++ {
			r := get(w.static, fmt.Sprintf("/tile/1/000.p/%d", width))
			if implied := width <= size/256; implied != (r.Code == 200) {
				t.Errorf("size %d: level 1 of width %d: %d", size, width, r.Code)
			} else if implied && !bytes.Equal(r.Body.Bytes(), ref.tile(t, 1, 0, width)) {
				t.Errorf("size %d: level 1 of width %d has other bytes", size, width)
			}
		}
		for _, path := range []string{"/tile/1/000", "/tile/2/000.p/1", "/tile/63/000.p/1"} {
			if r := get(w.static, path); r.Code != 404 {
				t.Errorf("size %d: GET %s: %d", size, path, r.Code)
			}
		}
	}
}

func TestStaticCheckpoint(t *testing.T) {
	w := newWorld(t, 0)
	for _, size := range []int{0, 1, 300} {
		w.fill(t, int(w.Sequencer.Published().Size), size)
		o := opened(t, get(w.static, "/checkpoint").Body.String())
		// All signatures: a reader who knows the ML-DSA key alone must find its line.
		if o.Size != uint64(size) || o.Root != referenceOf(t, w).root(o.Size) || len(o.LogKeys) != 2 {
			t.Errorf("%+v, signed by %d keys", o.Checkpoint, len(o.LogKeys))
		}
	}
}

func TestOnlyBundlesAreCompressedAndOnlyIfAskedFor(t *testing.T) {
	w := newWorld(t, 300)
	plain := get(w.static, "/tile/entries/000").Body.Bytes()
	for accept, compressed := range map[string]bool{
		"": false, "identity": false, "deflate, br": false, "*": false, "gzip;q=0": false, "gzip;q=0.000": false, "gzip; q=0": false, "x-gzip": false,
		"br;q=1, gzip;q=0.0": false, "gzip": true, "GZIP": true, "gzip;q=1": true, "gzip;q=0.001": true, "deflate, gzip": true, "br;q=1.0, gzip;q=0.8, *;q=0.1": true,
	} {
		var header []string
		if accept != "" {
			header = []string{"Accept-Encoding", accept}
		}
		r := get(w.static, "/tile/entries/000", header...)
		body := r.Body.Bytes()
		if r.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("Accept-Encoding %q: Content-Length %s of %d bytes", accept, r.Header().Get("Content-Length"), len(body))
		}
		encoding := ""
		if compressed {
			encoding = "gzip"
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Errorf("Accept-Encoding %q: %v", accept, err)
				continue
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Error(err)
			}
		}
		if r.Header().Get("Content-Encoding") != encoding || r.Header().Get("Vary") != "Accept-Encoding" || !bytes.Equal(body, plain) {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q, Vary %q, the same bytes: %v",
				accept, r.Header().Get("Content-Encoding"), r.Header().Get("Vary"), bytes.Equal(body, plain))
		}
		for _, path := range []string{"/tile/0/000", "/checkpoint", "/proof/" + upload(1).Path + ".tlog-proof", "/tile/entries/007"} {
			if r := get(w.static, path, header...); r.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s is compressed", path)
			}
		}
	}
}

// verified verifies a bundle offline, as the command line does.
func verified(t testing.TB, bundle []byte, path, sha256 string, size uint64) *verify.Result {
	t.Helper()
	return verify.Verify(verify.Request{Policy: policy, Path: path, SHA256: must(entry.ParseDigest(sha256)), Size: size, Bundle: bundle, Now: clock})
}

func TestStaticProof(t *testing.T) {
	w := newWorld(t, 300)
	submit := func(subs ...*pb.Submission) {
		t.Helper()
		for _, s := range subs {
			if _, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: s}); err != nil {
				t.Fatal(err)
			}
		}
	}
	odd := changed(upload(400), func(s *pb.Submission) { s.Path = "authors/id/H/HA/HAARG/sub/Odd%2F+~name?x-1.0#y.tar.gz" })
	again := changed(upload(4), func(s *pb.Submission) { s.Sha256 = digest("again").String() })
	submit(odd, snapshot(1), snapshot(2), snapshot(3), deletion(0)) // 300 to 304
	for _, voided := range []uint64{2, 4} {                         // 305, 306
		if _, err := w.Sequencer.Void(t.Context(), voided); err != nil {
			t.Fatal(err)
		}
	}
	submit(again) // 307

	proofOf := func(s *pb.Submission) string { return "/proof/" + s.Path + ".tlog-proof" }
	const oddTarget = "/proof/authors/id/H/HA/HAARG/sub/Odd%252F+~name%3Fx-1.0%23y.tar.gz.tlog-proof"
	for target, want := range map[string]struct {
		index uint64
		of    *pb.Submission
	}{
		proofOf(upload(1)):   {1, upload(1)},
		proofOf(upload(299)): {299, upload(299)},
		proofOf(upload(0)):   {0, upload(0)}, // deleted by its author, which takes nothing back
		proofOf(upload(4)):   {307, again},   // voided, and logged again with other bytes
		proofOf(upload(1)) + "?sha256=" + upload(1).Sha256: {1, upload(1)},
		proofOf(upload(4)) + "?sha256=" + again.Sha256:     {307, again},
		oddTarget:            {300, odd},
		proofOf(snapshot(1)): {303, snapshot(3)}, // the newest
		proofOf(snapshot(1)) + "?sha256=" + snapshot(1).Sha256: {301, snapshot(1)},
		proofOf(snapshot(1)) + "?sha256=" + snapshot(2).Sha256: {302, snapshot(2)},
	} {
		for _, all := range []string{"", "all=1"} {
			switch {
			case all != "" && strings.Contains(target, "?"):
				all = "&" + all
			case all != "":
				all = "?" + all
			}
			r := get(w.static, target+all)
			if r.Code != 200 {
				t.Errorf("GET %s: %d %s", target+all, r.Code, r.Body)
				continue
			}
			v := verified(t, r.Body.Bytes(), want.of.Path, want.of.Sha256, want.of.Size)
			if v.Outcome != verify.Verified || v.Index != want.index {
				t.Errorf("GET %s: %v, entry %d, want %d: %s", target+all, v.Outcome, v.Index, want.index, v.Message)
			}
			b, err := proof.Parse(r.Body.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			keys := 1 // of Ed25519 alone: a bundle travels with each file
			if all != "" {
				keys = 2
			}
			if o := opened(t, string(b.Checkpoint)); len(o.LogKeys) != keys || o.LogKeys[0].Algorithm() != checkpoint.Ed25519 {
				t.Errorf("GET %s: signed by %d keys", target+all, len(o.LogKeys))
			}
		}
	}
	for _, target := range []string{
		proofOf(upload(500)), // unknown
		proofOf(upload(2)),   // voided
		proofOf(upload(2)) + "?sha256=" + upload(2).Sha256, // the same, however it is asked for
		proofOf(upload(4)) + "?sha256=" + upload(4).Sha256,
		proofOf(upload(1)) + "?sha256=" + upload(3).Sha256,
		proofOf(upload(1)) + "?sha256=x",
		proofOf(upload(1)) + "?sha256=" + strings.ToUpper(upload(1).Sha256),
		proofOf(snapshot(1)) + "?sha256=" + snapshot(9).Sha256,
		proofOf(snapshot(1)) + "?sha256=" + upload(1).Sha256,
		"/proof/" + upload(1).Path, "/proof//" + upload(1).Path + ".tlog-proof", "/proof/../proof/" + upload(1).Path + ".tlog-proof",
		"/proof/modules/06perms.txt.gz.tlog-proof", "/proof/.tlog-proof", "/proof/x.tlog-proof", "/proof/%00.tlog-proof",
		"/proof/" + strings.Repeat("a", 5000) + ".tlog-proof",
	} {
		if r := get(w.static, target); r.Code != 404 || r.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s: %d", target, r.Code)
		}
	}
}

// What was published a moment ago can be asked for by its digest: the lookup index may still
// be behind, and is waited for.
func TestStaticProofByDigestWaitsForTheIndex(t *testing.T) {
	w := newWorld(t, 0)
	for minute := range 60 {
		r, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: snapshot(minute), Wait: pb.Wait_WAIT_PUBLISHED})
		if err != nil {
			t.Fatal(err)
		}
		target := "/proof/" + packages + ".tlog-proof?sha256=" + snapshot(minute).Sha256
		if got := get(w.static, target); got.Code != 200 {
			t.Fatalf("entry %d: %d %s", r.Result.Index, got.Code, got.Body)
		}
	}
}

func TestThePageSaysWhatThereIs(t *testing.T) {
	w := newWorld(t, 5)
	body := get(w.static, "/").Body.String()
	for _, s := range []string{"5 entries", "/checkpoint", "/tile/", "/proof/", "/pauselog.v1.Log/", "does not say that a file is harmless"} {
		if !strings.Contains(body, s) {
			t.Errorf("%q is not in\n%s", s, body)
		}
	}
}
