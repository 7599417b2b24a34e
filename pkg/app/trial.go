package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Simulation says what to try, and on what: a recorded Event, a row (Table and Key), or a
// domain event. Zero members are left out.
type Simulation struct {
	Workflow string // an id, or the path of a YAML or JSON file
	Version  int32  // of a stored workflow; 0 = the latest
	Draft    bool   // what an editor has not published yet

	Event      string
	Table, Key string
	Domain     string    // name of a domain event
	Tenant     string    // of a domain event
	As         change.Op // what happens to the row; OpNone = as recorded
	New, Old   []byte    // JSON objects that people wrote
	Actor      []byte    // the same; "null" for none
	At         time.Time // commit time; zero = as recorded, or now
}

// Simulate says what a workflow would do. It reads, and sends nothing.
func (o *Operator) Simulate(ctx context.Context, s Simulation) (trial.Result, error) {
	if err := o.app.prepareJudging(); err != nil {
		return trial.Result{}, err
	}
	v, err := o.definition(ctx, s)
	if err != nil {
		return trial.Result{}, err
	}
	c, err := o.edited(ctx, s)
	if err != nil {
		return trial.Result{}, err
	}
	in := trial.Input{Version: v, Change: c, Judge: o.app.judgeElsewhere}
	r := trial.Simulate(in)
	if r.Firing == workflow.OncePerRow && v.WorkflowID != "" && r.RowKey != "" {
		fired, err := o.app.state.HasFired(ctx, v.WorkflowID, r.Table, r.RowKey)
		if err != nil {
			return trial.Result{}, err
		}
		in.Fired = &fired
		r = trial.Simulate(in)
	}
	return r, nil
}

// prepareJudging makes the action kinds, to judge configurations with. Nothing is run.
func (a *App) prepareJudging() error {
	if a.registry != nil {
		return nil
	}
	return a.prepareKinds("")
}

// definition finds what is to be tried.
func (o *Operator) definition(ctx context.Context, s Simulation) (workflow.Version, error) {
	if definition.IsFile(s.Workflow) {
		if s.Draft || s.Version != 0 {
			return workflow.Version{}, fmt.Errorf("%s is a file, and has neither drafts nor versions", s.Workflow)
		}
		doc, err := definition.ReadFile(s.Workflow)
		if err != nil {
			return workflow.Version{}, err
		}
		w, err := o.app.definitions().Whole(ctx, doc)
		if err != nil {
			return workflow.Version{}, err
		}
		return o.versionOf(ctx, w)
	}
	if s.Draft {
		shown, err := o.app.definitions().Show(ctx, s.Workflow)
		if err != nil {
			return workflow.Version{}, err
		}
		if shown.Next == nil {
			return workflow.Version{}, fmt.Errorf("workflow %s has no draft: %w", s.Workflow, workflow.ErrNotFound)
		}
		return o.versionOf(ctx, shown.Next)
	}
	v, err := o.app.source.LatestVersion(ctx, s.Workflow, s.Version)
	if err == nil && v.Status == workflow.Deleted {
		err = fmt.Errorf("version %d of workflow %s says that it was deleted; name the version to try: --version %d", v.Version, s.Workflow, v.Version-1)
	}
	return v, err
}

// versionOf is a workflow that is no version yet, with the templates as they are now.
func (o *Operator) versionOf(ctx context.Context, w *workflow.Workflow) (workflow.Version, error) {
	v := workflow.Version{WorkflowID: w.ID, Status: workflow.Draft}
	if w.TenantID != nil {
		v.TenantID = *w.TenantID
	}
	now := *w
	var err error
	if now.Templates, err = o.app.source.TemplatesFor(ctx, v.TenantID); err != nil {
		return v, err
	}
	v.Document, err = json.Marshal(&now)
	return v, err
}

