package model

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/internal/jsonrpc"
	"github.com/pauselog/pauselog/internal/publisher"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
	"github.com/pauselog/pauselog/witness/client"
)

// A logNode is a machine that runs the log: one life after the other.
type logNode struct {
	name   string
	world  *world
	clock  atomic.Int64 // how far its clock is off, in nanoseconds
	full   atomic.Bool  // the disk of its head
	lives  int
	memory *vfs.MemFS // what the last life left, while there is none
	folder string     // the same of its plain files
	life   atomic.Pointer[life]
	ended  sync.WaitGroup // lives that are being ended
	// stopped: witnesses have shown it a second log, and it is not started any more.
	stopped bool
}

// A life is one process of the log.
type life struct {
	node      *logNode
	dead      atomic.Bool
	disk      *disk
	folder    string
	store     *store.Store
	head      *head.Keeper
	seq       *sequencer.Sequencer
	pub       *publisher.Publisher
	handler   http.Handler
	cancel    context.CancelFunc
	published chan struct{} // closed when publishing has ended

	mu    sync.Mutex
	fault error // why it ended by itself; guarded by mu
}

func (n *logNode) serving() (http.Handler, func() bool) {
	l := n.life.Load()
	if l == nil || l.dead.Load() {
		return nil, nil
	}
	return l.handler, l.alive
}

func (l *life) alive() bool { return !l.dead.Load() }

// fail ends a life from within, as a process that exits.
func (l *life) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		l.fault = err
	}
	l.dead.Store(true)
}

func (l *life) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func (n *logNode) now() time.Time { return time.Now().Add(time.Duration(n.clock.Load())) }

// A starting is how a log is started.
type starting struct {
	memory   *vfs.MemFS // its disk
	folder   string     // its plain files, which it makes its own
	override bool
}

// start starts a log, or says why it does not.
func (n *logNode) start(s starting) (err error) {
	w := n.world
	n.lives++
	l := &life{node: n, folder: filepath.Join(w.dir, fmt.Sprintf("%s-%d", n.name, n.lives)), published: make(chan struct{})}
	if s.folder == "" {
		err = os.Mkdir(l.folder, 0o700)
	} else {
		err = copyFolder(s.folder, l.folder)
	}
	if err != nil {
		return err
	}
	l.disk = newDisk(s.memory, source(w.seed, "disk of ", n.name, n.lives), &n.full, w.sabotage.syncsLie)
	defer func() {
		if err != nil {
			l.dead.Store(true)
			err = errors.Join(err, l.close())
		}
	}()
	if l.head, err = l.disk.openHead(); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if l.store, err = store.Open("data", store.Options{FS: l.disk, Fatal: func(err error) { panic(fmt.Sprintf("%v: a disk that never fails", err)) }}); err != nil {
		return err
	}
	l.disk.slows.Store(true)
	if l.seq, err = sequencer.Open(sequencer.Config{Origin: origin, Store: l.store, Head: l.head, Signers: w.keys, Held: true, Now: n.now, Fatal: l.fail}); err != nil {
		return err
	}
	l.pub, err = publisher.Open(publisher.Config{
		Origin: origin, Policy: w.policy, Keys: []*checkpoint.VerifierKey{w.keys[0].Verifier(), w.keys[1].Verifier()}, Log: l.seq, Tree: l.store,
		File: filepath.Join(l.folder, "published"), MustExist: s.folder != "", Evidence: filepath.Join(l.folder, "evidence"),
		Override: s.override, Timeout: 2 * time.Second, Recosign: 30 * time.Second,
		// A fixed pause between requests, in place of a back-off with jitter of its own: the seed decides all.
		Interval: func(string) time.Duration { return 100 * time.Millisecond }, MaxBackOff: 4,
		Connect: l.connect,
	})
	if err != nil {
		return err
	}
	l.handler = l.newHandler(log)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		defer close(l.published)
		if err := l.pub.Run(ctx); err != nil {
			l.fail(err)
			l.seq.Halt(err)
		}
	}()
	n.life.Store(l)
	n.memory, n.folder = nil, ""
	return nil
}

// connect is the way to a witness.
func (l *life) connect(url string) (publisher.Asker, error) {
	for _, x := range l.node.world.witnesses {
		if url == x.url {
			t := &wire{network: l.node.world.network, link: l.node.name + " to " + x.name, to: x, alive: l.alive}
			return client.New(url, &http.Client{Transport: listening{t, l}})
		}
	}
	return nil, fmt.Errorf("there is no witness at %s", url)
}

