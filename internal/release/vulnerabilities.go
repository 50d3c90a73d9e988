package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

const (
	// govulncheck is run by its version and not through go.mod, which stays that of the programs.
	govulncheck     = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
	defaultDatabase = "https://vuln.go.dev"
)

// errVulnerable is found, as opposed to not having been able to look.
var errVulnerable = errors.New("the code calls something with a known vulnerability")

// vulnerabilities asks govulncheck whether packages call anything that a database knows as vulnerable. If the database cannot
// be reached it says so, that nothing was looked at, and returns no error: a check on a machine without a network must not fail
// for that, and must not claim anything either. A database in a file is there or it is an error.
func vulnerabilities(ctx context.Context, root, database string, packages []string, out io.Writer) error {
	if !strings.HasPrefix(database, "file:") {
		if err := reach(ctx, database); err != nil {
			fmt.Fprintf(out, "known vulnerabilities: not run: no database: %v\n", err)
			return nil
		}
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", govulncheck, "-format", "text", "-db", database}, packages...)...)
	cmd.Dir = root
	found, err := cmd.CombinedOutput()
	// govulncheck exits with 3 for what it found, which `go run` only writes about.
	if err != nil && strings.Contains(string(found), "exit status 3") {
		return fmt.Errorf("%w:\n%s", errVulnerable, found)
	}
	if err != nil {
		return fmt.Errorf("govulncheck: %w\n%s", err, found)
	}
	fmt.Fprintf(out, "known vulnerabilities: none that the code calls, says %s\n%s", database, found)
	return nil
}

// reach finds out whether there is a database at all, so that its absence is told from every other failure.
func reach(ctx context.Context, database string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(database, "/")+"/index/db.json", nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", req.URL, r.Status)
	}
	return nil
}
