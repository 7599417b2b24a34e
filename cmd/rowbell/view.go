package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// viewCommand has the commands about saved views of the log.
func viewCommand() command {
	return command{
		name:  "view",
		args:  "COMMAND",
		short: "List, save and delete filters of runs that are kept under a name",
		long: `They stand above the list of runs on the web pages. A view is its owner's, in one tenant or in
all, or is shared with all who act there. On the database its owner is --actor; by a server, who
has the key.`,
		group: groupDeliveries,
		examples: []example{
			{"rowbell view list --tenant acme", ""},
		},
		sub: []command{listViewsCommand, saveViewCommand, deleteViewCommand},
	}
}

// views is what these commands need.
type views interface {
	SavedViews(ctx context.Context, tenantID, owner string) ([]store.SavedView, error)
	SaveView(ctx context.Context, v store.SavedView) (store.SavedView, error)
	DeleteView(ctx context.Context, id, actor string) error
}

// views opens them for the length of f.
func (c *call) views(f func(views) error) error {
	return through(c, func(o *app.Operator) (views, error) { return o, nil }, func(s *client.Client) views { return s }, f)
}

var viewTenant = option{"tenant", "ID", "In this tenant; in all if not given"}

var listViewsCommand = command{
	name:   "list",
	server: true,
	short:  "List your views, and those that are shared, by name",
	examples: []example{
		{"rowbell view list", ""},
	},
	options: []option{viewTenant, actorOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.views(func(o views) error {
			list, err := o.SavedViews(ctx, c.own["tenant"], c.actor())
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no views.")
				return nil
			}
			rows := [][]string{{"ID", "NAME", "TENANT", "OWNER", "SHARED", "SHOWS"}}
			for _, v := range list {
				rows = append(rows, []string{v.ID, v.Name, dash(v.TenantID), v.Owner, map[bool]string{true: "yes", false: "-"}[v.Shared], viewShows(&v.Filter)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

// viewShows is a filter in one line.
func viewShows(f *store.ViewFilter) string {
	var said []string
	for _, part := range [][2]string{
		{"status", f.Status}, {"within", f.Within}, {"workflow", f.WorkflowID}, {"table", f.Table}, {"row", f.RowKey}, {"recipient", f.Recipient}, {"error", f.Error},
	} {
		if part[1] != "" {
			said = append(said, part[0]+" "+firstLine(part[1]))
		}
	}
	return strings.Join(said, ", ")
}

var saveViewCommand = command{
	name:   "save",
	server: true,
	args:   "NAME",
	short:  "Save a view, in place of one of yours of this name",
	examples: []example{
		{`rowbell view save "Failed today" --status failure --within day`, ""},
		{`rowbell view save "Large orders" --workflow large-order --shared --tenant acme`, ""},
	},
	values: map[string][]string{"status": {"pending", "success", "failure", "cancelled"}, "within": {"hour", "day", "week"}},
	options: []option{
		{"status", "STATUS", "Runs that are pending, success, failure or cancelled"},
		{"within", "TIME", "Of changes of the last hour, day or week, up to when one looks"},
		{"workflow", "ID", "Of this workflow"},
		{"table", "TABLE", "Of changes of this table"},
		{"row-key", "KEY", "Of changes of the row with this key"},
		{"recipient", "ID", "Of which this recipient was told"},
		{"error", "TEXT", "With this in the error"},
		{"shared", "", "All who act in the tenant see it"},
		viewTenant, actorOption, jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		const help, most = "rowbell view save --help", 80
		v := store.SavedView{
			TenantID: c.own["tenant"], Owner: c.actor(), Name: strings.TrimSpace(c.args[0]), Shared: c.has("shared"),
			Filter: store.ViewFilter{
				Status: c.own["status"], Within: c.own["within"], WorkflowID: c.own["workflow"], Table: c.own["table"], RowKey: c.own["row-key"],
				Recipient: c.own["recipient"], Error: c.own["error"],
			},
		}
		switch {
		case v.Name == "" || len([]rune(v.Name)) > most:
			return usage{fmt.Sprintf("a view's name has 1 to %d characters", most), help}
		case v.Filter == store.ViewFilter{}:
			return usage{"say what it is to show: --status, --within, --workflow, --table, --row-key, --recipient or --error", help}
		}
		for name, value := range map[string]string{"status": v.Filter.Status, "within": v.Filter.Within} {
			words := map[string][]string{"status": {"pending", "success", "failure", "cancelled"}, "within": {"hour", "day", "week"}}[name]
			if value != "" && !slices.Contains(words, value) {
				return usage{fmt.Sprintf("--%s is %s, not %q", name, strings.Join(words, ", "), value), help}
			}
		}
		return c.views(func(o views) error {
			v, err := o.SaveView(ctx, v)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(v)
			}
			fmt.Fprintf(c.stdout, "Saved: %s shows %s\n", v.Name, viewShows(&v.Filter))
			return nil
		})
	},
}

var deleteViewCommand = command{
	name:   "delete",
	server: true,
	args:   "ID…",
	short:  "Delete views",
	examples: []example{
		{"rowbell view delete 01M8ACT0GY5N3C8Q7V2T4B9D6E", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.views(func(o views) error {
			return c.each(func(id string) error {
				err := o.DeleteView(ctx, id, c.actor())
				if err == nil {
					fmt.Fprintf(c.stdout, "%s is deleted\n", id)
				}
				return err
			})
		})
	},
}
