package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

// What goes where: results to standard output, and everything else to standard error. Nothing is
// coloured, so there is nothing for NO_COLOR to turn off. Progress is shown on terminals only,
// and only of what takes longer than half a second. A stranger's text passes through plain.

// output remembers the first error of writing, so that no full disk passes for success.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// object prints a line of JSON.
func (a *app) object(v any) {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil && a.stdout.err == nil {
		a.stdout.err = err
	}
}

func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "pauselog: warning: %s\n", plain(fmt.Sprintf(format, args...)))
}

// print says how a file fared: to standard output as JSON, or to standard error. A file
// that verified is not worth a word.
func (a *app) print(file string, r *verify.Result) {
	if a.json {
		a.printJSON(file, r, nil)
		return
	}
	name := "pauselog"
	if file != "" {
		name = plain(file)
	}
	fmt.Fprintf(a.stderr, "%s: %s: %s\n", name, r.Outcome, r.Message)
	a.lines("expected", r.Expected)
	a.lines("found", r.Found)
	a.lines("perhaps", r.Causes...)
	a.lines("next", r.Next...)
	a.lines("note", r.Notes...)
	a.lines("evidence", r.EvidencePath)
}

// lines prints what is said about one thing, with its name before the first line.
func (a *app) lines(name string, lines ...string) {
	label := name + ":"
	for _, line := range lines {
		if line != "" {
			fmt.Fprintf(a.stderr, "  %-9s %s\n", label, plain(line))
			label = ""
		}
	}
}

// printJSON prints a result's object, with the file in front and more fields behind.
func (a *app) printJSON(file string, r *verify.Result, more map[string]any) {
	// As raw JSON, because a number that passes through a float64 loses digits.
	fields := map[string]json.RawMessage{}
	b, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(b, &fields)
	}
	if more == nil {
		more = map[string]any{}
	}
	if file != "" {
		more["file"] = file
	}
	for k, v := range more {
		b, failed := json.Marshal(v)
		fields[k], err = b, errors.Join(err, failed)
	}
	if err != nil {
		a.object(map[string]any{"outcome": verify.Error, "code": verify.Error.Code(), "message": err.Error()})
		return
	}
	a.object(fields)
}

// misbehaved is the result of what was found on the connection, with its evidence in a file.
func (a *app) misbehaved(m *client.Misbehaviour) *verify.Result {
	r := &verify.Result{
		Outcome: verify.Misbehaviour,
		Message: m.Evidence.String(),
		Causes: []string{
			"the policy or the remembered checkpoints are of a test log that was set up anew with its old key",
			"the log was restored from a backup, or ran twice, against its own rules",
			"the log's key is in other hands, or its operator shows different logs to different people",
		},
		Next: []string{
			"keep the evidence: it convinces everyone who has the log's key, whoever shows it",
			"do not install what this log alone vouches for",
			"tell the log's operator and the CPAN Security Group (https://security.metacpan.org)",
		},
		Evidence: m.Evidence,
	}
	a.keepEvidence(r)
	return r
}

// plain makes a stranger's text fit for a terminal and for one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// A progress line on a terminal.
type progress struct {
	w          io.Writer
	unit       string
	start      time.Time
	shown      time.Time
	everything bool // something was shown
}

// progressOf returns nil if standard error is no terminal; its methods then do nothing.
func (a *app) progressOf(unit string) *progress {
	f, ok := a.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &progress{w: f, unit: unit, start: time.Now()}
}

func (p *progress) show(done, total uint64) {
	now := time.Now()
	if p == nil || now.Sub(p.start) < 500*time.Millisecond || now.Sub(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown, p.everything = now, true
	rate := float64(done) / now.Sub(p.start).Seconds()
	left := "?"
	if rate > 0 && done <= total {
		left = time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(p.w, "\r\x1b[K%d of %d %s, %.0f/s, %s left", done, total, p.unit, rate, left)
}

// showCount is show for what has no known end.
func (p *progress) showCount(done uint64) {
	now := time.Now()
	if p == nil || now.Sub(p.start) < 500*time.Millisecond || now.Sub(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown, p.everything = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%d %s, %.0f/s", done, p.unit, float64(done)/now.Sub(p.start).Seconds())
}

// clear removes the line, for what is printed next.
func (p *progress) clear() {
	if p != nil && p.everything {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// results prints to standard output.
func (a *app) results(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

func (a *app) notes(file string, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(a.stderr, "%s: note: %s\n", plain(file), plain(n))
	}
}
