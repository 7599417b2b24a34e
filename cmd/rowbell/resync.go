package main

import (
	"context"
	"fmt"
	"os"

	"github.com/rowbell/rowbell/pkg/app"
)

var resyncCommand = command{
	name:  "resync",
	short: "Go on after a lost slot, giving up the changes that can't be read any more",
	long: `Makes a new slot, reads the definitions again and starts there. What was recorded stays;
the stretch that was given up stands in rowbell.stream_gap. Refuses while a worker holds
the slot. Workers that wait go on by themselves.`,
	group: groupOperate,
	examples: []example{
		{"rowbell resync", ""},
	},
	options: []option{actorOption, yesOption},
	run: func(ctx context.Context, c *call) error {
		if err := c.warned("give up all changes that have not been read yet"); err != nil {
			return err
		}
		return c.operateInSteps(func(o *app.Operator) (func() error, error) {
			r, err := o.Resync(ctx)
			return func() error { return c.tell(r) }, err
		})
	},
}

// operate opens an operator for the length of f.
func (c *call) operate(f func(*app.Operator) error) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	o, err := app.NewOperator(cfg, newLogger(os.Stderr, cfg))
	if err != nil {
		return err
	}
	defer o.Close()
	return f(o)
}

// operateInSteps is operate for what may take long: meanwhile it tells what is being done.
// say tells what came of it.
func (c *call) operateInSteps(f func(*app.Operator) (say func() error, err error)) error {
	return c.operate(func(o *app.Operator) error {
		p := c.progress("", 0)
		o.Step = p.step
		say, err := f(o)
		p.end()
		if err != nil {
			return err
		}
		return say()
	})
}

// tell says what a resync did.
func (c *call) tell(r app.Resynced) error {
	message := fmt.Sprintf("Reading goes on from %s, as stream %d.", r.To, r.Stream)
	if r.From != 0 {
		message = fmt.Sprintf("Reading goes on from %s, as stream %d. Changes from %s to there are not read.", r.To, r.Stream, r.From)
	}
	_, err := fmt.Fprintln(c.stdout, message)
	return err
}
