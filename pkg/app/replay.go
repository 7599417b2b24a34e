package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	replayEach   = 500 * time.Millisecond // how often replays are looked for
	replayNext   = 50 * time.Millisecond  // and while one is worked off
	replayWait   = 2 * time.Second        // after a failure
	replayMost   = 500                    // executions at a time
	evaluateMost = 100                    // the same, where conditions are evaluated again
	replayLong   = 8 * time.Second        // for one part: its transaction holds the replay
	mostReplayed = 1000                   // versions that are kept compiled
)

// replays works off replays, beside the other workers.
func (a *App) replays(ctx context.Context) error {
	r := replayer{app: a, compiled: make(map[int32]*match.Compiled)}
	told := ""
	evaluated := evaluateMost
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, replayLong)
		worked, err := a.state.ReplayStep(call, replayMost, evaluated, r.make)
		slow := call.Err() != nil
		cancel()
		wait := replayEach
		// A part that takes too long is done again, in smaller ones.
		if slow {
			evaluated = max(evaluated/2, 1)
		} else if worked {
			evaluated = min(2*evaluated, evaluateMost)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			wait = replayWait
			if why := Message(err); why != told {
				told = why
				a.log.WarnContext(ctx, "a replay could not go on, will try again", "err", why)
				if err := a.state.NoteReplay(ctx, why); err != nil {
					a.log.DebugContext(ctx, "why could not be noted", "err", err)
				}
			}
		case err == nil && told != "" && worked:
			told = ""
			if err := a.state.NoteReplay(ctx, ""); err != nil {
				a.log.DebugContext(ctx, "that replays go on could not be noted", "err", err)
			}
		}
		if worked {
			wait = replayNext
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return nil
}

// replayer makes executions anew.
type replayer struct {
	app      *App
	compiled map[int32]*match.Compiled // by surrogate; a version never changes
	// elsewhere says that this process is no worker, and lacks what workers have.
	elsewhere bool
}

