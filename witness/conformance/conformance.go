package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// A Level says how binding a check is.
type Level string

const (
	Must    Level = "MUST"   // the specification's word
	Should  Level = "SHOULD" // the specification's word
	Derived Level = "DER"    // follows from what the specification demands, or keeps a witness usable
)

// A Check is one demand. Run returns nil if the witness meets it, an error that wraps ErrNotApplicable
// if it cannot be asked of this target, and otherwise what was sent, expected and found.
type Check struct {
	ID    string // the item of the specification: see the package comment
	Level Level
	Name  string // unique
	Run   func(context.Context, *Target) error
}

// ErrNotApplicable says that a check does not concern a target: an optional endpoint that it does not
// offer, or a restart that it cannot do.
var ErrNotApplicable = errors.New("not applicable")

// ErrTarget says that a target is not fit to be checked.
var ErrTarget = errors.New("unfit target")

// A Log is one that the witness under test knows, with all of the keys that it trusts for it: one
// Ed25519 and one MLDSA44 key.
type Log struct {
	Origin string
	Keys   []*checkpoint.SignerKey
}

// GenerateLogs makes n logs with fresh keys and origins that no other call returns.
func GenerateLogs(n int) ([]Log, error) {
	run := rand.Text()
	logs := make([]Log, n)
	for i := range logs {
		logs[i].Origin = fmt.Sprintf("conformance.example/%s/%d", run, i)
		for _, alg := range []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.MLDSA44} {
			key, err := checkpoint.GenerateSigner(alg, logs[i].Origin, nil)
			if err != nil {
				return nil, err
			}
			logs[i].Keys = append(logs[i].Keys, key)
		}
	}
	return logs, nil
}

// key returns the log's key of a type, which Target's documentation promises.
func (l *Log) key(alg checkpoint.Algorithm) *checkpoint.SignerKey {
	for _, k := range l.Keys {
		if k.Verifier().Algorithm() == alg {
			return k
		}
	}
	panic("conformance: a log without a key of type " + alg.String())
}

// A Target is a witness under test. It must not be copied once it is in use.
type Target struct {
	// Prefix is the submission prefix and the monitoring prefix, without a slash at its end.
	Prefix string

	// Logs are logs that the witness is configured with and has never heard from. Each check uses up
	// at least one; all together Origins.
	Logs []Log

	// Witness are the witness's keys, all of them: CosignatureV1 and MLDSA44.
	Witness []*checkpoint.VerifierKey

	// Restart, if not nil, kills the witness without warning (SIGKILL), starts it again with its
	// state, and returns when it answers under the same Prefix.
	Restart func(context.Context) error

	// Patience is how long the witness may keep a client that sends nothing; 0 means 45 seconds.
	Patience time.Duration

	// Lag is how long the witness may take to show at its monitoring prefix what it cosigned; 0 means 10 seconds.
	// The specification allows an hour.
	Lag time.Duration

	mu   sync.Mutex
	used int
	http *http.Client
}

func (t *Target) patience() time.Duration {
	if t.Patience == 0 {
		return 45 * time.Second
	}
	return t.Patience
}

func (t *Target) lag() time.Duration {
	if t.Lag == 0 {
		return 10 * time.Second
	}
	return t.Lag
}

// log hands out a log that no check has used.
func (t *Target) log() (*Log, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used == len(t.Logs) {
		return nil, fmt.Errorf("%w: all of its %d logs are used up, %d are needed", ErrTarget, len(t.Logs), Origins)
	}
	t.used++
	return &t.Logs[t.used-1], nil
}

// checkTime bounds a check beyond the patience and the lag that the target asks for: one that takes longer has
// found a witness that does not answer.
const checkTime = time.Minute

// prompt is how long an honest client waits for an answer, whatever others do.
const prompt = 10 * time.Second

// Run runs all checks, one after the other, and reports each when it is done. A check reported with
// an error that wraps ErrNotApplicable says nothing about the witness.
func Run(ctx context.Context, t *Target, report func(Check, error)) {
	for _, c := range Checks() {
		report(c, runOne(ctx, t, c))
	}
}

func runOne(ctx context.Context, t *Target, c Check) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime+t.patience()+t.lag())
	defer cancel()
	return c.Run(ctx, t)
}

// Checks returns all checks, in an order in which a reader of the specification meets them.
func Checks() []Check {
	var all []Check
	for _, some := range [][]Check{
		statusChecks(), orderChecks(), requestSyntaxChecks(), noteSyntaxChecks(), keyChecks(), answerChecks(),
		monitoringChecks(), subtreeChecks(), httpChecks(), pathChecks(), loadChecks(), raceChecks(), restartChecks(),
	} {
		all = append(all, some...)
	}
	return all
}

// one makes a check that has a log of its own.
func one(id string, level Level, name string, run func(context.Context, *session) error) Check {
	return Check{ID: id, Level: level, Name: name, Run: func(ctx context.Context, t *Target) error {
		s, err := newSession(t)
		if err != nil {
			return err
		}
		return run(ctx, s)
	}}
}

// Origins is how many logs all checks together use up.
const Origins = 332
