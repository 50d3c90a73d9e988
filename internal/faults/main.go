// Command faults attacks a pauselog as disks, clocks, networks, crashes and hostile clients do, and says what came
// of it:
//
//	go run ./internal/faults                        the quick set, as CI runs it: some minutes
//	go run ./internal/faults -long                  all of it: some hours
//	go run ./internal/faults -list                  what there is
//	go run ./internal/faults -campaigns model -seed 7 -for 10m
//
// Each campaign ends in counts: faults injected, crashes survived, inputs tried, entries acknowledged, and, which must
// be 0, entries lost, forks, and false answers. The first that breaks an invariant says how to do it again; the others
// are run all the same, and the exit status is 1. -json writes the same with the seed and the notes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/corrupt"
	"github.com/pauselog/pauselog/internal/faults/disk/crashinit"
	"github.com/pauselog/pauselog/internal/faults/disk/crashlog"
	"github.com/pauselog/pauselog/internal/faults/disk/crashpublished"
	"github.com/pauselog/pauselog/internal/faults/disk/crashwitness"
	"github.com/pauselog/pauselog/internal/faults/disk/fulldisk"
	"github.com/pauselog/pauselog/internal/faults/fuzz"
	"github.com/pauselog/pauselog/internal/faults/hostile"
	"github.com/pauselog/pauselog/internal/faults/model"
	"github.com/pauselog/pauselog/internal/faults/soak"
)

// campaigns are in the order in which they run: what is quick and broad first.
var campaigns = []campaign.Campaign{
	crashlog.Campaign,
	crashpublished.Campaign,
	crashwitness.Campaign,
	crashinit.Campaign,
	fulldisk.Campaign,
	crashwitness.FullDisk,
	corrupt.Campaign,
	model.Campaign,
	hostile.Campaign,
	fuzz.Campaign,
	soak.Campaign,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, campaigns, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "faults:", err)
		}
		os.Exit(1)
	}
}

// An outcome is what one campaign came to.
type outcome struct {
	Campaign string          `json:"campaign"`
	Seconds  float64         `json:"seconds"`
	Report   campaign.Report `json:"report"`
	Error    string          `json:"error,omitempty"`
}

func run(ctx context.Context, all []campaign.Campaign, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.SetOutput(stderr)
	long := f.Bool("long", false, "all of each campaign, instead of the quick set")
	names := f.String("campaigns", "", "only these, with commas between (-list names them)")
	seed := f.Uint64("seed", 0, "what decides all that is random; 0: another each time")
	bound := f.Duration("for", 0, "how long a campaign without an end goes on; 0: its own choice")
	dir := f.String("dir", "", "where scratch data goes, on a real disk (default: the system's temporary folder)")
	file := f.String("json", "", "write the outcomes to this file too")
	list := f.Bool("list", false, "say what campaigns there are")
	verbose := f.Bool("v", false, "say how each campaign goes on")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if *list {
		return printList(stdout, all)
	}
	chosen, err := choose(all, *names)
	if err != nil {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64() >> 11 // exact in every reader of JSON
	}
	scratch, err := os.MkdirTemp(*dir, "pauselog-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	var outcomes []outcome
	for _, c := range chosen {
		if ctx.Err() != nil {
			break
		}
		o := campaign.Options{Long: *long, For: *bound, Seed: *seed, Dir: filepath.Join(scratch, c.Name), Progress: func(string, ...any) {}}
		if *verbose {
			o.Progress = func(format string, args ...any) {
				fmt.Fprintf(stderr, "%s: %s\n", c.Name, fmt.Sprintf(format, args...))
			}
		}
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			return err
		}
		outcomes = append(outcomes, try(ctx, c, o))
		if err := os.RemoveAll(o.Dir); err != nil {
			return err
		}
	}
	if err := printOutcomes(stdout, outcomes, *seed); err != nil {
		return err
	}
	if *file != "" {
		if err := writeJSON(*file, outcomes, *seed, *long); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ended early: %w", err)
	}
	for _, o := range outcomes {
		if o.Error != "" {
			return fmt.Errorf("at least one campaign failed: %s", o.Campaign)
		}
	}
	return nil
}

func try(ctx context.Context, c campaign.Campaign, o campaign.Options) outcome {
	began := time.Now()
	r, err := c.Run(ctx, o)
	if err == nil {
		err = r.Err()
	}
	out := outcome{Campaign: c.Name, Seconds: time.Since(began).Seconds(), Report: r}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func choose(all []campaign.Campaign, names string) ([]campaign.Campaign, error) {
	if names == "" {
		return all, nil
	}
	var chosen []campaign.Campaign
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(c campaign.Campaign) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no campaign %q; -list says which there are", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func printList(w io.Writer, all []campaign.Campaign) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range all {
		fmt.Fprintf(t, "%s\t%s\n", c.Name, c.About)
	}
	return t.Flush()
}

func printOutcomes(w io.Writer, outcomes []outcome, seed uint64) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, r campaign.Report, seconds float64) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.0f s\t\n",
			name, r.Faults, r.Crashes, r.Inputs, r.Refused, r.Acknowledged, r.Lost, r.Forks, r.False, seconds)
	}
	fmt.Fprintln(t, "campaign\tfaults\tcrashes\tinputs\trefused\tacknowledged\tlost\tforks\tfalse\ttook\t")
	var sum campaign.Report
	seconds := 0.0
	for _, o := range outcomes {
		row(o.Campaign, o.Report, o.Seconds)
		sum.Add(o.Report)
		seconds += o.Seconds
	}
	row("all", sum, seconds)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range outcomes {
		for _, n := range o.Report.Notes {
			fmt.Fprintf(w, "%s: %s\n", o.Campaign, n)
		}
		if o.Error != "" {
			fmt.Fprintf(w, "%s: FAILED: %s\n", o.Campaign, o.Error)
		}
	}
	_, err := fmt.Fprintf(w, "seed %d\n", seed)
	return err
}

func writeJSON(file string, outcomes []outcome, seed uint64, long bool) error {
	text, err := json.MarshalIndent(struct {
		Seed      uint64    `json:"seed"`
		Long      bool      `json:"long"`
		Campaigns []outcome `json:"campaigns"`
	}{seed, long, outcomes}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
