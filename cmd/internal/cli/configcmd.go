package cli

import (
	"fmt"
	"os"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show the configuration", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}

	check := &cobra.Command{Use: "check", Short: "Say everything that is wrong, with line and column; exit 2 if something is", Args: noArgs}
	checkFlags := worker.AddFlags(check.Flags())
	check.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := checkFlags.Load()
		if err != nil {
			return err
		}
		if url := cfg.Redis.URL.Reveal(); url != "" {
			if err := lua.ValidURL(url); err != nil {
				return err
			}
		}
		for i := range cfg.Backends {
			if err := missingCredential(&cfg.Backends[i]); err != nil {
				fmt.Fprintf(stderr, "check: %v (as seen from here; a worker needs it)\n", err)
			}
		}
		fmt.Fprintln(c.OutOrStdout(), "ok")
		return nil
	}

	print := &cobra.Command{Use: "print", Short: "Print the settings in force, where each comes from, secrets redacted", Args: noArgs}
	printFlags := worker.AddFlags(print.Flags())
	print.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := printFlags.Load()
		if err != nil {
			return err
		}
		return cfg.Print(c.OutOrStdout())
	}

	schema := &cobra.Command{Use: "schema", Short: "Print the JSON Schema of the file, for editors", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(config.Schema())
			return err
		}}

	env := &cobra.Command{Use: "env", Short: "List the LIGHTERMAN_ variables", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			t := newTable(c.OutOrStdout(), "VARIABLE", "DEFAULT", "WHAT").fold()
			for _, v := range config.Env() {
				t.row(v.Name, v.Default, v.Desc)
			}
			return t.flush()
		}}
	cmd.AddCommand(check, print, schema, env)
	return cmd
}

// missingCredential says what a backend's credential lacks in this environment. That is
// no mistake of the file: it may be checked where no worker runs.
func missingCredential(b *config.Backend) error {
	if _, err := b.Credential(); err != nil {
		return err
	}
	if b.CredentialsFile == "" {
		return nil
	}
	if _, err := os.Stat(b.CredentialsFile); err != nil {
		return fmt.Errorf("backend %s: credentials_file: %w", b.ID, err)
	}
	return nil
}
