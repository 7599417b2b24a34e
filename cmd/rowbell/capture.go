package main

import (
	"context"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

var captureCommand = command{
	name:  "capture",
	args:  "TABLE…",
	short: "Let workflows see tables, or change what they see of them",
	long: `Adds each table to the publication and says so in rowbell.captured_table. What isn't given
stays as it is. The role must be a member of the table's owner and of the publication's.
In SQL: CALL rowbell.capture('orders');`,
	group: groupWorkflows,
	examples: []example{
		{"rowbell capture orders order_items", ""},
		{"rowbell capture customers --hidden iban --redacted email,phone", ""},
		{"rowbell capture settings --tenant-column none", "a table without tenants"},
	},
	options: []option{
		{"tenant-column", "COLUMN", "Column that holds the row's tenant; none: the table has no tenants"},
		{"key", "COLUMNS", "Columns that name a row in the log, comma-separated; the primary key if not given"},
		{"hidden", "COLUMNS", "Columns that never leave the decoder, comma-separated; none to hide nothing any more"},
		{"redacted", "COLUMNS", "Columns that are masked wherever they are stored or shown; none for none"},
		{"label", "NAME", "What workflows call the table; its name if not given"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		options := store.CaptureOptions{
			KeyColumns: c.columns("key"), Hidden: c.columns("hidden"), Redacted: c.columns("redacted"), Label: c.own["label"],
		}
		if column, given := c.own["tenant-column"]; given {
			if column == "none" {
				column = ""
			}
			options.TenantColumn = &column
		}
		if options.Label != "" && len(c.args) > 1 {
			return usage{"--label is the name of one table; capture it by itself", "rowbell capture --help"}
		}
		return c.operate(func(o *app.Operator) error {
			p := c.progress("Capturing", len(c.args))
			defer p.end()
			done := 0
			return c.each(func(table string) error {
				err := o.Capture(ctx, table, options)
				if err == nil {
					p.line("%s is captured.\n", table)
				}
				done++
				p.set(done)
				return err
			})
		})
	},
}

// columns reads a list of names: nil if it isn't given, empty for "none".
func (c *call) columns(option string) []string {
	text, given := c.own[option]
	if !given {
		return nil
	}
	list := []string{}
	if text == "none" {
		return list
	}
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, name)
		}
	}
	return list
}
