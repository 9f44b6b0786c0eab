package cli

import (
	"context"

	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// Worker is the command that runs one worker.
func Worker() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker until SIGTERM, then drain",
		Long: `Run a worker. It claims operations, runs them and takes over what dead workers
left. SIGTERM or Ctrl-C drains: what runs finishes or is handed over within
--drain-timeout; a second signal stops at once. Without a Redis URL it joins the
Lighterman of this machine, or keeps an embedded Redis that nothing survives.
Where no backend, model or pool is declared, OPENAI_API_KEY, ANTHROPIC_API_KEY,
GEMINI_API_KEY and an Ollama on 127.0.0.1:11434 are (fleet.detect).`,
		Args: noArgs,
	}
	flags := worker.AddFlags(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		if found := worker.Detect(context.Background(), cfg); len(found) > 0 {
			log := worker.Logger(cfg)
			log.Info().Strs("found", found).Msg("model APIs of this machine are declared")
		}
		w, err := worker.New(context.Background(), cfg)
		if err != nil {
			return err
		}
		return w.Run(context.Background())
	}
	cmd.AddCommand(configCommand())
	return cmd
}
