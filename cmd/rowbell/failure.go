package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// failureCommand has the commands about what fails.
func failureCommand() command {
	return command{
		name:  "failure",
		args:  "COMMAND",
		short: "List what fails by its causes, and dismiss what needs nobody any more",
		long: `A cause is why executions of one workflow failed: their error, with # in place of numbers. To
run them again: rowbell replay --cause.`,
		group: groupDeliveries,
		examples: []example{
			{"rowbell failure list --since 7d", ""},
		},
		sub: []command{listFailuresCommand, dismissFailureCommand, restoreFailureCommand},
	}
}

// failures is what these commands need.
type failures interface {
	Failures(ctx context.Context, f store.CauseFilter) (store.Causes, error)
	DismissFailure(ctx context.Context, workflowID, cause, note string, tenant *string, actor string) (store.Dismissal, error)
	RestoreFailure(ctx context.Context, id, actor string) error
}

// failures opens them for the length of f.
func (c *call) failures(f func(failures) error) error {
	return through(c, func(o *app.Operator) (failures, error) { return o, nil }, func(s *client.Client) failures { return s }, f)
}

// causes is what --workflow, --tenant and --since choose.
func (c *call) causes() (store.CauseFilter, error) {
	f := store.CauseFilter{TenantID: c.tenant(), WorkflowID: c.own["workflow"], Limit: 200}
	var err error
	f.Since, err = c.chosenTime("since")
	return f, err
}

var failureSince = option{"since", "TIME", "Of changes committed from then on: 2026-01-31T10:00:00Z, or how long ago, as 90m or 7d; 24h if not given"}

var listFailuresCommand = command{
	name:   "list",
	server: true,
	short:  "List causes of failures, the most frequent first",
	long: `It looks at the newest 500 failures. What was dismissed is left out, unless an execution failed
for it since: then the note stands beside it.`,
	examples: []example{
		{"rowbell failure list", ""},
		{"rowbell failure list --dismissed", "what was dismissed, with the notes"},
	},
	options: []option{
		{"workflow", "ID", "Only of this workflow"},
		{"tenant", "ID", "Only of this tenant's workflows; none for operators' workflows"},
		failureSince,
		{"dismissed", "", "Those that are dismissed, whenever that was"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		f, err := c.causes()
		if err != nil {
			return err
		}
		f.Dismissed = c.has("dismissed")
		return c.failures(func(o failures) error {
			found, err := o.Failures(ctx, f)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(found.Causes)
			}
			if len(found.Causes) == 0 {
				fmt.Fprintln(c.stdout, map[bool]string{true: "Nothing is dismissed.", false: "Nothing has failed, but for what is dismissed."}[f.Dismissed])
				return nil
			}
			rows := [][]string{{"ID", "WORKFLOW", "TENANT", "COUNT", "LAST", "DISMISSED", "CAUSE"}}
			for _, g := range found.Causes {
				dismissed := "-"
				if d := g.Dismissed; d != nil {
					dismissed = fmt.Sprintf("%s by %s: %s", when(d.At), d.By, firstLine(d.Note))
				}
				rows = append(rows, []string{g.ID, g.WorkflowID, dash(g.TenantID), fmt.Sprint(g.Count), whenOrNever(g.LastSeen), dismissed, firstLine(g.Cause)})
			}
			writeTable(c.stdout, rows)
			if !found.All {
				fmt.Fprintf(c.stderr, "These are of the newest %d failures, back to %s.\n", found.Counted, when(found.From))
			}
			return nil
		})
	},
}

// failureBack is how far back a cause is looked for that is to be dismissed.
const failureBack = 7 * 24 * time.Hour

var dismissFailureCommand = command{
	name:   "dismiss",
	server: true,
	args:   "ID",
	short:  "Dismiss a cause: it is listed again when another execution fails for it",
	long: `ID is that of rowbell failure list. The note says why it needs nobody any more; it is shown with
what was dismissed, and when it is back.`,
	examples: []example{
		{`rowbell failure dismiss 8f0e3c5a7b9d1e2f4a6b8c0d1e3f5a7b --note "the partner was away on Monday"`, ""},
	},
	options: []option{
		{"note", "TEXT", "Why; it must be given"},
		{"since", "TIME", "Look for it in changes committed from then on; 7d ago if not given"},
		tenantOption, actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		const help, most = "rowbell failure dismiss --help", 1000
		note := strings.TrimSpace(c.own["note"])
		switch {
		case note == "":
			return usage{`--note is missing: say why it needs nobody any more, as --note "the partner was away"`, help}
		case len([]rune(note)) > most:
			return usage{fmt.Sprintf("--note has %d characters; the most are %d", len([]rune(note)), most), help}
		}
		f, err := c.causes()
		if err != nil {
			return err
		}
		if f.Since.IsZero() {
			f.Since = time.Now().Add(-failureBack)
		}
		return c.failures(func(o failures) error {
			for _, f.Dismissed = range []bool{false, true} { // the note of one that is dismissed may be another
				found, err := o.Failures(ctx, f)
				if err != nil {
					return err
				}
				for _, g := range found.Causes {
					if g.ID != c.args[0] {
						continue
					}
					if _, err := o.DismissFailure(ctx, g.WorkflowID, g.Cause, note, &g.TenantID, c.actor()); err != nil {
						return err
					}
					fmt.Fprintf(c.stdout, "Dismissed, until another execution of %s fails like this: %s\n", g.WorkflowID, firstLine(g.Cause))
					return nil
				}
			}
			return fmt.Errorf("no cause of failures has the id %s; rowbell failure list has those that there are, and --since looks further back", c.args[0])
		})
	},
}

var restoreFailureCommand = command{
	name:   "restore",
	server: true,
	args:   "ID…",
	short:  "Bring dismissed causes back",
	examples: []example{
		{"rowbell failure restore 8f0e3c5a7b9d1e2f4a6b8c0d1e3f5a7b", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.failures(func(o failures) error {
			return c.each(func(id string) error {
				err := o.RestoreFailure(ctx, id, c.actor())
				if err == nil {
					fmt.Fprintf(c.stdout, "%s is listed again\n", id)
				}
				return err
			})
		})
	},
}
