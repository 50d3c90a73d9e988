package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithoutADatabaseNothingIsClaimed(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	failing := httptest.NewServer(http.NotFoundHandler())
	defer failing.Close()
	for _, database := range []string{gone.URL, failing.URL} {
		var out bytes.Buffer
		err := vulnerabilities(t.Context(), t.TempDir(), database, []string{"./..."}, &out)
		if err != nil || !strings.HasPrefix(out.String(), "known vulnerabilities: not run: no database: ") || strings.Contains(out.String(), "none") {
			t.Errorf("%s: %q, %v", database, &out, err)
		}
	}
}

// A database that knows one thing: that all of crypto/sha256.Sum256 is bad.
const entry = `{"schema_version": "1.3.1", "id": "GO-2026-9999", "modified": "2026-01-02T03:04:05Z", "published": "2026-01-02T03:04:05Z",
	"summary": "made up", "details": "made up",
	"affected": [{"package": {"name": "stdlib", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
		"ecosystem_specific": {"imports": [{"path": "crypto/sha256", "symbols": ["SYMBOL"]}]}}],
	"references": [], "database_specific": {"url": "https://example.com"}}`

func TestVulnerabilitiesAreFoundIfTheyAreCalled(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for symbol, found := range map[string]bool{"Sum256": true, "NoSuch": false} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "GO-2026-9999.json"), []byte(strings.ReplaceAll(entry, "SYMBOL", symbol)), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := vulnerabilities(t.Context(), root, "file://"+filepath.ToSlash(dir), []string{"./log/tree"}, &out)
		if errors.Is(err, errVulnerable) != found || !found && err != nil {
			t.Errorf("%s: %v", symbol, err)
		}
		if found && (!strings.Contains(err.Error(), "GO-2026-9999") || out.Len() > 0) {
			t.Errorf("%s: %v, %q", symbol, err, &out)
		}
		if !found && !strings.Contains(out.String(), "none that the code calls") {
			t.Errorf("%s: %q", symbol, &out)
		}
	}
	if err := vulnerabilities(t.Context(), root, "file:///nonexistent", []string{"./log/tree"}, new(bytes.Buffer)); err == nil {
		t.Error("a database file that is not there is no error")
	}
}
