package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/pauselog/pauselog/internal/backfill"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// namesShown is how many paths of a kind are printed without -v, and again at the end.
const namesShown = 20

func (a *app) backfillCommand() *cobra.Command {
	b := &backfiller{app: a}
	var bytes float64
	cmd := &cobra.Command{
		Use:   "backfill --policy FILE --token-file FILE (--root CPANDIR... | --manifest FILE)",
		Short: "log everything that is on CPAN and BackPAN already",
		Long: `backfill walks over copies of CPAN, hashes the archives in them, and logs those that are not logged. The first --root
is CPAN itself, others are BackPAN trees. Their time is that of the file, which is a claim, as everything is that an entry
says of the past; who entered them is not known and not said.

All roots are walked together, in the order of the bytes of the paths. A path whose bytes are not the same in all of
them is reported and not logged. What only BackPAN has is logged as well, because copies of it must go on verifying; no
deletions are made up. What the log says was deleted is not logged again because BackPAN has it, and what the log's
operator voided is not logged again at all. Documents, CHECKSUMS and what PAUSE extracts from archives are never
logged, symbolic links are not followed, and indexes are left alone.

A walk may be interrupted at any moment, and goes on where it was when it is started again with the same roots and the same
log; files that were put before that place meanwhile are found by the walk after it. One that came to its end begins
anew, and to log again is always safe. If the log is busy, closing or out of reach, backfill waits, up to a minute at a time,
and for ever unless --give-up says how long.

--manifest is a file that lists archives which are not on this machine, in place of roots or as one more tree. Each
line is sha256, size, modification time in seconds since 1970, and path, with one space between them, sorted by path. In a
tree, this makes one:

  find authors/id -type f -exec sh -c 'for f; do
      printf "%s %s\n" "$(sha256sum <"$f" | cut -c1-64)" "$(stat -c "%s %Y %n" "$f")"
  done' sh {} + | LC_ALL=C sort -t ' ' -k 4

What is wrong is reported as it is found; archives whose names an entry cannot hold, and with -v links, are listed too. At
the end, the counts are printed, of a walk that went on those since then. --dry-run does all this without a log.

Exit codes: 0 when all is well, also if there are names that cannot be logged. 1 when something could not be read, was
refused, or backfill was interrupted. 10 when the trees disagree about a file, or the log has other bytes for a path, or has it
voided. 13 when --give-up has passed.`,
		Example: `  pauselog backfill --policy pause.policy --token-file token --root /srv/cpan --root /srv/backpan --dry-run
  pauselog backfill --policy pause.policy --token-file token --root /srv/cpan --root /srv/backpan
  pauselog backfill --policy pause.policy --token-file token --root /srv/cpan --manifest backpan.manifest --rate 2e6`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := &b.config
			switch {
			case len(c.Roots) == 0 && c.Manifest == "":
				return usagef("--root is needed, or --manifest: what there is to log")
			case cmd.Flags().Changed("jobs") && c.Jobs <= 0:
				return usagef("--jobs: expected a number from 1 on, found %d", c.Jobs)
			case c.GiveUp < 0:
				return usagef("--give-up: expected a duration, found %v", c.GiveUp)
			case cmd.Flags().Changed("rate") && !(bytes >= 1 && bytes <= 1e15):
				return usagef("--rate: expected 1 to 1e15 bytes a second, found %g", bytes)
			case bytes > 0:
				c.Limiter = rate.NewLimiter(rate.Limit(bytes), int(max(bytes, 1)))
			}
			return b.run(cmd.Context())
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	a.writerFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&b.config.Roots, "root", nil, "a copy of CPAN; again for BackPAN trees")
	f.StringVar(&b.config.Manifest, "manifest", "", "a list of archives that are elsewhere: sha256, size, time and path, a line each")
	f.StringVar(&b.config.State, "state", "", "the folder that remembers how far the walk is (default backfill in $XDG_STATE_HOME/pauselog)")
	f.IntVar(&b.config.Jobs, "jobs", 0, "how many files are read at once (default: one for each processor)")
	f.Float64Var(&bytes, "rate", 0, "read at most so many bytes a second (default: no limit)")
	f.DurationVar(&b.config.GiveUp, "give-up", 0, "end when the log is out of reach for so long (default: never)")
	f.BoolVar(&b.config.DryRun, "dry-run", false, "say what would be logged and what cannot be, and log nothing")
	return cmd
}

