package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
)

var simulateCommand = command{
	name:   "simulate",
	server: true,
	args:   "ID|FILE [KEY]",
	short:  "Try a workflow on a recorded event or on a row; sends nothing",
	long: `Says what the workflow would do, whatever its status: each part of its conditions with the
values on both sides, and the actions that would run. It reads and sends nothing.

A row is taken as it is now; --new and --old say what is different after and before.`,
	examples: []example{
		{"rowbell workflow simulate w1 --event 01ARZ3NDEKTSV4RRFFQ69G5FAV", ""},
		{`rowbell workflow simulate w1 --row orders 42 --as update --new '{"status": "approved"}'`, ""},
		{`rowbell workflow simulate draft.yaml --row orders 42 --as create --actor '{"roles": ["x"]}'`, ""},
	},
	values: map[string][]string{"as": operations},
	options: []option{
		{"event", "EVENT_ID", "A recorded event"},
		{"row", "TABLE", "A row of this table, with the key KEY; several key columns are separated by commas"},
		{"as", "OPERATION", "What happens to the row: create, update (if not given) or delete"},
		{"new", "JSON", "Values of the new row, or of a domain event's payload, instead of those there are"},
		{"old", "JSON", "Values of the old row instead of those there are"},
		{"domain", "NAME", "A domain event of this name; --new is its payload"},
		{"tenant", "TENANT", "Tenant of the domain event"},
		{"actor", "JSON", "Who makes the change, as rowbell.set_actor would say; null for nobody"},
		{"at", "TIME", "When it commits, as 2026-01-31T10:00:00Z; as recorded, or now, if not given"},
		{"version", "NUMBER", "A version of the workflow; the latest if not given"},
		{"draft", "", "What is in the workflow's draft"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		s, err := c.simulation()
		if err != nil {
			return err
		}
		return c.workflows(func(of workflows) error {
			r, err := of.Simulate(ctx, s)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(r)
			}
			return app.WriteSimulation(c.stdout, &r)
		})
	},
}

const simulateHelp = "rowbell workflow simulate --help"

// simulation reads what is to be tried.
func (c *call) simulation() (definition.Simulation, error) {
	wrong := func(message string) (definition.Simulation, error) {
		return definition.Simulation{}, usage{message, simulateHelp}
	}
	s, err := c.changeToTry(c.args[1:], simulateHelp)
	if err != nil {
		return s, err
	}
	s.Workflow, s.Draft = c.args[0], c.has("draft")
	if definition.IsFile(s.Workflow) {
		if s.Draft || c.has("version") {
			return wrong(s.Workflow + " is a file, and has neither drafts nor versions")
		}
		if s.Document, err = definition.ReadFile(s.Workflow); err != nil {
			return s, err
		}
		s.Workflow = ""
	}
	switch {
	case c.has("tenant") && !c.has("domain"):
		return wrong(`--tenant goes with --domain; a row's tenant stands in the row, and can be changed by --new`)
	case c.has("draft") && c.has("version"):
		return wrong("--draft and --version are different things to try: give one")
	}
	if number, given := c.own["version"]; given {
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 1 {
			return wrong("--version wants a number from 1, not " + strconv.Quote(number))
		}
		s.Version = int32(n)
	}
	return s, nil
}

// changeToTry reads the change: a recorded event, a row with the key in args, or a domain event.
func (c *call) changeToTry(args []string, help string) (definition.Simulation, error) {
	wrong := func(message string) (definition.Simulation, error) {
		return definition.Simulation{}, usage{message, help}
	}
	s := definition.Simulation{
		Event: c.own["event"], Table: c.own["row"], Domain: c.own["domain"], Tenant: c.own["tenant"],
		New: []byte(c.own["new"]), Old: []byte(c.own["old"]), Actor: []byte(c.own["actor"]),
	}
	if len(args) > 0 {
		s.Key = args[0]
	}
	given := 0
	for _, name := range []string{"event", "row", "domain"} {
		if c.has(name) {
			given++
		}
	}
	switch {
	case given == 0:
		return wrong("nothing to try it on. Give --event EVENT_ID, --row TABLE KEY, or --domain NAME")
	case given > 1:
		return wrong("--event, --row and --domain are different things to try it on: give one")
	case c.has("row") && len(args) == 0:
		return wrong("the row's key is missing. Write: --row " + s.Table + " KEY")
	case !c.has("row") && len(args) > 0, len(args) > 1:
		return wrong(strconv.Quote(args[len(args)-1]) + " is one argument too many; a key belongs to --row TABLE KEY")
	case c.has("as") && !c.has("row"):
		return wrong("--as goes with --row")
	}
	if as, given := c.own["as"]; given {
		op, ok := change.ParseOp(as)
		if !ok {
			return wrong(strconv.Quote(as) + " is no operation. Write --as create, update or delete")
		}
		s.As = op
	}
	if at, given := c.own["at"]; given {
		t, err := readTime(at)
		if err != nil {
			return wrong("--at wants a time as 2026-01-31T10:00:00Z, not " + strconv.Quote(at))
		}
		s.At = t
	}
	return s, nil
}

// readTime reads RFC 3339, or a date and time without zone as UTC.
func readTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("no time")
}