// edited is what the workflow is tried on, with what is said to be different.
func (o *Operator) edited(ctx context.Context, s Simulation) (*trial.Change, error) {
	c, err := o.change(ctx, s)
	if err != nil {
		return nil, err
	}
	if !s.At.IsZero() {
		c.CommittedAt = s.At
	}
	if actor := strings.TrimSpace(string(s.Actor)); actor != "" {
		var object map[string]any
		if err := json.Unmarshal([]byte(actor), &object); err != nil {
			return nil, errors.New(`actor is not a JSON object; write {"id": "ann", "roles": ["approver"]}`)
		}
		c.Actor = nil
		if object != nil {
			c.Actor = json.RawMessage(actor)
		}
	}
	return c, c.Edit(s.New, s.Old)
}

// change is what the workflow is tried on, as it is.
func (o *Operator) change(ctx context.Context, s Simulation) (*trial.Change, error) {
	switch {
	case s.Event != "":
		e, err := o.app.state.RecordedEvent(ctx, s.Event)
		if errors.Is(err, workflow.ErrNotFound) {
			return nil, fmt.Errorf("event %s is not recorded: only events that a workflow matched are, and for as long as the log is kept; "+
				"try the row instead: --row TABLE KEY: %w", s.Event, workflow.ErrNotFound)
		}
		if err != nil {
			return nil, err
		}
		c, err := o.recorded(ctx, e)
		if err != nil {
			return nil, err
		}
		if s.As != change.OpNone && s.As != c.Op {
			return nil, fmt.Errorf("event %s is a %s; --as is for rows", s.Event, c.Op)
		}
		return c, nil
	case s.Domain != "":
		c := trial.Domain(s.Domain, nil, s.Tenant)
		c.CommittedAt = time.Now()
		return c, nil
	}
	t, rel, err := o.table(ctx, s.Table)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rel.Columns))
	for i, col := range rel.Columns {
		names[i] = col.Name
	}
	row, err := o.app.source.RowText(ctx, t, names, trial.SplitKey(s.Key, len(t.KeyColumns)))
	if err != nil {
		return nil, err
	}
	cells := make([]trial.Cell, len(row))
	for i, text := range row {
		cells[i] = trial.Cell{State: change.Present, Text: text}
		if text == nil {
			cells[i].State = change.Null
		}
	}
	op := s.As
	if op == change.OpNone {
		op = change.Update
	}
	c := trial.OfRow(op, cells, t, rel)
	c.CommittedAt = time.Now()
	return c, nil
}

func (o *Operator) recorded(ctx context.Context, e *workflow.Event) (*trial.Change, error) {
	return o.app.recordedChange(ctx, e)
}

// recordedChange reads a recorded event back, for the columns that its table has now.
func (a *App) recordedChange(ctx context.Context, e *workflow.Event) (*trial.Change, error) {
	if e.Op == change.Emit {
		return trial.Recorded(e, nil, nil)
	}
	t, rel, err := a.table(ctx, e.Table)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	return trial.Recorded(e, t, rel)
}

func (o *Operator) table(ctx context.Context, name string) (*workflow.Table, *change.Relation, error) {
	return o.app.table(ctx, name)
}

