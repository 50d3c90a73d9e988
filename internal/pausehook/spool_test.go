package pausehook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

// maxSpoolFile is how many bytes a spool file may have.
const maxSpoolFile = 4096

// event is what a spool file says. Nil is null.
type event struct {
	kind, path, time string
	sha256, by       *string
	size             *int64
}

var (
	spoolName = regexp.MustCompile(`\A[0-9]{10}\.[0-9]{6}-[1-9][0-9]*-(0|[1-9][0-9]*)\.json\z`)
	hexDigest = regexp.MustCompile(`\A[0-9a-f]{64}\z`)
	decimal   = regexp.MustCompile(`\A(0|[1-9][0-9]{0,14})\z`)
)

// readSpool reads the files that a reader of the spool sees, in its order.
func readSpool(spool string) ([]event, error) {
	files, err := os.ReadDir(filepath.Join(spool, "new"))
	if err != nil {
		return nil, err
	}
	var events []event
	for _, f := range files {
		if !spoolName.MatchString(f.Name()) || !f.Type().IsRegular() {
			return nil, fmt.Errorf("%s is no spool file", f.Name())
		}
		data, err := os.ReadFile(filepath.Join(spool, "new", f.Name()))
		if err != nil {
			return nil, err
		}
		e, err := parseEvent(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%q", f.Name(), err, data)
		}
		events = append(events, e)
	}
	return events, nil
}

// parseEvent reads a spool file and accepts what the module's documentation says of it, and nothing else.
func parseEvent(data []byte) (event, error) {
	line, ok := bytes.CutSuffix(data, []byte("\n"))
	if !ok || len(data) > maxSpoolFile {
		return event{}, fmt.Errorf("%d bytes, expected a line of at most %d", len(data), maxSpoolFile)
	}
	if i := slices.IndexFunc(line, func(c byte) bool { return c < 0x20 || c > 0x7E }); i >= 0 {
		return event{}, fmt.Errorf("byte %d is %#02x, expected printable ASCII", i, line[i])
	}
	fields, err := parseObject(line)
	if err != nil {
		return event{}, err
	}
	var e event
	for _, err := range []error{
		fields.number("spool", func(n *int64) error {
			if n == nil || *n != 1 {
				return errors.New("expected 1")
			}
			return nil
		}),
		fields.text("kind", func(s *string) error { return set(&e.kind, s) }),
		fields.text("path", func(s *string) error { return set(&e.path, s) }),
		fields.text("time", func(s *string) error { return set(&e.time, s) }),
		fields.text("sha256", func(s *string) error { e.sha256 = s; return nil }),
		fields.text("by", func(s *string) error { e.by = s; return nil }),
		fields.number("size", func(n *int64) error { e.size = n; return nil }),
	} {
		if err != nil {
			return event{}, err
		}
	}
	if len(fields) != 0 {
		return event{}, fmt.Errorf("unknown keys: %v", fields)
	}
	return e, e.check()
}

func (e event) check() error {
	upload, _ := entry.IsUpload(e.path)
	switch e.kind {
	case "upload", "delete":
		if !upload {
			return fmt.Errorf("%s of %q, which is no upload", e.kind, e.path)
		}
	case "index":
		if !slices.Contains(entry.IndexPaths, e.path) || e.by != nil {
			return fmt.Errorf("index %q by %v", e.path, e.by)
		}
	default:
		return fmt.Errorf("kind %q", e.kind)
	}
	if t, err := time.Parse("2006-01-02T15:04:05Z", e.time); err != nil || t.Format("2006-01-02T15:04:05Z") != e.time {
		return fmt.Errorf("time %q is not a date and time in UTC", e.time)
	}
	if (e.sha256 == nil) != (e.size == nil) || e.sha256 != nil && !hexDigest.MatchString(*e.sha256) {
		return errors.New("expected a digest and a size, or neither")
	}
	if e.by != nil && !entry.IsPAUSEID(*e.by) {
		return fmt.Errorf("by %q is no PAUSE id", *e.by)
	}
	return nil
}

// object is what is left to be read of a JSON object: a string, a json.Number or nil by key.
type object map[string]any

func parseObject(line []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') || line[0] != '{' {
		return nil, fmt.Errorf("expected an object, found %v (%v)", t, err)
	}
	fields := object{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := fmt.Sprint(key)
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		value, err := d.Token()
		if err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the object")
	}
	return fields, nil
}

func (o object) text(key string, use func(*string) error) error {
	value, ok := o[key]
	delete(o, key)
	s, isText := value.(string)
	switch {
	case !ok:
		return fmt.Errorf("%s is missing", key)
	case value == nil:
		return named(key, use(nil))
	case !isText:
		return fmt.Errorf("%s is %v, expected a string", key, value)
	}
	return named(key, use(&s))
}

func (o object) number(key string, use func(*int64) error) error {
	value, ok := o[key]
	delete(o, key)
	n, isNumber := value.(json.Number)
	switch {
	case !ok:
		return fmt.Errorf("%s is missing", key)
	case value == nil:
		return named(key, use(nil))
	case !isNumber || !decimal.MatchString(n.String()):
		return fmt.Errorf("%s is %v, expected a number", key, value)
	}
	i, err := n.Int64()
	if err != nil {
		return named(key, err)
	}
	return named(key, use(&i))
}

func named(key string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func set(to, from *string) error {
	if from == nil {
		return errors.New("expected a string, found null")
	}
	*to = *from
	return nil
}

func (e event) String() string {
	or := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	size := "-"
	if e.size != nil {
		size = fmt.Sprint(*e.size)
	}
	return strings.Join([]string{e.kind, e.path, or(e.sha256), size, e.time, or(e.by)}, " ")
}
