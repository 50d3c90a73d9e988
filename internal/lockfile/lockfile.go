// Package lockfile reads Carton's cpanfile.snapshot: the list of the distributions that a project
// was installed with, by their paths on CPAN.
//
//	# carton snapshot format: version 1.0
//	DISTRIBUTIONS
//	  Try-Tiny-0.31
//	    pathname: E/ET/ETHER/Try-Tiny-0.31.tar.gz
//	    provides:
//	      Try::Tiny 0.31
//	    requirements:
//	      ExtUtils::MakeMaker 0
//
// The file says nothing of digests, and nothing signs it: it names what should be there.
//
// The reader accepts what Carton writes, and of what Carton would read besides only CRLF. A reader
// that passed over lines could be led past a distribution that Carton installs.
package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxSize is the largest file, in bytes. A distribution takes about 500.
	MaxSize = 16 << 20

	// MaxDistributions is how many distributions a file has at most: CPAN has about 40,000.
	MaxDistributions = 100_000

	header  = "# carton snapshot format: version 1.0"
	version = "# carton snapshot format: version "
)

var (
	// ErrMalformed says that the text is no snapshot.
	ErrMalformed = errors.New("malformed cpanfile.snapshot")

	// ErrVersion says that it is one of a format that this program does not know.
	ErrVersion = errors.New("unsupported version of cpanfile.snapshot")
)

// A Distribution is one that the project was installed with.
type Distribution struct {
	Name string // Try-Tiny-0.31
	// Pathname is relative to authors/id. It can be anything, or "": what was installed from a
	// repository or a URL has no place on CPAN.
	Pathname string
	Line     int // of the name, from 1 on
}

// Parse reads a snapshot. Its errors wrap ErrMalformed or ErrVersion and name the line. The distributions
// are in the order of the file, and may repeat each other.
func Parse(text []byte) ([]Distribution, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: it has over %d bytes", ErrMalformed, MaxSize)
	}
	p := parser{state: start}
	for len(text) > 0 {
		p.line++
		line, rest, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			return nil, p.malformed("it does not end in a newline: the file may be cut short")
		}
		text = rest
		// A checkout on Windows may have CRLF, which Carton reads too.
		line = bytes.TrimSuffix(line, []byte("\r"))
		for _, c := range line {
			if c < ' ' || c > '~' {
				return nil, p.malformed("found the byte %#02x, expected printable ASCII", c)
			}
		}
		if err := p.read(string(line)); err != nil {
			return nil, err
		}
	}
	p.line++
	switch {
	case p.state == start, p.state == begun:
		return nil, p.malformed("it ends before the line DISTRIBUTIONS")
	case p.state == inside && !p.has["pathname"]:
		return nil, p.malformed("it ends before the pathname of %.100s", p.last().Name)
	}
	return p.found, nil
}

type state int

const (
	start  state = iota // before the first line
	begun               // before DISTRIBUTIONS
	listed              // before the first distribution
	inside              // in a distribution
)

type parser struct {
	state state
	line  int
	found []Distribution
	has   map[string]bool // the properties of the last distribution
	list  bool            // in a list of modules
}

func (p *parser) last() *Distribution { return &p.found[len(p.found)-1] }

func (p *parser) read(line string) error {
	switch p.state {
	case start:
		if line != header {
			if strings.HasPrefix(line, version) {
				return fmt.Errorf("%w: expected 1.0, found %.20q", ErrVersion, line[len(version):])
			}
			return p.malformed("expected %q, found %.60q", header, line)
		}
		p.state = begun
		return nil
	case begun:
		if line != "DISTRIBUTIONS" {
			return p.malformed("expected DISTRIBUTIONS, found %.60q", line)
		}
		p.state = listed
		return nil
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	switch content := line[indent:]; {
	case indent == 2 && content != "":
		return p.distribution(content)
	case indent == 4 && p.state == inside:
		return p.property(content)
	case indent == 6 && p.list:
		if module, v, ok := strings.Cut(content, " "); ok && module != "" && v != "" {
			return nil
		}
		return p.malformed("expected a module and a version, found %.60q", content)
	}
	return p.malformed("expected a distribution or a property of one, found %.60q", line)
}

func (p *parser) distribution(name string) error {
	switch {
	case p.state == inside && !p.has["pathname"]:
		return p.malformed("%.100s has no pathname", p.last().Name)
	case strings.Contains(name, " "):
		return p.malformed("expected the name of a distribution, found %.60q", name)
	case len(p.found) == MaxDistributions:
		return p.malformed("over %d distributions", MaxDistributions)
	}
	p.found = append(p.found, Distribution{Name: name, Line: p.line})
	p.state, p.has, p.list = inside, map[string]bool{}, false
	return nil
}

func (p *parser) property(content string) error {
	name, value, ok := strings.Cut(content, ":")
	switch {
	case !ok:
		return p.malformed("expected a property, found %.60q", content)
	case p.has[name]:
		return p.malformed("%.100s has %.20q twice", p.last().Name, name)
	case name == "pathname" && strings.HasPrefix(value, " "):
		p.last().Pathname, p.list = value[1:], false
	case (name == "provides" || name == "requirements") && value == "":
		p.list = true
	default:
		return p.malformed("expected pathname, provides or requirements, found %.60q", content)
	}
	p.has[name] = true
	return nil
}

func (p *parser) malformed(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrMalformed, p.line, fmt.Sprintf(format, args...))
}
