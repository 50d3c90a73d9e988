package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/witnessd"
)

func initCommand() *cobra.Command {
	var data, name, head string
	var agent witnessd.Agent
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init --data DIR --name NAME",
		Short: "make a new witness",
		Long: `init makes the keys and the empty state of a witness in a new folder, and prints its two verifier keys, one a
line: Ed25519 (0x04) first, then ML-DSA-44 (0x06). They go to the operators of logs, with the witness's URL.

The name is for ever; by custom it is a URL without https://, and need not lead anywhere. The head file
says how far the witness has signed; it lies outside of the folder, on another disk if possible, so that a
restore of the folder alone is noticed.

With --agent the Ed25519 key is one that an ssh-agent has, and is never seen here. ML-DSA-44 keys are in
files, as no agent has them.`,
		Example: `  pausewitness init --data /var/lib/pausewitness/witness --name witness.example/w1
  pausewitness init --data DIR --name witness.example/w1 --agent /run/agent.sock --agent-key SHA256:...`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "name"); err != nil {
				return err
			}
			f, err := initialise(data, head, name, agent)
			if err != nil {
				return err
			}
			var vkeys []string
			for _, v := range f.Verifiers() {
				vkeys = append(vkeys, v.String())
			}
			if asJSON {
				return printJSON(cmd, map[string]any{"name": f.Name, "data": f.Dir, "head": f.Head, "vkeys": vkeys})
			}
			for _, v := range vkeys {
				fmt.Fprintln(cmd.OutOrStdout(), v)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder, which must be new or empty")
	cmd.Flags().StringVar(&name, "name", "", "the witness's name")
	cmd.Flags().StringVar(&head, "head", "", "the head file (default DIR.head)")
	cmd.Flags().StringVar(&agent.Socket, "agent", "", "Unix socket of an ssh-agent that has the Ed25519 key")
	cmd.Flags().StringVar(&agent.Key, "agent-key", "", "the key's fingerprint (SHA256:...) or comment, as ssh-add -l shows them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func initialise(data, head, name string, agent witnessd.Agent) (*witnessd.Folder, error) {
	switch {
	case (agent.Socket == "") != (agent.Key == ""):
		return nil, usageError{fmt.Errorf("--agent and --agent-key are needed together")}
	case agent.Socket != "":
		return witnessd.InitWithAgent(data, head, name, agent, time.Now())
	}
	return witnessd.Init(data, head, name, time.Now())
}
