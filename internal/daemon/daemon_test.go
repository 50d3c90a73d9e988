package daemon_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func TestReflectionListsTheService(t *testing.T) {
	s := start(t, config(newFolder(t)))
	r, err := reflectionv1.NewServerReflectionClient(s.dial(t, nil)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := r.Send(q); err != nil {
			t.Fatal(err)
		}
		a, err := r.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	var names []string
	for _, s := range a.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	if all := strings.Join(names, " "); !strings.Contains(all, "pauselog.v1.Log") || !strings.Contains(all, "grpc.health.v1.Health") {
		t.Errorf("services: %v", names)
	}
	a = ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "pauselog.v1.Log"}})
	if len(a.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("the definition of the service: %v", a)
	}
	if err := r.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestHealthIsThereFromTheFirstMoment(t *testing.T) {
	s := start(t, config(newFolder(t)))
	c := grpc_health_v1.NewHealthClient(s.dial(t, nil))
	for _, service := range []string{"", "pauselog.v1.Log", "pauselog.v1.Log.Submit"} {
		r, err := c.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, r, err)
		}
	}
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": "ok\n", "/metrics": "\npauselog_size 0\n", "/debug/pprof/": "goroutine",
	} {
		if status, body := read(t, "http://"+s.Admin+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
		// None of it is public.
		if status, _ := read(t, "http://"+s.HTTP+path); status != 404 {
			t.Errorf("%s on the public address: %d", path, status)
		}
	}
	submit(t, s.client(t), 0, 3)
	_, metrics := read(t, "http://"+s.Admin+"/metrics")
	for _, line := range []string{"pauselog_size 3", "pauselog_published_size 3", "pauselog_healthy 1", "pauselog_ready 1", `pauselog_build_info{commit="`, `pauselog_submissions_total{outcome="appended"} 3`,
		`pauselog_calls_total{code="OK",method="Submit"} 3`, "go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("the metrics do not have %q", line)
		}
	}
}

func TestALogGoesOnWhereItStopped(t *testing.T) {
	f := newFolder(t)
	for round := range 3 {
		s := start(t, config(f))
		submit(t, s.client(t), 10*round, 10*round+10)
		s.stop(t)
		var err error
		if f, err = datafolder.Open(f.Dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondRunOnOneFolderIsRefused(t *testing.T) {
	f := newFolder(t)
	s := start(t, config(f))
	wantRefusal(t, config(f), f.Head, "in use by another process", origin)
	submit(t, s.client(t), 0, 1) // the first is unharmed
}

func TestWhatCannotBeServed(t *testing.T) {
	f := newFolder(t)
	with := func(change func(*daemon.Config)) daemon.Config {
		c := config(f)
		change(&c)
		return c
	}
	other, err := newFolder(t).Policy("")
	if err != nil {
		t.Fatal(err)
	}
	own, err := f.Policy("")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := checkpoint.GenerateSigner(checkpoint.CosignatureV1, "w.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	witnessed, err := checkpoint.ParsePolicy([]byte("log " + f.Signers[0].Verifier().String() + "\nwitness w " + witness.Verifier().String() + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		config daemon.Config
		words  []string
	}{
		"no address":                     {with(func(c *daemon.Config) { c.GRPC, c.HTTP = "", "" }), []string{"--grpc", "--http"}},
		"an address without a port":      {with(func(c *daemon.Config) { c.HTTP = "127.0.0.1" }), []string{"HOST:PORT"}},
		"plaintext gRPC for everybody":   {with(func(c *daemon.Config) { c.GRPC = ":0" }), []string{"not a loopback address", "--tls-cert", "--allow-plaintext"}},
		"plaintext gRPC on 0.0.0.0":      {with(func(c *daemon.Config) { c.GRPC = "0.0.0.0:0" }), []string{"not a loopback address"}},
		"plaintext HTTP on a host's":     {with(func(c *daemon.Config) { c.HTTP = "192.0.2.1:0" }), []string{"192.0.2.1:0", "not a loopback address"}},
		"plaintext HTTP on a name":       {with(func(c *daemon.Config) { c.HTTP = "localhost.example:0" }), []string{"not a loopback address"}},
		"plaintext HTTP on IPv6":         {with(func(c *daemon.Config) { c.HTTP = "[::]:0" }), []string{"not a loopback address"}},
		"an admin address for everybody": {with(func(c *daemon.Config) { c.Admin = ":0" }), []string{"admin", "profiling", "--allow-plaintext"}},
		"another log's policy":           {with(func(c *daemon.Config) { c.Policy = other }), []string{"does not list a key of this log", origin}},
		"a policy nobody can cosign by":  {with(func(c *daemon.Config) { c.Policy = witnessed }), []string{"URL", "quorum"}},
		"an address that is taken":       {with(func(c *daemon.Config) { c.HTTP = taken.Addr().String() }), []string{"address already in use"}},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, c.config, c.words...) })
	}
	// Nothing of that has harmed the log, and asked for by name the addresses are served.
	s := start(t, with(func(c *daemon.Config) { c.HTTP, c.AllowPlaintext, c.Policy = "0.0.0.0:0", true, own }))
	submit(t, s.client(t), 0, 1)
}

