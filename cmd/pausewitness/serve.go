package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/config"
	"github.com/pauselog/pauselog/internal/witnessd"
)

func serveCommand() *cobra.Command {
	var (
		c                        witnessd.Config
		data, key, format, level string
	)
	cmd := &cobra.Command{
		Use:   "serve --data DIR (--listen HOST:PORT | --bastion HOST:PORT)",
		Short: "run a witness",
		Long: `serve runs a witness until SIGTERM or SIGINT, and then drains: what was asked is answered. When it is
ready it prints one line of JSON with its name and the addresses that it listens on.

It refuses to start when its state could be older than what it has signed: when the folder was restored,
or the head file is gone. There is no way to force it, because it could then sign a fork; it says what
to put back.

It speaks plain HTTP, and is meant to stand behind a proxy that does TLS, or to be reached through a
bastion (C2SP https-bastion). Any address may be listened on: requests and answers are public, and
signed. A proxy on a loopback address has no limits here, and has to limit its own clients.

The admin address has no access control.`,
		Example: `  pausewitness serve --data /var/lib/pausewitness/witness --listen 127.0.0.1:7180 --admin 127.0.0.1:7181
  pausewitness serve --data /var/lib/pausewitness/witness --bastion bastion.example:443
  pausewitness serve --config /etc/pausewitness/pausewitness.toml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			if c.Log, err = logger(format, level); err != nil {
				return err
			}
			if c.Folder, err = witnessd.Open(data); err != nil {
				return err
			}
			if key != "" {
				if c.BastionKey, err = witnessd.ReadBastionKey(key); err != nil {
					return err
				}
			}
			c.Fatal = fatal(c.Log)
			return serve(cmd, c)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder, made by init")
	cmd.Flags().StringVar(&c.Listen, "listen", "", "HOST:PORT for logs and monitors, plain HTTP; port 0 takes a free one")
	cmd.Flags().StringVar(&c.Limits.Prefix, "prefix", "", "what the witness's paths begin with, like /witness")
	cmd.Flags().StringVar(&c.Bastion, "bastion", "", "HOST:PORT of a bastion to serve through, too")
	cmd.Flags().StringVar(&key, "bastion-key", "", "file of the key that the bastion knows (default DIR/keys/bastion.key)")
	cmd.Flags().StringVar(&c.Admin, "admin", "", "HOST:PORT for metrics and health")
	cmd.Flags().BoolVar(&c.AllowRemoteAdmin, "allow-remote-admin", false, "let the admin address be other than loopback")
	cmd.Flags().BoolVar(&c.Pprof, "pprof", false, "serve profiles at the admin address")
	cmd.Flags().Float64Var(&c.Limits.Rate, "rate", 50, "requests a second for each client that is not on a loopback address")
	cmd.Flags().IntVar(&c.Limits.Burst, "burst", 200, "requests that such a client may make at once")
	cmd.Flags().IntVar(&c.Limits.ConnectionsPerClient, "connections-per-client", 32, "connections of such a client")
	cmd.Flags().IntVar(&c.Limits.Connections, "connections", 512, "connections in all")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error; debug names clients' addresses")
	cmd.Flags().String(config.FileFlag, "", "TOML file with values for flags, by their names")
	return configured(cmd)
}

// serve runs the witness and prints where it listens.
func serve(cmd *cobra.Command, c witnessd.Config) error {
	var printing error
	err := witnessd.Run(cmd.Context(), c, func(a witnessd.Addresses) {
		limitMemory(a.Logs)
		printing = printJSON(cmd, struct {
			Name string `json:"name"`
			witnessd.Addresses
		}{c.Folder.Name, a})
	})
	if wrong := (witnessd.ConfigError{}); errors.As(err, &wrong) {
		return usageError{err}
	}
	if err == nil {
		err = printing
	}
	return err
}

const (
	memory       = 48 << 20 // bytes; with what is not Go's, the process stays below 64 MiB
	memoryPerLog = 32 << 10 // record and note of a log with many keys, both in memory
)

// limitMemory has the garbage collector work harder before memory grows: a witness is a small
// thing beside others. It is a hint, and GOMEMLIMIT counts more.
func limitMemory(logs int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory + int64(logs)*memoryPerLog)
	}
}

func logger(format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level %q: expected debug, info, warn or error", level)}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q: expected text or json", format)}
}

// fatal ends the process at once: what is on disk is not known, and only a new start may
// find out.
func fatal(log *slog.Logger) func(error) {
	return func(err error) {
		log.Error("the witness ends now; the next start compares folder and head file", "error", err)
		os.Exit(exitError)
	}
}