// make says what is to become of the items of a replay.
func (r *replayer) make(ctx context.Context, p *store.Replay, items []store.ReplayItem) ([]store.Replayed, error) {
	refs := make(map[int32]store.VersionRef, len(items))
	current := map[string]store.CurrentVersion{}
	if p.Current {
		var ids []string
		for _, i := range items {
			if !slices.Contains(ids, i.WorkflowID) {
				ids = append(ids, i.WorkflowID)
			}
		}
		var err error
		if current, err = r.app.state.CurrentVersions(ctx, r.app.cfg.Slot, ids); err != nil {
			return nil, err
		}
		for id, v := range current {
			refs[v.Ref] = store.VersionRef{ID: id, Version: v.Version}
		}
	} else {
		for _, i := range items {
			refs[i.VersionRef] = store.VersionRef{ID: i.WorkflowID, Version: i.Version}
		}
	}
	if err := r.compile(ctx, refs); err != nil {
		return nil, err
	}
	list := make([]store.Replayed, len(items))
	for n := range items {
		ref := items[n].VersionRef
		if p.Current {
			ref = current[items[n].WorkflowID].Ref
		}
		var err error
		if list[n], err = r.one(ctx, &items[n], ref, p.Current); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// compile reads versions that aren't known yet. One that is gone stays nil.
func (r *replayer) compile(ctx context.Context, refs map[int32]store.VersionRef) error {
	if len(r.compiled) > mostReplayed {
		clear(r.compiled)
	}
	for ref, v := range refs {
		if _, known := r.compiled[ref]; known {
			continue
		}
		list, err := r.app.source.Versions(ctx, []store.VersionRef{v})
		switch {
		case errors.Is(err, workflow.ErrNotFound):
			r.compiled[ref] = nil
		case err != nil:
			return err
		default:
			judge := r.app.judge
			if r.elsewhere {
				judge = r.app.judgeElsewhere
			}
			r.compiled[ref] = match.Compile(list[0], ref, judge)
		}
	}
	return nil
}

// one makes one execution anew, with the version of a surrogate; 0: there is none.
func (r *replayer) one(ctx context.Context, i *store.ReplayItem, ref int32, evaluate bool) (store.Replayed, error) {
	refused := func(format string, args ...any) (store.Replayed, error) {
		return store.Replayed{Outcome: store.ReplayRefused, Why: fmt.Sprintf(format, args...)}, nil
	}
	c := r.compiled[ref]
	switch {
	case ref == 0:
		return refused("workflow %s was deleted, so it has no current version", i.WorkflowID)
	case c == nil:
		return refused("version %d of workflow %s is gone", i.Version, i.WorkflowID)
	case c.Status != workflow.Active:
		return refused("version %d of workflow %s is %s; activate it first", c.Version, c.WorkflowID, c.Status)
	case c.Health.Verdict != workflow.OK:
		return refused("version %d of workflow %s can't run: %s", c.Version, c.WorkflowID, c.Health.Message)
	}
	priority := i.Priority
	if evaluate {
		outcome, p, err := r.evaluate(ctx, c, i.Event)
		if err != nil || outcome != store.ReplayMade {
			return store.Replayed{Outcome: outcome}, err
		}
		priority = p
	}
	x := &workflow.Execution{Event: i.Event, VersionRef: ref, TenantID: c.TenantID, Priority: priority, Status: workflow.Success}
	done := store.Replayed{Outcome: store.ReplayMade, Execution: x, WorkflowID: c.WorkflowID, Fires: c.OncePerRow}
	if !c.LogOnly {
		x.Status = workflow.Pending
		done.Deliveries = engine.AppendDeliveries(nil, c, x)
	}
	return done, nil
}

// evaluate says whether a version matches an event that was recorded, and with which
// priority.
func (r *replayer) evaluate(ctx context.Context, c *match.Compiled, recorded *workflow.Event) (store.ReplayOutcome, int32, error) {
	outcome, priority, err := r.app.evaluate(ctx, c, recorded)
	if errors.Is(err, workflow.ErrNotFound) { // its table is gone, or isn't captured any more
		return store.ReplayUndecided, 0, nil
	}
	return outcome, priority, err
}

func (a *App) evaluate(ctx context.Context, c *match.Compiled, recorded *workflow.Event) (store.ReplayOutcome, int32, error) {
	e := *recorded
	var err error
	if e.Data, err = a.state.EventData(ctx, &e); err != nil {
		return "", 0, err
	}
	changed, err := a.definitions().Recorded(ctx, &e)
	if err != nil {
		return "", 0, err
	}
	v := workflow.Version{WorkflowID: c.WorkflowID, TenantID: c.TenantID, Status: c.Status, Version: c.Version}
	if v.Document, err = json.Marshal(c.Workflow); err != nil {
		return "", 0, err
	}
	result := trial.Simulate(trial.Input{Version: v, Change: changed, Judge: a.judgeElsewhere})
	switch result.Answer {
	case trial.Fires, trial.Depends: // the gate decides
	case trial.DoesNot:
		return store.ReplayUnmatched, 0, nil
	default:
		return store.ReplayUndecided, 0, nil
	}
	var priority int32
	first := true
	for _, t := range result.Triggers {
		if t.Verdict == condition.True && (first || t.Priority < priority) {
			priority, first = t.Priority, false
		}
	}
	return store.ReplayMade, priority, nil
}

const (
	defaultReplay    = 100_000 // executions
	evaluatedAtFirst = 200     // by a dry run
	fastestReplay    = 10_000  // executions per second
)

// check judges what is to be run again, and fills in the limit.
func check(q *api.ReplayRequest) error {
	switch {
	case len(q.Workflows) == 0 && q.TenantID == nil:
		return errors.New("name the workflows to replay, or a tenant")
	case q.Since.IsZero():
		return errors.New("say from when on")
	case !q.Since.Before(q.Until):
		return fmt.Errorf("%s is not before %s", q.Since.Format(time.RFC3339), q.Until.Format(time.RFC3339))
	case q.Limit < 0 || q.Limit > store.MostReplayed:
		return fmt.Errorf("the limit %d is out of range; use 1 to %d", q.Limit, store.MostReplayed)
	case !(q.Rate > 0 && q.Rate <= fastestReplay):
		return fmt.Errorf("the rate %g/s is out of range; use more than 0/s, and at most %d/s", q.Rate, fastestReplay)
	case len(q.Statuses) == 0:
		return errors.New("say which executions: failure, cancelled or success")
	}
	if q.Limit == 0 {
		q.Limit = defaultReplay
	}
	return nil
}

// PlanReplay says what a replay would do, and does nothing.
func (o *Operator) PlanReplay(ctx context.Context, q api.ReplayRequest) (api.ReplayPlan, error) {
	var p api.ReplayPlan
	if q.Until.IsZero() {
		q.Until = time.Now()
	}
	if err := check(&q); err != nil {
		return p, said{err.Error(), workflow.ErrRefused}
	}
	var err error
	if p.Parts, err = o.app.state.CountReplay(ctx, q.ReplayFilter); err != nil {
		return p, err
	}
	var ids []string
	for _, part := range p.Parts {
		p.Total, p.Gone = p.Total+part.Count, p.Gone+part.Gone
		if !slices.Contains(ids, part.WorkflowID) {
			ids = append(ids, part.WorkflowID)
		}
	}
	p.Full = p.Total == q.Limit
	statuses, err := o.app.source.Statuses(ctx, ids)
	if err != nil {
		return p, err
	}
	for _, id := range ids {
		if is := statuses[id]; is != workflow.Active {
			p.Problems = append(p.Problems, fmt.Sprintf("workflow %s is %s, so that what is replayed would be cancelled at once; activate it first: rowbell workflow activate %s", id, is, id))
		}
	}
	if q.Current && len(p.Problems) == 0 && p.Total > 0 {
		err = o.evaluateFirst(ctx, q, &p)
	}
	return p, err
}

// evaluateFirst evaluates the current versions on the first of what is chosen.
func (o *Operator) evaluateFirst(ctx context.Context, q api.ReplayRequest, p *api.ReplayPlan) error {
	if err := o.app.prepareJudging(); err != nil {
		return err
	}
	q.Limit = min(q.Limit, evaluatedAtFirst)
	items, err := o.app.state.ReplayItems(ctx, q.ReplayFilter)
	if err != nil {
		return err
	}
	r := replayer{app: o.app, compiled: make(map[int32]*match.Compiled), elsewhere: true}
	list, err := r.make(ctx, &store.Replay{Current: true}, items)
	if err != nil {
		return err
	}
	p.Evaluated = len(list)
	for _, x := range list {
		switch x.Outcome {
		case store.ReplayUnmatched:
			p.Unmatched++
		case store.ReplayUndecided:
			p.Undecided++
		case store.ReplayRefused:
			if !slices.Contains(p.Problems, x.Why) {
				p.Problems = append(p.Problems, x.Why)
			}
		case store.ReplayMade:
		}
	}
	return nil
}

// StartReplay starts a replay, which workers work off. It refuses what PlanReplay has
// problems with.
func (o *Operator) StartReplay(ctx context.Context, q api.ReplayRequest) (store.Replay, error) {
	if q.Until.IsZero() {
		q.Until = time.Now()
	}
	p, err := o.PlanReplay(ctx, q)
	if err != nil {
		return store.Replay{}, err
	}
	if len(p.Problems) > 0 {
		return store.Replay{}, said{strings.Join(p.Problems, "; "), workflow.ErrConflict}
	}
	_ = check(&q) // it has filled in the limit; PlanReplay has told what is wrong
	r, err := o.app.state.StartReplay(ctx, q.ReplayFilter, q.Current, q.Rate, q.By)
	if err != nil {
		return r, err
	}
	return r, o.noteReplay(ctx, &r, "replay.start", q.By)
}

// noteReplay writes what was done to a replay into audit_log, for the tenant whose workflows
// it is about if they are all of one.
func (o *Operator) noteReplay(ctx context.Context, r *store.Replay, action, actor string) error {
	act := store.Act{
		Actor: actor, Action: action, ObjectType: "replay", ObjectID: strconv.Itoa(int(r.ID)),
		Detail: map[string]any{"filter": r.Filter, "total": r.Total, "done": r.Done, "current": r.Current, "rate": r.Rate},
	}
	if r.Filter.TenantID != nil {
		act.TenantID = *r.Filter.TenantID
	} else {
		tenants, err := o.app.state.TenantsOf(ctx, r.Filter.Workflows)
		if err != nil {
			return err
		}
		if len(tenants) == 1 {
			act.TenantID = tenants[0]
		}
	}
	return o.note(ctx, act)
}

// Replays lists replays, the newest first.
func (o *Operator) Replays(ctx context.Context) ([]store.Replay, error) {
	const most = 1000
	return o.app.state.Replays(ctx, most)
}

// Replay reads one replay. Returns ErrNotFound if there is none of this number.
func (o *Operator) Replay(ctx context.Context, id int32) (store.Replay, error) {
	return o.app.state.Replay(ctx, id)
}

// CancelReplay ends a replay. Returns ErrNotFound, or ErrConflict if it has ended.
func (o *Operator) CancelReplay(ctx context.Context, id int32) (store.Replay, error) {
	r, err := o.app.state.CancelReplay(ctx, id)
	if err != nil {
		return r, err
	}
	return r, o.noteReplay(ctx, &r, "replay.cancel", "")
}
