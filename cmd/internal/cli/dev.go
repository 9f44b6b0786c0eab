package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

func devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Everything in one process: embedded Redis and one worker",
		Long: `Run an embedded Redis and one worker in this process, to try things out: nothing
survives it. With LIGHTERMAN_REDIS_URL (or --redis) it uses yours instead. Other
lighterman commands of this machine find it by themselves.`,
		Args: noArgs,
	}
	flags := worker.AddFlags(cmd.Flags())
	cmd.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		if cfg.Worker.Name == "" {
			cfg.Worker.Name = "w1"
		}
		found := worker.Detect(context.Background(), cfg)
		w, err := worker.New(context.Background(), cfg)
		if err != nil {
			return err
		}
		if err := w.Listen(); err != nil {
			return err
		}
		out := c.OutOrStdout()
		note := ""
		if w.Embedded() {
			note = "  (nothing survives this process; LIGHTERMAN_REDIS_URL uses yours)"
		}
		fmt.Fprintf(out, "lighterman %s   redis %s%s\n", Version(), w.Redis(), note)
		fmt.Fprintf(out, "models             %s\n", strings.Join(w.Models(), ", "))
		if len(found) > 0 {
			fmt.Fprintf(out, "found              %s; `lighterman models` lists what they have\n", strings.Join(found, ", "))
		} else if len(cfg.Backends) == 0 {
			fmt.Fprintf(out, "                   (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or an Ollama on this machine is found by itself)\n")
		}
		fmt.Fprintf(out, "worker %s ready    %d slots, queues %s   %s\n", cfg.Worker.Name, cfg.Worker.Concurrency, worker.QueuesText(cfg), w.URL())
		fmt.Fprintf(out, "try                lighterman enqueue \"Why do rivers bend?\" --wait\n")
		return w.Run(context.Background())
	}
	return cmd
}
