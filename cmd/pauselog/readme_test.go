package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Somebody who types what the README's part for Perl users says, word for word, ends up with verified modules.
func TestREADMEForPerlUsers(t *testing.T) {
	l := newClientLab(t)
	const tiny = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"
	up := l.upstream(t, nil)
	if os.Getenv("PAUSELOG_CORPUS") == "" {
		write(t, filepath.Join(up, tiny), distribution("Try::Tiny"))
		write(t, filepath.Join(up, examples, "Moo-0.01.tar.gz"), distribution("Moo", "Example::Base"))
		for _, file := range []string{tiny, examples + "Moo-0.01.tar.gz"} {
			l.put(file, must(os.ReadFile(filepath.Join(up, file))))
			l.submit(l.http, filepath.Join(l.root, file))
		}
	}
	// As PAUSE's, the index lists what is published.
	index := l.publishedIndex(t, up)
	write(t, filepath.Join(up, "modules/02packages.details.txt.gz"), index)
	l.put("modules/02packages.details.txt.gz", index)
	l.submit(l.http, filepath.Join(l.root, "modules/02packages.details.txt.gz"))

	r := l.newRun(t)
	for name, b := range map[string][]byte{"policy": must(os.ReadFile(l.policy)), "cpanfile": []byte("requires 'Moo';\n"), "Try-Tiny-0.31.tar.gz": must(os.ReadFile(filepath.Join(up, tiny)))} {
		write(t, filepath.Join(r.dir, name), b)
	}
	readme := string(must(os.ReadFile("../../README.md")))
	_, section, ok := strings.Cut(readme, "\n### You install Perl modules\n")
	section, _, ok2 := strings.Cut(section, "\n### ")
	if !ok || !ok2 {
		t.Fatal("the README has no such part")
	}
	var commands []string
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if len(commands) < 5 {
		t.Fatalf("the README has %d commands: %q", len(commands), commands)
	}
	for _, command := range commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = r.dir
		cmd.Env = append(r.environ("sh"), "PATH="+programs+":"+os.Getenv("PATH"), "PERL_CPANM_OPT=--notest", "PAUSELOG_UPSTREAM="+up)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
		if strings.Contains(command, "exec") && (!strings.Contains(string(out), " verified, 0 refused, 0 passed unverified, index verified") || strings.Contains(string(out), "pauselog: 0 verified")) {
			t.Errorf("%s: %s", command, out)
		}
	}
	for _, r.lib = range []string{filepath.Join(r.home, "perl5"), filepath.Join(r.dir, "local")} {
		if !r.installed("Moo.pm") {
			t.Errorf("Moo is not installed in %s", r.lib)
		}
	}
}

// publishedIndex is the index of an upstream without what was never logged, compressed.
func (l *clientLab) publishedIndex(t *testing.T, up string) []byte {
	t.Helper()
	text := string(must(os.ReadFile(filepath.Join(up, "modules/02packages.details.txt"))))
	head, lines, ok := strings.Cut(text, "\n\n")
	if !ok {
		t.Fatal("the index has no header")
	}
	if os.Getenv("PAUSELOG_CORPUS") == "" {
		lines += "Moo 0.01 E/EX/EXAMPLE/Moo-0.01.tar.gz\nTry::Tiny 0.01 E/ET/ETHER/Try-Tiny-0.31.tar.gz\n"
	}
	var kept []string
	for line := range strings.Lines(lines) {
		if !strings.Contains(line, "Unlogged") && !strings.Contains(line, "Borrowed") && !strings.Contains(line, "Document") {
			kept = append(kept, line)
		}
	}
	slices.SortFunc(kept, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return zip([]byte(head + "\n\n" + strings.Join(kept, "")))
}
