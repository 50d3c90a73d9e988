package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) lookupCommand() *cobra.Command {
	var q client.Query
	cmd := &cobra.Command{
		Use:   "lookup --policy FILE (--path PATH | --author ID | --dist NAME | --sha256 DIGEST)",
		Short: "find entries, each of them proven",
		Long: `lookup prints the entries of a path, of a PAUSE id (its own paths, and what it entered for others), of a
distribution, or of a digest, in the order of the log: index, time, kind, path, digest, and who entered an
upload and how it was noticed.

Each entry is proven to be in the newest checkpoint's tree before it is printed. That there are no
others is the log's word alone: what is not in a tree cannot be proven so. The exit code is 11 if
nothing is found.`,
		Example: `  pauselog lookup --policy pause.policy --author ETHER
  pauselog lookup --policy pause.policy --dist Try::Tiny
  pauselog lookup --policy pause.policy --path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkQuery(cmd, &q); err != nil {
				return err
			}
			policy, err := a.policy()
			if err != nil {
				return err
			}
			log, closeConn, err := a.reader(policy)
			if err != nil {
				return err
			}
			defer closeConn()
			t := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
			n := 0
			covered, err := log.Lookup(cmd.Context(), q, func(f client.Found) error {
				n++
				if a.json {
					a.object(foundJSON(f))
				} else {
					fmt.Fprintln(t, foundLine(f))
				}
				return nil
			})
			if err := t.Flush(); err != nil {
				return err
			}
			if err != nil {
				return err
			}
			return a.concludeLookup(covered, n)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Path, "path", "", "every entry of this path on CPAN")
	f.StringVar(&q.Author, "author", "", "every entry of this PAUSE id")
	f.StringVar(&q.Distribution, "dist", "", "every entry of this distribution, Try-Tiny or Try::Tiny")
	f.StringVar(&q.SHA256, "sha256", "", "every entry of this digest")
	return cmd
}

func checkQuery(cmd *cobra.Command, q *client.Query) (err error) {
	n := 0
	for _, s := range []string{q.Path, q.Author, q.Distribution, q.SHA256} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return usagef("one of --path, --author, --dist and --sha256 is needed: see '%s --help'", cmd.CommandPath())
	}
	q.Distribution = strings.ReplaceAll(q.Distribution, "::", "-")
	switch {
	case q.Path != "":
		_, err = entry.KindOf(q.Path)
	case q.Author != "" && !entry.IsPAUSEID(q.Author):
		err = fmt.Errorf("author %.40q is not a PAUSE id, like ETHER", q.Author)
	case q.SHA256 != "":
		_, err = entry.ParseDigest(q.SHA256)
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

// concludeLookup says what the answer does not cover.
func (a *app) concludeLookup(c *client.Coverage, n int) error {
	if !c.Seen.QuorumMet {
		return errQuorum(c.Seen)
	}
	if c.Indexed < c.Seen.Size {
		a.warn("the log has %d entries and can look up the first %d so far: try again for the others", c.Seen.Size, c.Indexed)
	}
	if n > 0 {
		return nil
	}
	o := verify.NotLogged
	if !a.trusted {
		o = verify.Unverifiable
	}
	return outcomeError{o, fmt.Errorf("nothing is found among the %d entries of %s: this is the server's word, which nothing proves", c.Indexed, c.Seen.Origin)}
}

func foundLine(f client.Found) string {
	e := f.Entry
	if e == nil {
		return fmt.Sprintf("%d\t-\tunknown\t-\t-\t(its format is newer than this program)", f.Index)
	}
	s := fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t", f.Index, e.Time, e.Kind, e.Path, e.SHA256)
	switch e.Kind {
	case entry.Upload, entry.Delete:
		s += fmt.Sprintf("by %s, seen %s", e.By, e.Seen)
	case entry.Conflict:
		s += "other " + e.Other.String()
	case entry.Void:
		s += fmt.Sprintf("voids %d", e.Index)
	}
	return s
}

func foundJSON(f client.Found) map[string]any {
	out := map[string]any{"outcome": verify.Verified, "code": 0, "index": f.Index, "entry": string(f.Text)}
	e := f.Entry
	if e == nil {
		out["kind"] = "unknown"
		return out
	}
	out["kind"], out["path"], out["sha256"], out["time"] = e.Kind, e.Path, e.SHA256.String(), e.Time.String()
	switch e.Kind {
	case entry.Upload, entry.Index:
		out["size"] = e.Size
	case entry.Conflict:
		out["other"] = e.Other.String()
	case entry.Void:
		out["voids"] = e.Index
	}
	if e.By != "" {
		out["by"], out["seen"] = e.By, e.Seen
	}
	return out
}
