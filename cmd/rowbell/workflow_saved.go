package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/definition"
)

const testHelp = "rowbell workflow test --help"

var testCommand = command{
	name:   "test",
	server: true,
	args:   "[ID|FILE…]",
	short:  "Run the saved tests of workflows; sends nothing",
	long: `Without argument those of all workflows and drafts; with an id those of that one and its
draft; with files or directories those that stand in there. A test is a change and what the
workflow is to say of it; its columns are those of the tables as they are now, so a database
is needed for files too. Exits with 1 if any fails.

--record makes a test of a recorded event, which expects what the workflow says of it now: of
a workflow it goes into its draft, of a file it is printed.`,
	examples: []example{
		{"rowbell workflow test", ""},
		{"rowbell workflow test workflows/", ""},
		{"rowbell workflow test large-order --record 01ARZ3NDEKTSV4RRFFQ69G5FAV", ""},
		{"rowbell workflow test large-order.yaml --record 01ARZ3NDEKTSV4RRFFQ69G5FAV --write", ""},
	},
	values: statusValues,
	options: []option{
		{"tenant", "ID", "Only this tenant's; none for operators' workflows"},
		{"status", "STATUS", "Only those that are draft, active or inactive"},
		{"record", "EVENT_ID", "Make a test of this recorded event"},
		{"write", "", "With --record and a file: write the test into the file, and leave the rest as it is"},
		{"force", "", "With --record: change a draft that somebody else made"},
		actorOption,
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		filter, err := c.filter()
		if err != nil {
			return err
		}
		files := 0
		for _, arg := range c.args {
			if isPath(arg) {
				files++
			}
		}
		switch {
		case files > 0 && files < len(c.args):
			return usage{"ids and files can't be mixed; run it once for each", testHelp}
		case files == 0 && len(c.args) > 1:
			return usage{fmt.Sprintf("%q is one argument too many: give one id, none for all, or files", c.args[1]), testHelp}
		case len(c.args) > 0 && (filter.Tenant != nil || filter.Status != ""):
			return usage{"--tenant and --status choose among all workflows; leave " + c.args[0] + " out", testHelp}
		case c.has("write") && (!c.has("record") || files == 0):
			return usage{"--write goes with --record and a file", testHelp}
		case c.has("record") && len(c.args) != 1:
			return usage{"--record wants one workflow: an id, or a file", testHelp}
		case c.has("record"):
			return c.record(ctx)
		}
		var bundle *definition.Bundle
		if files > 0 {
			if bundle, err = definition.ReadBundle(c.args); err != nil {
				return err
			}
			online, err := c.hasSource()
			if err != nil {
				return err
			}
			if !online {
				return fmt.Errorf("tests need to know the columns of the tables, and there is no database to ask: set ROWBELL_SOURCE_URL, or ROWBELL_SERVER. Without one, rowbell workflow validate says what can be said")
			}
		}
		return c.workflows(func(s workflows) error {
			var list []definition.TestedWorkflow
			var err error
			if bundle != nil {
				list, err = s.TestBundle(ctx, bundle)
			} else {
				list, err = s.TestStored(ctx, c.arg(0), filter)
			}
			if err != nil {
				return err
			}
			return c.tellTested(list)
		})
	},
}

// tellTested shows what came of tests, and is an error if one failed.
func (c *call) tellTested(list []definition.TestedWorkflow) error {
	bad, all := 0, 0
	for i := range list {
		bad += len(list[i].Failed())
		all += len(list[i].Tests)
		if list[i].Problem != "" {
			bad++
		}
	}
	if c.asData() {
		if err := c.writeData(list); err != nil {
			return err
		}
	} else {
		for i := range list {
			t := &list[i]
			what := "no tests"
			switch failed := t.Failed(); {
			case t.Problem != "":
				what = "its tests can't be read: " + t.Problem
			case len(failed) > 0:
				what = fmt.Sprintf("%d of %s fail", len(failed), several(len(t.Tests), "test"))
			case len(t.Tests) > 0:
				what = several(len(t.Tests), "test") + " passed"
			}
			fmt.Fprintf(c.stdout, "%s: %s\n", strings.TrimSpace(t.ID+" "+t.Of), what)
			writeFailed(c.stdout, t.Failed())
		}
		if len(list) != 1 {
			fmt.Fprintf(c.stdout, "%s of %s, %d failed.\n", several(all, "test"), several(len(list), "definition"), bad)
		}
	}
	if bad > 0 {
		return errShown
	}
	return nil
}

// writeFailed lists those tests that failed.
func writeFailed(w io.Writer, list []trial.Tested) {
	for _, t := range list {
		if t.Passed {
			continue
		}
		fmt.Fprintf(w, "  test %q failed:\n", t.Name)
		for _, d := range t.Differences {
			fmt.Fprintf(w, "    - %s\n", strings.ReplaceAll(d, "\n", "\n      "))
		}
	}
}

// record makes a test of a recorded event.
func (c *call) record(ctx context.Context) error {
	what := c.args[0]
	if definition.IsFile(what) && what == "-" {
		return usage{"a test of standard input can't be put anywhere; give a file", testHelp}
	}
	return c.workflows(func(s workflows) error {
		try := definition.Simulation{Workflow: what, Event: c.own["record"]}
		if isPath(what) {
			doc, err := definition.ReadFile(what)
			if err != nil {
				return err
			}
			try.Document, try.Workflow = doc, ""
		} else {
			show, err := s.Show(ctx, what)
			if err != nil {
				return err
			}
			try.Draft = show.Next != nil
		}
		t, r, err := s.RecordedTest(ctx, try)
		if err != nil {
			return err
		}
		says := "fires"
		if !t.Expect.Fires {
			says = "doesn't fire: " + r.Reason
		}
		if !isPath(what) {
			if err := s.AddTest(ctx, what, t, c.actor(), c.has("force")); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "The draft of %s has the test %q now. It expects what is the case: it %s.\nPublish it: rowbell workflow activate %[1]s\n", what, t.Name, says)
			return nil
		}
		if !c.has("write") {
			text, err := definition.WriteTest(t)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "It %s. Put this into %s, or let --write do it:\n", says, what)
			_, err = c.stdout.Write(text)
			return err
		}
		data, err := os.ReadFile(what)
		if err != nil {
			return fmt.Errorf("can't read %s: %w", what, err)
		}
		if data, err = definition.InsertTest(what, data, t); err != nil {
			return err
		}
		if err := os.WriteFile(what, data, 0o600); err != nil { // it is there, and keeps its mode
			return fmt.Errorf("can't write %s: %w", what, err)
		}
		fmt.Fprintf(c.stdout, "%s has the test %q now. It expects what is the case: it %s.\n", what, t.Name, says)
		return nil
	})
}
