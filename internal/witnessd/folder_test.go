package witnessd

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/agent"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/log/checkpoint"
)

// listing is every name below a folder, with its mode.
func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		rel, _ := filepath.Rel(dir, path)
		names = append(names, info.Mode().String()+" "+rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestInit(t *testing.T) {
	f := initialised(t)
	want := []string{"drwx------ .", "drwx------ evidence", "drwx------ keys", "-rw------- keys/bastion.key", "-rw------- keys/ed25519.key",
		"-rw------- keys/mldsa44.key", "drwx------ state", "-rw------- witness.json"}
	if got := listing(t, f.Dir); !slices.Equal(got, want) {
		t.Errorf("it made %v\nwant %v", got, want)
	}
	if f.Head != f.Dir+".head" {
		t.Errorf("the head file is %s", f.Head)
	}
	v := f.Verifiers()
	if len(v) != 2 || v[0].Algorithm() != checkpoint.CosignatureV1 || v[1].Algorithm() != checkpoint.MLDSA44 || v[0].Name() != witnessName || v[1].Name() != witnessName {
		t.Errorf("its keys are %v", v)
	}
	again, err := Open(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Name != f.Name || again.Head != f.Head || !again.Created.Equal(made) || !again.BastionKey().Equal(f.BastionKey()) {
		t.Errorf("opened again it is %+v", again)
	}
	for i, k := range again.Verifiers() {
		if k.String() != v[i].String() {
			t.Errorf("key %d became %v", i, k)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	f := initialised(t)
	tmp := t.TempDir()
	write(t, filepath.Join(tmp, "file"), "x", 0o600)
	for name, c := range map[string]struct{ dir, head, name, want string }{
		"a folder with a witness":        {f.Dir, "", witnessName, "is not empty"},
		"a head file that exists":        {filepath.Join(tmp, "w"), f.Head, witnessName, "it may be the head of another witness"},
		"a head file within the folder":  {filepath.Join(tmp, "w"), filepath.Join(tmp, "w", "state", "head"), witnessName, "must lie outside of the data folder"},
		"a head file in no folder":       {filepath.Join(tmp, "w"), filepath.Join(tmp, "missing", "head"), witnessName, "the head file's folder"},
		"a head file in a file":          {filepath.Join(tmp, "w"), filepath.Join(tmp, "file", "head"), witnessName, "not a directory"},
		"no name":                        {filepath.Join(tmp, "w"), "", "", "the witness's name"},
		"a name with a space":            {filepath.Join(tmp, "w"), "", "two words", "the witness's name"},
		"a name with a plus sign":        {filepath.Join(tmp, "w"), "", "a+b", "the witness's name"},
		"a name that is too long":        {filepath.Join(tmp, "w"), "", strings.Repeat("x", 256), "the witness's name"},
		"a folder's name that is a file": {filepath.Join(tmp, "file"), "", witnessName, "file"},
	} {
		t.Run(name, func(t *testing.T) {
			before := listing(t, tmp)
			if _, err := Init(c.dir, c.head, c.name, made); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
			if after := listing(t, tmp); !slices.Equal(before, after) {
				t.Errorf("it left %v", after)
			}
		})
	}
}

// A crash of init leaves a folder that nobody takes for a witness, and a second init does not
// overwrite it.
func TestInitThatDidNotFinish(t *testing.T) {
	f := initialised(t)
	for _, name := range []string{f.descriptionFile(), f.Head, f.stateDir(), f.keyFile(mldsa44File)} {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(f.Dir); err == nil || !strings.Contains(err.Error(), "init did not finish") {
			t.Errorf("without %s: %v", name, err)
		}
		if _, err := Init(f.Dir, "", witnessName, made); err == nil {
			t.Errorf("without %s it is made again", name)
		}
	}
}

func write(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	secret := func(t *testing.T, a checkpoint.Algorithm, name string) string {
		t.Helper()
		k, err := checkpoint.GenerateSigner(a, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k.Secret() + "\n"
	}
	description := func(format, name, head, created, more string) string {
		return `{"format":"` + format + `","name":"` + name + `","head":"` + head + `","created":"` + created + `"` + more + "}"
	}
	const created = "2026-11-22T10:00:00Z"
	for name, c := range map[string]struct {
		damage func(t *testing.T, f *Folder)
		want   string
	}{
		"nothing there": {func(t *testing.T, f *Folder) { os.RemoveAll(f.Dir) }, "there is no witness in"},
		"another format": {func(t *testing.T, f *Folder) {
			write(t, f.descriptionFile(), description("x/v2", "w", "/h", created, ""), 0o600)
		}, `format "x/v2"`},
		"an unknown field": {func(t *testing.T, f *Folder) {
			write(t, f.descriptionFile(), description(format, "w", "/h", created, `,"x":1`), 0o600)
		}, "unknown field"},
		"two objects": {func(t *testing.T, f *Folder) {
			write(t, f.descriptionFile(), strings.Repeat(description(format, "w", "/h", created, ""), 2), 0o600)
		}, "expected one object"},
		"a bad name": {func(t *testing.T, f *Folder) {
			write(t, f.descriptionFile(), description(format, "a b", "/h", created, ""), 0o600)
		}, "the witness's name"},
		"a relative head": {func(t *testing.T, f *Folder) {
			write(t, f.descriptionFile(), description(format, "w", "h", created, ""), 0o600)
		}, "not an absolute path"},
		"no time": {func(t *testing.T, f *Folder) {
			write(t, f.descriptionFile(), description(format, "w", "/h", "", ""), 0o600)
		}, "parsing time"},
		"an empty description":  {func(t *testing.T, f *Folder) { write(t, f.descriptionFile(), "", 0o600) }, "witness.json"},
		"a key others can read": {func(t *testing.T, f *Folder) { os.Chmod(f.keyFile(ed25519File), 0o640) }, "ed25519.key can be read by others (mode 0640): run 'chmod 600"},
		"the other key":         {func(t *testing.T, f *Folder) { os.Chmod(f.keyFile(mldsa44File), 0o604) }, "mldsa44.key can be read by others"},
		"the bastion's key":     {func(t *testing.T, f *Folder) { os.Chmod(f.keyFile(bastionFile), 0o644) }, "bastion.key can be read by others"},
		"no Ed25519 key":        {func(t *testing.T, f *Folder) { os.Remove(f.keyFile(ed25519File)) }, "the witness's key is gone"},
		"no ML-DSA-44 key":      {func(t *testing.T, f *Folder) { os.Remove(f.keyFile(mldsa44File)) }, "the witness's key is gone"},
		"no bastion's key":      {func(t *testing.T, f *Folder) { os.Remove(f.keyFile(bastionFile)) }, "the key for bastions is gone"},
		"a key that is none":    {func(t *testing.T, f *Folder) { write(t, f.keyFile(ed25519File), "SECRET", 0o600) }, "ed25519.key: invalid key"},
		"a log's key": {func(t *testing.T, f *Folder) {
			write(t, f.keyFile(ed25519File), secret(t, checkpoint.Ed25519, witnessName), 0o600)
		}, "expected a key of"},
		"another's key": {func(t *testing.T, f *Folder) {
			write(t, f.keyFile(mldsa44File), secret(t, checkpoint.MLDSA44, "witness.example/w2"), 0o600)
		}, "expected a key of"},
		"a bastion's key that is none": {func(t *testing.T, f *Folder) {
			write(t, f.keyFile(bastionFile), strings.Repeat("SECRET", 10)+"AAAA\n", 0o600)
		}, "expected an Ed25519 seed"},
		"a large key": {func(t *testing.T, f *Folder) {
			write(t, f.keyFile(mldsa44File), strings.Repeat("SECRET", 10000), 0o600)
		}, "expected a key, found 60000 bytes"},
		"both kinds of key": {func(t *testing.T, f *Folder) {
			write(t, f.keyFile(agentFile), `{"socket":"/s","vkey":"`+f.Verifiers()[0].String()+`"}`, 0o600)
		}, "are both there"},
		"an agent file of no key": {func(t *testing.T, f *Folder) {
			os.Remove(f.keyFile(ed25519File))
			write(t, f.keyFile(agentFile), `{"socket":"/s","vkey":"x"}`, 0o600)
		}, "ed25519.agent: invalid key"},
		"an agent file of another's key": {func(t *testing.T, f *Folder) {
			os.Remove(f.keyFile(ed25519File))
			write(t, f.keyFile(agentFile), `{"socket":"/s","vkey":"`+f.Verifiers()[1].String()+`"}`, 0o600)
		}, "expected a key of"},
		"an agent at no path": {func(t *testing.T, f *Folder) {
			os.Remove(f.keyFile(ed25519File))
			write(t, f.keyFile(agentFile), `{"socket":"s","vkey":"`+f.Verifiers()[0].String()+`"}`, 0o600)
		}, "not an absolute path"},
	} {
		t.Run(name, func(t *testing.T) {
			f := initialised(t)
			c.damage(t, f)
			_, err := Open(f.Dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "PRIVATE+KEY+witness") {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

// An sshAgent is an agent at a socket, with keys that a test can take away.
type sshAgent struct {
	agent.Agent
	socket string
}

func newSSHAgent(t *testing.T, comments ...string) *sshAgent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a := &sshAgent{agent.NewKeyring(), filepath.Join(dir, "agent")}
	for _, c := range comments {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Add(agent.AddedKey{PrivateKey: &key, Comment: c}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", a.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { agent.ServeAgent(a, conn); conn.Close() }()
		}
	}()
	return a
}

func TestTheKeyIsInAnAgent(t *testing.T) {
	a := newSSHAgent(t, "other", "witness")
	f, err := InitWithAgent(filepath.Join(t.TempDir(), "witness"), "", witnessName, Agent{a.socket, "witness"}, made)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.keyFile(ed25519File)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a key file: %v", err)
	}
	if f, err = Open(f.Dir); err != nil {
		t.Fatal(err)
	}
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	s := run(t, f, nil)
	s.ask(l, 0, 3)
	status, err := f.Status(t.Context())
	if err != nil || status.Keys[0].Agent != a.socket || status.Keys[1].Agent != "" {
		t.Errorf("%+v, %v", status, err)
	}
	s.end()

	// Without its key the witness does not start: it would answer with half of its signatures.
	if err := a.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), Config{Folder: f, Listen: "127.0.0.1:0"}, func(Addresses) { t.Error("it serves") })
	if err == nil || !strings.Contains(err.Error(), "does not have the key") {
		t.Errorf("%v", err)
	}
	if d := Doctor(t.Context(), f.Dir, 1, &fixedClock{made}); !d.Wrong() {
		t.Errorf("doctor finds nothing: %+v", d)
	}
}

func TestInitWithAgentMakesNothingWithoutTheKey(t *testing.T) {
	a := newSSHAgent(t, "twice", "twice")
	for name, c := range map[string]struct {
		agent Agent
		want  string
	}{
		"no such key": {Agent{a.socket, "witness"}, "does not have the key"},
		"two of them": {Agent{a.socket, "twice"}, "2 keys"},
		"no agent":    {Agent{a.socket + "x", "twice"}, "no ssh-agent answers"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "witness")
			if _, err := InitWithAgent(dir, "", witnessName, c.agent, made); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it made %v", listing(t, dir))
			}
		})
	}
}
