package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/token"
	"github.com/pauselog/pauselog/log/entry"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "say who may submit what",
		Long: `Submitting needs a token, or a client certificate that is entered as one; reading needs nothing. A token
is limited to kinds of entries and to values of seen. All of this works while the log serves, and takes
effect at once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
	return cmd
}

func tokenCreateCommand() *cobra.Command {
	var data, name, certFile string
	var kinds, seen []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create --data DIR --name NAME [--kinds K,...] [--seen S,...]",
		Short: "make a token and print its secret, once",
		Long: `create makes a token and prints its secret, which is stored nowhere: the log keeps a hash. Put it into a
file that only the submitter can read. With --cert, the client certificate is the token, and there is
no secret; serve needs --tls-client-ca to accept it.`,
		Example: `  pauselogd token create --data DIR --name pause --kinds upload,index,delete --seen upload,follow > token
  pauselogd token create --data DIR --name backfill --kinds upload --seen backfill > token
  pauselogd token create --data DIR --name pause-agent --cert agent.pem`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "name"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			k, s := as[entry.Kind](kinds), as[entry.Seen](seen)
			var secret string
			var t token.Token
			if certFile != "" {
				cert, err := readCertificate(certFile)
				if err != nil {
					return err
				}
				t, err = token.CreateForCertificate(f.TokenFile(), name, cert, k, s, time.Now())
				if err != nil {
					return err
				}
				secret = t.ID
			} else if secret, t, err = token.Create(f.TokenFile(), name, k, s, time.Now()); err != nil {
				return err
			}
			if asJSON {
				out := tokenJSON(t)
				if certFile == "" {
					out["secret"] = secret
				}
				return printJSON(cmd, out)
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringVar(&name, "name", "", "a label for people")
	cmd.Flags().StringSliceVar(&kinds, "kinds", []string{"upload", "index", "delete"}, "the kinds of entries it may submit")
	cmd.Flags().StringSliceVar(&seen, "seen", []string{"upload", "follow", "backfill"}, "the values of seen it may submit")
	cmd.Flags().StringVar(&certFile, "cert", "", "a client certificate, PEM, to be the token")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func tokenListCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list --data DIR",
		Short:   "list the tokens, without their secrets",
		Example: `  pauselogd token list --data DIR`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			tokens, err := token.List(f.TokenFile())
			if err != nil {
				return err
			}
			if asJSON {
				for _, t := range tokens {
					if err := printJSON(cmd, tokenJSON(t)); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tKINDS\tSEEN\tCREATED\tREVOKED")
			for _, t := range tokens {
				j := tokenJSON(t)
				revoked := "-"
				if r, ok := j["revoked"]; ok {
					revoked = r.(string)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, words(t.Kinds), words(t.Seen), j["created"], revoked)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return configured(cmd)
}

func tokenRevokeCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:     "revoke --data DIR ID",
		Short:   "revoke a token, at once",
		Example: `  pauselogd token revoke --data DIR k3j9x2m4qa`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("one ID is needed, as 'token list' shows it: see '%s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			return token.Revoke(f.TokenFile(), args[0], time.Now())
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	return configured(cmd)
}

func tokenJSON(t token.Token) map[string]any {
	out := map[string]any{"id": t.ID, "name": t.Name, "kinds": t.Kinds, "seen": t.Seen, "created": t.Created.UTC().Format(time.RFC3339)}
	if t.Cert != "" {
		out["cert"] = t.Cert
	}
	if !t.Revoked.IsZero() {
		out["revoked"] = t.Revoked.UTC().Format(time.RFC3339)
	}
	return out
}

func as[T ~string](in []string) (out []T) {
	for _, s := range in {
		out = append(out, T(s))
	}
	return out
}

func words[T ~string](in []T) string {
	var out []string
	for _, s := range in {
		out = append(out, string(s))
	}
	return strings.Join(out, ",")
}

func readCertificate(file string) (*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: %w", file, errors.New("there is no PEM certificate in it"))
	}
	return x509.ParseCertificate(block.Bytes)
}
