package cli

import "github.com/spf13/cobra"

func resumeCommand() *cobra.Command {
	return queueCommand("resume", "Take the pause of a queue back", false)
}
