package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func (a *app) submitCommand() *cobra.Command {
	s := &submitter{app: a}
	var wait, seen, at string
	cmd := &cobra.Command{
		Use:   "submit --server URL --token-file FILE (--root CPANDIR | --path PATH) FILE...",
		Short: "log files",
		Long: `submit logs files of PAUSE: archives below authors/id as uploads, and the index files that the log knows
as such. To submit again is always safe: what is logged already keeps its entry, and is answered with its
index and its proof. For each file a line is printed: index, path, and logged or repeated.

A file that is never logged is mentioned and left out, which is no failure: documents, CHECKSUMS, what PAUSE
extracts from archives, symbolic links, and what is neither below authors/id nor an index. An archive whose
path cannot be written in an entry is a failure.

The time of an upload is now with --seen upload, when PAUSE's own hook submits; and the file's own with
follow and backfill. The time of an index is always the file's own, so that one snapshot is one entry.

--wait says when the log may answer: none (at once; the file may still be lost), sequenced (it is durable) or
published (its proof is complete). What comes back is compared with what was submitted, and its proof is
verified: under --policy if it is given, else against its own checkpoint.

Exit codes: 0 when every file is logged now or never will be. 10 when another file is logged under a path;
the log makes this public. 13 when the log cannot be reached. 1 otherwise.`,
		Example: `  pauselog submit --server grpcs://log.example:443 --token-file token --root /srv/cpan /srv/cpan/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  pauselog submit --policy pause.policy --token-file token --root /srv/cpan --seen backfill --write-proofs /srv/cpan/authors/id/E/ET/ETHER/*.tar.gz
  pauselog submit --policy pause.policy --token-file token --path modules/06perms.txt.gz new-06perms.txt.gz`,
		Args: args(1, -1, "a FILE"),
		RunE: func(cmd *cobra.Command, files []string) error {
			var err error
			if err := s.options(wait, seen, at, files); err != nil {
				return err
			}
			if a.policyFile != "" {
				if s.policy, err = a.policy(); err != nil {
					return err
				}
				if memory, err := trust.Open(a.stateDir); err == nil {
					if s.known, err = memory.Known(s.policy); err != nil {
						return err
					}
				}
			}
			conn, err := a.connect(s.policy)
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := s.run(cmd.Context(), pb.NewLogClient(conn), files); err != nil {
				return err
			}
			return finish(s.worst)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	a.writerFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.root, "root", "", "a copy of CPAN in which the files lie: their paths are taken from there")
	f.StringVar(&s.path, "path", "", "the path on CPAN of the one FILE")
	f.StringVar(&s.by, "by", "-", "the PAUSE id that entered the uploads")
	f.StringVar(&seen, "seen", "upload", "how they were noticed: upload (PAUSE's hook), follow (RECENT files) or backfill (found later)")
	f.StringVar(&at, "time", "", "the time to log, as 2026-11-22T10:00:00Z, in place of what is described above")
	f.StringVar(&wait, "wait", "published", "when to answer: none, sequenced or published")
	f.BoolVar(&s.writeProofs, "write-proofs", false, "write FILE.tlog-proof beside each file")
	return cmd
}

// A submitter is one submit on its way.
type submitter struct {
	app *app

	root, path  string
	by          string
	seen        entry.Seen
	at          entry.Time // 0: not given
	wait        pb.Wait
	writeProofs bool
	policy      *checkpoint.Policy // nil: none was given
	known       [][]byte

	worst verify.Outcome
}

var waits = map[string]pb.Wait{"none": pb.Wait_WAIT_NONE, "sequenced": pb.Wait_WAIT_SEQUENCED, "published": pb.Wait_WAIT_PUBLISHED}

func (s *submitter) options(wait, seen, at string, files []string) (err error) {
	switch {
	case s.root == "" && s.path == "":
		return usagef("--root or --path is needed: a file is logged under its path on CPAN")
	case s.root != "" && s.path != "":
		return usagef("--root and --path exclude each other")
	case s.path != "" && len(files) > 1:
		return usagef("--path is for one FILE, found %d: use --root for many", len(files))
	}
	if s.path != "" {
		if _, err := entry.KindOf(s.path); err != nil {
			return usagef("--path: %w", err)
		}
	}
	if s.seen, s.at, err = claims(s.by, seen, at); err != nil {
		return err
	}
	var ok bool
	if s.wait, ok = waits[wait]; !ok {
		return usagef("--wait: expected none, sequenced or published, found %.40q", wait)
	}
	if s.writeProofs && s.wait != pb.Wait_WAIT_PUBLISHED {
		return usagef("--write-proofs needs --wait published: there is no proof before")
	}
	return nil
}

// claims reads what a submitter says besides the file.
func claims(by, seen, at string) (entry.Seen, entry.Time, error) {
	if by != "-" && !entry.IsPAUSEID(by) {
		return "", 0, usagef("--by: %.40q is not a PAUSE id, like ETHER, and not -", by)
	}
	if !entry.Seen(seen).Known() {
		return "", 0, usagef("--seen: expected upload, follow or backfill, found %.40q", seen)
	}
	if at == "" {
		return entry.Seen(seen), 0, nil
	}
	t, err := entry.ParseTime(at)
	if err != nil {
		return "", 0, usagef("--time: %w", err)
	}
	return entry.Seen(seen), t, nil
}

func now() entry.Time { return entry.TimeOf(time.Now()) }
