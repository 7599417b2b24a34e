// Command rowbell runs workflows on the row changes of a PostgreSQL database.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // conditions name time zones, and a container image has none

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// Exit codes; exitCodes says what they mean.
const (
	exitOK        = 0
	exitError     = 1
	exitUsage     = 2
	exitDifferent = 3 // what was asked for by diff FILE or --dry-run is no error, and isn't so yet
)

// command is one subcommand. Its file says how it is called and which function of
// app does the work.
type command struct {
	name       string
	args       string // what follows the name, as "ID [FILE]"; "" for nothing
	short      string // one line, for the list
	long       string // for rowbell NAME --help
	group      group  // in which it is listed; a command of another one has none
	examples   []example
	options    []option
	values     map[string][]string // what an option or an argument may be, by its name, for completion; those of fixed words only
	noSettings bool                // works without a database of the user's
	server     bool                // works by a server too
	run        func(ctx context.Context, c *call) error
	sub        []command // its own commands, as in rowbell workflow list; a word that is none of them is run's, if there is one
}

// example is a way to call a command, as one would type it.
type example struct {
	line string // rowbell delivery list --since 24h
	says string // what it is good for; "" where the line tells
}

// call is one invocation of a command.
type call struct {
	name string // of the command, as rowbell workflow list has "workflow list"
	acts bool   // --actor says in whose name
	parsed
	stdout io.Writer
	stderr io.Writer
}

// config reads the settings. What is wrong with them is an error in how rowbell was
// called.
func (c *call) config() (app.Config, error) {
	if err := c.onDatabase(); err != nil {
		return app.Config{}, err
	}
	cfg, err := app.Load(c.settings, os.LookupEnv)
	if err != nil {
		return cfg, usage{app.Message(err), "rowbell help settings"}
	}
	return cfg, nil
}

// has says that an option that takes no value was given.
func (c *call) has(name string) bool { _, ok := c.own[name]; return ok }

// commands are in the order in which the help text lists those of a group.
func commands() []command {
	return []command{
		runCommand, demoCommand, checkCommand, migrateCommand,
		captureCommand, workflowCommand(), templateCommand(), preferenceCommand(),
		deliveryCommand(), failureCommand(), viewCommand(), destinationCommand(), pauseCommand(), resumeCommand, tailCommand, replayCommand(), stormCommand(),
		keyCommand(), linkCommand(), memberCommand(), auditCommand(), tenantCommand(), eraseCommand(),
		secretCommand(), connectionCommand(), limitsCommand, resyncCommand, adoptCommand, uninstallCommand,
		completionCommand, versionCommand,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly stop. From then on signals have their usual
	// effect, so that a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(start(ctx, os.Args[1:]))
}

// start finds the command, reads its options and the settings, runs it, and returns
// the exit code.
func start(ctx context.Context, args []string) int {
	if len(args) == 0 {
		writeHelp(os.Stdout)
		return exitUsage
	}
	as := wantedOutput(args)
	switch args[0] {
	case "--help", "-h":
		writeHelp(os.Stdout)
		return exitOK
	case "--version":
		args[0] = versionCommand.name
	case completeWord:
		return complete(ctx, os.Stdout, args[1:])
	case "help":
		if len(args) == 1 {
			writeHelp(os.Stdout)
			return exitOK
		}
		if t, ok := topicNamed(args[1]); ok && len(args) == 2 {
			t.write(os.Stdout)
			return exitOK
		}
		args = append(args[1:], "--help")
	}
	cmd, err := find(commands(), "", args[0])
	if err != nil {
		return fail(os.Stderr, err, as)
	}
	args = args[1:]
	if cmd.sub != nil {
		if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
			cmd.writeHelp(os.Stdout)
			if len(args) == 0 {
				return exitUsage
			}
			return exitOK
		}
		if cmd.run == nil || !strings.HasPrefix(args[0], "-") {
			if cmd, err = find(cmd.sub, cmd.name, args[0]); err != nil {
				return fail(os.Stderr, err, as)
			}
			args = args[1:]
		}
	}
	p, err := cmd.parse(args)
	if err != nil {
		return fail(os.Stderr, err, as)
	}
	if p.help {
		cmd.writeHelp(os.Stdout)
		return exitOK
	}
	c := &call{
		name: cmd.name, acts: slices.Contains(cmd.options, actorOption), parsed: p,
		stdout: printer(os.Stdout, p.colour.in(os.Stdout)), stderr: printer(os.Stderr, p.colour.in(os.Stderr)),
	}
	ctx = store.WithOrigin(ctx, store.Origin{Actor: c.actor(), Via: store.ViaCLI})
	if err := cmd.run(ctx, c); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = errors.New("stopped by a signal before it was done")
		}
		return fail(c.stderr, err, p.output)
	}
	return exitOK
}

// usage is an error in how rowbell was called.
type usage struct {
	message string
	help    string // the command that tells more
}

func (u usage) Error() string { return u.message }

// errShown stands for an error that has been shown already.
var errShown = errors.New("failed")

// errDifferent stands for differences, which have been shown.
var errDifferent = errors.New("there are differences")
