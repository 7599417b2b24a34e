package definition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ErrTests says that a workflow was not activated since saved tests fail. It comes as a
// *TestsError.
var ErrTests = errors.New("saved tests fail")

// TestsError has the saved tests that keep a workflow from being activated.
type TestsError struct {
	WorkflowID string
	Failed     []trial.Tested
}

func (e *TestsError) Error() string {
	return fmt.Sprintf("workflow %s is not activated: %s; --force activates it all the same", e.WorkflowID, counted(len(e.Failed), "of its tests fails", "of its tests fail"))
}

// Is makes it ErrTests.
func (e *TestsError) Is(target error) bool { return target == ErrTests }

// Test runs the saved tests of a workflow, on the tables as they are now; none if it has
// none. The error is one of the database, or says why its tests can't be read.
func (s *Service) Test(ctx context.Context, w *workflow.Workflow) ([]trial.Tested, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	return c.test(ctx, w)
}

func (c *catalog) test(ctx context.Context, w *workflow.Workflow) ([]trial.Tested, error) {
	tests, err := w.Tests()
	if err != nil || len(tests) == 0 {
		return nil, err
	}
	now, err := c.withTemplates(ctx, inStoredForm(w))
	if err != nil {
		return nil, err
	}
	document, err := json.Marshal(now)
	if err != nil {
		return nil, fmt.Errorf("write workflow %s as JSON: %w", w.ID, err)
	}
	in := trial.Input{
		Version: workflow.Version{WorkflowID: w.ID, TenantID: value(w.TenantID), Status: workflow.Draft, Document: document},
		Judge:   c.service.Judge,
	}
	var broken error
	lookup := func(label string) (*workflow.Table, *change.Relation, error) {
		table, rel, err := c.lookup(ctx, label)
		if f, ok := err.(failure); ok { //nolint:errorlint // never wrapped
			broken = f.err
		}
		return table, rel, err
	}
	list := make([]trial.Tested, len(tests))
	for i := range tests {
		list[i] = trial.RunTest(in, &tests[i], lookup)
	}
	return list, broken
}

// withTemplates is the workflow with the templates as they are now, all of them: a name that
// isn't there may be like one that is.
func (c *catalog) withTemplates(ctx context.Context, w *workflow.Workflow) (*workflow.Workflow, error) {
	templates, ok := c.templates[value(w.TenantID)]
	if !ok && c.own != nil {
		templates = rendered(c.own, value(w.TenantID))
		c.templates[value(w.TenantID)] = templates
	} else if !ok {
		var err error
		if templates, err = c.service.Source.TemplatesFor(ctx, value(w.TenantID)); err != nil {
			return nil, err
		}
		c.templates[value(w.TenantID)] = templates
	}
	now := *w
	now.Templates = templates
	return &now, nil
}

func failed(list []trial.Tested) []trial.Tested {
	var bad []trial.Tested
	for _, t := range list {
		if !t.Passed {
			bad = append(bad, t)
		}
	}
	return bad
}

// AddTest puts a saved test into the draft of a workflow, which is made of the live version
// if there is none. Unless force, it returns workflow.ErrConflict if the draft is somebody
// else's, and in any case if there is a test of its name.
func (s *Service) AddTest(ctx context.Context, id string, t workflow.Test, actor string, force bool) error {
	d, err := s.current(ctx, id)
	if err != nil {
		return err
	}
	show, err := shown(d)
	if err != nil {
		return err
	}
	next, base := *show.Workflow, d.Version
	if show.Next != nil {
		if !force && show.By != actor {
			return conflict("workflow %s has a draft%s, which this would change; look at it (rowbell workflow diff %[1]s live draft), or say --force", id, madeBy(d))
		}
		next, base = *show.Next, show.Base
	}
	if err := next.AddTest(t); err != nil {
		if errors.Is(err, workflow.ErrConflict) {
			return conflict("workflow %s has a test called %q already", id, t.Name)
		}
		return refused("workflow %s: %s", id, err)
	}
	draft, err := draftJSON(&next, base, actor)
	if err != nil {
		return err
	}
	return s.Source.SetDraft(ctx, s.edit(d, "workflow.test", actor, map[string]any{"test": t.Name}), draft)
}

