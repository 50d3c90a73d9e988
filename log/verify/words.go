package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
)

// How values are written in sentences and commands.

// when writes the time of a signature. Cosignatures can carry times beyond what
// a date has four digits for.
func when(t uint64) string {
	if last := uint64(253402300799); t > last {
		return fmt.Sprintf("%d seconds after 1970", t)
	}
	return entry.Time(t).String()
}

func describe(d entry.Digest, size uint64) string {
	return fmt.Sprintf("sha256 %s, %d bytes", d, size)
}

func seconds(n int64) string { return (time.Duration(n) * time.Second).String() }

// list joins names for a sentence, and leaves some out where a sentence would be none anymore.
func list(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// plain makes a stranger's text fit for a terminal and one line.
func plain(s string) string {
	const most = 600
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7F || (r >= 0x80 && r < 0xA0) || r == 0x2028 || r == 0x2029 || (r >= 0x202A && r <= 0x202E) || (r >= 0x2066 && r <= 0x2069) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// shell quotes a path for a command line that a person copies: a path may hold every
// character that a shell gives a meaning to, and whoever chose it may have meant that.
func shell(s string) string {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/._+-@%,:", rune(c)) {
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}

// keyName names a key as signature lines and policies do.
func keyName(k *checkpoint.VerifierKey) string { return fmt.Sprintf("%s+%08x", k.Name(), k.KeyID()) }
