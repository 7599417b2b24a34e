package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// templateCommand has the commands about stored templates.
func templateCommand() command {
	return command{
		name:  "template",
		args:  "COMMAND",
		short: "List, show, store, delete and try templates that workflows render",
		long: `A stored template is rendered by the texts of actions: {% render 'footer' %}. One of a tenant
goes before the operators' of the same name. What changes is one transaction with the new
versions of the workflows that render it, in the name of --actor.`,
		group: groupWorkflows,
		examples: []example{
			{"rowbell template list", ""},
			{"rowbell template set footer footer.liquid", ""},
		},
		sub: []command{listTemplatesCommand, showTemplateCommand, setTemplateCommand, deleteTemplateCommand, previewCommand},
	}
}

// storedTemplates is what these commands need.
type storedTemplates interface {
	Templates(ctx context.Context, tenant *string, name string) ([]store.Template, error)
	TemplateUsers(ctx context.Context, tenantID, name string) ([]string, error)
	SetTemplate(ctx context.Context, t store.Template, actor string) (definition.TemplateSet, error)
	DeleteTemplate(ctx context.Context, tenantID, name string, locale *string, actor string) error
	Preview(ctx context.Context, p definition.Preview) (definition.Previewed, error)
}

// templates opens them for the length of f.
func (c *call) templates(f func(storedTemplates) error) error {
	return through(c, func(o *app.Operator) (storedTemplates, error) { return o, nil }, func(s *client.Client) storedTemplates { return s }, f)
}

var (
	ownerOption  = option{"tenant", "ID", "The tenant whose it is; the operators' if not given"}
	localeOption = option{"locale", "LOCALE", "The language it is written in, as de or de-AT; for everybody if not given"}
)

// owner is whose template is meant: "" the operators'.
func (c *call) owner() string {
	if c.own["tenant"] == "none" {
		return ""
	}
	return c.own["tenant"]
}

