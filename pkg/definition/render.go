package definition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// TemplateSet is what came of storing a template.
type TemplateSet struct {
	Same     bool                    `json:"same"`     // it was stored like this already
	Versions []string                `json:"versions"` // workflows that got a new version by it
	Problems map[string]match.Report `json:"-"`        // of those that have any
}

// mostJudged bounds how many workflows are checked after a template has changed.
const mostJudged = 50

// SetTemplate stores a template if it can be compiled, and judges the workflows that
// render it.
func (s *Service) SetTemplate(ctx context.Context, t store.Template, actor string) (TemplateSet, error) {
	var set TemplateSet
	if err := errors.Join(workflow.CheckTemplateName(t.Name), workflow.CheckTemplateLocale(t.Locale)); err != nil {
		return set, refused("%s", err)
	}
	all, err := s.Source.TemplatesFor(ctx, t.TenantID)
	if err != nil {
		return set, err
	}
	if own, err := s.Source.Templates(ctx, &t.TenantID, t.Name); err != nil {
		return set, err
	} else if len(own) == 0 || all[t.Name] == nil {
		all[t.Name] = make(map[string]string) // the operators' of this name counts no more
	}
	for locale := range all[t.Name] {
		if strings.EqualFold(locale, t.Locale) {
			delete(all[t.Name], locale)
		}
	}
	all[t.Name][t.Locale] = t.Source
	if _, err := template.CompileFor("{% render '"+t.Name+"' %}", template.Options{Partials: workflow.NewLibrary(all)}); err != nil {
		text := err.Error() // line 1: template "footer", line 3: …
		text = strings.TrimPrefix(text, "line 1: ")
		return set, refused("not stored: %s", text)
	}
	if set.Versions, set.Same, err = s.Source.SetTemplate(ctx, t, actor); err != nil {
		return set, err
	}
	for _, id := range set.Versions[:min(len(set.Versions), mostJudged)] {
		checked, err := s.CheckOne(ctx, id)
		if err != nil {
			return set, err
		}
		if r := checked[0].Report; len(r.Errors)+len(r.Warnings) > 0 {
			if set.Problems == nil {
				set.Problems = make(map[string]match.Report)
			}
			set.Problems[id] = r
		}
	}
	return set, nil
}

// DeleteTemplate takes a template away: that of one locale, or, with nil, of all. It is
// refused, with their names, while workflows render it.
func (s *Service) DeleteTemplate(ctx context.Context, tenantID, name string, locale *string, actor string) error {
	return s.Source.DeleteTemplate(ctx, tenantID, name, locale, actor)
}

// Preview says what to render, on what, and for whom.
type Preview struct {
	// On is the event: see Simulation. Without one a template is rendered for nothing but
	// its reader. On.Workflow is the workflow if it is one's action.
	On     Simulation
	Action int // of On.Workflow, from 1

	Source   string // or this template
	Channel  template.Channel
	TenantID string // whose stored templates it may render

	Person workflow.Person
}

// Previewed is what a preview gives.
type Previewed struct {
	Texts    []actions.PreviewText `json:"texts"`
	Problem  string                `json:"problem,omitempty"` // why the delivery would fail
	Warnings []string              `json:"warnings,omitempty"`
}

// Preview renders an action's texts, or a template, as one person would get it. It
// sends nothing.
func (s *Service) Preview(ctx context.Context, p Preview) (Previewed, error) {
	var c *trial.Change
	var err error
	if p.On.Event != "" || p.On.Table != "" || p.On.Domain != "" {
		if c, err = s.Change(ctx, p.On); err != nil {
			return Previewed{}, err
		}
	}
	if p.On.Workflow != "" || p.On.Document != nil {
		return s.previewAction(ctx, p, c)
	}
	return s.previewSource(ctx, p, c)
}

