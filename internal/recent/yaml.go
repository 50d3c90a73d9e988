package recent

import (
	"errors"
	"fmt"
	"strings"
)

// readYAML reads what writers of RECENT files make of YAML: block mappings and lists, indented by
// spaces, with scalars of one line. Anything else is an error where it matters: in the list of events and the known
// names of the meta part. Elsewhere it is stepped over by its indentation.
func (b *builder) readYAML(text string) error {
	if text == "" || text[len(text)-1] != '\n' {
		return errEnd
	}
	r := &yamlReader{s: text}
	r.next()
	if r.indent == 0 && r.line == "---" {
		r.next()
	}
	if r.item() && r.indent == 0 {
		if err := b.yamlEvents(r); err != nil || r.end {
			return err
		}
		return r.expected("an event")
	}
	for !r.end {
		key, value, ok := r.pair()
		if r.indent != 0 || !ok {
			return r.expected("a key without indentation")
		}
		r.next()
		var err error
		switch {
		case key == "meta" && !b.meta && value == "":
			b.meta = true
			err = b.yamlMeta(r)
		case key == "recent" && !b.listed && value == "":
			err = b.yamlEvents(r)
		case key == "recent" && !b.listed && value == "[]":
			b.listed = true
		case key == "meta" || key == "recent":
			return fmt.Errorf("before line %d: expected one block %q", r.number, key)
		default:
			r.stepOver(0)
		}
		if err != nil {
			return err
		}
	}
	if !b.meta {
		return errors.New("it has no meta part")
	}
	return nil
}

func (b *builder) yamlMeta(r *yamlReader) error {
	indent := r.indent
	seen := map[string]bool{}
	for !r.end && r.indent == indent && indent > 0 {
		key, value, ok := r.pair()
		if !ok || seen[key] || len(seen) == 1024 {
			return r.expected("another key")
		}
		seen[key] = true
		r.next()
		var err error
		switch key {
		case "aggregator":
			err = b.yamlIntervals(r, indent, value)
		case "merged", "minmax":
			err = b.yamlSpan(r, indent, key, value)
		case "interval", "filenameroot", "serializer_suffix", "protocol", "dirtymark":
			v, ok := scalar(value)
			if ok {
				err = b.field(key, v)
			} else if value != "~" {
				err = fmt.Errorf("before line %d: expected a plain value, found %.80q", r.number, value)
			}
		default:
			r.stepOver(indent)
		}
		if err != nil {
			return err
		}
	}
	if !r.end && r.indent > 0 {
		return r.expected("a key, indented as the others")
	}
	return nil
}

func (b *builder) yamlIntervals(r *yamlReader, indent int, value string) error {
	if value != "" && value != "[]" {
		return fmt.Errorf("before line %d: expected a list, found %.80q", r.number, value)
	}
	for !r.end && r.indent >= indent && r.item() {
		v, ok := scalar(strings.TrimLeft(r.line[1:], " "))
		if !ok {
			return r.expected("an interval")
		}
		if err := b.aggregate(v); err != nil {
			return err
		}
		r.next()
	}
	return nil
}

func (b *builder) yamlSpan(r *yamlReader, indent int, name, value string) error {
	if value != "" && value != "{}" && value != "~" {
		return fmt.Errorf("before line %d: expected a mapping, found %.80q", r.number, value)
	}
	for inner := r.indent; !r.end && r.indent > indent; {
		key, value, ok := r.pair()
		if !ok || r.indent != inner {
			return r.expected("a key, indented as the others")
		}
		if v, ok := scalar(value); ok {
			if err := b.field(name+"."+key, v); err != nil {
				return err
			}
		}
		r.next()
	}
	return nil
}

// yamlEvents reads a list that begins here.
func (b *builder) yamlEvents(r *yamlReader) error {
	b.listed = true
	indent := r.indent
	if !r.item() {
		return r.expected("an event") // an empty list is written as []
	}
	for !r.end && r.indent == indent && r.item() {
		if err := b.yamlEvent(r); err != nil {
			return err
		}
	}
	if !r.end && (r.indent > 0 || r.item()) {
		return r.expected("an event, indented as the others")
	}
	return nil
}

