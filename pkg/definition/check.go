package definition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// catalog is what the source has of tables, each looked up once.
type catalog struct {
	service      *Service
	captured     []workflow.Table
	labels       []string // of all tables of the application
	tenantColumn string   // of tables that have it and aren't captured
	known        map[string]described
	templates    map[string]map[string]map[string]string // by tenant
	// own has all stored templates as they will be, by tenant, name and locale; nil: as they
	// are.
	own map[string]map[string]map[string]string
}

type described struct {
	table *workflow.Table
	rel   *change.Relation
	err   error
}

func (s *Service) catalog(ctx context.Context) (*catalog, error) {
	captured, err := s.Source.CapturedTables(ctx)
	if err != nil {
		return nil, err
	}
	labels, tenantColumn, err := s.Source.TableLabels(ctx)
	if err != nil {
		return nil, err
	}
	return &catalog{service: s, captured: captured, labels: labels, tenantColumn: tenantColumn, known: make(map[string]described), templates: make(map[string]map[string]map[string]string)}, nil
}

// failure is an error of the database, which says nothing about a workflow.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }

// lookup finds a table by its label: as it is captured, or as it would be.
func (c *catalog) lookup(ctx context.Context, label string) (*workflow.Table, *change.Relation, error) {
	d, ok := c.known[label]
	if !ok {
		d.table, d.rel, d.err = c.find(ctx, label)
		c.known[label] = d
	}
	return d.table, d.rel, d.err
}

// ownSchemas hold no tables of the application, as those that begin with pg_ don't: nobody is
// told what is in them.
var ownSchemas = []string{"rowbell", "information_schema"}

func (c *catalog) find(ctx context.Context, label string) (*workflow.Table, *change.Relation, error) {
	var table *workflow.Table
	schema, name := "public", label
	if i := slices.IndexFunc(c.captured, func(t workflow.Table) bool { return t.Label == label }); i >= 0 {
		table = &c.captured[i]
		schema, name = table.Schema, table.Name
	} else if before, after, ok := strings.Cut(label, "."); ok {
		schema, name = before, after
		if slices.Contains(ownSchemas, schema) || strings.HasPrefix(schema, "pg_") {
			return nil, nil, fmt.Errorf("table %s is Rowbell's or PostgreSQL's own; name one of the application's", label)
		}
	}
	rel, err := c.service.Describe(ctx, schema, name)
	switch {
	case err != nil:
		return nil, nil, failure{err}
	case rel == nil && table != nil:
		return nil, nil, fmt.Errorf("table %s was captured, and is not there any more: it was dropped or renamed; make it again, or name another table", label)
	case rel == nil:
		return nil, nil, c.noTable(label)
	case table != nil:
		return table, rel, nil
	}
	table = &workflow.Table{Schema: schema, Name: name, Label: label}
	if rel.Column(c.tenantColumn) >= 0 {
		table.TenantColumn = c.tenantColumn
	}
	if table.KeyColumns, err = c.service.Source.KeyColumns(ctx, schema, name); err != nil {
		return nil, nil, failure{err}
	}
	table.InsertOnly = !slices.ContainsFunc(rel.Columns, func(col change.Column) bool { return col.Key })
	return table, rel, nil
}

func (c *catalog) noTable(label string) error {
	known := slices.Clone(c.labels)
	for _, t := range c.captured {
		known = append(known, t.Label)
	}
	mend := spelling.Mend(label, known)
	if mend == "" {
		mend = "make it first, or name one that there is"
	}
	return fmt.Errorf("there is no table %s; %s", label, mend)
}

// Check says what the worker would say of a workflow if it were active, and what its
// actions lack of the tables it is about. The error is one of the database.
func (s *Service) Check(ctx context.Context, w *workflow.Workflow) (match.Report, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return match.Report{}, err
	}
	return c.check(ctx, w)
}

func (c *catalog) check(ctx context.Context, w *workflow.Workflow) (match.Report, error) {
	now, err := c.withTemplates(ctx, w)
	if err != nil {
		return match.Report{}, err
	}
	var broken error
	r := match.Check(now, func(label string) (*workflow.Table, *change.Relation, error) {
		table, rel, err := c.lookup(ctx, label)
		if f, ok := err.(failure); ok { //nolint:errorlint // never wrapped
			broken = f.err
		}
		return table, rel, err
	}, c.service.Judge)
	if broken != nil {
		return match.Report{}, broken
	}
	return testsReadable(r, w), nil
}

// testsReadable adds what is wrong with saved tests that somebody wrote by SQL.
func testsReadable(r match.Report, w *workflow.Workflow) match.Report {
	if _, err := w.Tests(); err != nil {
		r.Warnings = append(r.Warnings, match.Problem{Where: "settings", Message: "tests: " + err.Error()})
	}
	return r
}

