package config

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/pflag"
)

// Show writes every flag with its value and where that came from, sorted by name. The
// result is itself a file for Apply, which sets the same values; config is
// therefore in a comment.
//
//	# config = '/etc/pauselogd.toml'  # environment PAUSELOGD_CONFIG
//	grpc = '127.0.0.1:8443'  # file /etc/pauselogd.toml:3
//	read-timeout = '30s'  # default
func Show(w io.Writer, flags *pflag.FlagSet, sources Sources) error {
	var b bytes.Buffer
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || commandLineOnly(f.Name) {
			return
		}
		var line []byte
		if line, err = lineOf(f); err != nil {
			return
		}
		if f.Name == FileFlag {
			b.WriteString("# ")
		}
		b.Write(line)
		if from := sources[f.Name]; from != "" {
			// A file's name may have a line feed, which would end the comment.
			quoted := fmt.Sprintf("%q", from)
			if quoted[1:len(quoted)-1] == from {
				quoted = from
			}
			b.WriteString("  # " + quoted)
		}
		b.WriteByte('\n')
	})
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// lineOf writes a flag's value as TOML.
func lineOf(f *pflag.Flag) ([]byte, error) {
	var value any = f.Value.String()
	list, ok := f.Value.(pflag.SliceValue)
	switch {
	case isList(f) && ok:
		value = append([]string{}, list.GetSlice()...)
	case !slices.Contains(kindsOf(f), unstable.String):
		return []byte(f.Name + " = " + f.Value.String()), nil
	}
	b, err := toml.Marshal(map[string]any{f.Name: value})
	return bytes.TrimSpace(b), err
}
