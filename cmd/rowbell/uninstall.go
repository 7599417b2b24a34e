package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
)

var uninstallCommand = command{
	name:  "uninstall",
	short: "Remove everything of Rowbell's from the databases",
	long: `Drops the replication slot, both publications and schema rowbell with all workflows and the
whole log. The application's tables stay as they are. Stop the workers first.`,
	group: groupOperate,
	examples: []example{
		{"rowbell uninstall", ""},
	},
	options: []option{yesOption},
	run: func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		err = c.confirm(fmt.Sprintf("drop slot %s, publications %s and %s, and schema rowbell with all workflows and the log, in %s",
			cfg.Slot, cfg.Publication, cfg.InsertPublication(), app.Target(cfg.SourceURL)))
		if err != nil {
			return err
		}
		return c.operateInSteps(func(o *app.Operator) (func() error, error) {
			left, err := o.Uninstall(ctx)
			if err != nil {
				return nil, err
			}
			message := "Nothing of Rowbell's is left."
			if len(left.Slots) > 0 {
				message = fmt.Sprintf("Removed. Other slots of this database hold back WAL, if they were Rowbell's drop them: SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ('%s');", strings.Join(left.Slots, "', '"))
			}
			if len(left.Roles) > 0 {
				message += fmt.Sprintf(" Left of its roles: %s. Another database uses them, or this role may not drop them.", strings.Join(left.Roles, ", "))
			}
			return func() error {
				_, err := fmt.Fprintln(c.stdout, message)
				return err
			}, nil
		})
	},
}
