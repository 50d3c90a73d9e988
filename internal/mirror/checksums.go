package mirror

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
)

// A CHECKSUMS file is Perl code, and clients evaluate it. So it passes only if it is what PAUSE writes
// and nothing else, in this grammar (lines end in LF, and hold characters 0x20 to 0x7E):
//
//	file      = [ clear ] *comment "$cksum = {" LF [ *( entry "," LF ) entry [ "," ] LF ] "};" LF [ "__END__" LF ] [ signature ]
//	clear     = "0&&<<''; # this PGP-signed message is also valid perl" LF "-----BEGIN PGP SIGNED MESSAGE-----" LF *( "Hash: " name LF ) LF
//	comment   = "#" text LF
//	entry     = string " => {" LF [ *( pair "," LF ) pair [ "," ] LF ] "}"          (with spaces before any line)
//	pair      = string " => " ( string / number )
//	string    = "'" *( any but "'" and "\" ) "'"
//	number    = 1*15DIGIT
//	signature = a PGP signature in armour; only with clear, and only after "__END__", where Perl reads no further
//
// The text that a person or gpg reads is not judged: what counts is sha256, and that nothing runs.

var errChecksums = errors.New("not a CHECKSUMS file as PAUSE writes it")

const (
	perlClear  = "0&&<<''; # this PGP-signed message is also valid perl"
	beginClear = "-----BEGIN PGP SIGNED MESSAGE-----"
	beginSig   = "-----BEGIN PGP SIGNATURE-----"
	endSig     = "-----END PGP SIGNATURE-----"

	maxChecksumsEntries = 20000
)

var (
	hashLine  = regexp.MustCompile(`^Hash: [A-Za-z0-9-]{1,20}$`)
	entryLine = regexp.MustCompile(`^ *'([^'\\]+)' => \{$`)
	pairLine  = regexp.MustCompile(`^ *'([^'\\]+)' => (?:'([^'\\]*)'|([0-9]{1,15}))(,?)$`)
	endLine   = regexp.MustCompile(`^ *\}(,?)$`)
	armour    = regexp.MustCompile(`^(?:[A-Za-z0-9+/=]*|(?:Version|Comment|Hash|Charset|MessageID): [ -~]*)$`)
)

// A listed file is what CHECKSUMS say of one.
type listed struct {
	sha256   entry.Digest
	hasSHA   bool
	cpanPath string // X/XY/ID/..., "" if it is not said
}

// parseChecksums reads a CHECKSUMS file. Its errors wrap errChecksums.
func parseChecksums(b []byte) (map[string]listed, error) {
	for i, c := range b {
		if c != '\n' && (c < 0x20 || c > 0x7e) {
			return nil, fmt.Errorf("%w: byte %#02x at %d", errChecksums, c, i)
		}
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return nil, fmt.Errorf("%w: the last line has no end", errChecksums)
	}
	p := &checksumsParser{lines: strings.Split(text, "\n"), files: map[string]listed{}}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", errChecksums, p.at+1, err)
	}
	return p.files, nil
}

type checksumsParser struct {
	lines []string
	at    int
	files map[string]listed
}

// line returns the present line. There is none after the last.
func (p *checksumsParser) line() string {
	if p.at < len(p.lines) {
		return p.lines[p.at]
	}
	return "\x00"
}

func (p *checksumsParser) take(want string) error {
	if p.line() != want {
		return fmt.Errorf("expected %q, found %.80q", want, p.line())
	}
	p.at++
	return nil
}

func (p *checksumsParser) parse() error {
	signed := p.line() == perlClear
	if signed {
		p.at++
		if err := p.take(beginClear); err != nil {
			return err
		}
		for hashLine.MatchString(p.line()) {
			p.at++
		}
		// To Perl, this empty line ends the here-document that the first line began.
		if err := p.take(""); err != nil {
			return err
		}
	}
	for strings.HasPrefix(p.line(), "#") {
		p.at++
	}
	if err := p.take("$cksum = {"); err != nil {
		return err
	}
	if err := p.entries(); err != nil {
		return err
	}
	end := p.line() == "__END__"
	if end {
		p.at++
	}
	if signed {
		if !end {
			return fmt.Errorf("expected \"__END__\" before a signature, found %.80q", p.line())
		}
		if err := p.signature(); err != nil {
			return err
		}
	}
	if p.at != len(p.lines) {
		return fmt.Errorf("expected the end, found %.80q", p.line())
	}
	return nil
}

func (p *checksumsParser) entries() error {
	for more := true; ; {
		if p.line() == "};" {
			p.at++
			return nil
		}
		m := entryLine.FindStringSubmatch(p.line())
		if m == nil || !more {
			return fmt.Errorf("expected a file's name or the end, found %.80q", p.line())
		}
		if _, twice := p.files[m[1]]; twice || len(p.files) == maxChecksumsEntries {
			return fmt.Errorf("%q is there twice, or there are too many files", m[1])
		}
		p.at++
		f, comma, err := p.pairs()
		if err != nil {
			return err
		}
		p.files[m[1]], more = f, comma
	}
}

// pairs reads up to the end of an entry, and whether a comma follows it.
func (p *checksumsParser) pairs() (f listed, comma bool, err error) {
	seen := map[string]bool{}
	for more := true; ; {
		if m := endLine.FindStringSubmatch(p.line()); m != nil {
			p.at++
			return f, m[1] != "", nil
		}
		m := pairLine.FindStringSubmatch(p.line())
		if m == nil || !more {
			return f, false, fmt.Errorf("expected a name and a literal value, found %.80q", p.line())
		}
		if seen[m[1]] {
			return f, false, fmt.Errorf("%q is there twice", m[1])
		}
		seen[m[1]] = true
		switch m[1] {
		case "sha256":
			if f.sha256, err = entry.ParseDigest(m[2]); err != nil {
				return f, false, err
			}
			f.hasSHA = true
		case "cpan_path":
			f.cpanPath = m[2]
		}
		more = m[4] != ""
		p.at++
	}
}

func (p *checksumsParser) signature() error {
	if err := p.take(beginSig); err != nil {
		return err
	}
	for p.line() != endSig {
		if !armour.MatchString(p.line()) {
			return fmt.Errorf("expected a line of PGP armour, found %.80q", p.line())
		}
		p.at++
	}
	p.at++
	return nil
}