// table is a captured table with its columns as they are now.
func (a *App) table(ctx context.Context, name string) (*workflow.Table, *change.Relation, error) {
	t, err := a.source.TableNamed(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	rel, err := cdc.Describe(ctx, a.sourcePool, t.Schema, t.Name)
	if err != nil {
		return nil, nil, err
	}
	if rel == nil {
		return nil, nil, fmt.Errorf("table %s was captured, and is gone: %w", name, workflow.ErrNotFound)
	}
	return &t, rel, nil
}

// Explanation is what became of one event.
type Explanation struct {
	EventID     string          `json:"event_id"`
	Table       string          `json:"table"`
	Operation   string          `json:"operation"`
	RowKey      string          `json:"row_key,omitempty"`
	TenantID    string          `json:"tenant_id,omitempty"`
	CommittedAt time.Time       `json:"committed_at"`
	Position    string          `json:"position"`
	Workflows   []trial.Account `json:"workflows"`
	More        bool            `json:"more,omitempty"` // there are workflows that are left out
}

const (
	mostExplained = 500 // workflows
	lastEvents    = 5   // of a row
)

// Explain says of an event what became of it, for each workflow on its table.
func (o *Operator) Explain(ctx context.Context, eventID string) (Explanation, error) {
	e, err := o.app.state.RecordedEvent(ctx, eventID)
	if errors.Is(err, workflow.ErrNotFound) {
		return Explanation{}, fmt.Errorf("event %s is not recorded: only events that a workflow matched are, and for as long as the log is kept; "+
			"see what a workflow says of the row: rowbell workflow simulate ID --row TABLE KEY: %w", eventID, workflow.ErrNotFound)
	}
	if err != nil {
		return Explanation{}, err
	}
	return o.explain(ctx, e)
}

// ExplainRow explains the last recorded events of a row, the latest first.
func (o *Operator) ExplainRow(ctx context.Context, table, key string) ([]Explanation, error) {
	t, _, err := o.table(ctx, table)
	if err != nil {
		return nil, err
	}
	events, err := o.app.state.RowEvents(ctx, t.Label, key, lastEvents)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("no change of %s %s is recorded: only those that a workflow matched are. See what a workflow says of the row: rowbell workflow simulate ID --row %s %s: %w",
			t.Label, key, t.Label, key, workflow.ErrNotFound)
	}
	list := make([]Explanation, len(events))
	for i, e := range events {
		if list[i], err = o.explain(ctx, e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (o *Operator) explain(ctx context.Context, e *workflow.Event) (Explanation, error) {
	x := Explanation{
		EventID: e.ID, Table: e.Table, Operation: e.Op.String(), RowKey: e.RowKey, TenantID: e.TenantID,
		CommittedAt: e.CommittedAt.UTC(), Position: e.Position.String(),
	}
	a := o.app
	if err := a.prepareJudging(); err != nil {
		return x, err
	}
	q := trial.Question{Judge: a.judgeElsewhere, Holding: a.cfg.Delivery == DeliveryHold}
	var err error
	if q.Change, err = o.recorded(ctx, e); err != nil {
		return x, err
	}
	if q.Big, err = a.state.BigStatusAt(ctx, e.Position); err != nil {
		return x, err
	}
	executions, err := a.state.EventExecutions(ctx, e.ID)
	if err != nil {
		return x, err
	}
	for _, r := range executions {
		t := trial.Execution{
			ID: r.ID, WorkflowID: r.WorkflowID, Version: r.Version, Name: r.Name, Status: r.Status, Error: r.Error,
			Waiting: r.Waiting, Ready: r.Ready, Leased: r.Leased, Gate: r.Gate, LastError: r.LastError, Storm: r.Storm,
		}
		if r.NextAt != nil {
			t.NextAt = *r.NextAt
		}
		q.Executions = append(q.Executions, t)
	}
	versions, more, err := a.source.VersionsOn(ctx, e.Table, e.TenantID, mostExplained)
	if err != nil {
		return x, err
	}
	x.More = more
	var ids []string
	for _, v := range versions {
		if !slices.Contains(ids, v.WorkflowID) {
			ids = append(ids, v.WorkflowID)
		}
	}
	positions, err := a.state.AppliedPositions(ctx, ids)
	if err != nil {
		return x, err
	}
	type ref struct {
		id      string
		version int32
	}
	at := make(map[ref]int, len(positions))
	for i, p := range positions {
		at[ref{p.ID, p.Version}] = i
	}
	for _, v := range versions {
		past := trial.Past{Version: v.Version, CreatedAt: v.CreatedAt}
		if i, known := at[ref{v.WorkflowID, v.Version.Version}]; known {
			past.Known, past.Stream, past.CommitLSN = true, positions[i].Stream, positions[i].CommitLSN
		}
		q.Versions = append(q.Versions, past)
	}
	x.Workflows = trial.Explain(q)
	return x, nil
}

// mark is a tick or a cross, with a word for those who see neither.
func mark(v condition.Verdict) string {
	switch v {
	case condition.True:
		return "✓ true"
	case condition.False:
		return "✗ false"
	case condition.Failed:
		return "! failed"
	}
	return "- not evaluated"
}
