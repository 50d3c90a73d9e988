// Package config fills a command's flags from the environment and from a TOML file.
//
// A flag on the command line counts first, then the environment, then the file, then the
// flag's default. A flag --read-timeout of a program with the prefix PAUSELOGD is also the
// variable PAUSELOGD_READ_TIMEOUT and the file's key read-timeout:
//
//	read-timeout = "30s"
//	witnesses = ["https://one.example", "https://two.example"]
//	metrics = true
//
// So there is one name and one description for each setting, and --help lists them all.
//
// An environment variable that is set but empty counts as not set, since what composes
// environments passes on as empty what it does not know; --name="" and the file can say
// empty. Of a list, a variable holds one element per line; of a stringSlice, a line may also
// be several, separated by commas, as on the command line. A list replaces the
// one that counts less and is never added to it.
//
// Secrets have no flags: they are read from files of their own. Nothing here hides a value.
package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// FileFlag is the flag that names the file. A set of flags need not have it.
const FileFlag = "config"

// Default is the source of a value that nobody set.
const Default = "default"

// Sources say where each flag's value came from, by the flag's name: "flag", "environment
// PAUSELOGD_GRPC", "file /etc/pauselogd.toml:3" or Default.
type Sources map[string]string

// Apply gives each flag that was not on the command line its value from the environment or
// else from the file. It is called once the command line is parsed (with cobra in a
// PreRunE), and sets flags as the command line does: required flags and groups of
// flags see no difference.
//
// The file is the one that the flag --config or the variable PREFIX_CONFIG names, which has
// to exist. If neither does, it is the default of --config or else the parameter file, which
// need not exist; "" is none. --config="" means to read no file. The file's keys
// are the flags of this set, config excepted.
//
// To set the variable of a flag that except names is an error: such a flag is a deliberate
// act, not to be inherited. Names that are no flags of this set are ignored, so that a
// program can keep one list for all its commands. help and version belong to the
// command line; their variables are ignored, as PREFIX_VERSION has other uses.
//
// After an error some flags are set and others not: do not go on.
func Apply(flags *pflag.FlagSet, prefix, file string, except ...string) (Sources, error) {
	s := Sources{}
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if err == nil && !commandLineOnly(f.Name) {
			err = s.fromEnvironment(flags, f, prefix, slices.Contains(except, f.Name))
		}
	})
	if err != nil {
		return nil, err
	}
	mustExist := false
	if f := flags.Lookup(FileFlag); f != nil && (f.Changed || f.Value.String() != "") {
		file, mustExist = f.Value.String(), f.Changed
	}
	if err := s.fromFile(flags, file, mustExist); err != nil {
		return nil, err
	}
	return s, nil
}

// Variable returns the environment variable of a flag.
func Variable(prefix, name string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func commandLineOnly(name string) bool { return name == "help" || name == "version" }

func (s Sources) fromEnvironment(flags *pflag.FlagSet, f *pflag.Flag, prefix string, excepted bool) error {
	s[f.Name] = Default
	if f.Changed {
		s[f.Name] = "flag"
	}
	variable := Variable(prefix, f.Name)
	text := os.Getenv(variable)
	switch {
	case strings.Trim(text, "\r\n") == "":
		return nil
	case excepted:
		// Also if the flag was given: the next call may come without it.
		return fmt.Errorf("environment %s: --%s is not taken from the environment: unset the variable, and give the flag if you mean it", variable, f.Name)
	case f.Changed:
		return nil
	}
	s[f.Name] = "environment " + variable
	if err := setFromVariable(flags, f, text); err != nil {
		return fmt.Errorf("environment %s: %w", variable, err)
	}
	return nil
}

func setFromVariable(flags *pflag.FlagSet, f *pflag.Flag, text string) error {
	if !isList(f) {
		return set(flags, f, text)
	}
	// The flag itself takes a line apart: its first Set replaces the
	// default, the others add to the first.
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		if err := set(flags, f, line); err != nil {
			return err
		}
	}
	return nil
}

// set uses FlagSet.Set, not Value.Set: only the former remembers that the flag was set.
func set(flags *pflag.FlagSet, f *pflag.Flag, text string) error {
	err := flags.Set(f.Name, text)
	if err == nil {
		return nil
	}
	if what := expected(f); what != "" {
		return fmt.Errorf("expected %s, found %.100q", what, text)
	}
	// A type of the program's own says itself what it expects.
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		err = invalid.Unwrap()
	}
	return fmt.Errorf("%.100q is no value for --%s: %w", text, f.Name, err)
}

// replace sets a list to exactly these elements, perhaps none.
func replace(flags *pflag.FlagSet, f *pflag.Flag, elements []string) error {
	list, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return fmt.Errorf("flag --%s of type %s cannot be set to a list", f.Name, f.Value.Type())
	}
	if err := set(flags, f, ""); err != nil {
		return err
	}
	return list.Replace(elements)
}

func isList(f *pflag.Flag) bool {
	return f.Value.Type() == "stringSlice" || f.Value.Type() == "stringArray"
}

// expected says what a flag of one of the usual types takes.
func expected(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "int", "int8", "int16", "int32", "int64", "count":
		return "a whole number that is not too large"
	case "uint", "uint8", "uint16", "uint32", "uint64":
		return "a whole number from 0 on that is not too large"
	case "float32", "float64":
		return "a number"
	case "duration":
		return "a duration with its unit, like 30s or 1h30m"
	case "string":
		return "a text"
	case "stringSlice", "stringArray":
		return "a list of texts"
	}
	return ""
}
