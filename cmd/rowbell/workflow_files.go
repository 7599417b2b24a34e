package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// isPath tells a file or a directory from an id: by a dot or a slash in it.
func isPath(arg string) bool { return definition.IsFile(arg) }

// hasSource says that a database is known, or a server.
func (c *call) hasSource() (bool, error) {
	if app.HasServer(c.settings, os.LookupEnv) {
		return true, nil
	}
	has, err := app.HasSource(c.settings, os.LookupEnv)
	if err != nil {
		return false, usage{app.Message(err), "rowbell --help"}
	}
	return has, nil
}

var schemaCommand = command{
	name:  "schema",
	short: "Print the JSON Schema of workflow files, for editors",
	long: `With it an editor completes and checks files as they are written. Most take it from the file's
first line:

  # yaml-language-server: $schema=workflow.schema.json`,
	examples: []example{
		{"rowbell workflow schema > workflow.schema.json", ""},
	},
	noSettings: true,
	run: func(_ context.Context, c *call) error {
		s, err := app.OfflineWorkflows()
		if err != nil {
			return err
		}
		text, err := definition.Schema(s.Registry)
		if err == nil {
			_, err = c.stdout.Write(text)
		}
		return err
	},
}

var validateCommand = command{
	name:   "validate",
	server: true,
	args:   "FILE|DIR…",
	short:  "Judge files, with a database or without",
	long: `Says what is wrong with files, and where: keys and values, conditions, configurations of
actions, templates. With a database (ROWBELL_SOURCE_URL), or a server (ROWBELL_SERVER), also
what rowbell workflow check says, by the columns of the tables and the templates that are
stored. Nothing is changed. Exits with 1 if any file has an error; warnings don't count.`,
	examples: []example{
		{"rowbell workflow validate workflows/", ""},
		{"rowbell workflow validate large-order.yaml --offline", "without a database"},
	},
	options: []option{
		{"offline", "", "Ask neither database nor server, though one is set"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		b, err := definition.ReadBundle(c.args)
		if err != nil {
			return err
		}
		online, err := c.hasSource()
		if err != nil {
			return err
		}
		if c.has("offline") || !online {
			s, err := app.OfflineWorkflows()
			if err != nil {
				return err
			}
			list, problems := s.CheckShapes(b)
			err = c.tellValidated(list, b)
			if len(problems) > 0 {
				return errors.Join(problems...)
			}
			if err == nil && !c.asData() {
				fmt.Fprintln(c.stdout, "Tables and columns were not looked at: there was no database to ask.")
			}
			return err
		}
		return c.workflows(func(s workflows) error {
			list, err := s.CheckBundle(ctx, b)
			if err != nil {
				return err
			}
			return c.tellValidated(list, b)
		})
	},
}

// tellValidated shows what was found in files, and is an error if something is wrong.
func (c *call) tellValidated(list []definition.Checked, b *definition.Bundle) error {
	if c.asData() {
		return c.tellChecked(list, nil)
	}
	var bad error
	for i, w := range list {
		if err := c.tellChecked([]definition.Checked{w}, b.Workflows[i]); err != nil {
			bad = err
		}
	}
	for _, d := range b.Templates {
		fmt.Fprintf(c.stdout, "template %s %s: read\n", d.Name, d.File())
	}
	return bad
}

// plan reads files and says what would become of the database.
func (c *call) plan(ctx context.Context, s workflows, paths []string, o definition.PlanOptions) (*definition.Plan, error) {
	b, err := definition.ReadBundle(paths)
	if err != nil {
		return nil, err
	}
	return s.Plan(ctx, b, o)
}

// diffFiles compares files with what is live.
func (c *call) diffFiles(ctx context.Context) error {
	for _, arg := range c.args {
		if !isPath(arg) {
			return usage{fmt.Sprintf("%q is no file; files are compared with what is live, and ids stand alone", arg), "rowbell workflow diff --help"}
		}
	}
	return c.workflows(func(s workflows) error {
		p, err := c.plan(ctx, s, c.args, definition.PlanOptions{})
		if err != nil {
			return err
		}
		switch {
		case c.asData():
			err = c.writeData(p.Steps)
		case c.has("yaml"):
			for _, step := range p.Steps {
				if step.Do != definition.Nothing {
					_, _ = io.WriteString(c.stdout, step.YAML)
				}
			}
		default:
			writeSteps(c.stdout, p, true)
		}
		if err == nil && p.Changed() > 0 {
			return errDifferent
		}
		return err
	})
}

// writeSteps shows a plan.
func writeSteps(w io.Writer, p *definition.Plan, yaml bool) {
	counts := make(map[definition.Doing]int)
	for i := range p.Steps {
		step := &p.Steps[i]
		counts[step.Do]++
		if step.Do == definition.Nothing {
			continue
		}
		fmt.Fprintf(w, "%s %s\n", step.Do, stepName(step))
		for _, words := range step.Words {
			fmt.Fprintf(w, "  - %s\n", strings.ReplaceAll(words, "\n", "\n    "))
		}
		if step.Draft && step.Do == definition.Changes {
			fmt.Fprintln(w, "  note: there is a draft beside it, which stays; it was made from what is live now")
		}
		if step.Draft && step.Do == definition.Deletes {
			fmt.Fprintln(w, "  note: its draft goes with it")
		}
		r := step.Report
		if step.Status != workflow.Active { // it doesn't run, so it may be unfinished
			r.Warnings = append(slices.Clone(r.Errors), r.Warnings...)
			r.Errors = nil
		}
		writeProblems(w, r, step.Document())
		writeFailed(w, step.Failed)
		if yaml && step.YAML != "" {
			fmt.Fprintf(w, "\n%s\n", step.YAML)
		}
	}
	if p.Changed() == 0 {
		fmt.Fprintln(w, "Nothing to do: all is as the files say.")
		return
	}
	fmt.Fprintf(w, "%d to create, %d to change, %d to delete, %d as the files say.\n", counts[definition.Creates], counts[definition.Changes], counts[definition.Deletes], counts[definition.Nothing])
}

// stepName says what a step is about: workflow large-order (Large order) of tenant acme, active.
func stepName(step *definition.Step) string {
	s := step.Kind + " " + step.ID
	if step.Name != "" {
		s += fmt.Sprintf(" (%s)", firstLine(step.Name))
	}
	if step.TenantID != "" {
		s += " of tenant " + step.TenantID
	} else {
		s += " of the operators"
	}
	if step.Status != "" {
		s += ", " + string(step.Status)
	}
	return s
}

// tenantOption is what --tenant says of documents.
func (c *call) tenantOption() *string {
	tenant, given := c.own["tenant"]
	if !given {
		return nil
	}
	if tenant == "none" {
		tenant = ""
	}
	return &tenant
}

const applyHelp = "rowbell workflow apply --help"

var applyCommand = command{
	name:   "apply",
	server: true,
	args:   "FILE|DIR…",
	short:  "Make workflows and templates what files say",
	long: `Shows a plan, asks, and carries it out: what isn't there is created, what is different is
changed, and each workflow gets the status that its file says. Each workflow is one transaction
and one version, and who has changed one meanwhile isn't overwritten. A second time there is
nothing to do. A workflow that would be active is refused if it is broken or fails one of its
saved tests; then nothing is done at all.

Exits with 0 if it was done or there is nothing to do, and with --dry-run with 3 if there is
something to do.`,
	examples: []example{
		{"rowbell workflow apply workflows/ --dry-run", "only look"},
		{"rowbell workflow apply workflows/ --tenant acme --prune --yes", "in a pipeline"},
	},
	options: []option{
		{"dry-run", "", "Only show the plan"},
		yesOption,
		{"tenant", "ID", "The tenant of documents that don't say whose they are; none for the operators"},
		{"prune", "", "With --tenant: delete its workflows and templates that no file has"},
		{"force", "", "Let workflows be active though their saved tests fail"},
		commentOption,
		actorOption,
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		o := definition.PlanOptions{Tenant: c.tenantOption(), Prune: c.has("prune"), Force: c.has("force"), Comment: c.own["comment"]}
		if o.Prune && o.Tenant == nil {
			return usage{"--prune deletes what no file has, so it must be said whose: --tenant ID, or none for the operators", applyHelp}
		}
		dry := c.has("dry-run")
		if !c.has(yesOption.name) && !dry && (!isTerminal(os.Stdin) || slices.Contains(c.args, "-")) {
			return usage{"there is nobody to ask whether that is wanted. Add --yes to do it, or --dry-run to look only", applyHelp}
		}
		return c.workflows(func(s workflows) error {
			p, err := c.plan(ctx, s, c.args, o)
			if err != nil {
				return err
			}
			if err := c.tellPlan(p); err != nil {
				return err
			}
			if blocked := p.Blocked(); len(blocked) > 0 {
				_, err := s.Apply(ctx, p, c.actor()) // which says so
				return err
			}
			switch changed := p.Changed(); {
			case dry && changed > 0:
				return errDifferent
			case dry, changed == 0 && !c.asData():
				return nil
			case changed > 0:
				if err := c.confirm("do the above"); err != nil {
					return err
				}
			}
			return c.carryOut(ctx, s, p)
		})
	},
}

// tellPlan shows a plan. For programs it is what a --dry-run shows; people see it also where
// a program reads what was done, before they are asked.
func (c *call) tellPlan(p *definition.Plan) error {
	dry := c.has("dry-run")
	switch {
	case !c.asData():
		writeSteps(c.stdout, p, false)
	case dry:
		return c.writeData(p.Steps)
	case !c.has(yesOption.name):
		writeSteps(c.stderr, p, false)
	}
	return nil
}

// carryOut does what a plan says, and tells what was done.
func (c *call) carryOut(ctx context.Context, s workflows, p *definition.Plan) error {
	done, err := s.Apply(ctx, p, c.actor())
	if c.asData() {
		if writeErr := c.writeData(done); writeErr != nil {
			return writeErr
		}
		return err
	}
	past := map[definition.Doing]string{definition.Creates: "created", definition.Changes: "changed", definition.Deletes: "deleted"}
	for i := range done {
		d := &done[i]
		version := ""
		if d.Version > 0 {
			version = fmt.Sprintf(", as version %d", d.Version)
		}
		fmt.Fprintf(c.stdout, "%s %s%s\n", past[d.Do], stepName(&d.Step), version)
	}
	return err
}

var importCommand = command{
	name:   "import",
	server: true,
	args:   "FILE|DIR…",
	short:  "Bring workflows in from elsewhere, turned off",
	long: `Whatever their files say, workflows are inactive then: look at them, try them, and activate
them one by one. A workflow or a template that is there already is not touched, and then
nothing is imported at all, unless it is said what is to become of them. Exits with 3 with
--dry-run if there is something to do.`,
	examples: []example{
		{"rowbell workflow import large-order.yaml --tenant globex --new-ids", ""},
		{"rowbell workflow import workflows/ --replace --dry-run", "only look"},
	},
	options: []option{
		{"tenant", "ID", "The tenant that all of it is for, whatever the files say; none for the operators"},
		{"new-ids", "", "Give workflows and their parts new ids, so that they can stand beside those there are"},
		{"replace", "", "Overwrite workflows and templates that are there; the workflows are inactive then"},
		{"dry-run", "", "Only show what would be done"},
		commentOption,
		actorOption,
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		if c.has("new-ids") && c.has("replace") {
			return usage{"with --new-ids nothing is replaced: give one of them", "rowbell workflow import --help"}
		}
		o := definition.PlanOptions{Tenant: c.tenantOption(), Import: true, Replace: c.has("replace"), NewIDs: c.has("new-ids"), Comment: c.own["comment"]}
		return c.workflows(func(s workflows) error {
			p, err := c.plan(ctx, s, c.args, o)
			if err != nil {
				return err
			}
			if !c.asData() {
				writeSteps(c.stdout, p, false)
			} else if c.has("dry-run") {
				err = c.writeData(p.Steps)
			}
			switch {
			case err != nil:
				return err
			case c.has("dry-run") && p.Changed() > 0:
				return errDifferent
			case c.has("dry-run"), p.Changed() == 0 && !c.asData():
				return nil
			}
			return c.carryOut(ctx, s, p)
		})
	},
}

var exportCommand = command{
	name:   "export",
	server: true,
	args:   "[ID…]",
	short:  "Write workflows and their templates as YAML that apply and import read",
	long: `Workflows are written as they are live, without drafts. Of given ids those and the templates
that they render; else all, and all templates of the same owners. Secrets are not in it: what
is written refers to rowbell.secret by name.`,
	examples: []example{
		{"rowbell workflow export --tenant acme --into workflows", ""},
		{"rowbell workflow export large-order > large-order.yaml", ""},
	},
	options: []option{
		{"tenant", "ID", "Only this tenant's; none for the operators'"},
		{"into", "DIR", "Directory to write a file for each into; - is standard output (if not given)"},
		{"overwrite", "", "Replace files that are there, and their comments"},
	},
	run: func(ctx context.Context, c *call) error {
		filter, err := c.filter()
		if err != nil {
			return err
		}
		dir := c.own["into"]
		toFiles := dir != "" && dir != "-"
		if c.has("overwrite") && !toFiles {
			return usage{"--overwrite goes with --into DIR", "rowbell workflow export --help"}
		}
		return c.workflows(func(s workflows) error {
			list, operators, err := s.Export(ctx, c.args, filter)
			if err != nil {
				return err
			}
			if len(operators) > 0 {
				fmt.Fprintf(c.stderr, "Not exported, since they are the operators': templates %s. To have them too: rowbell workflow export --tenant none\n", strings.Join(operators, ", "))
			}
			if !toFiles {
				for i, e := range list {
					if i > 0 {
						_, _ = io.WriteString(c.stdout, "---\n")
					}
					if _, err := c.stdout.Write(e.YAML); err != nil {
						return err
					}
				}
				return nil
			}
			written, err := definition.WriteFiles(dir, list, c.has("overwrite"))
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s written into %s, %d as they were.\n", several(len(written), "file"), dir, len(list)-len(written))
			return nil
		})
	},
}
