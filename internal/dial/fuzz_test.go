package dial

import (
	"errors"
	"net/url"
	"testing"
)

// A server's URL that is taken has a scheme that is known, a host, and nothing that could carry a secret or
// lead elsewhere.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://log.example/pause", "grpcs://log.example", "grpc://127.0.0.1:7150", "http://[::1]:80/", "http://user:pw@log.example", "https://log.example?x", "https://log.example#x",
		"grpc://log.example:1/path", "file:///etc/passwd", "", "https://", "//log.example", "https://log.example:99999999", "http://%zz", "https://log.example:/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parse(s)
		if err != nil {
			if !errors.Is(err, ErrURL) {
				t.Errorf("%q: %v is not ErrURL", s, err)
			}
			return
		}
		if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q is taken as %+v", s, u)
		}
		switch u.Scheme {
		case "http", "https", "grpc", "grpcs":
		default:
			t.Errorf("%q is taken with scheme %q", s, u.Scheme)
		}
		if again, err := url.Parse(u.String()); err != nil || again.Hostname() != u.Hostname() || again.Port() != u.Port() {
			t.Errorf("%q is written as %q, which leads to %v (%v)", s, u, again, err)
		}
	})
}
