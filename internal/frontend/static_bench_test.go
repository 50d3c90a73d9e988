package frontend

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// discard is a response that goes nowhere.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// One read is of a bundle of 256 entries, or of a tile of as many hashes.
func BenchmarkStatic(b *testing.B) {
	w := newWorld(b, 1300)
	for name, accept := range map[string]string{"/tile/entries/002": "", "/tile/0/002": "", "/tile/entries/003": "gzip"} {
		b.Run(name+" "+accept, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, name, nil)
			if accept != "" {
				r.Header.Set("Accept-Encoding", accept)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.static.ServeHTTP(discard{http.Header{}}, r)
			}
		})
	}
}
