package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/witnessd"
)

// devWitnesses is how many witnesses dev runs; all but one must cosign.
const devWitnesses = 3

// runWitnesses runs the witnesses of dev in this process, each with its own folder, keys and state, and
// returns the lines of a policy that needs all but one of them. stop ends them.
func runWitnesses(dir string, f *datafolder.Folder, log *slog.Logger) (policy string, stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	running := 0
	ended := make(chan error, devWitnesses)
	stop = func() (err error) {
		cancel()
		for ; running > 0; running-- {
			err = errors.Join(err, <-ended)
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	var vkeys []string
	for _, k := range f.Signers {
		vkeys = append(vkeys, k.Verifier().String())
	}
	var b strings.Builder
	group := ""
	for i := range devWitnesses {
		w, err := devWitness(filepath.Join(dir, fmt.Sprintf("witness%d", i+1)), fmt.Sprintf("pauselog.example/dev-witness%d", i+1))
		if err != nil {
			return "", stop, err
		}
		if err := w.AddLog(vkeys...); err != nil {
			return "", stop, err
		}
		ready := make(chan witnessd.Addresses, 1)
		running++
		go func() {
			ended <- witnessd.Run(ctx, witnessd.Config{Folder: w, Listen: "127.0.0.1:0", Log: log.With("witness", w.Name)}, func(a witnessd.Addresses) { ready <- a })
		}()
		select {
		case a := <-ready:
			for j, k := range w.Verifiers() {
				fmt.Fprintf(&b, "witness w%d-%d %v http://%s\n", i+1, j+1, k, a.Listen)
			}
			fmt.Fprintf(&b, "group w%[1]d any w%[1]d-1 w%[1]d-2\n", i+1)
			group += fmt.Sprintf(" w%d", i+1)
		case err := <-ended:
			running--
			return "", stop, err
		}
	}
	fmt.Fprintf(&b, "group all-but-one %d%s\nquorum all-but-one\n", devWitnesses-1, group)
	return b.String(), stop, nil
}

func devWitness(dir, name string) (*witnessd.Folder, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return witnessd.Init(dir, "", name, time.Now())
	}
	return witnessd.Open(dir)
}