// CheckShapes says what is wrong with what files hold whatever the tables are: without a
// database. Nothing but Registry and Judge of the service is asked. A template that no file
// has may be stored: it is a warning.
func (s *Service) CheckShapes(b *Bundle) (list []Checked, problems []error) {
	own := make(map[string]map[string]map[string]string)
	for _, d := range b.Templates {
		for locale, source := range d.Texts {
			put(own, d.TenantID, d.Name)[locale] = source
		}
	}
	for _, d := range b.Templates {
		for _, err := range d.compile(workflow.NewLibrary(rendered(own, d.TenantID))) {
			if !strings.Contains(err.Error(), noTemplate) {
				problems = append(problems, err)
			}
		}
	}
	for _, d := range b.Workflows {
		w := d.whole()
		w.Templates = rendered(own, value(w.TenantID))
		report := testsReadable(match.Check(w, nil, s.Judge), w)
		errs := report.Errors
		report.Errors = nil
		for _, p := range errs {
			if strings.Contains(p.Message, noTemplate) {
				report.Warnings = append(report.Warnings, p)
			} else {
				report.Errors = append(report.Errors, p)
			}
		}
		if len(report.Errors) == 0 && len(errs) > 0 && report.Verdict == workflow.Broken {
			report.Verdict = workflow.OK
		}
		list = append(list, Checked{ID: w.ID, Name: w.Name, Status: w.Status, Of: d.file, Report: report})
	}
	return list, problems
}

// noTemplate stands in the messages of package template about one that isn't there.
const noTemplate = "there is no template"

// Checked is what Check says of a workflow.
type Checked struct {
	ID, Name string
	Status   workflow.Status
	Of       string // version 3; draft
	Report   match.Report
}

// CheckAll checks the workflows that a filter chooses, and their drafts.
func (s *Service) CheckAll(ctx context.Context, f store.WorkflowFilter) ([]Checked, error) {
	defs, err := s.Source.Definitions(ctx, f)
	if err != nil {
		return nil, err
	}
	return s.checkDefinitions(ctx, defs)
}

// CheckThese checks workflows and their drafts, in the order of their ids; what isn't there is
// left out.
func (s *Service) CheckThese(ctx context.Context, ids []string) ([]Checked, error) {
	defs, err := s.these(ctx, ids)
	if err != nil {
		return nil, err
	}
	return s.checkDefinitions(ctx, defs)
}

// these reads the workflows that there are of these ids.
func (s *Service) these(ctx context.Context, ids []string) ([]store.Definition, error) {
	var defs []store.Definition
	for _, id := range ids {
		d, err := s.Source.Definition(ctx, id)
		if errors.Is(err, workflow.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defs = append(defs, d)
	}
	return defs, nil
}

// CheckOne checks a workflow and its draft.
func (s *Service) CheckOne(ctx context.Context, id string) ([]Checked, error) {
	d, err := s.Source.Definition(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.checkDefinitions(ctx, []store.Definition{d})
}

func (s *Service) checkDefinitions(ctx context.Context, defs []store.Definition) ([]Checked, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	var list []Checked
	for _, d := range defs {
		show, draftErr := shown(d)
		if show == nil {
			return nil, draftErr
		}
		checked := Checked{ID: d.ID, Name: d.Name, Status: d.Status, Of: fmt.Sprintf("version %d", d.Version)}
		if checked.Report, err = c.check(ctx, show.Workflow); err != nil {
			return nil, err
		}
		list = append(list, checked)
		if d.DraftText == nil {
			continue
		}
		checked.Of = "draft"
		switch {
		case draftErr != nil:
			checked.Report = match.Report{Verdict: workflow.Broken, Errors: []match.Problem{{Message: draftErr.Error()}}}
		default:
			if checked.Report, err = c.check(ctx, show.Next); err != nil {
				return nil, err
			}
		}
		list = append(list, checked)
	}
	return list, nil
}

// CheckDocument checks what a file holds.
func (s *Service) CheckDocument(ctx context.Context, doc *Document) (Checked, error) {
	w, err := s.Whole(ctx, doc)
	if err != nil {
		return Checked{}, err
	}
	report, err := s.Check(ctx, w)
	return Checked{ID: w.ID, Name: w.Name, Status: w.Status, Of: doc.file, Report: report}, err
}

// Whole is the workflow that a file holds. Without a tenant of its own it is taken for
// the tenant's of the workflow that it names.
func (s *Service) Whole(ctx context.Context, doc *Document) (*workflow.Workflow, error) {
	w := doc.whole()
	if w.ID != "" && !doc.Has["tenant_id"] {
		d, err := s.Source.Definition(ctx, w.ID)
		switch {
		case err == nil && d.TenantID != "":
			w.TenantID = &d.TenantID
		case err != nil && !errors.Is(err, workflow.ErrNotFound):
			return nil, err
		}
	}
	return w, nil
}
