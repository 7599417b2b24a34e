package definition

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Simulation says what to try, and on what: a recorded Event, a row (Table and Key), or a
// domain event. Zero members are left out.
type Simulation struct {
	Document *Document // a workflow that isn't stored, or
	Workflow string    // the id of one that is
	Version  int32     // of a stored workflow; 0 = the latest
	Draft    bool      // what an editor has not published yet

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
func (s *Service) Simulate(ctx context.Context, of Simulation) (trial.Result, error) {
	v, err := s.definition(ctx, of)
	if err != nil {
		return trial.Result{}, err
	}
	c, err := s.Change(ctx, of)
	if err != nil {
		return trial.Result{}, err
	}
	in := trial.Input{Version: v, Change: c, Judge: s.Judge}
	r := trial.Simulate(in)
	if r.Firing == workflow.OncePerRow && v.WorkflowID != "" && r.RowKey != "" {
		fired, err := s.State.HasFired(ctx, v.WorkflowID, r.Table, r.RowKey)
		if err != nil {
			return trial.Result{}, err
		}
		in.Fired = &fired
		r = trial.Simulate(in)
	}
	return r, nil
}

// definition finds what is to be tried.
func (s *Service) definition(ctx context.Context, of Simulation) (workflow.Version, error) {
	if of.Document != nil {
		w, err := s.Whole(ctx, of.Document)
		if err != nil {
			return workflow.Version{}, err
		}
		return s.versionOf(ctx, w)
	}
	if of.Draft {
		shown, err := s.Show(ctx, of.Workflow)
		if err != nil {
			return workflow.Version{}, err
		}
		if shown.Next == nil {
			return workflow.Version{}, fmt.Errorf("workflow %s has no draft: %w", of.Workflow, workflow.ErrNotFound)
		}
		return s.versionOf(ctx, shown.Next)
	}
	v, err := s.Source.LatestVersion(ctx, of.Workflow, of.Version)
	if err == nil && v.Status == workflow.Deleted {
		err = notFound("version %d of workflow %s says that it was deleted; name the version to try: --version %d", v.Version, of.Workflow, v.Version-1)
	}
	return v, err
}

// TenantOf is whose row or event something is to be tried on, as it is without what is said
// to be different; "" nobody's.
func (s *Service) TenantOf(ctx context.Context, of Simulation) (string, error) {
	c, err := s.change(ctx, of)
	if err != nil {
		return "", err
	}
	return c.TenantID(), nil
}

// Resolved is the definition that is to be tried, and what it says.
func (s *Service) Resolved(ctx context.Context, of Simulation) (workflow.Version, *workflow.Workflow, error) {
	v, err := s.definition(ctx, of)
	if err != nil {
		return v, nil, err
	}
	w, err := workflow.Parse(v.Document)
	return v, w, err
}

// versionOf is a workflow that is no version yet, with the templates as they are now.
func (s *Service) versionOf(ctx context.Context, w *workflow.Workflow) (workflow.Version, error) {
	v := workflow.Version{WorkflowID: w.ID, Status: workflow.Draft}
	if w.TenantID != nil {
		v.TenantID = *w.TenantID
	}
	now := *w
	var err error
	if now.Templates, err = s.Source.TemplatesFor(ctx, v.TenantID); err != nil {
		return v, err
	}
	v.Document, err = json.Marshal(&now)
	return v, err
}

// Change is what the workflow is tried on, with what is said to be different.
func (s *Service) Change(ctx context.Context, of Simulation) (*trial.Change, error) {
	c, err := s.change(ctx, of)
	if err != nil {
		return nil, err
	}
	if !of.At.IsZero() {
		c.CommittedAt = of.At
	}
	if actor := strings.TrimSpace(string(of.Actor)); actor != "" {
		var object map[string]any
		if err := json.Unmarshal([]byte(actor), &object); err != nil {
			return nil, refused(`actor is not a JSON object; write {"id": "ann", "roles": ["approver"]}`)
		}
		c.Actor = nil
		if object != nil {
			c.Actor = json.RawMessage(actor)
		}
	}
	if err := c.Edit(of.New, of.Old); err != nil {
		return nil, refused("%s", err)
	}
	return c, nil
}

// change is what the workflow is tried on, as it is.
func (s *Service) change(ctx context.Context, of Simulation) (*trial.Change, error) {
	switch {
	case of.Event != "":
		e, err := s.State.RecordedEvent(ctx, of.Event)
		if errors.Is(err, workflow.ErrNotFound) {
			return nil, fmt.Errorf("event %s is not recorded: only events that a workflow matched are, and for as long as the log is kept; "+
				"try the row instead: --row TABLE KEY: %w", of.Event, workflow.ErrNotFound)
		}
		if err != nil {
			return nil, err
		}
		c, err := s.Recorded(ctx, e)
		if err != nil {
			return nil, err
		}
		if of.As != change.OpNone && of.As != c.Op {
			return nil, refused("event %s is a %s; --as is for rows", of.Event, c.Op)
		}
		return c, nil
	case of.Domain != "":
		c := trial.Domain(of.Domain, nil, of.Tenant)
		c.CommittedAt = time.Now()
		return c, nil
	}
	t, rel, err := s.Table(ctx, of.Table)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rel.Columns))
	for i, col := range rel.Columns {
		names[i] = col.Name
	}
	row, err := cmp.Or(s.Rows, s.Source).RowText(ctx, t, names, trial.SplitKey(of.Key, len(t.KeyColumns)))
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
	op := of.As
	if op == change.OpNone {
		op = change.Update
	}
	c := trial.OfRow(op, cells, t, rel)
	c.CommittedAt = time.Now()
	return c, nil
}