// A backfiller is one backfill on its way.
type backfiller struct {
	app    *app
	config backfill.Config
	line   *progress
	listed map[backfill.Word][]string // the first ones
}

func (b *backfiller) run(ctx context.Context) error {
	a, c := b.app, &b.config
	p, err := a.policy()
	if err != nil {
		return err
	}
	if !c.DryRun {
		if c.State == "" {
			memory, err := trust.Open(a.stateDir)
			if err != nil {
				return err
			}
			c.State = filepath.Join(memory.Path(), "backfill")
		}
		conn, err := a.connect(p)
		if err != nil {
			return err
		}
		defer conn.Close()
		c.Log = pb.NewLogClient(conn)
		// The keys, and so also another log that was set up under the same name.
		for _, l := range p.Logs() {
			c.LogID += l.Key.String() + "\n"
		}
	}
	b.listed = map[backfill.Word][]string{}
	if b.line = a.progressOf("files"); b.line != nil {
		c.Progress = b.show
	}
	c.Each = b.each
	c.Retry = func(why error, next time.Duration) {
		b.line.clear()
		a.warn("%s; asking again in %v", messageOf(why), next.Round(100*time.Millisecond))
	}
	summary, err := backfill.Run(ctx, *c)
	b.line.clear()
	switch {
	case errors.Is(err, backfill.ErrRoot), errors.Is(err, backfill.ErrManifest):
		err = usageError{err}
	case errors.Is(err, backfill.ErrGaveUp):
		err = outcomeError{verify.Unverifiable, err}
	}
	if summary == nil {
		return err
	}
	worst := b.worst(summary)
	if err != nil {
		b.print(summary, a.outcomeOf(err))
		return err
	}
	b.print(summary, worst)
	return finish(worst)
}

// The words, in the order in which they are counted, and what is said of those that are no plain success.
var backfillWords = []struct {
	word    backfill.Word
	outcome verify.Outcome // of the command
	says    string
	listed  bool // each of them
}{
	{backfill.Logged, verify.Verified, "logged", false},
	{backfill.Known, verify.Verified, "logged before", false},
	{backfill.Loggable, verify.Verified, "to be logged, or logged before", false},
	{backfill.Deleted, verify.Verified, "logged as deleted, and so left alone", false},
	{backfill.Never, verify.Verified, "documents and side files, never logged", false},
	{backfill.Gone, verify.Verified, "removed meanwhile", false},
	{backfill.Special, verify.Verified, "symbolic links and special files, not followed", false},
	{backfill.Unloggable, verify.Verified, "that cannot be logged by their names or times", true},
	{backfill.Voided, verify.Mismatch, "voided by the log's operator, and so left alone", true},
	{backfill.Conflict, verify.Mismatch, "in conflict with the log", true},
	{backfill.Disagreeing, verify.Mismatch, "about which the trees disagree", true},
	{backfill.Refused, verify.Error, "refused by the log", true},
	{backfill.Unreadable, verify.Error, "that could not be read", true},
}

func (b *backfiller) worst(s *backfill.Summary) verify.Outcome {
	worst := verify.Verified
	for _, x := range backfillWords {
		if s.Counts[x.word] > 0 {
			worst = verify.Worst(worst, x.outcome)
		}
	}
	return worst
}