// RecordedTest is a saved test of a recorded event, which expects what the workflow, an id or
// a file, says of it now; and what it says.
func (s *Service) RecordedTest(ctx context.Context, of Simulation) (workflow.Test, trial.Result, error) {
	r, err := s.Simulate(ctx, of)
	if err != nil {
		return workflow.Test{}, r, err
	}
	_, w, err := s.Resolved(ctx, of)
	if err != nil {
		return workflow.Test{}, r, err
	}
	e, err := s.State.RecordedEvent(ctx, of.Event)
	if err != nil {
		return workflow.Test{}, r, err
	}
	t, err := trial.TestOf(e, &r, w)
	return t, r, err
}

// secretLike is what a column may be called that table workflow_definition would take for a
// secret in a draft, and move.
var secretLike = regexp.MustCompile(`(?i)"(secret|password|token)"\s*:\s*"`)

// draftSettings are settings as a draft holds them: tests that have such columns as a text,
// which stays as it is.
func draftSettings(settings json.RawMessage) (json.RawMessage, error) {
	if !secretLike.Match(settings) {
		return settings, nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(settings, &keys); err != nil {
		return nil, err
	}
	tests := keys[workflow.TestsKey]
	if !secretLike.Match(tests) {
		return settings, nil
	}
	text, err := json.Marshal(string(tests))
	if err != nil {
		return nil, err
	}
	keys[workflow.TestsKey] = text
	return json.Marshal(keys)
}

// TestedWorkflow is what came of the saved tests of a workflow.
type TestedWorkflow struct {
	ID    string         `json:"id,omitempty"`
	Name  string         `json:"name,omitempty"`
	Of    string         `json:"of"` // version 3; draft; a file
	Tests []trial.Tested `json:"tests"`
	// Problem says why its tests can't be read; "" if they can.
	Problem string `json:"problem,omitempty"`
}

// Failed are the tests that fail.
func (t *TestedWorkflow) Failed() []trial.Tested { return failed(t.Tests) }

// TestStored runs the saved tests of the workflows that a filter chooses, or of the one of
// this id if it isn't "", and of their drafts.
func (s *Service) TestStored(ctx context.Context, id string, f store.WorkflowFilter) ([]TestedWorkflow, error) {
	var defs []store.Definition
	var err error
	if id != "" {
		defs = make([]store.Definition, 1)
		defs[0], err = s.Source.Definition(ctx, id)
	} else {
		defs, err = s.Source.Definitions(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	return s.testDefinitions(ctx, defs, id != "")
}

// TestThese runs the saved tests of workflows and their drafts, of those too that have none;
// what isn't there is left out.
func (s *Service) TestThese(ctx context.Context, ids []string) ([]TestedWorkflow, error) {
	defs, err := s.these(ctx, ids)
	if err != nil {
		return nil, err
	}
	return s.testDefinitions(ctx, defs, true)
}

// testDefinitions runs saved tests. all: of those too that have none.
func (s *Service) testDefinitions(ctx context.Context, defs []store.Definition, all bool) ([]TestedWorkflow, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	var list []TestedWorkflow
	add := func(of string, w *workflow.Workflow, problem error) error {
		t := TestedWorkflow{ID: w.ID, Name: w.Name, Of: of, Tests: []trial.Tested{}}
		if problem == nil {
			_, problem = w.Tests()
		}
		if problem != nil {
			t.Problem = problem.Error()
		} else if tests, err := c.test(ctx, w); err != nil {
			return err
		} else if tests != nil {
			t.Tests = tests
		}
		if all || t.Problem != "" || len(t.Tests) > 0 {
			list = append(list, t)
		}
		return nil
	}
	for _, d := range defs {
		show, draftErr := shown(d)
		if show == nil {
			return nil, draftErr
		}
		if err := add(fmt.Sprintf("version %d", d.Version), show.Workflow, nil); err != nil {
			return nil, err
		}
		switch {
		case draftErr != nil:
			err = add("draft", show.Workflow, draftErr)
		case show.Next != nil:
			err = add("draft", show.Next, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// TestBundle runs the saved tests of files, with the templates that they bring along.
func (s *Service) TestBundle(ctx context.Context, b *Bundle) ([]TestedWorkflow, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	p := &planner{catalog: c, plan: &Plan{}}
	if err := p.templatesSet(ctx, b); err != nil {
		return nil, err
	}
	var list []TestedWorkflow
	for _, d := range b.Workflows {
		w, err := s.Whole(ctx, d)
		if err != nil {
			return nil, err
		}
		t := TestedWorkflow{ID: w.ID, Name: w.Name, Of: d.file, Tests: []trial.Tested{}}
		tests, err := c.test(ctx, w)
		if err != nil {
			return nil, err
		}
		if tests != nil {
			t.Tests = tests
		}
		list = append(list, t)
	}
	return list, joined(p.problems)
}

// CheckBundle judges what files hold as Check does, with the templates that they bring along.
func (s *Service) CheckBundle(ctx context.Context, b *Bundle) ([]Checked, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	p := &planner{catalog: c, plan: &Plan{}}
	if err := p.templatesSet(ctx, b); err != nil {
		return nil, err
	}
	list := make([]Checked, len(b.Workflows))
	for i, d := range b.Workflows {
		w, err := s.Whole(ctx, d)
		if err != nil {
			return nil, err
		}
		list[i] = Checked{ID: w.ID, Name: w.Name, Status: w.Status, Of: d.file}
		if list[i].Report, err = c.check(ctx, w); err != nil {
			return nil, err
		}
	}
	return list, joined(p.problems)
}

// WriteTest writes a test as an item of the list tests, indented as YAML does.
func WriteTest(t workflow.Test) ([]byte, error) {
	w := workflow.Workflow{}
	if err := w.AddTest(t); err != nil {
		return nil, err
	}
	return YAML(&w)
}

// InsertTest puts a test into the text of a file, behind those that are there, and leaves all
// else as it is, comments too. The error says why that can't be done.
func InsertTest(file string, data []byte, t workflow.Test) ([]byte, error) {
	doc, err := Read(file, data)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(file, ".json") {
		return nil, fmt.Errorf("%s is JSON, into which tests aren't written; leave --write out, and put it there yourself", file)
	}
	before := doc.whole()
	after := doc.whole()
	if err := after.AddTest(t); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	text, err := WriteTest(t)
	if err != nil {
		return nil, err
	}
	root, err := parseYAML(file, data)
	if err != nil {
		return nil, err
	}
	_, items, _ := strings.Cut(string(text), "\n") // without the key
	lines := strings.SplitAfter(string(data), "\n")
	at := len(lines)
	if i := slices.IndexFunc(root.members, func(m member) bool { return m.key == workflow.TestsKey }); i < 0 {
		items = string(text)
	} else {
		tests := root.members[i].value
		if tests.kind != list || len(tests.items) == 0 {
			return nil, insertError(file)
		}
		if i+1 < len(root.members) {
			at = root.members[i+1].line - 1
		}
		// The dash stands before the first key of an item.
		column := tests.items[0].column - 3
		if column < 0 {
			return nil, insertError(file)
		}
		items = reindented(items, 2, column)
	}
	// Behind the last line that says something: what follows may be a comment on what comes next.
	for at > 0 && (strings.TrimSpace(lines[at-1]) == "" || strings.HasPrefix(strings.TrimSpace(lines[at-1]), "#")) {
		at--
	}
	head := strings.Join(lines[:at], "")
	if head != "" && !strings.HasSuffix(head, "\n") {
		head += "\n"
	}
	changed := []byte(head + items + strings.Join(lines[at:], ""))
	// What was written must be what was meant.
	check, err := Read(file, changed)
	if err != nil || !sameStored(&check.Workflow, after) || sameStored(before, after) {
		return nil, insertError(file)
	}
	return changed, nil
}

func insertError(file string) error {
	return fmt.Errorf("%s is written in a way into which a test can't be put without changing more; leave --write out, and put it there yourself", file)
}

// reindented moves lines from one indentation to another.
func reindented(text string, from, to int) string {
	if from == to {
		return text
	}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) != "" {
			lines[i] = strings.Repeat(" ", to) + line[min(from, len(line)):]
		}
	}
	return strings.Join(lines, "")
}