func (b *builder) yamlEvent(r *yamlReader) error {
	list := r.indent
	if rest := strings.TrimLeft(r.line[1:], " "); rest == "" {
		r.next()
	} else {
		// The first key stands beside the dash: the others are below it.
		r.indent += len(r.line) - len(rest)
		r.line = rest
	}
	indent := r.indent
	var fields [3]string
	var seen [3]bool
	for !r.end && r.indent > list {
		key, value, ok := r.pair()
		if !ok || r.indent != indent {
			return r.expected("epoch, path or type")
		}
		v, ok := scalar(value)
		r.next()
		for !r.end && r.indent > indent {
			ok = false // a value of more lines
			r.next()
		}
		n := -1
		switch key {
		case "epoch":
			n = 0
		case "path":
			n = 1
		case "type":
			n = 2
		}
		if n < 0 {
			continue
		}
		if seen[n] {
			return fmt.Errorf("before line %d: %s comes twice", r.number, key)
		}
		if seen[n] = true; ok {
			fields[n] = v
		}
	}
	if r.end && seen != [3]bool{true, true, true} {
		return errEnd
	}
	return b.event(fields[0], fields[1], fields[2])
}

// scalar undoes the quotes of a value. It returns false for what is not one string on one line: null,
// nested values, tags and escapes.
func scalar(s string) (string, bool) {
	if s == "" || s == "~" {
		return "", false
	}
	switch s[0] {
	case '\'':
		if len(s) < 2 || s[len(s)-1] != '\'' {
			return "", false
		}
		inner := s[1 : len(s)-1]
		if strings.IndexByte(inner, '\'') < 0 {
			return inner, true
		}
		if strings.Contains(strings.ReplaceAll(inner, "''", ""), "'") {
			return "", false
		}
		return strings.ReplaceAll(inner, "''", "'"), true
	case '"':
		if len(s) < 2 || s[len(s)-1] != '"' || strings.ContainsAny(s[1:len(s)-1], `"\`) {
			return "", false
		}
		return s[1 : len(s)-1], true
	case '&', '*', '!', '|', '>', '%', '@', '`', '{', '}', '[', ']', ',', '#', '?':
		return "", false
	}
	if s == "-" || strings.HasPrefix(s, "- ") || strings.Contains(s, " #") || strings.Contains(s, ": ") || s[len(s)-1] == ':' {
		return "", false
	}
	return s, true
}

// A yamlReader walks over lines.
type yamlReader struct {
	s      string
	i      int
	number int
	indent int    // spaces in front
	line   string // what follows them, without spaces at its end
	end    bool
}

func (r *yamlReader) next() {
	if r.i == len(r.s) {
		r.end, r.line, r.indent = true, "", 0
		return
	}
	n := strings.IndexByte(r.s[r.i:], '\n') // there is one: the text ends with it
	line := strings.TrimRight(r.s[r.i:r.i+n], " ")
	r.i += n + 1
	r.number++
	r.line = strings.TrimLeft(line, " ")
	r.indent = len(line) - len(r.line)
}

// item says whether the line begins an item of a list.
func (r *yamlReader) item() bool {
	return r.line == "-" || strings.HasPrefix(r.line, "- ")
}

// pair splits a line that has a key.
func (r *yamlReader) pair() (key, value string, ok bool) {
	if key, value, ok = strings.Cut(r.line, ": "); ok {
		return key, strings.TrimLeft(value, " "), key != ""
	}
	key, ok = strings.CutSuffix(r.line, ":")
	return key, "", ok && key != ""
}

// stepOver leaves out what belongs to a key of this indentation.
func (r *yamlReader) stepOver(indent int) {
	for !r.end && (r.indent > indent || r.line == "" || r.indent == indent && r.item()) {
		r.next()
	}
}

func (r *yamlReader) expected(what string) error {
	if r.end {
		return errEnd
	}
	return fmt.Errorf("line %d: expected %s, found %.80q", r.number, what, r.line)
}
