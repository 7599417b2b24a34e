package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Deliveries lists deliveries, those of the newest changes first.
func (o *Operator) Deliveries(ctx context.Context, f store.DeliveryFilter) ([]store.ListedDelivery, error) {
	return o.app.state.Deliveries(ctx, f)
}

// Delivery reads one delivery by its id. Returns ErrNotFound if there is none.
func (o *Operator) Delivery(ctx context.Context, id string) (store.ShownDelivery, error) {
	return o.app.state.Delivery(ctx, id)
}

// RetryDelivery puts an ended delivery back into the queue, under the id that it had, with
// what was cancelled because it had given up. It returns the ids of all that came back.
// Returns ErrNotFound, and ErrConflict if it can't be tried again: it is in the queue, has
// succeeded, its event is gone, or its workflow is not active.
func (o *Operator) RetryDelivery(ctx context.Context, id string) ([]string, error) {
	a := o.app
	if err := a.prepareJudging(); err != nil {
		return nil, err
	}
	d, err := a.state.Delivery(ctx, id)
	if err != nil {
		return nil, err
	}
	statuses, err := a.source.Statuses(ctx, []string{d.WorkflowID})
	if err != nil {
		return nil, err
	}
	if is := statuses[d.WorkflowID]; is != workflow.Active {
		return nil, said{fmt.Sprintf("workflow %s is %s, so that its delivery would be cancelled at once; activate it first: rowbell workflow activate %s", d.WorkflowID, is, d.WorkflowID), workflow.ErrConflict}
	}
	of, err := a.putBack(ctx, store.VersionRef{ID: d.WorkflowID, Version: d.Version}, d.TenantID)
	if err != nil {
		return nil, err
	}
	back, err := a.state.RetryDelivery(ctx, id, of)
	if err != nil {
		return nil, err
	}
	return back, o.note(ctx, deliveryAct(&d, "delivery.retry", store.DeliveryPending, map[string]any{"workflow_id": d.WorkflowID, "back": len(back)}))
}

// deliveryAct is what audit_log has of a delivery that is d, and becomes status.
func deliveryAct(d *store.ShownDelivery, action string, status store.DeliveryStatus, detail map[string]any) store.Act {
	return store.Act{
		TenantID: d.TenantID, Action: action, ObjectType: "delivery", ObjectID: d.ID, Detail: detail,
		Before: map[string]any{"status": d.Status}, After: map[string]any{"status": status},
	}
}

// said is an error whose text says it all.
type said struct {
	text string
	kind error
}

func (s said) Error() string        { return s.text }
func (s said) Is(target error) bool { return target == s.kind }

// putBack says of the actions of a version what the log doesn't keep. One that can't be
// read any more gets a lane all the same: its delivery ends with the reason when it is
// tried.
func (a *App) putBack(ctx context.Context, ref store.VersionRef, tenantID string) (func(int16) store.PutBack, error) {
	var routes []workflow.Route
	versions, err := a.source.Versions(ctx, []store.VersionRef{ref})
	switch {
	case errors.Is(err, workflow.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		w, err := workflow.Parse(versions[0].Document)
		if err != nil {
			break
		}
		if judged, err := a.judgeElsewhere(w); err == nil {
			routes = judged.Routes
		}
	}
	return func(action int16) store.PutBack {
		switch {
		case action == workflow.GateAction:
			return store.PutBack{Lane: workflow.Lane(tenantID, workflow.GateKind), Addressed: true}
		case int(action) < len(routes) && action >= 0:
			return store.PutBack{Lane: routes[action].Lane, Addressed: routes[action].Addressed}
		}
		return store.PutBack{Lane: workflow.Lane(tenantID, ""), Addressed: true}
	}, nil
}

// CancelDelivery ends a delivery that is in the queue. An attempt that runs meanwhile may
// still arrive. Actions that come after it go on. Returns ErrNotFound if it is not in the
// queue.
func (o *Operator) CancelDelivery(ctx context.Context, id, by string) error {
	d, err := o.app.state.Delivery(ctx, id)
	if err != nil {
		return err
	}
	q, release := o.queue(ctx)
	defer release()
	l, err := q.Take(ctx, id)
	if err != nil {
		return err
	}
	if err := cancelTaken(ctx, q, []*workflow.Leased{l}, by); err != nil {
		return err
	}
	return o.noteCancelled(ctx, &d, by)
}

// queue is a queue of this process's, which release gives back.
func (o *Operator) queue(ctx context.Context) (q *store.Queue, release func()) {
	q = o.app.state.Queue(o.app.id, o.app.cfg.DeliveryLease)
	return q, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = q.Close(closing) // what it wrote has been answered
	}
}

// cancelTaken ends deliveries that the queue has leased to this process.
func cancelTaken(ctx context.Context, q *store.Queue, taken []*workflow.Leased, by string) error {
	reason := "cancelled by an operator"
	if by != "" {
		reason = "cancelled by " + by
	}
	outcomes := make([]workflow.Outcome, len(taken))
	for i, l := range taken {
		outcomes[i] = workflow.Outcome{Leased: l, Verb: workflow.Cancel, Reason: reason}
	}
	lost, err := q.Settle(ctx, outcomes)
	if err == nil && lost > 0 {
		which := "delivery " + taken[0].ID() + " was"
		if len(taken) > 1 {
			which = fmt.Sprintf("%d deliveries of execution %s were", lost, taken[0].ExecutionID)
		}
		err = said{which + " taken by another process meanwhile; try again", workflow.ErrConflict}
	}
	return err
}

func (o *Operator) noteCancelled(ctx context.Context, d *store.ShownDelivery, by string) error {
	act := deliveryAct(d, "delivery.cancel", store.DeliveryCancelled, map[string]any{"workflow_id": d.WorkflowID})
	act.Actor = by
	return o.note(ctx, act)
}

// cancelAtOnce is how many deliveries of an execution are cancelled in one go.
const cancelAtOnce = 500

// CancelExecution ends what has not ended of an execution, as CancelDelivery does, and returns
// the ids of those deliveries. Returns ErrConflict if all has ended.
func (o *Operator) CancelExecution(ctx context.Context, id, by string) ([]string, error) {
	x, err := o.app.state.Execution(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	q, release := o.queue(ctx)
	defer release()
	var done []string
	for { // as long as there are any: its gate, or an action that finds its people, may make some meanwhile
		ids, err := o.app.state.Unfinished(ctx, id, cancelAtOnce)
		if err != nil {
			return done, err
		}
		if len(ids) == 0 {
			break
		}
		var taken []*workflow.Leased
		for _, one := range ids {
			switch l, err := q.Take(ctx, one); {
			case err == nil:
				taken = append(taken, l)
			case !errors.Is(err, workflow.ErrNotFound): // it has ended meanwhile
				return done, err
			}
		}
		if len(taken) == 0 {
			continue
		}
		if err := cancelTaken(ctx, q, taken, by); err != nil {
			return done, err
		}
		for _, l := range taken {
			done = append(done, l.ID())
			d := store.ShownDelivery{ListedDelivery: store.ListedDelivery{ID: l.ID(), Status: store.DeliveryPending, WorkflowID: x.WorkflowID, TenantID: x.TenantID}}
			if l.Attempts > 0 {
				d.Status = store.DeliveryRetrying
			}
			if err := o.noteCancelled(ctx, &d, by); err != nil {
				return done, err
			}
		}
	}
	if len(done) == 0 {
		return nil, said{fmt.Sprintf("execution %s has ended", id), workflow.ErrConflict}
	}
	return done, nil
}
