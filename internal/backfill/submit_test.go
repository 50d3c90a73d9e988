package backfill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// fill makes n archives, whose paths are returned in the order of the walk.
func (w *world) fill(n int) (paths []string) {
	w.Helper()
	for i := range n {
		paths = append(paths, fmt.Sprintf("%sDist-%05d.tar.gz", author, i))
		w.file(0, paths[i], fmt.Sprint("text", i))
	}
	return paths
}

func pathsOf(outcomes []Outcome) (out []string) {
	for _, o := range outcomes {
		out = append(out, o.Path)
	}
	return out
}

// Whatever the log does meanwhile, everything is logged once, reported once and in order, and the log is not pestered.
func TestTheLogFails(t *testing.T) {
	down := status.Error(codes.Unavailable, "down")
	for name, fault := range map[string]func(l *memoryLog){
		"unreachable at first": func(l *memoryLog) {
			n := 0
			l.open = func() error {
				if n++; n < 9 {
					return down
				}
				return nil
			}
		},
		"closing in between": func(l *memoryLog) {
			l.fail = func(call int, logged bool) error { return map[bool]error{true: down}[call%3 == 2 && !logged] }
		},
		"its answers are lost": func(l *memoryLog) {
			l.fail = func(call int, logged bool) error {
				return map[bool]error{true: errors.New("lost")}[call%3 == 2 && logged]
			}
		},
		"busy with single ones": func(l *memoryLog) {
			n := 0
			l.refuse = func(s *pb.Submission) *pb.Refusal {
				if n++; n%300 == 299 {
					return &pb.Refusal{Reason: "busy", Message: "too much"}
				}
				return nil
			}
		},
		"held": func(l *memoryLog) {
			n := 0
			l.refuse = func(s *pb.Submission) *pb.Refusal {
				if n++; n < 1000 {
					return &pb.Refusal{Reason: "held", Message: "asking the witnesses"}
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			want := w.fill(1500)
			fault(w.log)
			synctest.Test(t, func(t *testing.T) {
				w.TB = t
				c := w.config()
				c.State = t.TempDir()
				retries := 0
				c.Retry = func(why error, next time.Duration) {
					if retries++; why == nil || next < time.Second || next > time.Minute {
						t.Errorf("retries in %v because of %v", next, why)
					}
				}
				outcomes, summary := w.run(c)
				// Of a group that is refused in part, the rest is logged, and so are those that were sent behind it.
				if !slices.Equal(slices.Sorted(slices.Values(w.log.logged())), want) || !slices.Equal(pathsOf(outcomes), want) {
					t.Errorf("logged %d, reported %d, want %d", len(w.log.logged()), len(outcomes), len(want))
				}
				if summary.Counts[Logged]+summary.Counts[Known] != 1500 || retries == 0 {
					t.Errorf("counted %v after %d retries", summary.Counts, retries)
				}
			})
		})
	}
}

func TestGivingUp(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(10)
	w.log.open = func() error { return status.Error(codes.Unavailable, "down") }
	synctest.Test(t, func(t *testing.T) {
		w.TB = t
		c := w.config()
		c.GiveUp = time.Hour
		start, longest := time.Now(), time.Duration(0)
		c.Retry = func(_ error, next time.Duration) { longest = max(longest, next) }
		_, _, err := try(t.Context(), c)
		if passed := time.Since(start); !errors.Is(err, ErrGaveUp) || status.Code(err) != codes.Unavailable || passed != time.Hour {
			t.Errorf("%v after %v", err, passed)
		}
		if longest != time.Minute {
			t.Errorf("it waited for up to %v", longest)
		}
	})
}

// Each time that the log is out of reach counts for itself.
func TestOutagesAreNotAddedUp(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(2000)
	failures := 0
	w.log.fail = func(call int, logged bool) error {
		if !logged && call%4 != 0 {
			failures++
			return status.Error(codes.Unavailable, "down")
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		w.TB = t
		c := w.config()
		c.GiveUp = 20 * time.Second
		start := time.Now()
		if _, s := w.run(c); s.Counts[Logged] != 2000 || failures < 20 || time.Since(start) < 2*c.GiveUp {
			t.Errorf("%v after %d failures and %v", s.Counts, failures, time.Since(start))
		}
	})
}

// What does not change by asking again ends the walk.
func TestWhatEndsAWalk(t *testing.T) {
	failed := errors.New("failed")
	for name, tt := range map[string]struct {
		fault func(l *memoryLog)
		each  func(Outcome) error
		want  func(error) bool
	}{
		"a token that may not": {fault: func(l *memoryLog) {
			l.refuse = func(*pb.Submission) *pb.Refusal { return &pb.Refusal{Reason: "forbidden", Message: "no backfill"} }
		}, want: func(err error) bool { return status.Code(err) == codes.PermissionDenied }},
		"no token": {fault: func(l *memoryLog) {
			l.fail = func(int, bool) error { return status.Error(codes.Unauthenticated, "who are you?") }
		}, want: func(err error) bool { return status.Code(err) == codes.Unauthenticated }},
		"a reason of the log's": {fault: func(l *memoryLog) {
			st, err := status.New(codes.FailedPrecondition, "no").WithDetails(&errdetails.ErrorInfo{Reason: "invalid", Domain: "pauselog"})
			if err != nil {
				panic(err)
			}
			l.fail = func(int, bool) error { return st.Err() }
		}, want: func(err error) bool { return status.Code(err) == codes.FailedPrecondition }},
		"no log": {fault: func(l *memoryLog) {
			l.open = func() error { return status.Error(codes.Unimplemented, "what?") }
		}, want: func(err error) bool { return status.Code(err) == codes.Unimplemented }},
		"another entry than was submitted": {fault: func(l *memoryLog) {
			l.lie = func(r *pb.SubmitResult) { r.LeafHash = make([]byte, 32) }
		}, want: func(err error) bool { return errors.Is(err, client.ErrAnswer) }},
		"answers that never are right": {fault: func(l *memoryLog) {
			l.fail = func(int, bool) error { return fmt.Errorf("%w: nonsense", client.ErrAnswer) }
		}, want: func(err error) bool { return errors.Is(err, client.ErrAnswer) }},
		"the caller": {each: func(Outcome) error { return failed }, want: func(err error) bool { return err == failed }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.fill(300)
			if tt.fault != nil {
				tt.fault(w.log)
			}
			synctest.Test(t, func(t *testing.T) {
				w.TB = t
				c := w.config()
				c.Each, c.State = tt.each, t.TempDir()
				outcomes, s, err := try(t.Context(), c)
				if !tt.want(err) || s == nil || len(outcomes) != 0 {
					t.Errorf("%v, %d outcomes", err, len(outcomes))
				}
				if left, _ := os.ReadDir(c.State); len(left) != 0 {
					t.Errorf("the journal says that something is done: %v", left)
				}
			})
		})
	}
}