// The start-up comparison's refusals say both sizes, and what to do; nothing overrides them.
func TestHeadsThatDoNotAgree(t *testing.T) {
	type world struct {
		*datafolder.Folder
		older     string // a copy of the data folder without entries 5 to 9
		olderHead []byte
	}
	made := func(t *testing.T) *world {
		t.Helper()
		w := &world{Folder: newFolder(t)}
		run := func(from, to int) {
			s := start(t, config(w.Folder))
			submit(t, s.client(t), from, to)
			s.stop(t)
		}
		copied := func(name string) string {
			to := w.Dir + name
			if err := os.CopyFS(to, os.DirFS(w.Dir)); err != nil {
				t.Fatal(err)
			}
			return to
		}
		remove(t, w.Dir+"/control")
		run(0, 5)
		remove(t, w.Dir+"/control")
		var err error
		if w.olderHead, err = os.ReadFile(w.Head); err != nil {
			t.Fatal(err)
		}
		w.older = copied(".older")
		run(5, 10)
		remove(t, w.Dir+"/control")
		return w
	}
	replace := func(t *testing.T, w *world, by string) {
		t.Helper()
		remove(t, w.Dir)
		if err := os.Rename(by, w.Dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		damage func(*testing.T, *world)
		words  []string
	}{
		"the folder is an older copy": {func(t *testing.T, w *world) { replace(t, w, w.older) },
			[]string{"refusing to start", "holds 5 entries", "10 were signed", "older copy", "Put back the newest copy of the data folder", "at least 10"}},
		"the head file is gone": {func(t *testing.T, w *world) { remove(t, w.Head) },
			[]string{"refusing to start", "log.head is gone", "could sign a fork", "put back the newest copy"}},
		"the head file is empty": {func(t *testing.T, w *world) { overwrite(t, w.Head, nil) },
			[]string{"refusing to start", "no valid head", "put back the newest copy of the head file"}},
		"the head file is torn in both slots": {func(t *testing.T, w *world) { overwrite(t, w.Head, make([]byte, head.FileSize)) },
			[]string{"refusing to start", "no valid head"}},
		"the head file is another log's": {func(t *testing.T, w *world) {
			k := newHead(t, w.Head, head.Head{Origin: "log.example/other", Root: emptyRoot(t)})
			k.Close()
		}, []string{"refusing to start", "log.example/other", origin}},
		"the head is of another history": {func(t *testing.T, w *world) {
			k := newHead(t, w.Head, head.Head{Origin: origin, Size: 7, Root: [32]byte{1}})
			k.Close()
		}, []string{"refusing to start", "first 7", "10 entries", "two different histories", "Put back the data folder that belongs to this head file"}},
		"the head is newer": {func(t *testing.T, w *world) {
			k := newHead(t, w.Head, head.Head{Origin: origin, Size: 12, Root: [32]byte{1}})
			k.Close()
		}, []string{"refusing to start", "holds 10 entries", "12 were signed", "at least 12"}},
		"the head is older than the last commit": {func(t *testing.T, w *world) { overwrite(t, w.Head, w.olderHead) },
			[]string{"refusing to start", "holds 10 entries", "only 5 were signed", "Put back the newest copy of the head file", "at least size 9"}},
		"the store is gone": {func(t *testing.T, w *world) { remove(t, w.Dir+"/db") },
			[]string{"there is no store", "/db"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := made(t)
			c.damage(t, w)
			wantRefusal(t, config(w.Folder), c.words...)
			wantRefusal(t, config(w.Folder), c.words...) // the first attempt changed nothing
		})
	}
	// The head may be one commit behind: that is what a crash between the two leaves.
	t.Run("the head is one commit older", func(t *testing.T) {
		w := &world{Folder: newFolder(t)}
		for n := range 3 {
			s := start(t, config(w.Folder))
			head, err := os.ReadFile(w.Head)
			if err != nil {
				t.Fatal(err)
			}
			submit(t, s.client(t), n, n+1)
			s.stop(t)
			overwrite(t, w.Head, head)
		}
	})
	t.Run("the words are an error to ask for", func(t *testing.T) {
		f := newFolder(t)
		remove(t, f.Head)
		if err := daemon.Run(t.Context(), config(f), nil); !errors.Is(err, sequencer.ErrRefused) {
			t.Errorf("%v", err)
		}
	})
}

func emptyRoot(t *testing.T) [32]byte {
	k, err := head.Open(newFolder(t).Head)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	return k.Head().Root
}

func newHead(t *testing.T, name string, h head.Head) *head.Keeper {
	t.Helper()
	remove(t, name)
	if err := head.Create(name, h); err != nil {
		t.Fatal(err)
	}
	k, err := head.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An operator voids while the log runs, through its socket, and when it does not.
func TestVoid(t *testing.T) {
	f := newFolder(t)
	s := start(t, config(f))
	c := s.client(t)
	submit(t, c, 0, 2)
	if info, err := os.Stat(f.Dir + "/control"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if v, err := daemon.Void(t.Context(), f, 0); err != nil || v.Index != 2 || v.Repeated || !strings.Contains(v.Entry, "kind void\n") {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := daemon.Void(t.Context(), f, 0); err != nil || v.Index != 2 || !v.Repeated {
		t.Errorf("again: %+v, %v", v, err)
	}
	if _, err := daemon.Void(t.Context(), f, 99); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := daemon.Void(t.Context(), f, 2); err == nil || !strings.Contains(err.Error(), "not an upload") {
		t.Errorf("of a void: %v", err)
	}
	if _, err := c.GetInclusionProof(t.Context(), &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(0).Path}}); err == nil {
		t.Error("the voided upload is still proved by its path")
	}
	s.stop(t)
	if v, err := daemon.Void(t.Context(), f, 1); err != nil || v.Index != 3 {
		t.Errorf("while the log does not run: %+v, %v", v, err)
	}
	submit(t, start(t, config(f)).client(t), 4, 5)
}

// limit is how long a test waits for what must come.
const limit = 20 * time.Second
