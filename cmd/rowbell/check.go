package main

import (
	"context"
	"os"

	"github.com/rowbell/rowbell/pkg/app"
)

var checkCommand = command{
	name:  "check",
	short: "Examine all that Rowbell needs, and say how to mend what is missing",
	long: `Changes nothing. Exits with 1 if something keeps Rowbell from running as it is
configured; warnings don't count.`,
	group: groupRun,
	examples: []example{
		{"rowbell check", ""},
		{`rowbell check --output json | jq -r '.findings[] | select(.level == \"failed\") | .mend[]'`, "only what is to be done first"},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		report := app.Doctor(ctx, cfg)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.asData() {
			err = c.writeData(report)
		} else {
			err = report.Write(c.stdout, app.Style{Marks: isTerminal(os.Stdout), Colour: c.colour.in(os.Stdout)})
		}
		if err == nil && report.Count(app.LevelFailed) > 0 {
			return errShown
		}
		return err
	},
}
