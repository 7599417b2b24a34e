package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// tenantCommand has the commands about tenants as a whole.
func tenantCommand() command {
	return command{
		name:  "tenant",
		args:  "COMMAND",
		short: "List tenants, or delete one with all that there is of it",
		group: groupAccess,
		examples: []example{
			{"rowbell tenant list", ""},
		},
		sub: []command{tenantListCommand, tenantWeightCommand, tenantDeleteCommand},
	}
}

// tenants is what rowbell tenant list needs.
type tenants interface {
	Tenants(ctx context.Context) ([]api.TenantListed, error)
}

var tenantListCommand = command{
	name:   "list",
	server: true,
	short:  "List tenants with what they have; the log is not counted",
	examples: []example{
		{"rowbell tenant list", ""},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return through(c, func(o *app.Operator) (tenants, error) { return o, nil }, func(s *client.Client) tenants { return s }, func(o tenants) error {
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
	long: `Workflows go first, and workers stop them; once a worker has read that, everything else goes,
in small transactions: templates, secrets, keys, members, executions, events, deliveries, the
inbox, preferences, destinations, versions, and what the audit log has of it. It may be
interrupted and run again. What was deleted from each table is printed, and a look at it
afterwards; the audit log keeps these numbers. The application's own tables are not touched.
It is for the role that owns schema rowbell.`,
	examples: []example{
		{"rowbell tenant delete acme", ""},
		{"rowbell tenant delete acme --yes --json > acme-is-deleted.json", "with the proof in a file"},
	},
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
			if !c.has(yesOption.name) && isTerminal(os.Stdin) {
				writeTenantPlan(c.stderr, &p)
			}
			if err := c.confirm("delete tenant " + id + " for ever, with all that there is of it"); err != nil {
				return err
			}
			progress := c.progress("Deleting tenant "+id, 0)
			defer progress.end()
			done, err := o.DeleteTenant(ctx, id, wait, progress.step)
			progress.end()
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
	writeFields(w, [][]string{
		{"tenant", p.TenantID},
		{"workflows", fmt.Sprintf("%d, of them active: %d", p.Workflows, p.Active)},
		{"templates", fmt.Sprint(p.Templates)},
		{"secrets", fmt.Sprint(p.Secrets)},
		{"destinations", fmt.Sprint(p.Destinations)},
		{"executions", executions},
		{"deliveries in the queue", fmt.Sprint(p.Pending)},
	})
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
		fmt.Fprintf(c.stdout, "Cancelled before they were made: %s.\n", manyDeliveries(e.Cancelled))
	}
	return nil
}

func manyDeliveries(n int64) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}