// A refusal for another reason is about one file.
func TestRefused(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(3)
	w.log.refuse = func(s *pb.Submission) *pb.Refusal {
		if s.Path == author+"Dist-00001.tar.gz" {
			return &pb.Refusal{Reason: "time", Message: "a rule"}
		}
		return nil
	}
	outcomes, s := w.run(w.config())
	if o := outcomes[1]; o.Word != Refused || o.Reason != "time" || o.Err.Error() != "a rule" || s.Counts[Logged] != 2 {
		t.Errorf("%+v, %v", o, s.Counts)
	}
}

// Walks that are stopped again and again report each path once and submit it once, if they had the time to write down
// where they were.
func TestInterruptedWalks(t *testing.T) {
	w := newWorld(t, 2)
	want := w.fill(3000)
	for i := range 3000 {
		if i%7 == 0 {
			w.file(1, want[i], "other") // what is not submitted is not skipped either
		}
	}
	c := w.config()
	c.State = t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var all []string
	runs := 0
	for done := false; !done; runs++ {
		ctx, cancel := context.WithCancel(t.Context())
		groups, most := 0, 1+random.IntN(3)
		c.Progress = func(Progress) {
			if groups++; groups == most {
				cancel()
			}
		}
		outcomes, s, err := try(ctx, c)
		cancel()
		if done = err == nil; !done && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if len(all) > 0 && s.After != all[len(all)-1] {
			t.Fatalf("went on after %s, want %s", s.After, all[len(all)-1])
		}
		all = append(all, pathsOf(outcomes)...)
	}
	if !slices.Equal(all, want) || runs < 4 {
		t.Errorf("%d paths in %d runs, want %d", len(all), runs, len(want))
	}
	// The walk is at its end: the next one looks at everything again.
	c.Progress = nil
	if outcomes, s := w.run(c); len(outcomes) != 3000 || s.After != "" || s.Counts[Logged] != 0 {
		t.Errorf("the walk after it: %d outcomes, %v", len(outcomes), s.Counts)
	}
}

