package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/rowbell/rowbell/pkg/app"
)

var checkCommand = command{
	name:  "check",
	short: "Examine everything that Rowbell needs, and say how to mend what is missing",
	long: `Changes nothing. Exits with 1 if something keeps Rowbell from running as it is
configured; warnings don't count.`,
	options: []option{{"json", "", "Print the findings as JSON"}},
	run: func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		report := app.Doctor(ctx, cfg)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.has("json") {
			enc := json.NewEncoder(c.stdout)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			err = enc.Encode(report)
		} else {
			err = report.Write(c.stdout, app.Style{Marks: isTerminal(os.Stdout), Colour: colours(os.Stdout)})
		}
		if err == nil && report.Count(app.LevelFailed) > 0 {
			return errShown
		}
		return err
	},
}
