package main

import (
	"context"
	"fmt"

	"github.com/rowbell/rowbell/pkg/app"
)

var explainCommand = command{
	name:   "explain",
	server: true,
	args:   "EVENT_ID|TABLE [KEY]",
	short:  "Say of a recorded event which workflows fired, and why the others did not",
	long: `Of each workflow that has or had a trigger on the event's table: that it fired, with its
execution, or the first condition that stopped it with its values, or the other reason. The
version that applied then counts, not the present one.`,
	examples: []example{
		{"rowbell workflow explain 01ARZ3NDEKTSV4RRFFQ69G5FAV", ""},
		{"rowbell workflow explain orders 42", "the last recorded events of that row"},
	},
	options: []option{
		{"all", "", "Show all conditions, not the first that stopped a workflow alone"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		return c.workflows(func(o workflows) error {
			if len(c.args) == 1 {
				x, err := o.Explain(ctx, c.args[0])
				if err != nil {
					return err
				}
				if c.asData() {
					return c.writeData(x)
				}
				return app.WriteExplanation(c.stdout, &x, c.has("all"))
			}
			list, err := o.ExplainRow(ctx, c.args[0], c.args[1])
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			for i := range list {
				if i > 0 {
					if _, err := fmt.Fprintln(c.stdout); err != nil {
						return err
					}
				}
				if err := app.WriteExplanation(c.stdout, &list[i], c.has("all")); err != nil {
					return err
				}
			}
			return nil
		})
	},
}
