package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitError = 1 // something failed
	exitUsage = 2 // the command line is wrong
)

// options are the command line.
type options struct {
	n, rounds          int
	sizes              []int // in place of n, if there are any
	installers         bool
	tessera            bool     // measure Tessera beside the log
	rows               []string // names of sections; none: all
	dir, json, profile string
	markdown           string
	program            string // runs Tessera; built if it is none
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if t := os.Getenv(taskVariable); t != "" {
		return report(stderr, perform(ctx, t))
	}
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	runs, err := measure(ctx, o, stderr)
	if err == nil {
		err = write(runs, o, stdout)
	}
	return report(stderr, err)
}

func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "bench:", err)
	return exitError
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.n, "n", 1_000_000, "entries of the log that is read")
	f.IntVar(&o.rounds, "rounds", 0, "how often each row is measured (default 5, and 7 with -installers)")
	f.StringVar(&o.dir, "dir", "", "where to make the logs, which are removed afterwards (default: the temporary folder)")
	f.StringVar(&o.json, "json", "", "write the figures to this `file` as JSON; - is stdout, in place of the table")
	f.StringVar(&o.profile, "profile", "", "write CPU profiles to this `folder`")
	f.StringVar(&o.markdown, "markdown", "", "write the comparison to this `file` as Markdown")
	f.BoolVar(&o.tessera, "tessera", true, "measure Tessera beside the log, which needs its module, by a proxy or from the cache")
	sizes := f.String("sizes", "", "measure with each of these `numbers` of entries in place of -n, and how cost grows")
	f.BoolVar(&o.installers, "installers", false, "measure what installing through pauselog costs, in place of the log")
	rows := f.String("rows", "", "measure only these, of "+strings.Join(names(), ", ")+"; with -installers of "+strings.Join(namesOf(installerSections), ", "))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *rows != "" {
		o.rows = strings.Split(*rows, ",")
	}
	for _, r := range o.rows {
		if all := namesOf(o.table()); !slices.Contains(all, r) {
			return o, fmt.Errorf("-rows: there is no %q; there are %s", r, strings.Join(all, ", "))
		}
	}
	if *sizes != "" {
		for _, s := range strings.Split(*sizes, ",") {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1000 {
				return o, fmt.Errorf("-sizes: %q: expected a number of at least 1000", s)
			}
			o.sizes = append(o.sizes, n)
		}
		slices.Sort(o.sizes)
		o.sizes = slices.Compact(o.sizes)
	}
	given := false
	f.Visit(func(x *flag.Flag) { given = given || x.Name == "rounds" })
	switch {
	case !given && o.installers:
		o.rounds = 7 // a build differs by more from one time to the next
	case !given:
		o.rounds = 5
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: no arguments are expected", f.Arg(0))
	case o.n < 1000:
		return o, fmt.Errorf("-n %d: expected at least 1000", o.n)
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds %d: expected at least 1", o.rounds)
	}
	return o, nil
}