var listTemplatesCommand = command{
	name:   "list",
	server: true,
	short:  "List stored templates",
	examples: []example{
		{"rowbell template list --tenant acme", ""},
	},
	options: []option{
		{"tenant", "ID", "Only this tenant's; none for the operators'"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		var tenant *string
		if _, given := c.own["tenant"]; given {
			owner := c.owner()
			tenant = &owner
		}
		return c.templates(func(o storedTemplates) error {
			list, err := o.Templates(ctx, tenant, "")
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no such templates.")
				return nil
			}
			rows := [][]string{{"TENANT", "NAME", "LOCALE", "BYTES", "CHANGED", "DESCRIPTION"}}
			for _, t := range list {
				rows = append(rows, []string{dash(t.TenantID), t.Name, dash(t.Locale), strconv.Itoa(len(t.Source)), when(t.UpdatedAt), dash(t.Description)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

var showTemplateCommand = command{
	name:   "show",
	server: true,
	args:   "NAME",
	short:  "Show a template in its languages, and who renders it",
	examples: []example{
		{"rowbell template show footer", ""},
		{"rowbell template show footer --locale de > footer.de.liquid", ""},
	},
	options: []option{
		ownerOption,
		{"locale", "LOCALE", "Only the text of this language, as it is stored; '' for everybody's"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		owner := c.owner()
		return c.templates(func(o storedTemplates) error {
			list, err := o.Templates(ctx, &owner, c.args[0])
			if err != nil {
				return err
			}
			if locale, given := c.own["locale"]; given {
				i := slices.IndexFunc(list, func(t store.Template) bool { return strings.EqualFold(t.Locale, locale) })
				if i < 0 {
					return fmt.Errorf("template %s has no text for locale %q", c.args[0], locale)
				}
				_, err := io.WriteString(c.stdout, list[i].Source)
				return err
			}
			users, err := o.TemplateUsers(ctx, owner, c.args[0])
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(struct {
					Templates  []store.Template `json:"templates"`
					RenderedBy []string         `json:"rendered_by"`
				}{list, users})
			}
			by := "no workflow"
			if len(users) > 0 {
				by = strings.Join(users, ", ")
			}
			rows := [][]string{{"Template", c.args[0]}, {"Rendered by", by}}
			for _, t := range list {
				if t.Description != "" {
					rows = append(rows, []string{"Description", t.Description})
					break
				}
			}
			writeFields(c.stdout, rows)
			for _, t := range list {
				fmt.Fprintf(c.stdout, "\n--- %s, changed %s, made by %s\n%s", localeName(t.Locale), when(t.UpdatedAt), t.CreatedBy, t.Source)
				if !strings.HasSuffix(t.Source, "\n") {
					fmt.Fprintln(c.stdout)
				}
			}
			return nil
		})
	},
}

// localeWords is localeName in a sentence.
func localeWords(locale string) string {
	if locale == "" {
		return "for everybody"
	}
	return "for " + locale
}

func localeName(locale string) string {
	if locale == "" {
		return "for everybody"
	}
	return locale
}

// readSource reads a template from a file; - is standard input.
func readSource(name string) (string, error) {
	var in io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			if pe, ok := errors.AsType[*os.PathError](err); ok {
				err = pe.Err
			}
			return "", fmt.Errorf("can't read %s: %w", name, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, template.MaxSource+1))
	if err != nil {
		return "", fmt.Errorf("can't read %s: %w", name, err)
	}
	if len(data) > template.MaxSource {
		return "", fmt.Errorf("%s has more than %d bytes, which is the most of a template", name, template.MaxSource)
	}
	return string(data), nil
}

var setTemplateCommand = command{
	name:   "set",
	server: true,
	args:   "NAME FILE",
	short:  "Store a template, in place of the one that is there",
	long: `FILE holds the template in Liquid; - is standard input. One that can't be compiled, or names
another one that isn't there, is not stored. Active workflows that render it get a new version
at once: what is recorded afterwards has the new text, what was recorded before the old one.`,
	examples: []example{
		{"rowbell template set footer footer.liquid", ""},
		{"rowbell template set footer footer.de.liquid --locale de", ""},
	},
	options: []option{
		ownerOption, localeOption,
		{"description", "TEXT", "What it is for; as it was if not given"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		source, err := readSource(c.args[1])
		if err != nil {
			return err
		}
		t := store.Template{TenantID: c.owner(), Name: c.args[0], Locale: c.own["locale"], Source: source, Description: c.own["description"]}
		return c.templates(func(o storedTemplates) error {
			set, err := o.SetTemplate(ctx, t, c.actor())
			switch {
			case err != nil:
				return err
			case set.Same:
				fmt.Fprintf(c.stdout, "Template %s was stored like this already.\n", t.Name)
				return nil
			case len(set.Versions) == 0:
				fmt.Fprintf(c.stdout, "Template %s is stored. No active workflow renders it.\n", t.Name)
				return nil
			}
			fmt.Fprintf(c.stdout, "Template %s is stored. These active workflows have a new version by it: %s\n", t.Name, strings.Join(set.Versions, ", "))
			for _, id := range set.Versions {
				if r, bad := set.Problems[id]; bad {
					fmt.Fprintf(c.stdout, "%s:\n", id)
					writeProblems(c.stdout, r, nil)
				}
			}
			return nil
		})
	},
}

var deleteTemplateCommand = command{
	name:   "delete",
	server: true,
	args:   "NAME",
	short:  "Delete a template that no workflow renders",
	examples: []example{
		{"rowbell template delete footer --locale de", ""},
	},
	options: []option{
		ownerOption,
		{"locale", "LOCALE", "Only the text of this language, '' for everybody's; all if not given"},
		yesOption, actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		var locale *string
		if l, given := c.own["locale"]; given {
			locale = &l
		}
		what := "all languages"
		if locale != nil {
			what = "its text " + localeWords(*locale)
		}
		if err := c.confirm("delete template " + c.args[0] + ", " + what); err != nil {
			return err
		}
		return c.templates(func(o storedTemplates) error {
			if err := o.DeleteTemplate(ctx, c.owner(), c.args[0], locale, c.actor()); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "Template %s is deleted.\n", c.args[0])
			return nil
		})
	},
}

var previewCommand = command{
	name:   "preview",
	server: true,
	args:   "[FILE] [KEY]",
	short:  "Render a template, or an action's texts, as a reader would get them; sends nothing",
	long: `Renders what is in FILE (- is standard input), or the texts of a workflow's action, for a
recorded event or for a row as it is now.`,
	examples: []example{
		{"rowbell template preview mail.liquid --channel markdown --row orders 42 --locale de-AT", ""},
		{"rowbell template preview --workflow w1 --action 2 --event 01ARZ3NDEKTSV4RRFFQ69G5FAV", ""},
		{`rowbell template preview --workflow w1 --row orders 42 --person '{"name": "Ann", "locale": "fr"}'`, ""},
	},
	values: map[string][]string{"as": operations, "channel": {"plain", "markdown", "html", "chat"}},
	options: []option{
		{"workflow", "ID|FILE", "A workflow instead of a template"},
		{"action", "NUMBER", "Which of its actions, from 1 (if not given)"},
		{"version", "NUMBER", "A version of the workflow; the latest if not given"},
		{"draft", "", "What is in the workflow's draft"},
		{"channel", "CHANNEL", "What FILE is written in: plain (if not given), markdown, html or chat"},
		{"tenant", "ID", "Whose stored templates FILE may render, and whose domain event it is; the operators' if not given"},
		{"event", "EVENT_ID", "A recorded event"},
		{"row", "TABLE", "A row of this table, with the key KEY; several key columns are separated by commas"},
		{"as", "OPERATION", "What happens to the row: create, update (if not given) or delete"},
		{"new", "JSON", "Values of the new row, or of a domain event's payload, instead of those there are"},
		{"old", "JSON", "Values of the old row instead of those there are"},
		{"domain", "NAME", "A domain event of this name; --new is its payload"},
		{"actor", "JSON", "Who makes the change, as rowbell.set_actor would say; null for nobody"},
		{"at", "TIME", "When it commits, as 2026-01-31T10:00:00Z"},
		{"person", "JSON", "Who reads: id, name, email, phone, locale and zone; an example if not given"},
		{"locale", "LOCALE", "The reader's language, as de-AT"},
		{"zone", "ZONE", "The reader's time zone, as Europe/Vienna"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		p, err := c.preview()
		if err != nil {
			return err
		}
		return c.templates(func(o storedTemplates) error {
			out, err := o.Preview(ctx, p)
			if err != nil {
				return err
			}
			if c.asData() {
				if err := c.writeData(out); err != nil {
					return err
				}
			} else {
				writePreview(c, out)
			}
			if out.Problem != "" {
				return errShown
			}
			return nil
		})
	},
}

const previewHelp = "rowbell template preview --help"

// preview reads what is to be rendered.
func (c *call) preview() (definition.Preview, error) {
	wrong := func(format string, args ...any) (definition.Preview, error) {
		return definition.Preview{}, usage{fmt.Sprintf(format, args...), previewHelp}
	}
	p := definition.Preview{Action: 1, TenantID: c.owner()}
	file := ""
	args := c.args
	if !c.has("workflow") {
		if len(args) == 0 {
			return wrong("nothing to render. Give a FILE, or --workflow ID")
		}
		file, args = args[0], args[1:]
	}
	on, err := c.previewedChange(args)
	if err != nil {
		return p, err
	}
	p.On = on
	channels := []template.Channel{template.Plain, template.Markdown, template.HTML, template.Chat}
	if name, given := c.own["channel"]; given {
		i := slices.IndexFunc(channels, func(ch template.Channel) bool { return ch.String() == name })
		if i < 0 {
			return wrong("there is no channel %q; there are plain, markdown, html and chat", name)
		}
		p.Channel = channels[i]
	}
	if c.has("workflow") {
		switch {
		case c.has("channel"):
			return wrong("--channel goes with FILE; an action has its own")
		case on.Event == "" && on.Table == "" && on.Domain == "":
			return wrong("nothing to render it for. Give --event EVENT_ID, --row TABLE KEY, or --domain NAME")
		}
		p.On.Workflow, p.On.Draft = c.own["workflow"], c.has("draft")
		if definition.IsFile(p.On.Workflow) {
			if p.On.Draft || c.has("version") {
				return wrong("%s is a file, and has neither drafts nor versions", p.On.Workflow)
			}
			if p.On.Document, err = definition.ReadFile(p.On.Workflow); err != nil {
				return p, err
			}
			p.On.Workflow = ""
		}
		for name, into := range map[string]func(int){"action": func(n int) { p.Action = n }, "version": func(n int) { p.On.Version = int32(n) }} {
			if text, given := c.own[name]; given {
				n, err := strconv.ParseInt(text, 10, 32)
				if err != nil || n < 1 {
					return wrong("--%s wants a number from 1, not %q", name, text)
				}
				into(int(n))
			}
		}
	} else {
		for _, name := range []string{"action", "version", "draft"} {
			if c.has(name) {
				return wrong("--%s goes with --workflow", name)
			}
		}
		if p.Source, err = readSource(file); err != nil {
			return p, err
		}
	}
	p.Person = workflow.Person{ID: "example", Name: "Alex Example", Email: "alex@example.com", Phone: "+12025550123"}
	if text, given := c.own["person"]; given {
		p.Person = workflow.Person{ID: "example"}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p.Person); err != nil {
			return wrong(`--person is no person; write {"id": "ann", "name": "Ann", "email": "ann@example.com", "locale": "de-AT", "zone": "Europe/Vienna"}`)
		}
	}
	if locale, given := c.own["locale"]; given {
		p.Person.Locale = locale
	}
	if zone, given := c.own["zone"]; given {
		p.Person.Zone = zone
	}
	if _, err := time.LoadLocation(p.Person.Zone); err != nil {
		return wrong("%q is no time zone; write one as Europe/Vienna", p.Person.Zone)
	}
	return p, nil
}

// previewedChange reads what it is rendered for.
func (c *call) previewedChange(args []string) (definition.Simulation, error) {
	if !c.has("event") && !c.has("row") && !c.has("domain") {
		for _, name := range []string{"as", "new", "old", "actor", "at"} {
			if c.has(name) {
				return definition.Simulation{}, usage{"--" + name + " goes with --event, --row or --domain", previewHelp}
			}
		}
		if len(args) > 0 {
			return definition.Simulation{}, usage{strconv.Quote(args[0]) + " is one argument too many; a key belongs to --row TABLE KEY", previewHelp}
		}
		return definition.Simulation{}, nil
	}
	return c.changeToTry(args, previewHelp)
}

func writePreview(c *call, out definition.Previewed) {
	for i, t := range out.Texts {
		if t.Text == "" {
			continue
		}
		if len(out.Texts) > 1 {
			if i > 0 {
				fmt.Fprintln(c.stdout)
			}
			fmt.Fprintf(c.stdout, "--- %s\n", t.Name)
		}
		fmt.Fprint(c.stdout, t.Text)
		if !strings.HasSuffix(t.Text, "\n") {
			fmt.Fprintln(c.stdout)
		}
	}
	for _, w := range out.Warnings {
		fmt.Fprintf(c.stderr, "warning: %s\n", w)
	}
	if out.Problem != "" {
		fmt.Fprintf(c.stderr, "It would not be sent: %s\n", out.Problem)
	}
}
