package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// workflowCommand has the commands about workflows.
func workflowCommand() command {
	return command{
		name:  "workflow",
		args:  "COMMAND",
		short: "List, check, compare, change and turn on or off workflows",
		long: `What it changes is one transaction, in the name of --actor, and stands in rowbell.audit_log.
The role of ROWBELL_SOURCE_URL must be one that may edit the tables of workflows; by a server
(ROWBELL_SERVER) it is done in the name of the key, which needs the right.`,
		group: groupWorkflows,
		examples: []example{
			{"rowbell workflow list --status active", ""},
			{"rowbell workflow check", ""},
			{"rowbell workflow list --server https://bell.example.com --key-file key.txt", "by a server, without the database"},
		},
		sub: []command{
			listCommand, showCommand, statisticsCommand, checkWorkflowCommand, versionsCommand, diffCommand, restoreCommand, draftCommand,
			activateCommand, deactivateCommand, discardCommand, dependsCommand, simulateCommand, explainCommand,
			validateCommand, testCommand, applyCommand, exportCommand, importCommand, schemaCommand,
		},
	}
}

// commentOption is kept with the version that comes of an edit.
var commentOption = option{"comment", "TEXT", "What changed, and why: it is kept with the version, and workflow versions shows it"}

var actorOption = option{"actor", "NAME", "In whose name it is done; the user of this system if not given"}

// workflows is what these commands need.
type workflows interface {
	List(ctx context.Context, f store.WorkflowFilter) ([]store.ListedWorkflow, error)
	Show(ctx context.Context, id string) (*definition.Shown, error)
	History(ctx context.Context, id string) ([]definition.Entry, error)
	Diff(ctx context.Context, id, from, to string) (*definition.Diff, error)
	Runs(ctx context.Context, ids []string, since time.Time) ([]store.WorkflowRuns, error)

	Restore(ctx context.Context, id string, version int32, actor string, force bool) (same bool, err error)
	PutDraft(ctx context.Context, id string, doc *definition.Document, actor string, force bool) error
	AddTest(ctx context.Context, id string, t workflow.Test, actor string, force bool) error
	Discard(ctx context.Context, id, actor string) error
	Activate(ctx context.Context, id, actor, comment string, force bool) (*definition.Activated, error)
	Deactivate(ctx context.Context, id, actor, comment string) (version int32, same bool, err error)

	CheckOne(ctx context.Context, id string) ([]definition.Checked, error)
	CheckAll(ctx context.Context, f store.WorkflowFilter) ([]definition.Checked, error)
	CheckDocument(ctx context.Context, doc *definition.Document) (definition.Checked, error)
	CheckBundle(ctx context.Context, b *definition.Bundle) ([]definition.Checked, error)
	TestStored(ctx context.Context, id string, f store.WorkflowFilter) ([]definition.TestedWorkflow, error)
	TestBundle(ctx context.Context, b *definition.Bundle) ([]definition.TestedWorkflow, error)
	RecordedTest(ctx context.Context, of definition.Simulation) (workflow.Test, trial.Result, error)
	Depends(ctx context.Context, what string) (*definition.Dependents, error)
	Simulate(ctx context.Context, of definition.Simulation) (trial.Result, error)
	Explain(ctx context.Context, eventID string) (definition.Explanation, error)
	ExplainRow(ctx context.Context, table, key string) ([]definition.Explanation, error)

	Plan(ctx context.Context, b *definition.Bundle, o definition.PlanOptions) (*definition.Plan, error)
	Apply(ctx context.Context, p *definition.Plan, actor string) ([]definition.Applied, error)
	Export(ctx context.Context, ids []string, f store.WorkflowFilter) (list []definition.Exported, operators []string, err error)
}

// workflows opens them for the length of f.
func (c *call) workflows(f func(workflows) error) error {
	return through(c, func(o *app.Operator) (workflows, error) { return o.Workflows() }, func(s *client.Client) workflows { return s }, f)
}

