package recent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const maxDepth = 32

var errEnd = errors.New("it ends too early")

// readJSON reads a file in JSON. The order of the keys is not fixed: Perl writes them as they come.
func (b *builder) readJSON(text string) error {
	r := &jsonReader{s: text}
	var err error
	if r.peek() == '[' {
		err = b.jsonEvents(r)
	} else {
		err = r.object(func(key string) error {
			switch key {
			case "meta":
				b.meta = true
				return b.jsonMeta(r)
			case "recent":
				return b.jsonEvents(r)
			}
			return r.skip(0)
		})
		if err == nil && !b.meta {
			err = errors.New("it has no meta part")
		}
	}
	if err == nil && r.peek() != 0 {
		err = fmt.Errorf("byte %d: more after the end", r.i)
	} else if err == nil && r.i != len(text) {
		err = fmt.Errorf("byte %d: a zero byte", r.i)
	}
	return err
}

func (b *builder) jsonMeta(r *jsonReader) error {
	return r.object(func(key string) error {
		switch key {
		case "aggregator":
			return r.array(func() error {
				v, _, err := r.scalar()
				if err != nil {
					return err
				}
				return b.aggregate(v)
			})
		case "merged", "minmax":
			if r.peek() != '{' {
				return r.skip(0)
			}
			return r.object(func(inner string) error { return b.jsonField(r, key+"."+inner) })
		}
		return b.jsonField(r, key)
	})
}

// jsonField reads a value of the meta part. A null is as good as nothing.
func (b *builder) jsonField(r *jsonReader, name string) error {
	v, kind, err := r.scalar()
	if err != nil || kind == 0 {
		return err
	}
	return b.field(name, v)
}

func (b *builder) jsonEvents(r *jsonReader) error {
	b.listed = true
	return r.array(func() error {
		if r.peek() != '{' {
			if err := r.skip(0); err != nil {
				return err
			}
			return b.event("", "", "")
		}
		var epoch, path, kind string
		err := r.object(func(key string) error {
			v, k, err := r.scalar()
			switch {
			case err != nil:
				return err
			case key == "epoch":
				epoch = v // a number, or a string if it has more digits than a float
			case key == "path" && k == '"':
				path = v
			case key == "type" && k == '"':
				kind = v
			}
			return nil
		})
		if err != nil {
			return err
		}
		return b.event(epoch, path, kind)
	})
}

// A jsonReader walks over a JSON text without copying it. It takes what RFC 8259 allows and nothing else,
// except that a key must not come twice and that nesting is limited.
type jsonReader struct {
	s string
	i int
}

// peek returns the next byte that is not white space, and 0 at the end.
func (r *jsonReader) peek() byte {
	for ; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take reads one byte.
func (r *jsonReader) take(c byte) error {
	switch found := r.peek(); {
	case r.i == len(r.s):
		return errEnd
	case found != c:
		return fmt.Errorf("byte %d: expected %q, found %q", r.i, c, found)
	}
	r.i++
	return nil
}

// object calls f after each key, for it to read the value.
func (r *jsonReader) object(f func(key string) error) error {
	if err := r.take('{'); err != nil {
		return err
	}
	if r.peek() == '}' {
		r.i++
		return nil
	}
	var room [16]string
	seen := room[:0]
	for {
		r.peek()
		key, err := r.text()
		if err != nil {
			return err
		}
		for _, s := range seen {
			if s == key {
				return fmt.Errorf("byte %d: the key %.60q comes twice", r.i, key)
			}
		}
		if len(seen) == 1024 {
			return fmt.Errorf("byte %d: an object of more than 1024 keys", r.i)
		}
		seen = append(seen, key)
		if err := r.take(':'); err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
		if r.peek() == '}' {
			r.i++
			return nil
		}
		if err := r.take(','); err != nil {
			return err
		}
	}
}

// array calls f before each value, for it to read it.
func (r *jsonReader) array(f func() error) error {
	if err := r.take('['); err != nil {
		return err
	}
	if r.peek() == ']' {
		r.i++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if r.peek() == ']' {
			r.i++
			return nil
		}
		if err := r.take(','); err != nil {
			return err
		}
	}
}

// scalar reads a value: a string is of kind '"', a number of kind '0'. Of others, which are of
// kind 0, there is no text.
func (r *jsonReader) scalar() (text string, kind byte, err error) {
	switch c := r.peek(); {
	case c == '"':
		text, err = r.text()
		return text, '"', err
	case c == '-' || '0' <= c && c <= '9':
		text, err = r.number()
		return text, '0', err
	}
	return "", 0, r.skip(0)
}

func (r *jsonReader) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("byte %d: nested more than %d deep", r.i, maxDepth)
	}
	switch c := r.peek(); {
	case c == '{':
		return r.object(func(string) error { return r.skip(depth + 1) })
	case c == '[':
		return r.array(func() error { return r.skip(depth + 1) })
	case c == '"':
		_, err := r.text()
		return err
	case c == '-' || '0' <= c && c <= '9':
		_, err := r.number()
		return err
	}
	for _, word := range []string{"null", "true", "false"} {
		if strings.HasPrefix(r.s[r.i:], word) {
			r.i += len(word)
			return nil
		}
	}
	if r.i == len(r.s) {
		return errEnd
	}
	return fmt.Errorf("byte %d: expected a value, found %q", r.i, r.s[r.i])
}

func (r *jsonReader) number() (string, error) {
	start := r.i
	for r.i < len(r.s) && strings.IndexByte("+-.0123456789eE", r.s[r.i]) >= 0 {
		r.i++
	}
	n := r.s[start:r.i]
	if _, err := ParseEpoch(n); err != nil && (len(n) > 400 || !json.Valid([]byte(n))) {
		return "", fmt.Errorf("byte %d: expected a number, found %.60q", start, n)
	}
	return n, nil
}

// text reads a string, which begins here.
func (r *jsonReader) text() (string, error) {
	start := r.i
	if r.i == len(r.s) {
		return "", errEnd
	}
	if r.s[r.i] != '"' {
		return "", fmt.Errorf("byte %d: expected a string, found %q", r.i, r.s[r.i])
	}
	escaped := false
	for r.i++; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			r.i++
			if !escaped {
				return r.s[start+1 : r.i-1], nil
			}
			var s string
			if err := json.Unmarshal([]byte(r.s[start:r.i]), &s); err != nil {
				return "", fmt.Errorf("byte %d: %w", start, err)
			}
			return s, nil
		case c == '\\':
			escaped = true
			r.i++
		case c < ' ':
			return "", fmt.Errorf("byte %d: a control character in a string", r.i)
		}
	}
	return "", errEnd
}
