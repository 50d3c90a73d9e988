package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTessera stands for the program that runs Tessera: it takes the entries, and claims a thousand of everything. It
// makes the folder, and fails if it is asked to do more than is there.
func fakeTessera(text string) error {
	var t peerTask
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	for range t.Entries {
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return err
		}
		entry := make([]byte, int(length[0])<<8|int(length[1]))
		if _, err := io.ReadFull(in, entry); err != nil || !bytes.HasPrefix(entry, []byte("pauselog/v1\n")) {
			return fmt.Errorf("entry %q, %w", entry, err)
		}
	}
	if os.Getenv("FAKE_TESSERA_FAILS") == t.Row {
		fmt.Fprintln(os.Stderr, "it cannot do that")
		os.Exit(1)
	}
	if err := os.MkdirAll(t.Dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(t.Dir, "file"), []byte("content"), 0o666); err != nil {
		return err
	}
	ready := map[string]string{"address": ""}
	if t.Row == "serve" {
		l, err := loopback()
		if err != nil {
			return err
		}
		ready["address"] = l.Addr().String()
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, 0) }))
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(ready); err != nil {
		return err
	}
	if line, err := in.ReadString('\n'); line != "go\n" {
		return fmt.Errorf("%q, %w", line, err)
	}
	if t.Row == "serve" {
		if _, err := in.ReadByte(); err != io.EOF {
			return fmt.Errorf("expected the end: %w", err)
		}
	}
	return out.Encode(peerResult{"v1.2.3", "settings of " + t.Row, map[string]float64{"entries": float64(t.Entries), "integrated": 1000, "published": 1000,
		"published-max": 1000, "cold": 1000, "warm-1": 1000, "warm-2": 1000}})
}

// peerRows are the sections that have rows of Tessera's.
const peerRows = "append,http-append,idle,inclusion,consistency,disk"

func fakeOptions(t *testing.T, rows string) options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return options{n: 1000, rounds: 2, rows: strings.Split(rows, ","), dir: t.TempDir(), tessera: true, program: self}
}

// The log and Tessera take turns in each round, Tessera's rows say whose they are and with what settings they were measured,
// and no log of its is left.
func TestTessera(t *testing.T) {
	o := fakeOptions(t, peerRows)
	runs, err := measure(t.Context(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(o.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	theirs := map[string]int{}
	for _, x := range runs[0].Rows {
		if strings.HasPrefix(x.What, "Tessera: ") != (x.Side == "tessera") {
			t.Errorf("%q is of %q", x.What, x.Side)
		}
		if x.Side == "" {
			continue
		}
		theirs[x.Section]++
		if len(x.Values) != 2 || x.Section != "disk" && x.Settings == "" {
			t.Errorf("%+v", x)
		}
	}
	for _, s := range strings.Split(peerRows, ",") {
		if theirs[s] == 0 {
			t.Errorf("%s has no row of Tessera's", s)
		}
	}
	for _, x := range targets() {
		for _, n := range x.theirs {
			if runs[0].find(n) == nil {
				t.Errorf("%s: there is no row %v", x.what, n)
			}
		}
	}
	if table := runs[0].table() + runs[0].comparison(); !strings.Contains(table, "settings of append") || !strings.Contains(table, "Tessera v1.2.3, ") {
		t.Errorf("version and settings are not told:\n%s", table)
	}
}

// When Tessera fails, so does the run, and it says why.
func TestTesseraFails(t *testing.T) {
	t.Setenv("FAKE_TESSERA_FAILS", "append")
	_, err := measure(t.Context(), fakeOptions(t, "append"), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "it cannot do that") {
		t.Errorf("error %v", err)
	}
}

// Outside of the source tree there is no program to build, and the error says what to do.
func TestTesseraIsNotThere(t *testing.T) {
	t.Chdir(t.TempDir())
	var stderr bytes.Buffer
	if code := run([]string{"-n", "1000", "-rows", "append"}, io.Discard, &stderr); code != exitError || !strings.Contains(stderr.String(), "-tessera=false") {
		t.Errorf("exit %d, %s", code, &stderr)
	}
}
