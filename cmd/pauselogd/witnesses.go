package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/log/checkpoint"
)

// witnessFlags say how a policy's witnesses are asked.
type witnessFlags struct {
	budgets  []string
	recosign time.Duration
	timeout  time.Duration
}

func (f *witnessFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.budgets, "witness-budget", []string{"86400"},
		"requests a day that a witness is sent at most, 0 for any number: N for all, or URL=N for the one with this URL in the policy; may be repeated")
	cmd.Flags().DurationVar(&f.recosign, "recosign", time.Hour, "after what time an unchanged checkpoint is cosigned again")
	cmd.Flags().DurationVar(&f.timeout, "witness-timeout", 10*time.Second, "how long a witness may take to answer")
}

const day = 24 * time.Hour

func (f *witnessFlags) settings(p *checkpoint.Policy) (daemon.Witnesses, error) {
	if f.recosign < time.Minute || f.timeout < 100*time.Millisecond {
		return daemon.Witnesses{}, usageError{fmt.Errorf("--recosign is at least 1m, --witness-timeout at least 100ms: found %v, %v", f.recosign, f.timeout)}
	}
	urls := map[string]bool{}
	if p != nil {
		for _, w := range p.Witnesses() {
			urls[strings.TrimRight(w.URL, "/")] = w.URL != ""
		}
	}
	all, each := time.Duration(0), map[string]time.Duration{}
	for _, b := range f.budgets {
		url, number := "", b
		if i := strings.LastIndex(b, "="); i >= 0 {
			url, number = strings.TrimRight(b[:i], "/"), b[i+1:]
			if !urls[url] {
				return daemon.Witnesses{}, usageError{fmt.Errorf("--witness-budget %s: the policy has no witness with this URL", b)}
			}
		}
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 0 {
			return daemon.Witnesses{}, usageError{fmt.Errorf("--witness-budget %s: expected a number of requests a day", b)}
		}
		interval := time.Duration(0)
		if n > 0 {
			interval = day / time.Duration(n)
		}
		if url == "" {
			all = interval
		} else {
			each[url] = interval
		}
	}
	return daemon.Witnesses{Recosign: f.recosign, Timeout: f.timeout, Interval: func(url string) time.Duration {
		if d, ok := each[url]; ok {
			return d
		}
		return all
	}}, nil
}
