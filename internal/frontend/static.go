package frontend

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// Static serves the static proof tree (the reads of C2SP tlog-tiles and the path index), and
// proof bundles at /proof/<path>.tlog-proof. It answers GET and HEAD, and 404 for every path that is not
// exactly the canonical one of something that the published checkpoint implies.
type Static struct {
	Service *Service
	Log     *slog.Logger
	Metrics *Metrics
}

const (
	textType  = "text/plain; charset=utf-8"
	bytesType = "application/octet-stream"

	// A tile never changes; a checkpoint, and a proof to the newest one, may at any time.
	immutable = "public, max-age=31536000, immutable"
	volatile  = "no-cache"
)

// ServeHTTP implements http.Handler.
func (s *Static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*") // all of it is public, and a page may verify it
	what, status := "other", http.StatusNotFound
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		status = http.StatusMethodNotAllowed
		s.refuse(w, status, "this path is for GET")
	case r.URL.RawPath != "" && !strings.HasPrefix(r.URL.Path, "/proof/"):
		// Percent-encoded, where nothing needs it: a second spelling of a path. (In the path
		// of an archive there may be characters that need it.)
		s.refuse(w, status, "there is nothing here; / lists what there is")
	case r.URL.Path == "/":
		what, status = "page", s.send(w, r, answer{[]byte(page(s.Service)), textType, volatile})
	case r.URL.Path == "/checkpoint":
		what = "checkpoint"
		status = s.serve(w, r, s.checkpoint)
	case strings.HasPrefix(r.URL.Path, "/tile/entries/"):
		what = "entries"
		status = s.serve(w, r, s.tile)
	case strings.HasPrefix(r.URL.Path, "/tile/"):
		what = "tile"
		status = s.serve(w, r, s.tile)
	case strings.HasPrefix(r.URL.Path, "/paths/"):
		what = "paths"
		status = s.serve(w, r, s.shard)
	case strings.HasPrefix(r.URL.Path, "/proof/"):
		what = "proof"
		status = s.serve(w, r, s.proof)
	default:
		s.refuse(w, status, "there is nothing here; / lists what there is")
	}
	s.Metrics.static.WithLabelValues(what, strconv.Itoa(status)).Inc()
}

type answer struct {
	body         []byte
	contentType  string
	cacheControl string
}

// errNoSuch is answered with 404.
type errNoSuch string

func (e errNoSuch) Error() string { return string(e) }

func (s *Static) serve(w http.ResponseWriter, r *http.Request, f func(*http.Request) (answer, error)) int {
	a, err := f(r)
	var none errNoSuch
	switch {
	case errors.As(err, &none):
		s.refuse(w, http.StatusNotFound, none.Error())
		return http.StatusNotFound
	case errors.Is(err, errUnpublished), errors.Is(err, errUnindexed):
		w.Header().Set("Retry-After", "5")
		s.refuse(w, http.StatusServiceUnavailable, err.Error())
		return http.StatusServiceUnavailable
	case err != nil:
		s.Log.Error("a static read failed", "path", r.URL.Path, "error", err)
		s.refuse(w, http.StatusInternalServerError, "the log has a fault, which its operator finds in its journal")
		return http.StatusInternalServerError
	}
	return s.send(w, r, a)
}

// refuse must not be cached: what is not there now may be later.
func (s *Static) refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", textType)
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

func (s *Static) send(w http.ResponseWriter, r *http.Request, a answer) int {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", a.cacheControl)
	if strings.HasPrefix(r.URL.Path, "/tile/entries/") || strings.HasPrefix(r.URL.Path, "/paths/") {
		// Only entries and paths gain from compression, and only readers that ask for it get it:
		// Perl's HTTP::Tiny does not decode.
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			a.body = compressed(a.body)
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(a.body)
	}
	return http.StatusOK
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, weight, _ := strings.Cut(q, "=")
			return strings.Trim(weight, " 0.") != "" || !strings.Contains(q, "=")
		}
	}
	return false
}

// compressors are kept, because the tables of one are many times what it compresses here.
var compressors = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // there is such a level
	}
	return z
}}

func compressed(b []byte) []byte {
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	var buf bytes.Buffer
	z.Reset(&buf)
	_, err := z.Write(b)
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a bytes.Buffer takes all
	}
	return buf.Bytes()
}

func (s *Static) checkpoint(*http.Request) (answer, error) {
	note, err := noteOf(s.Service.published(), true)
	return answer{note, textType, volatile}, err
}

func (s *Static) tile(r *http.Request) (answer, error) {
	t, err := tile.ParsePath(r.URL.Path[1:])
	if err != nil {
		return answer{}, errNoSuch(err.Error())
	}
	size := s.Service.published().Size
	if !t.InTree(size) {
		return answer{}, errNoSuch(fmt.Sprintf("%s is not part of the tree of size %d", t, size))
	}
	body, err := s.Service.tile(t, size)
	return answer{body, bytesType, immutable}, err
}

