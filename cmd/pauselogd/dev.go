package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/token"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
)

const devOrigin = "pauselog.example/dev"

func devCommand() *cobra.Command {
	var flags serveFlags
	var data string
	cmd := &cobra.Command{
		Use:   "dev [--data DIR]",
		Short: "run a log to play with: no configuration, on this machine only",
		Long: `dev makes a log if there is none yet, serves it on loopback together with three witnesses, of which two
must cosign what it publishes, makes a token, a policy and a small distribution, and prints the exact
commands to try with them. It ends with Ctrl-C; the next dev goes on with the same log.`,
		Example: `  pauselogd dev
  pauselogd dev --data /tmp/play`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := flags.logger()
			if err != nil {
				return err
			}
			if data == "" {
				if data, err = devFolder(); err != nil {
					return err
				}
			}
			if data, err = filepath.Abs(data); err != nil {
				return err
			}
			d, err := prepareDev(data)
			if err != nil {
				return err
			}
			witnesses, stop, err := runWitnesses(data, d.folder, log)
			if err != nil {
				return err
			}
			d.witnesses = witnesses
			c := daemon.Config{Folder: d.folder, GRPC: flags.grpc, HTTP: flags.http, Admin: flags.admin, Log: log, Fatal: fatal(log)}
			open := make(chan struct{})
			c.Open = func() { close(open) }
			if c.Policy, err = checkpoint.ParsePolicy([]byte(d.policyText(""))); err == nil {
				err = serve(cmd, c, func(a daemon.Addresses) error {
					// What it prints can be pasted at once: not before the witnesses have answered.
					select {
					case <-open:
						return d.explain(cmd, a)
					case <-cmd.Context().Done():
						return nil
					}
				})
			}
			// The log first: what it publishes last is cosigned too.
			return errors.Join(err, stop())
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&data, "data", "", "the folder for all of it (default pauselog/dev in the user's state folder)")
	for flag, value := range map[string]string{"grpc": "127.0.0.1:0", "http": "127.0.0.1:0", "log-level": "warn"} {
		cmd.Flag(flag).DefValue = value
		if err := cmd.Flag(flag).Value.Set(value); err != nil {
			panic(err) // these are strings
		}
	}
	return withFile(cmd)
}

// devFolder follows the XDG base directories.
func devFolder() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w: say where with --data DIR", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "pauselog", "dev"), nil
}

// A dev is a folder with a log and all that is needed to play with it.
type dev struct {
	dir    string
	folder *datafolder.Folder
	sample string // path of the sample distribution, relative to the CPAN root

	witnesses string // the policy's lines for the witnesses
}

// policyText is the policy; url is the log's address, or "".
func (d *dev) policyText(url string) string {
	var b strings.Builder
	for _, k := range d.folder.Signers {
		b.WriteString(strings.TrimSpace("log "+k.Verifier().String()+" "+url) + "\n")
	}
	return b.String() + d.witnesses
}

func (d *dev) policy() string { return filepath.Join(d.dir, "policy") }
func (d *dev) token() string  { return filepath.Join(d.dir, "token") }
func (d *dev) cpan() string   { return filepath.Join(d.dir, "cpan") }

