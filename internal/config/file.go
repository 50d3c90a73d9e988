package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/pflag"
)

// MaxFile bounds the size of a file in bytes.
const MaxFile = 1 << 20

// fromFile sets what neither the command line nor the environment has set.
func (s Sources) fromFile(flags *pflag.FlagSet, name string, mustExist bool) error {
	if name == "" {
		return nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && !mustExist {
		return nil
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if len(b) > MaxFile {
		return fmt.Errorf("configuration: %s has more than %d bytes: is it the right file?", name, MaxFile)
	}
	// A first reading finds all that is wrong with it as TOML. A second one, of the
	// syntax tree, is for the lines and columns, which the first does not keep.
	if err := toml.Unmarshal(b, new(map[string]any)); err != nil {
		var wrong *toml.DecodeError
		if !errors.As(err, &wrong) {
			return fmt.Errorf("file %s: %w", name, err)
		}
		line, column := wrong.Position()
		return fmt.Errorf("file %s:%d:%d: %s", name, line, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	}
	var p unstable.Parser
	p.Reset(b)
	for p.NextExpression() {
		at, err := s.apply(flags, &p, name)
		if err != nil {
			pos := p.Shape(at.Raw).Start
			return fmt.Errorf("file %s:%d:%d: %w", name, pos.Line, pos.Column, err)
		}
	}
	return p.Error()
}

// apply sets a flag from the parser's current expression. With an error comes
// the part of the expression that is to blame.
func (s Sources) apply(flags *pflag.FlagSet, p *unstable.Parser, name string) (*unstable.Node, error) {
	e := p.Expression()
	path := e.Key()
	path.Next()
	at := path.Node()
	key := string(at.Data)
	if e.Kind != unstable.KeyValue {
		return at, fmt.Errorf("table %q: expected only lines of a flag's name and its value", key)
	}
	if !path.IsLast() {
		return at, fmt.Errorf("a dot after %q: expected a flag's name", key)
	}
	f := flags.Lookup(key)
	if f == nil || f.Name == FileFlag || commandLineOnly(f.Name) {
		return at, unknown(flags, key)
	}
	values, wrong := valuesOf(f, e.Value())
	if wrong != nil {
		return placed(wrong, at), fmt.Errorf("%s: expected %s, found %s", key, written(f), kindName(wrong.Kind))
	}
	// The file has to have the right types even where something else counts more:
	// it should not turn out wrong on the day when a variable goes away.
	if s[f.Name] != Default {
		return nil, nil
	}
	var err error
	if isList(f) {
		err = replace(flags, f, values)
	} else {
		err = set(flags, f, values[0])
	}
	if err != nil {
		return placed(e.Value(), at), fmt.Errorf("%s: %w", key, err)
	}
	s[f.Name] = fmt.Sprintf("file %s:%d", name, p.Shape(at.Raw).Start.Line)
	return nil, nil
}

// placed returns value, or its key if value is a list, whose place the parser does not tell.
func placed(value, key *unstable.Node) *unstable.Node {
	if value.Raw.Length == 0 {
		return key
	}
	return value
}

// unknown says what to write instead of a key that is no flag.
func unknown(flags *pflag.FlagSet, key string) error {
	if key == FileFlag {
		return fmt.Errorf("key %q: a file cannot name the file: use --%s or its variable", key, FileFlag)
	}
	dashes := strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != FileFlag && !commandLineOnly(f.Name) && !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if slices.Contains(names, dashes) {
		return fmt.Errorf("unknown key %q: expected a flag's name, such as %q", key, dashes)
	}
	return fmt.Errorf("unknown key %.100q: expected a flag of this command: %s", key, strings.Join(names, ", "))
}

// valuesOf returns the texts to set f with: one, or the elements of a list. wrong is
// the node that has not the type that f takes.
func valuesOf(f *pflag.Flag, v *unstable.Node) (values []string, wrong *unstable.Node) {
	if !isList(f) {
		if !slices.Contains(kindsOf(f), v.Kind) {
			return nil, v
		}
		text := string(v.Data)
		if v.Kind == unstable.Integer {
			// TOML's +5 is 5, which Go does not take for an unsigned number.
			text = strings.TrimPrefix(text, "+")
		}
		return []string{text}, nil
	}
	if v.Kind != unstable.Array {
		return nil, v
	}
	for elements := v.Children(); elements.Next(); {
		element := elements.Node()
		if element.Kind != unstable.String {
			return nil, element
		}
		values = append(values, string(element.Data))
	}
	return values, nil
}

// kindsOf returns how TOML writes values of f. What TOML has no type for is a string.
func kindsOf(f *pflag.Flag) []unstable.Kind {
	switch t := f.Value.Type(); t {
	case "bool":
		return []unstable.Kind{unstable.Bool}
	case "int", "int8", "int16", "int32", "int64", "count", "uint", "uint8", "uint16", "uint32", "uint64":
		return []unstable.Kind{unstable.Integer}
	case "float32", "float64":
		return []unstable.Kind{unstable.Float, unstable.Integer}
	}
	return []unstable.Kind{unstable.String}
}

// written says what a flag takes and how a file writes it.
func written(f *pflag.Flag) string {
	switch what := expected(f); {
	case isList(f):
		return what + `, like ["one", "two"]`
	case what == "":
		return "a value in quotes"
	case slices.Contains(kindsOf(f), unstable.String):
		return what + ", in quotes"
	default:
		return what
	}
}

func kindName(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a text in quotes"
	case unstable.Bool:
		return "true or false"
	case unstable.Integer, unstable.Float:
		return "a number"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}
