package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/token"
)

// serveFlags are what serve and dev have in common.
type serveFlags struct {
	grpc, http, admin   string
	logFormat, logLevel string
}

func (f *serveFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.grpc, "grpc", "", "HOST:PORT for gRPC; port 0 takes a free one")
	cmd.Flags().StringVar(&f.http, "http", "", "HOST:PORT for the static reads and the API as JSON")
	cmd.Flags().StringVar(&f.admin, "admin", "", "HOST:PORT for metrics, health and profiles")
	cmd.Flags().StringVar(&f.logFormat, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
}

func (f *serveFlags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level %q: expected debug, info, warn or error", f.logLevel)}
	}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q: expected text or json", f.logFormat)}
}

// fatal ends the process at once: what is on disk is not known, and only a new start may
// find out.
func fatal(log *slog.Logger) func(error) {
	return func(err error) {
		log.Error("the log ends now; the next start compares its two heads", "error", err)
		os.Exit(exitError)
	}
}

func serveCommand() *cobra.Command {
	var (
		flags                   serveFlags
		data, policy            string
		noWitnesses, plaintext  bool
		cert, key, clientCAFile string
		witnesses               witnessFlags
		scrubPeriod             time.Duration
	)
	cmd := &cobra.Command{
		Use:   "serve --data DIR (--policy FILE | --no-witnesses) --grpc HOST:PORT --http HOST:PORT",
		Short: "run a log",
		Long: `serve runs a log until SIGTERM or SIGINT, and then drains: what was submitted is answered. When it
is ready it prints one line of JSON with the addresses that it listens on.

What a quorum of the policy's witnesses has not cosigned is not published; with --no-witnesses
everything is. The policy is kept in the data folder for later starts.

It refuses to start when the data folder could have lost something that was signed before: when it is
older than the head file says, or of another history, or when the head file is gone. There is no way to
force it, because to go on would fork the log; it says what to put back. A log with witnesses takes no
submissions before they have said that they saw nothing newer.

Addresses other than loopback need TLS, or --allow-plaintext if something in front does it. The admin
address has no access control.`,
		Example: `  pauselogd serve --data /var/lib/pauselog/log --no-witnesses --grpc 127.0.0.1:7150 --http 127.0.0.1:7151
  pauselogd serve --data /var/lib/pauselog/log --policy /etc/pauselog/policy --witness-budget 1440 --grpc 127.0.0.1:7150
  pauselogd serve --config /etc/pauselog/pauselogd.toml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			if policy != "" && noWitnesses {
				return usageError{errors.New("--policy and --no-witnesses exclude each other")}
			}
			log, err := flags.logger()
			if err != nil {
				return err
			}
			c := daemon.Config{GRPC: flags.grpc, HTTP: flags.http, Admin: flags.admin, AllowPlaintext: plaintext, Log: log, Fatal: fatal(log), ScrubPeriod: scrubPeriod}
			if scrubPeriod < 0 {
				return usageError{fmt.Errorf("--scrub-period %v: expected a time, or 0 for never", scrubPeriod)}
			}
			if c.Folder, err = datafolder.Open(data); err != nil {
				return err
			}
			c.Policy, err = daemon.ChoosePolicy(c.Folder, policy, noWitnesses)
			if errors.Is(err, daemon.ErrNoPolicy) {
				return usageError{errors.New("one of --policy FILE and --no-witnesses is needed: who must cosign what this log publishes")}
			}
			if err != nil {
				return err
			}
			if c.Witnesses, err = witnesses.settings(c.Policy); err != nil {
				return err
			}
			if c.TLS, err = tlsConfig(cert, key, clientCAFile); err != nil {
				return err
			}
			return serve(cmd, c)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&data, "data", "", "the data folder, made by init")
	cmd.Flags().StringVar(&policy, "policy", "", "the policy that readers of this log use (C2SP tlog-policy), with its witnesses' URLs; later starts use it too")
	cmd.Flags().BoolVar(&noWitnesses, "no-witnesses", false, "publish what nobody has cosigned")
	witnesses.add(cmd)
	cmd.Flags().StringVar(&cert, "tls-cert", "", "certificate chain, PEM; read again when it changes")
	cmd.Flags().StringVar(&key, "tls-key", "", "its private key, PEM")
	cmd.Flags().StringVar(&clientCAFile, "tls-client-ca", "", "authorities of client certificates, PEM: submitters may use one in place of a token")
	cmd.Flags().DurationVar(&scrubPeriod, "scrub-period", 7*24*time.Hour, "in what time the store is read once and compared with what was signed; 0: never")
	cmd.Flags().BoolVar(&plaintext, "allow-plaintext", false, "serve other than loopback addresses without TLS")
	return withFile(cmd)
}

// serve runs the daemon with the tokens of its folder, and prints where it listens.
func serve(cmd *cobra.Command, c daemon.Config, also ...func(daemon.Addresses) error) error {
	tokens, err := token.Open(c.Folder.TokenFile(), c.Log)
	if err != nil {
		return err
	}
	c.Auth = authenticator{tokens}
	var after error
	err = daemon.Run(cmd.Context(), c, func(a daemon.Addresses) {
		err := printJSON(cmd, struct {
			Origin string `json:"origin"`
			daemon.Addresses
		}{c.Folder.Origin, a})
		for _, f := range also {
			err = errors.Join(err, f(a))
		}
		after = err
	})
	return errors.Join(err, after)
}

// tlsConfig returns nil if no certificate is named.
func tlsConfig(certFile, keyFile, clientCAFile string) (*tls.Config, error) {
	if certFile == "" && keyFile == "" && clientCAFile == "" {
		return nil, nil
	}
	if certFile == "" || keyFile == "" {
		return nil, usageError{errors.New("--tls-cert and --tls-key are needed together")}
	}
	r := &reloading{cert: certFile, key: keyFile}
	if _, err := r.get(nil); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.get}
	if clientCAFile != "" {
		pem, err := os.ReadFile(clientCAFile)
		if err != nil {
			return nil, err
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: there is no certificate in it", clientCAFile)
		}
		// Readers have none, and need none.
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}
