package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// unreleased is the version of a build that is for trying out alone.
const unreleased = "devel"

var validCommit = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// A source is what a release is built from, as its programs name it.
type source struct {
	version string // the tag, or unreleased
	commit  string // in full; "": not known
}

// identify completes and checks what the caller said, with what git knows of the folder. A release that is built from a
// clone is that of its tag, to the byte; or it would name a commit, and nobody could build it again from that.
//
// An archive of the source has no git. Then the commit is the caller's to say, and a release has one: without it the same
// source gives another program than a clone does.
func identify(ctx context.Context, root string, said source) (source, error) {
	if _, err := os.Stat(filepath.Join(root, ".git")); errors.Is(err, os.ErrNotExist) {
		if said.commit == "" && said.version != unreleased {
			return source{}, fmt.Errorf("%s is no clone, and nothing says which commit it is of: give -commit, as the tag %s names it", root, said.version)
		}
		return said, nil
	} else if err != nil {
		return source{}, err
	}
	head, err := git(ctx, root, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return source{}, err
	}
	if said.commit != "" && said.commit != head {
		return source{}, fmt.Errorf("-commit is %s, and the clone is at %s", said.commit, head)
	}
	changed, err := git(ctx, root, "status", "--porcelain", "--untracked-files=normal")
	if err != nil {
		return source{}, err
	}
	if said.version == unreleased {
		if changed != "" {
			return said, nil // of no commit
		}
		return source{unreleased, head}, nil
	}
	if changed != "" {
		return source{}, fmt.Errorf("%s is built from a clean checkout of its tag, and these files are not in it:\n%s", said.version, changed)
	}
	tagged, err := git(ctx, root, "rev-parse", "--verify", "--quiet", "refs/tags/"+said.version+"^{commit}")
	if err != nil {
		return source{}, fmt.Errorf("the clone has no tag %s: fetch it or make it, or leave -version out to try: %w", said.version, err)
	}
	if tagged != head {
		return source{}, fmt.Errorf("the tag %s is of commit %s, and the clone is at %s", said.version, tagged, head)
	}
	return source{said.version, head}, nil
}

// git asks about the clone in root, and not about another one that the environment names.
func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := output(cmd)
	return string(bytes.TrimRight(out, "\n")), err
}