// actor is in whose name something is done; "" is the database user's.
func (c *call) actor() string {
	if name, given := c.own["actor"]; given {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// filter is what --tenant and --status choose.
func (c *call) filter() (store.WorkflowFilter, error) {
	var f store.WorkflowFilter
	if tenant, given := c.own["tenant"]; given {
		if tenant == "none" {
			tenant = ""
		}
		f.Tenant = &tenant
	}
	if status, given := c.own["status"]; given {
		f.Status = workflow.Status(status)
		switch f.Status {
		case workflow.Draft, workflow.Active, workflow.Inactive:
		default:
			return f, usage{fmt.Sprintf("there is no status %q; it is draft, active or inactive", status), "rowbell workflow list --help"}
		}
	}
	return f, nil
}

var listCommand = command{
	name:   "list",
	server: true,
	short:  "List workflows, and whether they are in order",
	long: `Health is what the worker that reads the slot last said; it says nothing of workflows that
are not active. rowbell workflow check judges anew.`,
	examples: []example{
		{"rowbell workflow list --tenant acme", ""},
		{`rowbell workflow list --output json | jq -r '.[] | select(.verdict == \"broken\") | .id'`, "those that are broken"},
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
		return c.workflows(func(s workflows) error {
			list, err := s.List(ctx, filter)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no such workflows.")
				return nil
			}
			rows := [][]string{{"ID", "TENANT", "NAME", "STATUS", "VERSION", "DRAFT", "HEALTH"}}
			for _, w := range list {
				rows = append(rows, []string{
					w.ID, dash(w.TenantID), dash(w.Name), string(w.Status), fmt.Sprint(w.Version),
					map[bool]string{true: "yes", false: "-"}[w.Draft], health(w),
				})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

// health is a verdict in one line.
func health(w store.ListedWorkflow) string {
	switch {
	case w.Status != workflow.Active:
		return "-"
	case w.Verdict == "":
		return "not judged yet"
	case w.Message != "":
		return string(w.Verdict) + ": " + firstLine(w.Message)
	case len(w.Warnings) > 0:
		return fmt.Sprintf("%s, with %s", w.Verdict, several(len(w.Warnings), "warning"))
	}
	return string(w.Verdict)
}

var showCommand = command{
	name:   "show",
	server: true,
	args:   "ID",
	short:  "Show a workflow with its parts, its health and its draft",
	long:   `Secrets stand in rowbell.secret; what is shown has references to them.`,
	examples: []example{
		{"rowbell workflow show large-order", ""},
		{"rowbell workflow show large-order --yaml > large-order.yaml", ""},
	},
	options: []option{
		{"yaml", "", "Only the workflow, as YAML that draft and check read"},
		{"draft", "", "The workflow as its draft would make it"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		if c.has("yaml") && c.asData() {
			return usage{"either --yaml or --output, not both", "rowbell workflow show --help"}
		}
		return c.workflows(func(s workflows) error {
			show, err := s.Show(ctx, c.args[0])
			if show == nil || err != nil && c.has("draft") {
				return err
			}
			w := show.Workflow
			if c.has("draft") {
				if show.Next == nil {
					return fmt.Errorf("workflow %s has no draft", show.ID)
				}
				w = show.Next
			}
			if c.asData() {
				return c.writeData(struct {
					store.ListedWorkflow
					CreatedBy string             `json:"created_by"`
					CreatedAt time.Time          `json:"created_at"`
					Document  *workflow.Workflow `json:"document"`
					Draft     json.RawMessage    `json:"draft"`
				}{show.ListedWorkflow, show.CreatedBy, show.CreatedAt, w, show.DraftText})
			}
			text, yamlErr := definition.YAML(w)
			if yamlErr != nil {
				return yamlErr
			}
			if c.has("yaml") {
				_, err = c.stdout.Write(text)
				return err
			}
			writeShown(c.stdout, show, err)
			fmt.Fprintf(c.stdout, "\n%s", text)
			return nil
		})
	},
}

// writeShown writes what is known of a workflow besides its definition.
func writeShown(w io.Writer, show *definition.Shown, draftErr error) {
	name, of := show.Name, "operators"
	if name == "" {
		name = show.ID
	}
	if show.TenantID != "" {
		of = "tenant " + show.TenantID
	}
	rows := [][]string{
		{"Workflow", name},
		{"Does", sentence.Of(show.Workflow)},
		{"Of", of},
		{"Status", fmt.Sprintf("%s, version %d, changed %s", show.Status, show.Version, when(show.UpdatedAt))},
		{"Made", fmt.Sprintf("%s by %s", when(show.CreatedAt), show.CreatedBy)},
	}
	if show.Status == workflow.Active {
		rows = append(rows, []string{"Health", health(show.ListedWorkflow)})
		if _, rest, more := strings.Cut(show.Message, "\n"); more {
			for line := range strings.SplitSeq(rest, "\n") {
				rows = append(rows, []string{"", line})
			}
		}
		for _, warning := range show.Warnings {
			rows = append(rows, []string{"Warning", warning})
		}
	}
	draft := "none"
	switch {
	case draftErr != nil:
		draft = "can't be read: " + draftErr.Error()
	case show.Next != nil:
		draft = "yes"
		if show.By != "" {
			draft = "of " + show.By
		}
		if show.Base > 0 {
			draft += fmt.Sprintf(", made from version %d", show.Base)
		}
		draft += "; see rowbell workflow diff " + show.ID
	}
	writeFields(w, append(rows, []string{"Draft", draft}))
}

var statisticsCommand = command{
	name:   "statistics",
	server: true,
	args:   "ID…",
	short:  "Say how workflows' executions ended in the last days, and when each ran last",
	long: `What is pending is not counted, and the hour that runs is counted each minute or so. As JSON or
YAML each day is there by itself. A workflow of which no run has ended is left out.`,
	examples: []example{
		{"rowbell workflow statistics large-order", ""},
		{"rowbell workflow statistics large-order restocked --since 30d", ""},
	},
	options: []option{
		{"since", "TIME", "From then on: 2026-01-31T10:00:00Z, or how long ago, 92d at most; today and the six days before if not given"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		since, err := c.chosenTime("since")
		if err != nil {
			return err
		}
		if since.IsZero() {
			since = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -6)
		}
		return c.workflows(func(s workflows) error {
			list, err := s.Runs(ctx, c.args, since)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "None of them has a run that has ended.")
				return nil
			}
			rows := [][]string{{"ID", "DONE", "FAILED", "CANCELLED", "LAST RUN", "ENDED"}}
			for _, w := range list {
				rows = append(rows, []string{w.WorkflowID, fmt.Sprint(w.Total.Success), fmt.Sprint(w.Total.Failure), fmt.Sprint(w.Total.Cancelled), when(w.Last.CommittedAt), string(w.Last.Status)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

var versionsCommand = command{
	name:   "versions",
	server: true,
	args:   "ID",
	short:  "List the versions of a workflow: when, who, what changed, and what was said of it",
	examples: []example{
		{"rowbell workflow versions large-order", ""},
	},
	options: []option{
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		return c.workflows(func(s workflows) error {
			list, err := s.History(ctx, c.args[0])
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			rows := [][]string{{"VERSION", "STATUS", "WHEN", "WHO", "WHAT CHANGED"}}
			said := slices.ContainsFunc(list, func(v definition.Entry) bool { return v.Comment != "" })
			if said {
				rows[0] = append(rows[0], "COMMENT")
			}
			for _, v := range list {
				who := v.CreatedBy
				if v.DBUser != who {
					who += " (" + v.DBUser + ")"
				}
				row := []string{fmt.Sprint(v.Version), string(v.Status), when(v.At), who, v.Line}
				if said {
					row = append(row, dash(strings.Join(strings.Fields(v.Comment), " ")))
				}
				rows = append(rows, row)
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

var diffCommand = command{
	name:   "diff",
	server: true,
	args:   "ID|FILE [FROM [TO]|FILE…]",
	short:  "Say what is different between two versions, with the draft, or between files and the live versions",
	long: `FROM and TO are numbers of versions, live (the latest one) or draft. Without them the last
two are compared: live and draft if there is a draft, else the last two versions. Without
TO it is live.

Files and directories are compared with what is live, as rowbell workflow apply would change
it. Then the exit code is 3 if anything is different.`,
	examples: []example{
		{"rowbell workflow diff large-order", "what the draft would change"},
		{"rowbell workflow diff large-order 3 live", ""},
		{"rowbell workflow diff workflows/", "what apply would change"},
	},
	options: []option{
		{"yaml", "", "Only the difference of their YAML, as diff -u has it"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		if isPath(c.args[0]) {
			return c.diffFiles(ctx)
		}
		if len(c.args) > 3 {
			return usage{fmt.Sprintf("%q is one argument too many. Write: rowbell workflow diff ID [FROM [TO]]", c.args[3]), "rowbell workflow diff --help"}
		}
		for _, ref := range c.args[1:] {
			if ref == "live" || ref == "draft" {
				continue
			}
			if _, err := definition.ParseVersion(ref); err != nil {
				return usage{err.Error(), "rowbell workflow diff --help"}
			}
		}
		return c.workflows(func(s workflows) error {
			d, err := s.Diff(ctx, c.args[0], c.arg(1), c.arg(2))
			if err != nil {
				return err
			}
			switch {
			case c.asData():
				return c.writeData(d)
			case c.has("yaml"):
				_, err = io.WriteString(c.stdout, d.YAML)
				return err
			case d.YAML == "" && len(d.Words) == 0:
				fmt.Fprintf(c.stdout, "Nothing is different between %s and %s.\n", d.From, d.To)
				return nil
			}
			fmt.Fprintf(c.stdout, "From %s to %s:\n", d.From, d.To)
			for _, words := range d.Words {
				fmt.Fprintf(c.stdout, "  - %s\n", strings.ReplaceAll(words, "\n", "\n    "))
			}
			if d.YAML != "" {
				fmt.Fprintf(c.stdout, "\n%s", d.YAML)
			}
			return nil
		})
	},
}

var restoreCommand = command{
	name:   "restore",
	server: true,
	args:   "ID VERSION",
	short:  "Make an earlier version the draft",
	long:   `Nothing changes of what runs until the draft is activated.`,
	examples: []example{
		{"rowbell workflow restore large-order 3", ""},
	},
	options: []option{
		{"force", "", "Overwrite the draft that is there"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		version, err := definition.ParseVersion(c.args[1])
		if err != nil {
			return usage{fmt.Sprintf("%q is not the number of a version", c.args[1]), "rowbell workflow restore --help"}
		}
		return c.workflows(func(s workflows) error {
			same, err := s.Restore(ctx, c.args[0], version, c.actor(), c.has("force"))
			if err != nil {
				return err
			}
			if same {
				fmt.Fprintf(c.stdout, "The draft of %s is what version %d was already.\n", c.args[0], version)
				return nil
			}
			fmt.Fprintf(c.stdout, "Version %d is the draft of %s now. See what it would change: rowbell workflow diff %[2]s\n", version, c.args[0])
			return nil
		})
	},
}

var draftCommand = command{
	name:   "draft",
	server: true,
	args:   "ID FILE",
	short:  "Put a workflow from a file as the draft",
	long: `FILE is YAML as rowbell workflow show --yaml writes it, or JSON if it ends in .json; - is
standard input, as YAML. What the file leaves out, the draft doesn't have. Parts without an
id stand for the live ones like them. Nothing changes of what runs until the draft is
activated, and it may be unfinished: what is wrong with it is told.`,
	examples: []example{
		{"rowbell workflow draft large-order large-order.yaml", ""},
	},
	options: []option{
		{"force", "", "Overwrite a draft that somebody else made"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		doc, err := definition.ReadFile(c.args[1])
		if err != nil {
			return err
		}
		return c.workflows(func(s workflows) error {
			if err := s.PutDraft(ctx, c.args[0], doc, c.actor(), c.has("force")); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s has a draft. See what it would change: rowbell workflow diff %[1]s\n", c.args[0])
			checked, err := s.CheckOne(ctx, c.args[0])
			if err != nil {
				return err
			}
			if last := checked[len(checked)-1]; last.Of == "draft" {
				writeProblems(c.stdout, last.Report, doc)
			}
			return nil
		})
	},
}

var activateCommand = command{
	name:   "activate",
	server: true,
	args:   "ID…",
	short:  "Publish the draft, if there is one, and turn the workflow on",
	long: `One transaction, and one version; of several workflows each by itself. It is refused if the
worker would find the workflow broken, if the live workflow has changed since the draft was
made, or if one of its saved tests fails. Warnings don't block.`,
	examples: []example{
		{"rowbell workflow activate large-order", ""},
		{"rowbell workflow activate large-order restocked", "several, each by itself"},
		{`rowbell workflow activate large-order --comment "From 1000 on: the team can keep up now"`, ""},
	},
	options: []option{
		commentOption,
		{"force", "", "Publish the draft though the live workflow has changed since, or a test fails"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		return c.workflows(func(s workflows) error {
			return c.each(func(id string) error { return c.activate(ctx, s, id) })
		})
	},
}

// activate turns a workflow on, and says what came of it.
func (c *call) activate(ctx context.Context, s workflows, id string) error {
	done, err := s.Activate(ctx, id, c.actor(), c.own["comment"], c.has("force"))
	if blocked, ok := errors.AsType[*definition.BlockedError](err); ok {
		fmt.Fprintf(c.stderr, "rowbell: %s\n", blocked.Error())
		writeProblems(c.stderr, blocked.Report, nil)
		return errShown
	}
	if failing, ok := errors.AsType[*definition.TestsError](err); ok {
		fmt.Fprintf(c.stderr, "rowbell: %s\n", failing.Error())
		writeFailed(c.stderr, failing.Failed)
		return errShown
	}
	if err != nil {
		return err
	}
	switch {
	case done.Same:
		fmt.Fprintf(c.stdout, "%s is active already, and has no draft.\n", id)
	case done.Draft:
		fmt.Fprintf(c.stdout, "%s is active: its draft is version %d.\n", id, done.Version)
	default:
		fmt.Fprintf(c.stdout, "%s is active, as version %d.\n", id, done.Version)
	}
	writeProblems(c.stdout, done.Report, nil)
	writeFailed(c.stdout, done.Tests)
	return nil
}

var deactivateCommand = command{
	name:   "deactivate",
	server: true,
	args:   "ID…",
	short:  "Turn a workflow off",
	long:   `It stops within a second or two; what of its deliveries has not ended is cancelled.`,
	examples: []example{
		{"rowbell workflow deactivate large-order", ""},
	},
	options: []option{commentOption, actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.workflows(func(s workflows) error {
			return c.each(func(id string) error {
				version, same, err := s.Deactivate(ctx, id, c.actor(), c.own["comment"])
				if err != nil {
					return err
				}
				if same {
					fmt.Fprintf(c.stdout, "%s is inactive already.\n", id)
					return nil
				}
				fmt.Fprintf(c.stdout, "%s is inactive, as version %d.\n", id, version)
				return nil
			})
		})
	},
}

var discardCommand = command{
	name:   "discard",
	server: true,
	args:   "ID",
	short:  "Throw the draft away",
	examples: []example{
		{"rowbell workflow discard large-order", ""},
	},
	options: []option{yesOption, actorOption},
	run: func(ctx context.Context, c *call) error {
		if err := c.confirm("throw the draft of " + c.args[0] + " away"); err != nil {
			return err
		}
		return c.workflows(func(s workflows) error {
			if err := s.Discard(ctx, c.args[0], c.actor()); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s has no draft any more.\n", c.args[0])
			return nil
		})
	},
}