func (s *Service) previewAction(ctx context.Context, p Preview, c *trial.Change) (Previewed, error) {
	v, err := s.definition(ctx, p.On)
	if err != nil {
		return Previewed{}, err
	}
	w, err := workflow.Parse(v.Document)
	if err != nil {
		return Previewed{}, err
	}
	if p.Action < 1 || p.Action > len(w.Actions) {
		what := "the workflow"
		if p.On.Workflow != "" {
			what = "workflow " + p.On.Workflow
		}
		return Previewed{}, refused("%s has no action %d; it has %d", what, p.Action, len(w.Actions))
	}
	one := *w
	one.Actions = w.Actions[p.Action-1 : p.Action]
	plan, err := s.Registry.Plan(&one)
	if err != nil {
		return Previewed{}, err
	}
	kind := plan.Steps[0].Kind
	previewer, ok := plan.Steps[0].Runner.(actions.Previewer)
	if !ok {
		return Previewed{}, refused("action %d is of kind %s, which has no templates", p.Action, kind.Name)
	}
	d := &actions.Delivery{
		ID: "preview", Attempt: 1, Event: c.AsEvent(),
		Workflow: actions.Workflow{ID: v.WorkflowID, Name: w.Name, Version: v.Version, TenantID: v.TenantID},
		Secret:   func(context.Context, string) (string, error) { return "", errors.New("a preview reads no secrets") },
	}
	if kind.Recipients {
		d.Recipient, d.Person = p.Person.ID, &p.Person
	}
	out := Previewed{}
	if out.Texts, err = previewer.Preview(d); err != nil {
		out.Problem = err.Error()
	}
	if r, ok := previewer.(actions.Reader); ok {
		for _, read := range r.Reads() {
			if gap := lackOf(read.Variable, c); gap != "" {
				out.Warnings = append(out.Warnings, read.Place()+": "+gap)
			}
		}
	}
	return out, nil
}

func (s *Service) previewSource(ctx context.Context, p Preview, c *trial.Change) (Previewed, error) {
	all, err := s.Source.TemplatesFor(ctx, p.TenantID)
	if err != nil {
		return Previewed{}, err
	}
	t, err := template.CompileFor(p.Source, template.Options{Channel: p.Channel, Partials: workflow.NewLibrary(all)})
	if err != nil {
		return Previewed{}, err
	}
	vars := map[string]any{}
	if c != nil {
		if vars, err = template.EventVariables(c.AsEvent()); err != nil {
			return Previewed{}, err
		}
	}
	vars["recipient"] = template.PersonVariables(&p.Person)
	vars["workflow"] = map[string]any{"id": "preview", "name": "Preview", "version": 0}
	out := Previewed{}
	text, err := t.RenderFor(vars, template.ReaderOf(&p.Person))
	if err != nil {
		out.Problem = err.Error()
	} else {
		out.Texts = []actions.PreviewText{{Name: p.Channel.String(), Text: text}}
	}
	for _, u := range t.Uses() {
		if gap := lackOf(u.Variable, c); gap != "" {
			out.Warnings = append(out.Warnings, u.Where+": "+gap)
		}
	}
	return out, nil
}

// lackOf says what is wrong with a variable for a change; "" if nothing is.
func lackOf(variable string, c *trial.Change) string {
	base, column, hasColumn := strings.Cut(variable, ".")
	if !slices.Contains(workflow.TextVariables, base) {
		return fmt.Sprintf("there is no variable %s%s", base, mend(base, workflow.TextVariables))
	}
	if c == nil || c.Op == change.Emit || !hasColumn || base != "new" && base != "old" && base != "changed" {
		return ""
	}
	columns := make(map[string]bool, len(c.Relation.Columns))
	for _, col := range c.Relation.Columns {
		columns[col.Name] = !slices.Contains(c.Table.Hidden, col.Name)
	}
	if columns[column] {
		return ""
	}
	names := slices.Sorted(maps.Keys(columns))
	return fmt.Sprintf("table %s has no column %s%s", c.Table.Label, column, mend(column, slices.DeleteFunc(names, func(n string) bool { return !columns[n] })))
}

func mend(word string, names []string) string {
	if text := spelling.Mend(word, names); text != "" {
		return "; " + text
	}
	return "; there are " + strings.Join(names[:min(len(names), 20)], ", ")
}
