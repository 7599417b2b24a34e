package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var checkWorkflowCommand = command{
	name:   "check",
	server: true,
	args:   "[ID|FILE]",
	short:  "Judge workflows as the worker would, and say how to mend what is wrong",
	long: `Without argument all workflows and drafts; with an id that one and its draft; with a .yaml
or .json file (- is standard input, as YAML) what stands in there. They are judged as if
they were active, by the tables as they are now. Exits with 1 if any has an error; warnings
don't count.`,
	examples: []example{
		{"rowbell workflow check", ""},
		{"rowbell workflow check large-order", ""},
		{"rowbell workflow check large-order.yaml", "before anything is changed"},
	},
	values: statusValues,
	options: []option{
		{"tenant", "ID", "Only this tenant's; none for operators' workflows"},
		{"status", "STATUS", "Only those that are draft, active or inactive"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		filter, err := c.filter()
		if err != nil {
			return err
		}
		what := c.arg(0)
		if what != "" && (filter.Tenant != nil || filter.Status != "") {
			return usage{"--tenant and --status choose among all workflows; leave " + what + " out", "rowbell workflow check --help"}
		}
		var doc *definition.Document
		if definition.IsFile(what) {
			if doc, err = definition.ReadFile(what); err != nil {
				return err
			}
		}
		return c.workflows(func(s workflows) error {
			var list []definition.Checked
			var err error
			switch {
			case doc != nil:
				var checked definition.Checked
				checked, err = s.CheckDocument(ctx, doc)
				list = append(list, checked)
			case what != "":
				list, err = s.CheckOne(ctx, what)
			default:
				list, err = s.CheckAll(ctx, filter)
			}
			if err != nil {
				return err
			}
			return c.tellChecked(list, doc)
		})
	},
}

// tellChecked shows what was found, and is an error if something is wrong.
func (c *call) tellChecked(list []definition.Checked, doc *definition.Document) error {
	bad := 0
	for _, w := range list {
		if len(w.Report.Errors) > 0 {
			bad++
		}
	}
	var err error
	if c.asData() {
		err = c.writeData(checkedJSON(list))
	} else {
		for _, w := range list {
			verdict := string(w.Report.Verdict)
			if n := len(w.Report.Warnings); n > 0 && len(w.Report.Errors) == 0 && w.Report.Verdict == workflow.OK {
				verdict += ", with " + several(n, "warning")
			}
			fmt.Fprintf(c.stdout, "%s: %s\n", strings.TrimSpace(w.ID+" "+w.Of), verdict)
			writeProblems(c.stdout, w.Report, doc)
		}
		if doc == nil && len(list) != 1 {
			fmt.Fprintf(c.stdout, "%s checked, %d with errors.\n", several(len(list), "definition"), bad)
		}
	}
	if err == nil && bad > 0 {
		return errShown
	}
	return err
}

type checkedReport struct {
	ID       string           `json:"id,omitempty"`
	Name     string           `json:"name"`
	Status   workflow.Status  `json:"status,omitempty"`
	Of       string           `json:"of"`
	Verdict  workflow.Verdict `json:"verdict"`
	Errors   []match.Problem  `json:"errors"`
	Warnings []match.Problem  `json:"warnings"`
}

func checkedJSON(list []definition.Checked) []checkedReport {
	out := make([]checkedReport, len(list))
	for i, w := range list {
		out[i] = checkedReport{w.ID, w.Name, w.Status, w.Of, w.Report.Verdict, w.Report.Errors, w.Report.Warnings}
		if out[i].Errors == nil {
			out[i].Errors = []match.Problem{}
		}
		if out[i].Warnings == nil {
			out[i].Warnings = []match.Problem{}
		}
	}
	return out
}

// writeProblems lists what is wrong, then what is worth knowing; with their places in the
// file, if they come from one.
func writeProblems(w io.Writer, r match.Report, doc *definition.Document) {
	for _, p := range r.Errors {
		writeProblem(w, "error", p, doc)
	}
	for _, p := range r.Warnings {
		writeProblem(w, "warning", p, doc)
	}
}

func writeProblem(w io.Writer, level string, p match.Problem, doc *definition.Document) {
	text := level + ": " + p.String()
	if doc != nil {
		text = doc.Place(p.Where) + ": " + text
	}
	fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(text, "\n", "\n  "))
}
