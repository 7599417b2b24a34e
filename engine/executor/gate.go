package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// gate is what is to be decided of each execution of a version before its actions begin.
type gate struct {
	once  bool             // only the execution that stands in rowbell.fired may go on
	roles []workflow.Roles // by directory
}

// readGate reads what a workflow leaves to its gate.
func readGate(w *workflow.Workflow) (gate, error) {
	firing, err := w.Firing()
	if err != nil {
		return gate{}, err
	}
	g := gate{once: firing == workflow.OncePerRow}
	for i, c := range w.Conditions {
		if c.Type != "role_based" {
			continue
		}
		r, err := workflow.ParseRoles(c.Config)
		if err != nil {
			return gate{}, fmt.Errorf("condition %d (role_based): %w", i+1, err)
		}
		if r.By == workflow.ByDirectory {
			g.roles = append(g.roles, r)
		}
	}
	return g, nil
}

// decide decides a gate, and says in o what became of it: it succeeds, or is cancelled
// with all that comes after it; or can't be decided now.
func (e *Executor) decide(work context.Context, o *workflow.Outcome, p *plan, event *workflow.Event) {
	ctx, cancel := context.WithTimeout(work, longestAttempt)
	defer cancel()
	o.StartedAt = time.Now()
	refused, err := e.ask(ctx, o.ExecutionID, p, event)
	o.Duration = time.Since(o.StartedAt)
	if err != nil && work.Err() != nil {
		o.Verb = workflow.GiveBack // the process ends, and has cut it off
		return
	}
	o.Tried = true
	n := int(o.Attempts - o.Base) // of the waits so far
	switch {
	case err == nil && refused == "":
		o.Verb = workflow.Succeeded
	case err == nil:
		o.Verb, o.Reason, o.Stop = workflow.Cancel, refused, refused
	case n < len(e.cfg.GateRetry):
		o.Verb, o.Reason = workflow.Retry, err.Error()
		o.RetryIn = max(vary(e.cfg.GateRetry[n]), time.Millisecond)
	default:
		o.Verb, o.Reason = workflow.Dead, fmt.Sprintf("whether it may go on could not be decided in %d attempts: %v", n+1, err)
		o.Stop = o.Reason
	}
}

// ask returns why an execution may not go on; "" if it may.
func (e *Executor) ask(ctx context.Context, executionID string, p *plan, event *workflow.Event) (refused string, err error) {
	if p.gate.once {
		first, err := e.store.Fired(ctx, p.workflow.ID, event)
		switch {
		case errors.Is(err, workflow.ErrNotFound):
			return "the workflow fires once per row, and nobody knows any more whether it has fired for " + event.Table + " " + event.RowKey, nil
		case err != nil:
			return "", err
		case first != executionID && !replays(executionID, first):
			return "the workflow fires once per row, and fired for it in execution " + first, nil
		}
	}
	if len(p.gate.roles) == 0 {
		return "", nil
	}
	actor := actorOf(event.Data)
	var roles []string
	if actor != "" {
		for _, r := range p.gate.roles {
			if !directory.Asks(r) {
				continue
			}
			if roles, err = e.cfg.Directory.Roles(ctx, actor, p.workflow.TenantID); err != nil {
				return "", err
			}
			break
		}
	}
	for _, r := range p.gate.roles {
		if why := directory.Judge(r, actor, roles); why != "" {
			return why + " (by directory)", nil
		}
	}
	return "", nil
}

// replays says that an execution is a replay of first, with whichever version: it is for
// the same event, and the stream has only one execution of a workflow for that.
func replays(executionID, first string) bool {
	run := strings.Count(executionID, "-") == 2
	return run && len(first) > workflow.EventIDSize && strings.HasPrefix(executionID, first[:workflow.EventIDSize+1])
}

// actorOf is the id of the actor in an event's data; "" if there is none, or what there
// is was not written by rowbell.set_actor.
func actorOf(data []byte) string {
	var d struct {
		Actor struct {
			ID json.RawMessage `json:"id"`
		} `json:"actor"`
	}
	var id string
	if json.Unmarshal(data, &d) != nil || json.Unmarshal(d.Actor.ID, &id) != nil {
		return ""
	}
	return id
}