func prepareDev(dir string) (*dev, error) {
	d := &dev{dir: dir, sample: "authors/id/E/EX/EXAMPLE/Hello-World-0.01.tar.gz"}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "log")
	var err error
	if _, statErr := os.Stat(data); errors.Is(statErr, fs.ErrNotExist) {
		d.folder, err = datafolder.Init(data, devOrigin, "", time.Now())
	} else {
		d.folder, err = datafolder.Open(data)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.token()); errors.Is(err, fs.ErrNotExist) {
		secret, _, err := token.Create(d.folder.TokenFile(), "dev",
			[]entry.Kind{entry.Upload, entry.Index, entry.Delete}, []entry.Seen{entry.SeenUpload, entry.SeenFollow, entry.SeenBackfill}, time.Now())
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Write(d.token(), []byte(secret+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	sample := filepath.Join(d.cpan(), filepath.FromSlash(d.sample))
	if _, err := os.Stat(sample); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(sample), 0o755); err != nil {
			return nil, err
		}
		b, err := helloWorld()
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(sample, b, 0o644); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// helloWorld is a small distribution, of the same bytes each time.
func helloWorld() ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	t := tar.NewWriter(z)
	for _, f := range [][2]string{
		{"Makefile.PL", "use ExtUtils::MakeMaker;\nWriteMakefile(NAME => 'Hello::World', VERSION_FROM => 'lib/Hello/World.pm');\n"},
		{"lib/Hello/World.pm", "package Hello::World;\nour $VERSION = '0.01';\nsub hello { 'hello, world' }\n1;\n"},
	} {
		err := t.WriteHeader(&tar.Header{Name: "Hello-World-0.01/" + f[0], Mode: 0o644, Size: int64(len(f[1])), ModTime: time.Unix(1767225600, 0)})
		if err != nil {
			return nil, err
		}
		if _, err := t.Write([]byte(f[1])); err != nil {
			return nil, err
		}
	}
	err := errors.Join(t.Close(), z.Close())
	return buf.Bytes(), err
}

// explain writes the policy, which has the log's address of this time, and says what to try.
func (d *dev) explain(cmd *cobra.Command, a daemon.Addresses) error {
	if err := os.WriteFile(d.policy(), []byte(d.policyText("http://"+a.HTTP)), 0o644); err != nil {
		return err
	}
	pauselog, throughGo := pauselogCommand(), ""
	if strings.HasPrefix(pauselog, "go run") {
		throughGo = " (go run says so, and exits with 1 itself)"
	}
	file := filepath.Join(d.cpan(), filepath.FromSlash(d.sample))
	policy, token, cpan, quoted := quote(d.policy()), quote(d.token()), quote(d.cpan()), quote(file)
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), `
A log and its three witnesses are running. These commands work in another terminal:

# log a distribution, and keep its proof beside it
%[1]s submit --server grpc://%[2]s --token-file %[3]s --policy %[4]s --root %[5]s --write-proofs %[6]s

# verify it, offline: silence and exit code 0 mean that it is what was logged
%[1]s verify --policy %[4]s --root %[5]s --offline %[6]s

# see whose signatures counted, and when they were made: two of the three witnesses must have cosigned
%[1]s verify --policy %[4]s --root %[5]s --offline --explain %[6]s

# change one byte of a copy: exit code 10%[11]s, and the reason
mkdir -p %[7]s && (printf X; tail -c +2 %[6]s) > %[7]s/Hello-World-0.01.tar.gz
%[1]s verify --policy %[4]s --path %[8]s --proof %[6]s.tlog-proof %[7]s/Hello-World-0.01.tar.gz

# see what is logged of an author, and check the whole log
%[1]s lookup --policy %[4]s --author EXAMPLE
%[1]s audit --policy %[4]s

# the same without our tools
curl http://%[9]s/checkpoint
curl 'http://%[9]s/pauselog.v1.Log/Lookup?author=EXAMPLE'

Ctrl-C ends it; everything is in %[10]s
`, pauselog, a.GRPC, token, policy, cpan, quoted, quote(filepath.Join(d.dir, "changed")), quote(d.sample), a.HTTP, quote(d.dir), throughGo)
	return err
}

// pauselogCommand is how the user can call pauselog: as built beside this program, or
// with go run if that is how this one came about.
func pauselogCommand() string {
	self, err := os.Executable()
	if err != nil {
		return "pauselog"
	}
	if strings.Contains(self, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/pauselog"
	}
	beside := filepath.Join(filepath.Dir(self), "pauselog")
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		return quote(beside)
	}
	return "pauselog"
}

// quote makes a word for a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
