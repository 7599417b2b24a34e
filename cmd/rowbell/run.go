package main

import (
	"context"
	"os"

	"github.com/rowbell/rowbell/pkg/app"
)

var runCommand = command{
	name:  "run",
	short: "Run the worker until it is told to stop",
	long: `Reads the source's changes, matches them against the active workflows and records the
executions. Any number of processes may run: one holds the replication slot, the others
wait to take over. Migrates first, unless --no-migrate is given.

SIGTERM or Ctrl-C: stops reading, records what was read, tells the slot, and leaves.`,
	group: groupRun,
	examples: []example{
		{"rowbell run", "settings come from the environment"},
		{"rowbell run --config /etc/rowbell.yaml --log-format json", ""},
	},
	run: func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		version, revision := buildInfo()
		a, err := app.New(cfg, newLogger(os.Stderr, cfg), version, revision)
		if err != nil {
			return err
		}
		return a.Run(ctx)
	},
}
