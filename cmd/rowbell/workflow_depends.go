package main

import (
	"context"
	"fmt"
	"strings"
)

var dependsCommand = command{
	name:   "depends",
	server: true,
	args:   "TABLE[.COLUMN]",
	short:  "Say which workflows depend on a table or a column, and how",
	long: `Before a migration: rowbell workflow depends orders.status. Workflows of any status are
looked at, and drafts. What can't be judged, as something is wrong with it, is listed too.`,
	examples: []example{
		{"rowbell workflow depends orders.status", "before a migration"},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.workflows(func(s workflows) error {
			d, err := s.Depends(ctx, c.args[0])
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(d)
			}
			what := strings.TrimSuffix(d.Table+"."+d.Column, ".")
			if len(d.Workflows) == 0 {
				fmt.Fprintf(c.stdout, "No workflow depends on %s.\n", what)
				return nil
			}
			for i, w := range d.Workflows {
				if i > 0 {
					fmt.Fprintln(c.stdout)
				}
				name := w.ID
				if w.Name != "" {
					name += " (" + w.Name + ")"
				}
				if w.TenantID != "" {
					name += " of tenant " + w.TenantID
				}
				fmt.Fprintf(c.stdout, "%s, %s, %s\n", name, w.Status, w.Of)
				var rows [][]string
				for _, u := range w.Uses {
					read := u.Reads
					if read == "" {
						read = u.Column
					}
					rows = append(rows, []string{"  " + u.How, u.Where, read})
				}
				writeFields(c.stdout, rows)
				for _, why := range w.Unjudged {
					fmt.Fprintf(c.stdout, "  can't be judged: %s\n", strings.ReplaceAll(why, "\n", "\n  "))
				}
			}
			return nil
		})
	},
}
