package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The threat model says what is defended by the tests that fail if it is not. Each of them is there.
func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "THREATS.md"))
	if err != nil {
		t.Fatal(err)
	}
	// `package` TestOne, TestTwo
	named := regexp.MustCompile("`([a-z/0-9]+)`((?:,?\\s+Test[A-Za-z0-9]+)+)").FindAllStringSubmatch(string(text), -1)
	found := 0
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no tests (%v)", m[1], err)
			continue
		}
		var code strings.Builder
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
		for _, test := range regexp.MustCompile(`Test[A-Za-z0-9]+`).FindAllString(m[2], -1) {
			found++
			if !strings.Contains(code.String(), "\nfunc "+test+"(") {
				t.Errorf("there is no %s in %s", test, m[1])
			}
		}
	}
	if all := len(regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9]+`).FindAll(text, -1)); found != all || all < 50 {
		t.Errorf("%d tests are named, and of %d it is clear in which package", all, found)
	}
}
