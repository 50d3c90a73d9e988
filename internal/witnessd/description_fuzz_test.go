package witnessd

import (
	"path/filepath"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// What is taken for a witness's description has a name that can sign, and says where its head is, whatever the file holds.
func FuzzParseDescription(f *testing.F) {
	const good = `{"format":"` + format + `","name":"witness.example/w1","head":"/var/lib/w.head","created":"2026-11-22T10:00:00Z"}`
	for _, s := range []string{good, good + good, good + "\n", good + "x", "{}", "null", "", `{"format":"` + format + `","Name":"a","NAME":"b"}`,
		`{"format":"` + format + `","name":"a b","head":"/h","created":"2026-11-22T10:00:00Z"}`, `{"format":"` + format + `","name":"a","head":"h","created":"2026-11-22T10:00:00Z"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Folder
		if err := d.parseDescription(b); err != nil {
			if d.Name != "" || d.Head != "" {
				t.Errorf("%q: a refused description left %+v behind", b, d)
			}
			return
		}
		if err := checkpoint.ValidOrigin(d.Name); err != nil || !filepath.IsAbs(d.Head) {
			t.Errorf("%q: name %q, head %q (%v)", b, d.Name, d.Head, err)
		}
	})
}
