package definition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
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
	now, err := c.withTemplates(ctx, w)
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
	d, err := s.Source.Definition(ctx, id)
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
		return fmt.Errorf("workflow %s: %w", id, err)
	}
	draft, err := draftJSON(&next, base, actor)
	if err != nil {
		return err
	}
	return s.Source.SetDraft(ctx, s.edit(d, "workflow.test", actor, map[string]any{"test": t.Name}), draft)
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
