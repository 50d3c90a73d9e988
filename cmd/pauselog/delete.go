package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func (a *app) deleteCommand() *cobra.Command {
	var path, digest, by, seen, at string
	cmd := &cobra.Command{
		Use:   "delete --server URL --token-file FILE --path PATH --sha256 DIGEST",
		Short: "log that an upload was deleted from PAUSE",
		Long: `delete logs that the upload of a path was deleted from PAUSE. Nothing is removed from the log, copies of
the file go on verifying, and the path stays bound to its digest, which has to be the logged one.

It prints index, path, and logged or repeated.`,
		Example: `  pauselog delete --policy pause.policy --token-file token --by ETHER --path authors/id/E/ET/ETHER/Try-Tiny-0.30.tar.gz --sha256 DIGEST`,
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "path", "sha256"); err != nil {
				return err
			}
			e := &entry.Entry{Kind: entry.Delete, Path: path, By: by}
			var err error
			if e.SHA256, err = entry.ParseDigest(digest); err != nil {
				return usageError{err}
			}
			if e.Seen, e.Time, err = claims(by, seen, at); err != nil {
				return err
			}
			if at == "" {
				e.Time = now()
			}
			if err := e.Validate(); err != nil {
				return usageError{err}
			}
			return a.delete(cmd, e)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	a.writerFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&path, "path", "", "the path on CPAN")
	f.StringVar(&digest, "sha256", "", "the digest of the upload")
	f.StringVar(&by, "by", "-", "the PAUSE id that deleted it")
	f.StringVar(&seen, "seen", "upload", "how it was noticed: upload (PAUSE's hook), follow (RECENT files) or backfill (found later)")
	f.StringVar(&at, "time", "", "the time to log, as 2026-11-22T10:00:00Z (default: now)")
	return cmd
}

func (a *app) delete(cmd *cobra.Command, e *entry.Entry) error {
	// The policy is needed for its URL only: a delete proves nothing to whoever logs it.
	conn, err := a.connectAnyPolicy()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := pb.NewLogClient(conn).Submit(cmd.Context(), &pb.SubmitRequest{Submission: submit.Message(e, e.Seen), Wait: pb.Wait_WAIT_SEQUENCED})
	if reason, metadata := client.Reason(err); reason == "conflict" {
		return finish(a.refused("", e, &pb.Refusal{Reason: reason, Message: status.Convert(err).Message(), Metadata: metadata}))
	}
	if err != nil {
		return err
	}
	if err := submit.CheckLogged(e, r.Result); err != nil {
		return err
	}
	a.logged("", e, r.Result)
	return nil
}

// logged prints what became of a submission; r is nil if it was not waited for.
func (a *app) logged(file string, e *entry.Entry, r *pb.SubmitResult) {
	word, index := "accepted", "-"
	object := map[string]any{"code": 0, "path": e.Path, "sha256": e.SHA256.String(), "kind": e.Kind}
	if r != nil {
		word, index = "logged", fmt.Sprint(r.Index)
		if r.Repeated {
			word = "repeated"
		}
		object["index"], object["entry"] = r.Index, r.Entry
	}
	object["outcome"] = word
	if file != "" {
		object["file"] = file
	}
	if a.json {
		a.object(object)
		return
	}
	a.results("%s %s %s\n", index, e.Path, word)
}

// refused reports a refused submission, and returns its outcome.
func (a *app) refused(file string, e *entry.Entry, r *pb.Refusal) verify.Outcome {
	if r.Reason != "conflict" {
		outcome, word := verify.Error, "refused"
		if r.Reason == "unpublished" { // it is logged, and nothing is to be mended but the witnesses
			outcome, word = verify.Pending, verify.Pending.String()
		}
		if a.json {
			a.object(map[string]any{"outcome": outcome, "code": outcome.Code(), "file": file, "path": e.Path,
				"sha256": e.SHA256.String(), "reason": plain(r.Reason), "message": plain(r.Message)})
		} else {
			fmt.Fprintf(a.stderr, "%s: %s: %s\n", plain(file), word, plain(r.Message))
		}
		return outcome
	}
	result := &verify.Result{
		Outcome: verify.Mismatch, Path: e.Path, SHA256: e.SHA256, Size: e.Size,
		Message:  fmt.Sprintf("refused: %s is logged with another digest, as entry %s", e.Path, plain(r.Metadata["logged_index"])),
		Expected: "sha256 " + plain(r.Metadata["logged_sha256"]),
		Found:    "sha256 " + e.SHA256.String(),
		Causes: []string{
			"the file is another one under this name, or a damaged copy",
			"the name was used twice, which PAUSE means never to let happen",
			"somebody replaced the file",
		},
		Next: []string{
			"pauselog lookup --path " + e.Path,
			"find out which of the two files is the author's; the log's entry " + plain(r.Metadata["conflict_index"]) + " makes the difference public",
		},
	}
	if a.json {
		a.printJSON(file, result, map[string]any{"reason": "conflict"})
		return result.Outcome
	}
	a.print(file, result)
	return result.Outcome
}
