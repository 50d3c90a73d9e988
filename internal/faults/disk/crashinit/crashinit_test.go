package crashinit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
)

// mustTrace leaves a test out where no process can be traced: the campaign says so too, as a note.
func mustTrace(t *testing.T) {
	t.Helper()
	if err := traceable(t.TempDir()); err != nil {
		t.Skipf("this machine does not let a process be traced: %v", err)
	}
}

func TestFewPoints(t *testing.T) {
	mustTrace(t)
	r, err := run(t.Context(), campaign.Options{Seed: 1, Dir: t.TempDir(), Progress: t.Logf}, commands, 5)
	if err != nil {
		t.Fatal(err)
	}
	if r.Crashes < 2 || r.Faults < r.Crashes || r.Refused < 8 {
		t.Errorf("it did little: %+v", r)
	}
}

// Inits as they must not be: they copy a log that is whole, in an order or in a way that a crash shows.
func TestSabotageIsFound(t *testing.T) {
	mustTrace(t)
	const guard = `if [ -n "$(ls -A $D 2>/dev/null)" ]; then echo "$D is not empty" >&2; exit 1; fi; `
	const describe = `; sed "s,$W.head,$D.head," $W/log.json >$D/log.json`
	for name, tt := range map[string]struct{ script, want string }{
		"the description is written first": {guard + `mkdir -p $D/keys` + describe + `; cp $W/keys/* $D/keys; cp -r $W/db $D; cp $W.head $D.head`, "nobody can tell what to do"},
		"a key is written under its name": {guard + `mkdir -p $D/keys; umask 077; head -c 20 $W/keys/ed25519.key >$D/keys/ed25519.key; tail -c +21 $W/keys/ed25519.key >>$D/keys/ed25519.key
			cp $W/keys/mldsa44.key $D/keys; cp -r $W/db $D; cp $W.head $D.head` + describe, "is not a whole key"},
		"it prints its keys too early": {guard + `echo a key; mkdir -p $D/keys; cp $W/keys/* $D/keys; cp -r $W/db $D; cp $W.head $D.head` + describe, "init said"},
		"it takes over what is there":  {`mkdir -p $D/keys; cp $W/keys/* $D/keys; rm -rf $D/db; cp -r $W/db $D; cp $W.head $D.head` + describe, "init over what is"},
		"it overlooks errors of its disk": {guard + `mkdir -p $D/keys; cp $W/keys/* $D/keys; cp -r $W/db $D; cp $W.head $D.head
			(sed "s,$W.head,$D.head," $W/log.json >$D/.tmp && mv $D/.tmp $D/log.json) 2>/dev/null || true`, "init said"},
	} {
		dir := t.TempDir()
		whole := filepath.Join(dir, "whole")
		if _, err := datafolder.Init(whole, origin, "", rig.Clock); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "init")
		if err := os.WriteFile(file, fmt.Appendf(nil, "D=$1; W=%s\nset -e\n%s\n", whole, tt.script), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := run(t.Context(), campaign.Options{Seed: 2, Long: true, Dir: dir, Progress: t.Logf}, func(context.Context, string) ([]maker, error) {
			return []maker{{"sabotaged", func(dir string) []string { return []string{"/bin/sh", file, dir} }, openLog, "init did not finish", "there is no log in"}}, nil
		}, 10)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "-seed 2") {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}
