package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/ctl"
)

func newTasks(program string) *cobra.Command {
	f := &ctlFlags{Ctl: cli.Ctl{Program: program}}
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "Look at background tasks and act on them",
		Long: `Talks to a running daemon, found as "ctl" finds it, about the tasks of its database,
whichever process runs them, and the ephemeral ones of its Redis. docs/tasks.md says
what the states mean.`,
		Example: `  gameserverd tasks list
  gameserverd tasks list --state archived --json
  gameserverd tasks show 1882618614391369947
  gameserverd tasks run reward.latest
  gameserverd tasks revoke 1882618614391369947`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Usage("tasks has no %q; it has list, show, run, revoke, retry and archive", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.Failed(cmd.Help()) },
	}
	flags := cmd.PersistentFlags()
	f.find(flags)
	flags.BoolVar(&f.JSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
	cmd.MarkFlagsMutuallyExclusive("socket", "worker")
	cmd.AddCommand(f.taskList(), f.taskShow(), f.taskRun(),
		f.taskAct("revoke", "Keep a task from running, or stop it", "A task that waits never runs; one that runs has its context cancelled, on whichever\nprocess, and is not tried again."),
		f.taskAct("retry", "Let an archived or revoked task run again", "It begins anew, with all its retries."),
		f.taskAct("archive", "Put a task that waits aside", "It does not run until it is retried."))
	return cmd
}

// oneTask checks that there is one argument.
func (f *ctlFlags) oneTask(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cli.Usage("it takes one task's id; %s tasks list shows them", f.Program)
	}
	return nil
}

func (f *ctlFlags) taskShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show all of one task, with its last error", Example: "  gameserverd tasks show 1882618614391369947",
		Args: f.oneTask,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(ctx context.Context) error { return f.TaskShow(ctx, numbers(args)[0]) })
		},
	}
}

func (f *ctlFlags) taskRun() *cobra.Command {
	return &cobra.Command{
		Use: "run TASK [JSON-ARG...]", Short: "Apply a task now", Long: `Applies a durable task. Arguments are read as "call" reads them, and must fit. The
task is kept for an hour after its end, for "tasks show".`,
		Example: `  gameserverd tasks run reward.latest
  gameserverd tasks run reward.daily 2026-11-22 "$(date -d '2026-11-15 21:00' +%s000)"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("run takes a task's name, and its arguments")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(ctx context.Context) error { return f.TaskRun(ctx, args[0], numbers(args[1:])) })
		},
	}
}

// taskAct is a command that changes one task.
func (f *ctlFlags) taskAct(action, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: action + " ID", Short: short, Long: long, Example: "  gameserverd tasks " + action + " 1882618614391369947",
		Args: f.oneTask,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(ctx context.Context) error { return f.TaskAct(ctx, action, numbers(args)[0]) })
		},
	}
}

func (f *ctlFlags) taskList() *cobra.Command {
	var state string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List tasks in a state, and count all", Args: cobra.NoArgs,
		Example: "  gameserverd tasks list\n  gameserverd tasks list --state archived --limit 100 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(ctl.TaskStates, state) {
				return cli.Usage("--state takes one of %s", strings.Join(ctl.TaskStates, ", "))
			}
			if limit < 1 || limit > ctl.MaxTasks {
				return cli.Usage("--limit takes a number from 1 to %d", ctl.MaxTasks)
			}
			return f.run(cmd, func(ctx context.Context) error { return f.TaskList(ctx, state, limit) })
		},
	}
	cmd.Flags().StringVar(&state, "state", "waiting", "waiting, running, done, archived or revoked")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(ctl.TaskStates, cobra.ShellCompDirectiveNoFileComp)) // fails for flags that are not there
	cmd.Flags().IntVar(&limit, "limit", 20, "how many to list, 1 to 1000")
	return cmd
}
