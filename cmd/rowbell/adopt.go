package main

import (
	"context"

	"github.com/rowbell/rowbell/pkg/app"
)

var adoptCommand = command{
	name:  "adopt",
	short: "Make the state of another installation this one's, after a copy or a restore",
	long: `State belongs to an instance, a server and a database. On a copy of production, nothing is
read or sent until you say what to do with the deliveries that were pending there.`,
	group: groupOperate,
	examples: []example{
		{"rowbell adopt --discard-pending", "on a copy"},
		{"rowbell adopt --keep", "after a restore"},
	},
	options: []option{
		{"discard-pending", "", "Cancel what was pending: on a copy, the original delivers it"},
		{"keep", "", "Deliver what was pending: after a restore, when the original is gone"},
		actorOption,
		yesOption,
	},
	run: func(ctx context.Context, c *call) error {
		if c.has("discard-pending") == c.has("keep") {
			return usage{"say what becomes of pending deliveries: either --discard-pending or --keep", "rowbell adopt --help"}
		}
		if c.has("discard-pending") {
			if err := c.warned("cancel all deliveries that are pending"); err != nil {
				return err
			}
		}
		return c.operateInSteps(func(o *app.Operator) (func() error, error) {
			r, err := o.Adopt(ctx, c.has("discard-pending"))
			return func() error { return c.tell(r) }, err
		})
	},
}
