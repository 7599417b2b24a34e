package main

import (
	"context"
	"os"

	"github.com/rowbell/rowbell/pkg/demo"
)

var demoCommand = command{
	name:  "demo",
	short: "Show it all: a throw-away PostgreSQL, a small shop, and workflows at work",
	long: `Starts a PostgreSQL server of its own from binaries on this machine (or fetches them once),
with a shop of two tenants in steady traffic, seven workflows, a mail server that keeps what it
gets, a receiver of webhooks that fails now and then, and a partner's that is away for half of
the time, and shows each change that matched and what was delivered: webhooks, with their
retries and breakers, e-mails and notifications. It prints an address that opens the dashboard
in a browser, signed in, and on a terminal of a desktop opens it. Ctrl-C ends it and leaves
nothing behind.`,
	group: groupRun,
	examples: []example{
		{"rowbell demo", ""},
		{"rowbell demo --once", "one change, from the row to the receiver"},
	},
	options: []option{
		{"no-browser", "", "Open no browser; the dashboard's address is printed all the same"},
		{"once", "", "Run one change through to the receiver, the inbox and the log, show them, and exit"},
	},
	noSettings: true,
	run: func(ctx context.Context, c *call) error {
		version, revision := buildInfo()
		return demo.Run(ctx, demo.Options{
			Once: c.has("once"), Out: os.Stdout, Browser: !c.has("no-browser") && isTerminal(os.Stdin) && isTerminal(os.Stdout), Terminal: isTerminal(os.Stdout), Colour: c.colour.in(os.Stdout),
			Version: version, Revision: revision,
		})
	},
}
