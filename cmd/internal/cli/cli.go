// Package cli is the commands: flags, start and stop order, and what a person
// reads. Everything else is in the packages they call.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// The exit codes, as the README documents them.
const (
	exitFailed      = 1   // some operations failed, or the output could not be written
	exitUsage       = 2   // usage, configuration or bad input; nothing was done
	exitRedis       = 3   // Redis is unreachable or not fit
	exitTimeout     = 4   // timed out waiting; the work continues
	exitInterrupted = 130 // interrupted
)

// exitError carries an exit code; its text may be empty when all is said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exit(code int, err error) error { return &exitError{code, err} }

func usagef(format string, args ...any) error { return exit(exitUsage, fmt.Errorf(format, args...)) }

// Main runs a command and ends the process with its exit code. Errors go to
// standard error, each line with the command's name in front.
func Main(cmd *cobra.Command) {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Version = Version()
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (%s --help lists the flags)", err, c.CommandPath())
	})
	ran, err := cmd.ExecuteC()
	if lost := stdout.failed(); lost != nil && !errors.Is(err, lost) {
		err = errors.Join(err, lost)
	}
	if err == nil {
		return
	}
	code := exitCode(err)
	if text := err.Error(); text != "" {
		for line := range strings.Lines(text) {
			if line == "\n" {
				continue // of an error that had nothing to add
			}
			fmt.Fprintf(stderr, "%s: %s\n", ran.Name(), strings.TrimRight(line, "\n"))
		}
	}
	os.Exit(code)
}

// exitCode is the code that an error deserves.
func exitCode(err error) int {
	var e *exitError
	var problems config.Errors
	var lost *outputError
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &lost): // before Redis: the system's error is one of the network too
		return exitFailed
	case errors.As(err, &problems):
		return exitUsage
	case errors.Is(err, context.Canceled): // before Redis, whose errors may hold it
		return exitInterrupted
	case errors.Is(err, lua.ErrURL):
		return exitUsage
	case errors.Is(err, lua.ErrRedis), lua.IsPassing(err):
		return exitRedis
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	default:
		return exitFailed
	}
}

// Lighterman is the command that holds all others.
func Lighterman() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lighterman",
		Short: "A durable queue for LLM work on Redis Streams",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(devCommand(), demoCommand(), Worker(), Enqueue(), listCommand(), showCommand(), followCommand(), statusCommand(), workersCommand(),
		pauseCommand(), resumeCommand(), drainCommand(), cancelCommand(), wakeCommand(), retryCommand(), deadCommand(), doctorCommand(), configCommand(),
		modelsCommand(), poolsCommand(), reconcileCommand(), cacheCommand(), lockCommand())
	return cmd
}

// noArgs refuses arguments, with the nearest subcommand when there are some.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	hint := ""
	if near := lm.DidYouMean(args[0], names); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	return usagef("%q: unknown command or argument%s", args[0], hint)
}

// positive checks a flag that says how many.
func positive(flag string, n int) error {
	if n < 1 {
		return usagef("%s %d: want 1 or more", flag, n)
	}
	return nil
}

// interrupted says of an error after Ctrl-C what it comes from.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return exit(exitInterrupted, errors.New("interrupted"))
	}
	return err
}

// interruptible ends its context at the first SIGINT or SIGTERM; a second one ends
// the process, as without it.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
