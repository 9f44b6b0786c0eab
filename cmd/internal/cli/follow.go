package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/spf13/cobra"
)

func followCommand() *cobra.Command {
	var output, after string
	cmd := &cobra.Command{
		Use:   "follow ID|last",
		Short: "Print an operation's text as it comes, and its answer",
		Long: `Follow an operation: text as it comes, and at the end what is missing of the answer.
What is there already comes first. On a terminal its states, progress and takeovers
show on standard error. Text of a try that was interrupted is taken back where standard
output is a file, which holds the answer alone at the end; in a pipe the answer begins
again on a new line, and standard error says so. With -o jsonl every frame is a line, the last one of type
final with the result; --after goes on from a frame's id. Exit 1 when it failed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one ID, or last for the newest operation")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or jsonl")
	cmd.Flags().StringVar(&after, "after", "", "go on after this frame, by its id")
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		how, err := validFormat(output, "text", "jsonl")
		if err != nil {
			return err
		}
		trace, err := findTrace(ctx, s, args[0])
		if err != nil {
			return err
		}
		return followOne(ctx, cmd.OutOrStdout(), producer.New(s), trace.ID, after, how) // not closed: that would wait for a read
	})
}

// followOne prints what an operation says, to its end. The error tells of one that
// did not succeed.
func followOne(ctx context.Context, out io.Writer, client *producer.Client, id lm.TraceID, after string, how format) error {
	if how == "jsonl" {
		return followLines(ctx, out, client, id, after)
	}
	t := &transcript{out: out, eraser: newEraser(out)}
	if !isTerminal(os.Stdout) {
		t.warn = stderr
	}
	if isTerminal(os.Stderr) {
		t.aside = stderr
		watching, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch(watching, client, id, t)
		}()
		defer func() { stop(); <-done }()
	}
	for frame, err := range client.Follow(ctx, id, after) {
		if err != nil {
			t.close()
			return err
		}
		if frame.Result != nil {
			return errors.Join(t.end(*frame.Result), failedAlone(*frame.Result))
		}
		if err := t.take(frame); err != nil {
			return err
		}
	}
	return nil
}

func followLines(ctx context.Context, out io.Writer, client *producer.Client, id lm.TraceID, after string) error {
	for frame, err := range client.Follow(ctx, id, after) {
		if err != nil {
			return err
		}
		if err := printLines(out, []lm.Frame{frame}); err != nil {
			return err
		}
		if frame.Result != nil {
			return failedAlone(*frame.Result)
		}
	}
	return nil
}

// follow prints what the one operation that was just enqueued says.
func (f *enqueueFlags) follow(ctx context.Context, out io.Writer, client *producer.Client, id lm.TraceID) error {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	how := format("text")
	if f.output != "" {
		how = format(f.output)
	}
	err := followOne(ctx, out, client, id, "", how)
	if err != nil && ctx.Err() != nil {
		return f.gaveUp(context.Cause(ctx), 0, 1)
	}
	return err
}

// validFollow checks what --follow cannot go with.
func (f *enqueueFlags) validFollow() error {
	switch {
	case !f.followed:
		return nil
	case f.file != "" || f.count > 1:
		return usagef("--follow is for one prompt; --wait waits for many")
	case f.out != "":
		return usagef("--out needs --wait without --follow")
	}
	if _, err := validFormat(f.output, "", "text", "jsonl"); err != nil {
		return fmt.Errorf("with --follow: %w", err)
	}
	return nil
}
