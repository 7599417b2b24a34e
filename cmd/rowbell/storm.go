package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// stormCommand has the commands about what the storm guard holds.
func stormCommand() command {
	return command{
		name:  "storm",
		args:  "COMMAND",
		short: "List, release or discard what the storm guard holds",
		long: `When a workflow matches more changes of one transaction, or in one minute, than it may
(ROWBELL_STORM_TRANSACTION, ROWBELL_STORM_MINUTE; storm in its settings), the first ones are
delivered, and the rest is recorded and held. Other workflows go on.`,
		group: groupDeliveries,
		examples: []example{
			{"rowbell storm list", ""},
		},
		sub: []command{stormListCommand, stormReleaseCommand, stormDiscardCommand},
	}
}

// storms is what these commands need.
type storms interface {
	Storms(ctx context.Context, all bool) ([]store.Storm, error)
	ReleaseStorm(ctx context.Context, name, actor string) ([]store.Storm, error)
	DiscardStorm(ctx context.Context, name, actor string) ([]store.Storm, error)
}

// storms opens them for the length of f.
func (c *call) storms(f func(storms) error) error {
	return through(c, func(o *app.Operator) (storms, error) { return o, nil }, func(s *client.Client) storms { return s }, f)
}

var stormListCommand = command{
	name:   "list",
	server: true,
	short:  "List what is held, the newest first",
	examples: []example{
		{"rowbell storm list --all", ""},
	},
	options: []option{
		{"all", "", "What was released or discarded, too"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		return c.storms(func(o storms) error {
			list, err := o.Storms(ctx, c.has("all"))
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(c.stdout, "The storm guard holds nothing.")
				return err
			}
			rows := [][]string{{"STORM", "STATUS", "WORKFLOW", "VERSION", "SINCE", "EXECUTIONS", "DECIDED BY"}}
			for i := range list {
				s := &list[i]
				rows = append(rows, []string{s.ID, string(s.Status), s.WorkflowID, fmt.Sprint(s.Version), when(s.CommittedAt), fmt.Sprint(s.Executions), dash(s.DecidedBy)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

// decide does the same with each storm that is named, and says what it was.
func (c *call) decide(word string, do func(o storms, name string) ([]store.Storm, error)) error {
	return c.storms(func(o storms) error {
		return c.each(func(name string) error {
			list, err := do(o, name)
			for i := range list {
				s := &list[i]
				_, _ = fmt.Fprintf(c.stdout, "storm %s of workflow %s is %s: %s\n", s.ID, s.WorkflowID, word, several(s.Executions, "execution"))
			}
			return err
		})
	})
}

var stormReleaseCommand = command{
	name:   "release",
	server: true,
	args:   "STORM|WORKFLOW…",
	short:  "Deliver what is held of a storm, or of a workflow",
	examples: []example{
		{"rowbell storm release restocked", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.decide("released", func(o storms, name string) ([]store.Storm, error) { return o.ReleaseStorm(ctx, name, c.actor()) })
	},
}

var stormDiscardCommand = command{
	name:   "discard",
	server: true,
	args:   "STORM|WORKFLOW…",
	short:  "Cancel what is held of a storm, or of a workflow",
	long:   `Its executions become cancelled. To run them after all: rowbell replay --status cancelled.`,
	examples: []example{
		{"rowbell storm discard restocked", ""},
	},
	options: []option{yesOption, actorOption},
	run: func(ctx context.Context, c *call) error {
		if err := c.confirm("cancel all that is held of " + strings.Join(c.args, ", ")); err != nil {
			return err
		}
		return c.decide("discarded", func(o storms, name string) ([]store.Storm, error) { return o.DiscardStorm(ctx, name, c.actor()) })
	},
}
