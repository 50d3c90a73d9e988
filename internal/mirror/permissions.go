package mirror

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

const permissionsPath = "modules/06perms.txt.gz"

// permissions are the text of 06perms as it verified last.
type permissions struct {
	mu    sync.Mutex
	known bool
	at    time.Time
	text  string // "" if it does not verify
}

// authors returns those whose releases of a module are releases of it: the one of whom the index lists it, and those to whom
// 06perms gives permission now, if that file verifies. If it does not, the answer is shorter, and that is
// all: no client asked for it, so it is no index that somebody was to be led by.
func (m *Mirror) authors(ctx context.Context, module string, now Release) []string {
	out := []string{entry.Author(now.Path)}
	lines := m.permissionsText(ctx)
	for at := 0; ; {
		i := strings.Index(lines[at:], "\n"+module+",")
		if i < 0 {
			return out
		}
		at += i + 1
		line, _, _ := strings.Cut(lines[at:], "\n")
		// Module,ID,f: f, m and c are all that there is, and each may upload.
		if words := strings.Split(strings.TrimSuffix(line, "\r"), ","); len(words) == 3 && entry.IsPAUSEID(words[1]) {
			out = append(out, words[1])
		}
	}
}

func (m *Mirror) permissionsText(ctx context.Context) string {
	if m.Private.covers(permissionsPath) {
		return ""
	}
	p := &m.permissions
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := m.Now(); p.known && now.Sub(p.at) < keepVerified {
		return p.text
	}
	o := m.decideIndex(ctx, permissionsPath)
	if ctx.Err() != nil {
		return ""
	}
	p.known, p.at, p.text = true, m.Now(), ""
	if o.state == Verified {
		// What the cache has lost already is as good as not verified.
		p.text, _ = m.inflate(o)
	}
	return p.text
}