// tile returns the content of a tile that is in the tree of a size, checked against the
// tree in memory.
func (s *Service) tile(t tile.Tile, size uint64) (body []byte, err error) {
	start := t.N * tile.Width
	switch t.Level {
	case tile.Bundle:
		entries, err := s.Store.Entries(start, start+uint64(t.Width), size)
		if err != nil {
			return nil, err
		}
		length := 0
		for _, e := range entries {
			length += 2 + len(e)
		}
		body = make([]byte, 0, length)
		for _, e := range entries {
			if body, err = tile.AppendEntry(body, e); err != nil {
				return nil, err
			}
		}
		return body, nil
	case 0:
		// Of a tile that is full by now, all is read, so that it can be compared.
		hashes, err := s.Store.LeafHashes(t.N, size)
		if err != nil {
			return nil, err
		}
		if len(hashes) == tile.Width {
			if root, err := s.Store.Node(tile.Height, t.N, size); err != nil || root != tile.Root(hashes) {
				return nil, fmt.Errorf("%w: tile %v does not have its hash in the tree (%v)", store.ErrDamaged, t, err)
			}
		}
		return tile.AppendHashes(nil, hashes[:t.Width]...), nil
	}
	body = make([]byte, 0, t.Width*tree.HashSize)
	for i := range uint64(t.Width) {
		h, err := s.Store.Node(uint(t.Level)*tile.Height, start+i, size)
		if err != nil {
			return nil, err
		}
		body = tile.AppendHashes(body, h)
	}
	return body, nil
}

// errUnindexed is answered with 503.
var errUnindexed = errors.New("the path index is behind the published checkpoint")

// shard answers /paths/<xx> with a shard of the path index, as the published checkpoint has it.
func (s *Static) shard(r *http.Request) (answer, error) {
	shard, ok := prooftree.ParseShardName(r.URL.Path[1:])
	if !ok {
		return answer{}, errNoSuch("a shard of the path index is named by two lowercase hex digits")
	}
	p := s.Service.published()
	if p.Note == nil {
		return answer{}, errUnpublished
	}
	s.Service.waitIndexed(r.Context(), p.Size)
	if n := s.Service.Store.Indexed(); n < p.Size {
		return answer{}, fmt.Errorf("%w: it has %d of %d entries", errUnindexed, n, p.Size)
	}
	var body []byte
	err := s.Service.Store.Listed(shard, p.Size, prooftree.MaxSnapshots, func(path []byte, index uint64) {
		body = prooftree.AppendLine(body, index, path)
	})
	return answer{body, textType, volatile}, err
}

// proof answers /proof/<path>.tlog-proof: for an archive with its live upload, for an index
// file with its newest entry or, with ?sha256=, the newest of that digest; of an archive, the
// live upload must have it. With ?all=1 the checkpoint has all its signature lines.
func (s *Static) proof(r *http.Request) (answer, error) {
	path, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/proof/"), proof.Extension)
	if !ok {
		return answer{}, errNoSuch("a proof's name ends in " + proof.Extension)
	}
	p := s.Service.published()
	var index uint64
	var err error
	if digest := r.URL.Query().Get("sha256"); digest != "" {
		index, err = s.Service.ofDigest(r.Context(), path, digest, p.Size)
	} else {
		index, err = s.Service.live(path, p.Size)
	}
	if reason, message, _ := Reason(err); err != nil && reason != "" && reason != Internal {
		return answer{}, errNoSuch(message)
	}
	if err != nil {
		return answer{}, err
	}
	b, err := s.Service.bundle(index, p.Size, p.Root)
	if err != nil {
		return answer{}, err
	}
	if b.Checkpoint, err = noteOf(p, r.URL.Query().Get("all") == "1"); err != nil {
		return answer{}, err
	}
	body, err := b.Marshal()
	return answer{body, textType, volatile}, err
}

// ofDigest returns the index of what a path's file with this digest verifies by.
func (s *Service) ofDigest(ctx context.Context, path, digest string, size uint64) (uint64, error) {
	if _, err := entry.ParseDigest(digest); err != nil {
		return 0, failure(Invalid, err.Error())
	}
	index, err := s.live(path, size)
	if err != nil {
		return 0, err
	}
	e, err := s.Store.Entry(index, size)
	if err != nil {
		return 0, err
	}
	live, err := entry.Parse(e)
	if err != nil {
		return 0, err
	}
	if live.SHA256.String() == digest {
		return index, nil
	}
	// An archive has one digest at a time: another one may be a voided upload's.
	if live.Kind == entry.Index {
		return s.olderIndex(ctx, path, digest, size)
	}
	return 0, failuref(NotLogged, "%s is not logged with sha256 %s", path, digest)
}

// olderIndex returns the index of the newest entry of an index file with a digest.
func (s *Service) olderIndex(ctx context.Context, path, digest string, size uint64) (uint64, error) {
	s.waitIndexed(ctx, size)
	const some = 64
	for end := size; ; {
		found, err := s.Store.Find(store.BySHA256, digest, 0, end, some, true)
		if err != nil {
			return 0, failureOf(err)
		}
		for _, f := range found {
			if f.Entry.Path == path && f.Entry.Kind == entry.Index {
				return f.Index, nil
			}
		}
		if len(found) < some {
			return 0, failuref(NotLogged, "%s is not logged with sha256 %s", path, digest)
		}
		end = found[len(found)-1].Index
	}
}

func page(s *Service) string {
	p := s.published()
	return fmt.Sprintf(`This is a pauselog, an artifact transparency log for PAUSE.

It holds %d entries. It says that a file was logged, and that the log is the same for
everyone. It does not say that a file is harmless.

/checkpoint                        the newest signed checkpoint (C2SP tlog-checkpoint)
/tile/<L>/<N>, /tile/entries/<N>   the tree and its entries (C2SP tlog-tiles)
/paths/<xx>                        the path index: the entries of all paths whose SHA-256
                                   begins with the byte xx, in lines of index and path
/proof/<path>.tlog-proof           a proof for offline use (C2SP tlog-proof), for example
                                   /proof/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz.tlog-proof
/pauselog.v1.Log/<Method>          the API as JSON, for example
                                   /pauselog.v1.Log/Lookup?author=ETHER
`, p.Size)
}
