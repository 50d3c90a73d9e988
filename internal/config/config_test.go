package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// program is a set of flags of every type that our programs have.
type program struct {
	flags *pflag.FlagSet

	config, grpc, data string
	metrics, yes       bool
	batch              int
	large              uint64
	ratio              float64
	wait               time.Duration
	witnesses, origins []string // an array, a slice
	from               net.IP
}

func newProgram(t *testing.T, arguments ...string) *program {
	t.Helper()
	p := &program{flags: pflag.NewFlagSet("pauselogd", pflag.ContinueOnError)}
	f := p.flags
	f.StringVar(&p.config, "config", "", "")
	f.StringVar(&p.grpc, "grpc", "localhost:1", "")
	f.StringVar(&p.data, "data", "", "")
	f.BoolVar(&p.metrics, "metrics", false, "")
	f.BoolVar(&p.yes, "yes", false, "")
	f.IntVar(&p.batch, "batch-size", 256, "")
	f.Uint64Var(&p.large, "large", 1, "")
	f.Float64Var(&p.ratio, "ratio", 0.5, "")
	f.DurationVar(&p.wait, "read-timeout", time.Minute, "")
	f.StringArrayVar(&p.witnesses, "witnesses", []string{"default"}, "")
	f.StringSliceVar(&p.origins, "origins", []string{"default"}, "")
	f.IPVar(&p.from, "from", nil, "")
	f.Bool("help", false, "")
	f.Bool("version", false, "")
	if err := f.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *program) String() string {
	return fmt.Sprintf("grpc=%q data=%q metrics=%v batch=%d large=%d ratio=%v wait=%v witnesses=%q origins=%q from=%v",
		p.grpc, p.data, p.metrics, p.batch, p.large, p.ratio, p.wait, p.witnesses, p.origins, p.from)
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pauselogd.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		flag, variable, file string
		unset                bool // the variable
		want, source         string
	}{
		{name: "nothing", unset: true, want: "localhost:1", source: "default"},
		{name: "an empty variable", want: "localhost:1", source: "default"},
		{name: "the file", unset: true, file: "file:1", want: "file:1", source: "file FILE:2"},
		{name: "an empty variable and the file", file: "file:1", want: "file:1", source: "file FILE:2"},
		{name: "the variable", variable: "env:1", want: "env:1", source: "environment PAUSELOGD_GRPC"},
		{name: "variable before file", variable: "env:1", file: "file:1", want: "env:1", source: "environment PAUSELOGD_GRPC"},
		{name: "flag before file", unset: true, flag: "--grpc=flag:1", file: "file:1", want: "flag:1", source: "flag"},
		{name: "flag before all", flag: "--grpc=flag:1", variable: "env:1", file: "file:1", want: "flag:1", source: "flag"},
		{name: "an empty flag", flag: "--grpc=", variable: "env:1", file: "file:1", want: "", source: "flag"},
		{name: "a flag that says the default", flag: "--grpc=localhost:1", variable: "env:1", want: "localhost:1", source: "flag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var arguments []string
			if tt.flag != "" {
				arguments = []string{tt.flag}
			}
			if !tt.unset {
				t.Setenv("PAUSELOGD_GRPC", tt.variable)
			}
			text := "# listen here\n"
			if tt.file != "" {
				text += "grpc = '" + tt.file + "'\n"
			}
			file := write(t, text)
			p := newProgram(t, arguments...)
			sources, err := Apply(p.flags, "PAUSELOGD", file)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(tt.source, "FILE", file); p.grpc != tt.want || sources["grpc"] != want {
				t.Errorf("%q from %q, want %q from %q", p.grpc, sources["grpc"], tt.want, want)
			}
			if set := tt.source != "default"; p.flags.Changed("grpc") != set {
				t.Errorf("the flag counts as set: %v", !set)
			}
			if sources["data"] != "default" || sources["help"] != "" {
				t.Errorf("sources: %v", sources)
			}
		})
	}
}