// Recorded reads a recorded event back, for the columns that its table has now.
func (s *Service) Recorded(ctx context.Context, e *workflow.Event) (*trial.Change, error) {
	if e.Op == change.Emit {
		return trial.Recorded(e, nil, nil)
	}
	t, rel, err := s.Table(ctx, e.Table)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	return trial.Recorded(e, t, rel)
}

// Table is a captured table with its columns as they are now. Returns workflow.ErrNotFound if
// there is none.
func (s *Service) Table(ctx context.Context, name string) (*workflow.Table, *change.Relation, error) {
	t, err := s.Source.TableNamed(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	rel, err := s.Describe(ctx, t.Schema, t.Name)
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

// MostExplained is how many workflows an explanation has at most.
const MostExplained = 500

const lastEvents = 5 // of a row

// Explain says of an event what became of it, for each workflow on its table.
func (s *Service) Explain(ctx context.Context, eventID string) (Explanation, error) {
	return s.ExplainSome(ctx, eventID, MostExplained)
}

// ExplainSome explains an event with at most so many workflows of those that serve other
// tenants: it was nothing to them.
func (s *Service) ExplainSome(ctx context.Context, eventID string, others int) (Explanation, error) {
	e, err := s.State.RecordedEvent(ctx, eventID)
	if errors.Is(err, workflow.ErrNotFound) {
		return Explanation{}, fmt.Errorf("event %s is not recorded: only events that a workflow matched are, and for as long as the log is kept; "+
			"see what a workflow says of the row: rowbell workflow simulate ID --row TABLE KEY: %w", eventID, workflow.ErrNotFound)
	}
	if err != nil {
		return Explanation{}, err
	}
	return s.explain(ctx, e, others)
}

// ExplainRow explains the last recorded events of a row, the latest first.
func (s *Service) ExplainRow(ctx context.Context, table, key string) ([]Explanation, error) {
	t, _, err := s.Table(ctx, table)
	if err != nil {
		return nil, err
	}
	events, err := s.State.RowEvents(ctx, t.Label, key, lastEvents)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("no change of %s %s is recorded: only those that a workflow matched are. See what a workflow says of the row: rowbell workflow simulate ID --row %s %s: %w",
			t.Label, key, t.Label, key, workflow.ErrNotFound)
	}
	list := make([]Explanation, len(events))
	for i, e := range events {
		if list[i], err = s.explain(ctx, e, MostExplained); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *Service) explain(ctx context.Context, e *workflow.Event, others int) (Explanation, error) {
	x := Explanation{
		EventID: e.ID, Table: e.Table, Operation: e.Op.String(), RowKey: e.RowKey, TenantID: e.TenantID,
		CommittedAt: e.CommittedAt.UTC(), Position: e.Position.String(),
	}
	q := trial.Question{Judge: s.Judge, Holding: s.Holding}
	var err error
	if q.Change, err = s.Recorded(ctx, e); err != nil {
		return x, err
	}
	if q.Big, err = s.State.BigStatusAt(ctx, e.Position); err != nil {
		return x, err
	}
	executions, err := s.State.EventExecutions(ctx, e.ID)
	if err != nil {
		return x, err
	}
	for _, r := range executions {
		t := trial.Execution{
			ID: r.ID, WorkflowID: r.WorkflowID, Version: r.Version, Name: r.Name, Status: r.Status, Error: r.Error,
			Waiting: r.Waiting, Ready: r.Ready, Leased: r.Leased, Gate: r.Gate, LastError: r.LastError, Storm: r.Storm,
		}
		for i, action := range r.Stopped {
			if t.Stopped == nil {
				t.Stopped = make(map[int]string)
			}
			t.Stopped[int(action)] = r.Reasons[i]
		}
		if r.NextAt != nil {
			t.NextAt = *r.NextAt
		}
		q.Executions = append(q.Executions, t)
	}
	versions, more, err := s.Source.VersionsOn(ctx, e.Table, e.TenantID, MostExplained, others)
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
	positions, err := s.State.AppliedPositions(ctx, ids)
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
