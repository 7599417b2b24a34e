package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// tenantCommand has the commands about tenants as a whole.
func tenantCommand() command {
	return command{
		name:  "tenant",
		args:  "COMMAND",
		short: "List tenants, or delete one with all that there is of it",
		sub:   []command{tenantListCommand, tenantDeleteCommand},
	}
}

var tenantListCommand = command{
	name:    "list",
	short:   "List tenants with what they have; the log is not counted",
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.operate(func(o *app.Operator) error {
			list, err := o.Tenants(ctx)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no tenants.")
				return nil
			}
			rows := [][]string{{"TENANT", "WORKFLOWS", "ACTIVE", "TEMPLATES", "SECRETS", "DESTINATIONS", "CHANGED"}}
			for _, t := range list {
				changed := "-"
				if t.ChangedAt != nil {
					changed = when(*t.ChangedAt)
				}
				rows = append(rows, []string{dash(t.TenantID), fmt.Sprint(t.Workflows), fmt.Sprint(t.Active), fmt.Sprint(t.Templates), fmt.Sprint(t.Secrets), fmt.Sprint(t.Destinations), changed})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

const defaultReadWait = time.Minute

var tenantDeleteCommand = command{
	name:  "delete",
	args:  "TENANT",
	short: "Delete a tenant: its workflows, its log, and all else that there is of it",
	long: `  rowbell tenant delete acme
  rowbell tenant delete acme --yes --json

Workflows go first, and workers stop them; once a worker has read that, everything else goes,
in small transactions: templates, secrets, keys, members, executions, events, deliveries, the
inbox, preferences, destinations, versions, and what the audit log has of it. It may be
interrupted and run again. What was deleted from each table is printed, and a look at it
afterwards; the audit log keeps these numbers. The application's own tables are not touched.
It is for the role that owns schema rowbell.`,
	options: []option{
		yesOption,
		{"wait", "DURATION", "How long a worker may take to read that the workflows are deleted [1m]"},
		actorOption, jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		const help = "rowbell tenant delete --help"
		wait := defaultReadWait
		if text, given := c.own["wait"]; given {
			var err error
			if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
				return usage{fmt.Sprintf("--wait: %q is not a duration, as 30s or 5m", text), help}
			}
		}
		id := c.args[0]
		return c.operate(func(o *app.Operator) error {
			p, err := o.PlanTenant(ctx, id)
			if err != nil {
				return err
			}
			if !c.has("yes") {
				writeTenantPlan(c.stderr, &p)
				if !isTerminal(os.Stdin) {
					return usage{"it is not known whether that is wanted. Give --yes to delete it", help}
				}
				fmt.Fprintf(c.stderr, "This can't be undone. Write the tenant's id to delete it: ")
				answer, _ := bufio.NewReader(os.Stdin).ReadString('\n') // no answer is no
				if strings.TrimSpace(answer) != id {
					fmt.Fprintln(c.stdout, "Nothing was done.")
					return nil
				}
			}
			done, err := o.DeleteTenant(ctx, id, wait, c.tells())
			if writeErr := c.writeErased(done, done); writeErr != nil {
				return writeErr
			}
			if err == nil && !c.asData() {
				fmt.Fprintf(c.stdout, "Nothing of tenant %s is left.\n", id)
			}
			return err
		})
	},
}

func writeTenantPlan(w io.Writer, p *app.TenantPlan) {
	executions := fmt.Sprint(p.Executions)
	if p.More {
		executions = "more than " + executions
	}
	writeTable(w, [][]string{
		{"tenant", p.TenantID},
		{"workflows", fmt.Sprintf("%d, of them active: %d", p.Workflows, p.Active)},
		{"templates", fmt.Sprint(p.Templates)},
		{"secrets", fmt.Sprint(p.Secrets)},
		{"destinations", fmt.Sprint(p.Destinations)},
		{"executions", executions},
		{"deliveries in the queue", fmt.Sprint(p.Pending)},
	})
}

// tells says on a terminal how far something is.
func (c *call) tells() func(string) {
	return func(line string) {
		if isTerminal(os.Stderr) {
			fmt.Fprintln(c.stderr, line+" …")
		}
	}
}

// writeErased prints the proof of what was erased; with --json that is all.
func (c *call) writeErased(all any, e *store.Erased) error {
	if c.asData() {
		return c.writeData(all)
	}
	rows := [][]string{{"TABLE", "DELETED", "EMPTIED", "LEFT"}}
	for _, t := range e.Tables {
		if t.Deleted+t.Emptied+t.Left > 0 {
			rows = append(rows, []string{t.Table, fmt.Sprint(t.Deleted), fmt.Sprint(t.Emptied), fmt.Sprint(t.Left)})
		}
	}
	if len(rows) > 1 {
		writeTable(c.stdout, rows)
	}
	if e.Cancelled > 0 {
		fmt.Fprintf(c.stdout, "Cancelled before they were made: %s.\n", deliveries(e.Cancelled))
	}
	return nil
}

func deliveries(n int64) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}