// each reports a path that somebody should know of.
func (b *backfiller) each(o backfill.Outcome) error {
	a := b.app
	listed, all := false, a.verbose || a.json
	outcome := verify.Verified
	for _, x := range backfillWords {
		if x.word == o.Word {
			listed, outcome = x.listed || o.Word == backfill.Special && a.verbose, x.outcome
		}
	}
	if !listed {
		return nil
	}
	n := len(b.listed[o.Word])
	if n < namesShown {
		b.listed[o.Word] = append(b.listed[o.Word], o.Path)
	}
	if o.Word == backfill.Unloggable && n == namesShown && !all {
		return nil
	}
	b.line.clear()
	why := plain(o.Err.Error())
	if !a.json {
		fmt.Fprintf(a.stderr, "%s: %s: %s\n", plain(o.Path), o.Word, why)
		return a.stdout.err
	}
	object := map[string]any{"path": plain(o.Path), "word": o.Word, "outcome": outcome, "code": outcome.Code(), "message": why}
	if o.SHA256 != (entry.Digest{}) {
		object["sha256"], object["size"] = o.SHA256.String(), o.Size
	}
	if o.Reason != "" {
		object["reason"] = o.Reason
	}
	if o.Logged != "" {
		object["logged_sha256"] = plain(o.Logged)
	}
	if o.Copies != nil {
		var copies []map[string]any
		for _, c := range o.Copies {
			copies = append(copies, map[string]any{"tree": plain(c.Tree), "sha256": c.SHA256.String(), "size": c.Size})
		}
		object["copies"] = copies
	}
	a.object(object)
	return a.stdout.err
}

// print says how it went. What was listed for hours is named once more.
func (b *backfiller) print(s *backfill.Summary, o verify.Outcome) {
	a := b.app
	if a.json {
		counts, listed := map[string]uint64{}, map[string][]string{}
		for _, x := range backfillWords {
			counts[string(x.word)] = s.Counts[x.word]
			for _, path := range b.listed[x.word] {
				listed[string(x.word)] = append(listed[string(x.word)], plain(path))
			}
		}
		a.object(map[string]any{"summary": true, "outcome": o, "code": o.Code(), "counts": counts, "first": listed, "bytes": s.Bytes,
			"seconds": s.Elapsed.Seconds(), "after": plain(s.After), "last": plain(s.Last), "dry_run": b.config.DryRun})
		return
	}
	if s.After != "" {
		a.results("went on after %s\n", plain(s.After))
	}
	for _, x := range backfillWords {
		if n := s.Counts[x.word]; n > 0 {
			a.results("%9d %s\n", n, x.says)
		}
	}
	a.results("%9s read in %v\n", bytesOf(float64(s.Bytes)), s.Elapsed.Round(100*time.Millisecond))
	for _, x := range backfillWords {
		if names := b.listed[x.word]; len(names) > 0 && x.listed {
			a.results("%s:\n", x.word)
			for _, path := range names {
				a.results("  %s\n", plain(path))
			}
			if more := s.Counts[x.word] - uint64(len(names)); more > 0 {
				a.results("  and %d more\n", more)
			}
		}
	}
}

// show draws the progress line.
func (b *backfiller) show(p backfill.Progress) {
	l, now := b.line, time.Now()
	passed := now.Sub(l.start)
	if passed < 500*time.Millisecond || now.Sub(l.shown) < 100*time.Millisecond {
		return
	}
	l.shown, l.everything = now, true
	perSecond := float64(p.Paths) / passed.Seconds()
	of := ""
	if p.Total >= p.Paths && p.Paths > 0 {
		left := time.Duration(float64(p.Total-p.Paths) / perSecond * float64(time.Second))
		of = fmt.Sprintf(" of %d, %v left", p.Total, left.Round(time.Second))
	}
	fmt.Fprintf(l.w, "\r\x1b[K%d files%s, %s, %.0f/s, %s/s", p.Paths, of, bytesOf(float64(p.Bytes)), perSecond, bytesOf(float64(p.Bytes)/passed.Seconds()))
}

// bytesOf writes a number of bytes with the unit in which it is short.
func bytesOf(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if n < 999.5 {
			return fmt.Sprintf("%.3g %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.4g TB", n)
}