func TestEveryType(t *testing.T) {
	const want = `grpc="a:1" data="" metrics=true batch=4096 large=18446744073709551615 ratio=1000.5 wait=1m30s witnesses=["a,b" "c"] origins=["x" "y, z" "w"] from=192.0.2.1`
	t.Run("file", func(t *testing.T) {
		p := newProgram(t)
		file := write(t, `
			grpc = "\u0061:1"
			data = ''
			metrics = true
			batch-size = 0x1_000
			ratio = +1_000.5
			"large" = +9_223_372_036_854_775_807 # TOML has no larger ones
			read-timeout = "1m30s"
			witnesses = [
				"a,b", # one
				'c',
			]
			origins = ["x", "y, z", "w"]
			from = "192.0.2.1"
		`)
		sources, err := Apply(p.flags, "PAUSELOGD", file)
		if want := strings.Replace(want, "18446744073709551615", "9223372036854775807", 1); err != nil || p.String() != want {
			t.Errorf("%v, %v\nwant %v", p, err, want)
		}
		if sources["from"] != "file "+file+":14" {
			t.Errorf("sources: %v", sources)
		}
	})
	t.Run("environment", func(t *testing.T) {
		for name, value := range map[string]string{
			"GRPC": "a:1", "METRICS": "true", "BATCH_SIZE": "4096", "LARGE": "18446744073709551615", "RATIO": "1000.5",
			"READ_TIMEOUT": "1m30s", "WITNESSES": "a,b\n\nc\n", "ORIGINS": "x,\"y, z\"\r\nw", "FROM": "192.0.2.1",
		} {
			t.Setenv("PAUSELOGD_"+name, value)
		}
		p := newProgram(t)
		if _, err := Apply(p.flags, "PAUSELOGD", ""); err != nil || p.String() != want {
			t.Errorf("%v, %v\nwant %v", p, err, want)
		}
	})
	t.Run("empty lists", func(t *testing.T) {
		p := newProgram(t)
		_, err := Apply(p.flags, "PAUSELOGD", write(t, "witnesses = []\norigins = []"))
		if err != nil || len(p.witnesses) != 0 || len(p.origins) != 0 || !p.flags.Changed("witnesses") || !p.flags.Changed("origins") {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("lists are replaced", func(t *testing.T) {
		t.Setenv("PAUSELOGD_ORIGINS", "environment")
		p := newProgram(t, "--witnesses=flag")
		_, err := Apply(p.flags, "PAUSELOGD", write(t, "witnesses = ['file']\norigins = ['file']"))
		if err != nil || !slices.Equal(p.witnesses, []string{"flag"}) || !slices.Equal(p.origins, []string{"environment"}) {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("a variable of line feeds", func(t *testing.T) {
		t.Setenv("PAUSELOGD_ORIGINS", "\n\r\n")
		p := newProgram(t)
		s, err := Apply(p.flags, "PAUSELOGD", "")
		if err != nil || !slices.Equal(p.origins, []string{"default"}) || s["origins"] != "default" {
			t.Errorf("%v from %v, %v", p, s["origins"], err)
		}
	})
}

func TestErrorsInTheFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "grpc = 'a'\n\n  gprc = 'a'\n", `:3:3: unknown key "gprc": expected a flag of this command: batch-size, data, from, grpc,`},
		{"underscore", "read_timeout = '1s'", `:1:1: unknown key "read_timeout": expected a flag's name, such as "read-timeout"`},
		{"capitals", "GRPC = 'a'", `such as "grpc"`},
		{"help", "help = true", `:1:1: unknown key "help"`},
		{"itself", "config = 'other'", `:1:1: key "config": a file cannot name the file`},
		{"table", "grpc = 'a'\n[server]\ngrpc = 'b'", `:2:2: table "server": expected only lines`},
		{"list of tables", "[[grpc]]", `:1:3: table "grpc"`},
		{"dotted key", "read.timeout = '1s'", `:1:1: a dot after "read"`},
		{"dotted key of a flag", "grpc.port = 1", `:1:1: a dot after "grpc"`},
		{"repeated key", "grpc = 'a'\ngrpc = 'a'", `:2:1: key grpc is already defined`},
		{"repeated key in quotes", "grpc = 'a'\n\n\"grpc\" = 'a'", `:3:1: key grpc is already defined`},
		{"text for a bool", "metrics = 'true'", `:1:11: metrics: expected true or false, found a text in quotes`},
		{"number for a bool", "metrics = 1", `:1:11: metrics: expected true or false, found a number`},
		{"text for a number", "batch-size = '12'", `batch-size: expected a whole number that is not too large, found a text in quotes`},
		{"fraction for a number", "batch-size = 1.5", `batch-size: expected a whole number`},
		{"negative", "large = -1", `:1:9: large: expected a whole number from 0 on that is not too large, found "-1"`},
		{"too large", "batch-size = 9223372036854775808", `:1:14: `},
		{"number for a duration", "read-timeout = 30", `:1:16: read-timeout: expected a duration with its unit, like 30s or 1h30m, in quotes, found a number`},
		{"duration without unit", "read-timeout = '30'", `:1:16: read-timeout: expected a duration with its unit, like 30s or 1h30m, found "30"`},
		{"number for a text", "grpc = 8080", `:1:8: grpc: expected a text, in quotes, found a number`},
		{"date for a text", "grpc = 2026-11-22", `grpc: expected a text, in quotes, found a date or time`},
		{"list for a text", "grpc = ['a']", `:1:1: grpc: expected a text, in quotes, found a list`},
		{"table for a text", "grpc = {a = 1}", `grpc: expected a text, in quotes, found a table`},
		{"text for a list", "witnesses = 'a,b'", `:1:13: witnesses: expected a list of texts, like ["one", "two"], found a text in quotes`},
		{"list of numbers", "origins = [\n'a',\n 1]", `:3:2: origins: expected a list of texts, like ["one", "two"], found a number`},
		{"list of lists", "origins = [['a']]", `:1:1: origins: expected a list of texts, like ["one", "two"], found a list`},
		{"number for a type of its own", "from = 1", `:1:8: from: expected a value in quotes, found a number`},
		{"wrong value of a type of its own", "from = 'here'", `:1:8: from: "here" is no value for --from: failed to parse IP: "here"`},
		{"no value", "grpc =", `:1:6: expected value`},
		{"no quotes", "metrics = true\ngrpc = localhost", `:2:8: `},
		{"two on a line", "metrics = true yes = true", `:1:16: `},
		{"no TOML", "{\"grpc\": 1}", `:1:1: `},
		{"bytes that are no UTF-8", "grpc = '\xff'", `:1:9: `},
		{"deep", "grpc = " + strings.Repeat("[", 20000), `:1:`},
	} {
		p := newProgram(t)
		file := write(t, tt.text)
		s, err := Apply(p.flags, "PAUSELOGD", file)
		if err == nil || s != nil || !strings.HasPrefix(err.Error(), "file "+file+":") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestTheFileIsCheckedEvenWhereItDoesNotCount(t *testing.T) {
	t.Setenv("PAUSELOGD_GRPC", "env:1")
	p := newProgram(t, "--batch-size=1")
	for _, text := range []string{"grpc = 1", "batch-size = 'a'"} {
		if _, err := Apply(p.flags, "PAUSELOGD", write(t, text)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

func TestErrorsInTheEnvironment(t *testing.T) {
	for _, tt := range []struct{ variable, value, want string }{
		{"METRICS", "maybe", `environment PAUSELOGD_METRICS: expected true or false, found "maybe"`},
		{"BATCH_SIZE", "1k", `environment PAUSELOGD_BATCH_SIZE: expected a whole number that is not too large, found "1k"`},
		{"BATCH_SIZE", "tcp://10.0.0.1:80", `found "tcp://10.0.0.1:80"`}, // as container managers set for services
		{"RATIO", "half", `expected a number, found "half"`},
		{"READ_TIMEOUT", "30", `environment PAUSELOGD_READ_TIMEOUT: expected a duration with its unit, like 30s or 1h30m, found "30"`},
		{"ORIGINS", `a"b`, `environment PAUSELOGD_ORIGINS: expected a list of texts`},
		{"FROM", "here", `environment PAUSELOGD_FROM: "here" is no value for --from: failed to parse`},
		{"YES", "true", "environment PAUSELOGD_YES: --yes is not taken from the environment: unset the variable"},
		{"CONFIG", "/nowhere/pauselogd.toml", "open /nowhere/pauselogd.toml: no such file"},
	} {
		t.Run(tt.variable, func(t *testing.T) {
			t.Setenv("PAUSELOGD_"+tt.variable, tt.value)
			p := newProgram(t)
			s, err := Apply(p.flags, "PAUSELOGD", "", "yes", "a-flag-of-another-command")
			if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	t.Run("what is not ours", func(t *testing.T) {
		for _, name := range []string{"PAUSELOGD_VERSION", "PAUSELOGD_HELP", "PAUSELOGD_GRPC_HOST", "PAUSELOGDGRPC", "GRPC"} {
			t.Setenv(name, "1.2.3")
		}
		p := newProgram(t, "--yes")
		if _, err := Apply(p.flags, "PAUSELOGD", "", "yes"); err != nil || !p.yes || p.grpc != "localhost:1" {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("an excepted flag's variable beside the flag", func(t *testing.T) {
		t.Setenv("PAUSELOGD_YES", "false")
		if _, err := Apply(newProgram(t, "--yes").flags, "PAUSELOGD", "", "yes"); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("excepted flags are taken from the file", func(t *testing.T) {
		p := newProgram(t)
		if _, err := Apply(p.flags, "PAUSELOGD", write(t, "yes = true"), "yes"); err != nil || !p.yes {
			t.Errorf("%v, %v", p, err)
		}
	})
}

func TestWhichFile(t *testing.T) {
	byFlag, byVariable, usual := write(t, "data = 'flag'"), write(t, "data = 'variable'"), write(t, "data = 'usual'")
	gone := filepath.Join(t.TempDir(), "gone")
	for _, tt := range []struct {
		name, variable, file string
		arguments            []string
		want, source         string
	}{
		{"none", "", "", nil, "", "default"},
		{"the usual one", "", usual, nil, "usual", "default"},
		{"the usual one is not there", "", gone, nil, "", "default"},
		{"the variable's", byVariable, usual, nil, "variable", "environment PAUSELOGD_CONFIG"},
		{"the flag's", byVariable, usual, []string{"--config", byFlag}, "flag", "flag"},
		{"none by flag", byVariable, usual, []string{"--config="}, "", "flag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PAUSELOGD_CONFIG", tt.variable)
			p := newProgram(t, tt.arguments...)
			s, err := Apply(p.flags, "PAUSELOGD", tt.file)
			if err != nil || p.data != tt.want || s["config"] != tt.source {
				t.Errorf("%q, config from %q, %v", p.data, s["config"], err)
			}
		})
	}

	p := newProgram(t, "--config", gone)
	if _, err := Apply(p.flags, "PAUSELOGD", usual); !errors.Is(err, fs.ErrNotExist) || p.data != "" {
		t.Errorf("a file that was named and is not there: %v", err)
	}
	p = newProgram(t)
	if err := p.flags.Lookup("config").Value.Set(usual); err != nil { // as a default of --config
		t.Fatal(err)
	}
	if _, err := Apply(p.flags, "PAUSELOGD", gone); err != nil || p.data != "usual" {
		t.Errorf("the flag's default: %v, %v", p, err)
	}
	if err := p.flags.Lookup("config").Value.Set(gone); err != nil {
		t.Fatal(err)
	}
	p.flags.Lookup("config").Changed = false
	if _, err := Apply(p.flags, "PAUSELOGD", ""); err != nil {
		t.Errorf("the flag's default is not there: %v", err)
	}
	without := pflag.NewFlagSet("", pflag.ContinueOnError)
	data := without.String("data", "", "")
	if _, err := Apply(without, "PAUSELOGD", usual); err != nil || *data != "usual" {
		t.Errorf("without --config: %v, %v", *data, err)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	p := newProgram(t)
	if _, err := Apply(p.flags, "PAUSELOGD", t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Apply(p.flags, "PAUSELOGD", filepath.Join(write(t, ""), "below")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file below a file: %v", err)
	}
	comment := func(size int) string { return write(t, "#"+strings.Repeat(" ", size-1)) }
	if _, err := Apply(p.flags, "PAUSELOGD", comment(MaxFile)); err != nil {
		t.Errorf("a file of the largest size: %v", err)
	}
	if _, err := Apply(p.flags, "PAUSELOGD", comment(MaxFile+1)); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("a larger file: %v", err)
	}
	if _, err := Apply(p.flags, "PAUSELOGD", "/dev/zero"); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("a file without end: %v", err)
	}
}

// What Show writes is a file that sets the same values.
func TestShow(t *testing.T) {
	t.Setenv("PAUSELOGD_GRPC", "a\n'''\"\\\x1b é")
	t.Setenv("PAUSELOGD_LARGE", "7")
	file := filepath.Join(t.TempDir(), "a\ngrpc = 1 #.toml")
	if err := os.WriteFile(file, []byte("witnesses = ['a,b', \"c\\nd\"]\norigins = []\nread-timeout = '90s'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProgram(t, "--from=192.0.2.1", "--ratio=1e100", "--metrics", "--config", file)
	sources, err := Apply(p.flags, "PAUSELOGD", "")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Show(&b, p.flags, sources); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nread-timeout = '1m30s'  # \"file ", `a\ngrpc = 1 #.toml:3"` + "\n",
		"\nmetrics = true  # flag\n", "\nlarge = 7  # environment PAUSELOGD_LARGE\n", "\norigins = []  # ",
		"batch-size = 256  # default\n# config = ", "\nyes = false  # default\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(b.String(), "help") || strings.ContainsRune(b.String(), 0x1b) {
		t.Error("it has help or a control character")
	}
	if t.Failed() {
		t.Logf("%s", &b)
	}

	t.Setenv("PAUSELOGD_GRPC", "")
	t.Setenv("PAUSELOGD_LARGE", "")
	again := newProgram(t)
	if _, err := Apply(again.flags, "PAUSELOGD", write(t, b.String())); err != nil || again.String() != p.String() {
		t.Errorf("%v\n%v, want\n%v\nfrom\n%s", err, again, p, &b)
	}
	if err := Show(&b, newProgram(t).flags, nil); err != nil {
		t.Errorf("without sources: %v", err)
	}
}

// A required flag may come from the file, as may a group's.
func TestWithCobra(t *testing.T) {
	file := write(t, "cert = 'c'\nkey = 'k'\nverbose = true")
	ran := false
	root := &cobra.Command{Use: "pauselogd", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().Bool("verbose", false, "")
	root.PersistentFlags().String("config", "", "")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		_, err := Apply(c.Flags(), "PAUSELOGD", "")
		return err
	}
	serve := &cobra.Command{Use: "serve", RunE: func(c *cobra.Command, _ []string) error {
		ran = true
		if v, err := c.Flags().GetBool("verbose"); err != nil || !v {
			t.Errorf("a flag of the root: %v, %v", v, err)
		}
		return nil
	}}
	serve.Flags().String("cert", "", "")
	serve.Flags().String("key", "", "")
	if err := serve.MarkFlagRequired("cert"); err != nil {
		t.Fatal(err)
	}
	serve.MarkFlagsRequiredTogether("cert", "key")
	root.AddCommand(serve)
	root.SetArgs([]string{"serve", "--config", file})
	if err := root.Execute(); err != nil || !ran {
		t.Errorf("ran: %v, %v", ran, err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("grpc = 'a'\nwitnesses = [\n'a', # b\n]\n")
	f.Add("[a.b]\nc.d = {e = 1}\n[[f]]")
	f.Add("batch-size = 0b1\nratio = inf\nread-timeout = \"1s\"")
	f.Add("\ufeff\"\\u0061\" = 1979-05-27T07:32:00Z")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := newProgram(t)
		s, err := Apply(p.flags, "PAUSELOGD", file)
		if (err == nil) == (s == nil) {
			t.Fatalf("%v and %v", s, err)
		}
		if err == nil {
			return
		}
		if !strings.HasPrefix(err.Error(), "file "+file+":") {
			t.Errorf("no place in %v", err)
		}
	})
}