// A crash is a walk whose journal is not written at its end. What the journal names is not submitted again.
func TestCrash(t *testing.T) {
	w := newWorld(t, 1)
	want := w.fill(2000)
	synctest.Test(t, func(t *testing.T) {
		w.TB = t
		c := w.config()
		c.State = t.TempDir()
		var kept []byte // the journal after the fourth group
		var name string
		groups := 0
		c.Progress = func(Progress) {
			time.Sleep(600 * time.Millisecond) // of the bubble's clock
			if groups++; groups == 4 {
				list, err := os.ReadDir(c.State)
				if err != nil || len(list) != 1 {
					t.Fatalf("the journal: %v, %v", list, err)
				}
				name = filepath.Join(c.State, list[0].Name())
				if kept, err = os.ReadFile(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.run(c)
		if err := os.WriteFile(name, kept, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Progress = nil
		outcomes, s := w.run(c)
		done := slices.Index(want, s.After) + 1
		if done < 2*submit.Window || done > 4*submit.Window {
			t.Errorf("after four groups the journal named path %d", done)
		}
		if len(outcomes) != 2000-done || w.log.repeated != 2000-done || len(w.log.entries) != 2000 {
			t.Errorf("%d outcomes, %d submitted twice, want %d", len(outcomes), w.log.repeated, 2000-done)
		}
	})
}

// A journal counts only for the trees and the log that it was written for.
func TestAJournalOfSomethingElse(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world, c *Config)
		goesOn bool
	}{
		"the same": {func(*world, *Config) {}, true},
		"more files": {func(w *world, _ *Config) {
			w.file(0, author+"A-0.tar.gz", "before")
			w.file(0, author+"Z-1.tar.gz", "behind")
		}, true},
		"another log":    {func(_ *world, c *Config) { c.LogID = "log.example/other" }, false},
		"one root more":  {func(w *world, c *Config) { c.Roots = append(slices.Clone(c.Roots), newWorld(w, 1).roots[0]) }, false},
		"another notice": {func(_ *world, c *Config) { c.Seen = "follow" }, false},
		"a manifest": {func(w *world, c *Config) {
			c.Manifest = filepath.Join(w.TempDir(), "m")
			w.must(os.WriteFile(c.Manifest, nil, 0o600))
		}, false},
		"a damaged file": {func(w *world, c *Config) {
			list, err := os.ReadDir(c.State)
			w.must(err)
			w.must(os.WriteFile(filepath.Join(c.State, list[0].Name()), []byte("pauselog backfill v1\n"), 0o600))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.fill(600)
			c := w.config()
			c.State = t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			c.Progress = func(Progress) { cancel() }
			if _, _, err := try(ctx, c); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			c.Progress = nil
			tt.change(w, &c)
			if _, s := w.run(c); (s.After != "") != tt.goesOn {
				t.Errorf("went on after %q", s.After)
			}
		})
	}
}

func FuzzParseJournal(f *testing.F) {
	for _, s := range []string{"", "x", "authors/id/E/EX/EXAMPLE/A \xff\n\"-1.tar.gz", "authors/id/é/"} {
		f.Add((&journal{key: "k", last: s}).text())
	}
	f.Fuzz(func(t *testing.T, text string) {
		last := parseJournal(text, "k")
		if last != "" && (&journal{key: "k", last: last}).text() != text {
			t.Errorf("%q was read as %q", text, last)
		}
	})
}

// With a limit, a walk takes as long as the limit says, and holds no stream open in between.
func TestSlowWalk(t *testing.T) {
	w := newWorld(t, 1)
	want := w.fill(100)
	synctest.Test(t, func(t *testing.T) {
		w.TB = t
		c := w.config()
		c.Limiter = rate.NewLimiter(100, 100) // about 41 seconds for a file
		start := time.Now()
		outcomes, s := w.run(c)
		if !slices.Equal(pathsOf(outcomes), want) {
			t.Errorf("%d outcomes", len(outcomes))
		}
		least := time.Duration(s.Bytes+100*costOfFile-100) * time.Second / 100
		if passed := time.Since(start); passed < least-time.Second || passed > least+time.Minute {
			t.Errorf("it took %v, want %v", passed, least)
		}
		if w.log.streams < 20 {
			t.Errorf("%d streams", w.log.streams)
		}
	})
	c := w.config()
	c.Limiter = rate.NewLimiter(0, 1)
	if _, _, err := try(t.Context(), c); err == nil {
		t.Error("a limit of nothing was taken")
	}
}

// A dry run asks the log nothing, and writes nothing down.
func TestDryRun(t *testing.T) {
	w := newWorld(t, 2)
	want := w.fill(700)
	w.file(1, want[3], "other")
	c := w.config()
	c.DryRun, c.Log, c.State = true, nil, t.TempDir()
	total := Progress{}
	c.Progress = func(p Progress) { total = p }
	outcomes, s := w.run(c)
	if !slices.Equal(pathsOf(outcomes), want) || s.Counts[Loggable] != 699 || s.Counts[Disagreeing] != 1 || total.Paths != 700 || total.Bytes != s.Bytes {
		t.Errorf("%d outcomes, %v, %+v", len(outcomes), s.Counts, total)
	}
	if left, _ := os.ReadDir(c.State); len(left) != 0 {
		t.Errorf("a journal was written: %v", left)
	}
}
