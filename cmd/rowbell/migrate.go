package main

import (
	"context"
	"fmt"

	"github.com/rowbell/rowbell/pkg/app"
)

var migrateCommand = command{
	name:  "migrate",
	short: "Make or update Rowbell's tables, or print the SQL that does",
	long: `Everything is in schema rowbell, in the source and in the state database. The role needs
CREATE on the database, or to own the schema. Several processes may migrate at once.`,
	group: groupRun,
	examples: []example{
		{"rowbell migrate", ""},
		{"rowbell migrate --print > rowbell.sql", "for somebody who may run it"},
	},
	options: []option{{"print", "", "Print the SQL for empty databases and change nothing; needs no settings"}},
	run: func(ctx context.Context, c *call) error {
		if c.has("print") {
			return app.PrintMigrations(c.stdout)
		}
		cfg, err := c.config()
		if err != nil {
			return err
		}
		if err := app.Migrate(ctx, cfg); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.stdout, "The schema is up to date.")
		return err
	},
}