func (l *life) newHandler(log *slog.Logger) http.Handler {
	service := &frontend.Service{Store: l.store, Sequencer: l.seq, Publisher: l.pub, PublishTime: 5 * time.Second}
	if l.node.world.sabotage.noQuorum {
		service.Publisher = l.seq
	}
	var api pb.LogServer = service
	if l.node.world.sabotage.earlyAnswers {
		api = &early{service}
	}
	metrics := frontend.NewMetrics(prometheus.NewRegistry())
	guard := &frontend.Guard{Auth: everybody{}, Log: log, Metrics: metrics, MaxCalls: 1000, MaxTime: time.Minute}
	calls := jsonrpc.NewHandler(&pb.Log_ServiceDesc, api, jsonrpc.Options{Unary: guard.Unary, Stream: guard.Stream})
	static := &frontend.Static{Service: service, Log: log, Metrics: metrics}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/pauselog.v1.") {
			calls.ServeHTTP(w, r)
			return
		}
		static.ServeHTTP(w, r)
	})
}

// everybody takes any token.
type everybody struct{}

func (everybody) Bearer(string) (frontend.Permission, error)                 { return everybody{}, nil }
func (everybody) Certificate(*x509.Certificate) (frontend.Permission, error) { return everybody{}, nil }
func (everybody) Allows(entry.Kind, entry.Seen) error                        { return nil }

// end ends a node's life, if it has one, and returns once what it leaves is known: after a crash what was synced, and each
// other block with a chance of percent in a hundred; after a clean end all.
func (n *logNode) end(r *rand.Rand, percent int, clean bool) error {
	l := n.life.Load()
	if l == nil {
		return nil
	}
	n.life.Store(nil)
	if clean {
		// As a process that drains: what it was given is answered.
		l.seq.Close()
		l.dead.Store(true)
		err := l.close()
		n.memory, n.folder = l.disk.memory, l.folder
		return err
	}
	l.dead.Store(true)
	n.memory = l.disk.crash(r, percent)
	n.folder = filepath.Join(n.world.dir, fmt.Sprintf("%s-%d-crashed", n.name, n.lives))
	if err := copyFolder(l.folder, n.folder); err != nil {
		return err
	}
	// What the dead process still does, it does to a disk that nobody has any more.
	l.seq.Halt(errors.New("the power failed"))
	n.ended.Go(func() {
		if err := l.close(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			n.world.check.violate("ending %s: %v", n.name, err)
		}
	})
	return nil
}

// close ends what was started.
func (l *life) close() (err error) {
	if l.cancel != nil {
		l.cancel()
		<-l.published
	}
	if l.pub != nil {
		err = l.pub.Close()
	}
	if l.seq != nil {
		l.seq.Close()
	}
	l.disk.slows.Store(false)
	if l.store != nil {
		err = errors.Join(err, l.store.Close())
	}
	if l.head != nil {
		err = errors.Join(err, l.head.Close())
	}
	return err
}

// A backup is a copy of all that a log keeps.
type backup struct {
	memory    *vfs.MemFS
	folder    string
	size      uint64 // that it holds
	published uint64
}

// backup copies a running log. That its parts are of one moment is more than real copies are.
func (n *logNode) backup(r *rand.Rand, number int) (*backup, error) {
	l := n.life.Load()
	b := &backup{memory: l.disk.crash(r, 0), folder: filepath.Join(n.world.dir, fmt.Sprintf("%s-backup-%d", n.name, number)),
		size: l.seq.Signed().Size, published: l.pub.Published().Size}
	return b, copyFolder(l.folder, b.folder)
}

// early is a sabotage: it answers before anything is durable.
type early struct{ *frontend.Service }

func (e *early) Submit(ctx context.Context, r *pb.SubmitRequest) (*pb.SubmitResponse, error) {
	size := e.Sequencer.Signed().Size
	go func() {
		r := &pb.SubmitRequest{Submission: r.Submission, Wait: pb.Wait_WAIT_NONE}
		// That is the point: nobody looks.
		_, _ = e.Service.Submit(context.WithoutCancel(ctx), r)
	}()
	text, leaf, err := asLogged(r.Submission)
	if err != nil {
		return nil, err
	}
	return &pb.SubmitResponse{Result: &pb.SubmitResult{Index: size, Entry: text, LeafHash: leaf}}, nil
}
