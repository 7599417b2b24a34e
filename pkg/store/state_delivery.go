package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// VersionAction is an action of a workflow version.
type VersionAction struct {
	VersionRef int32 // surrogate of the version
	Action     int16 // index in the version's actions
}

// DeliverySearch chooses deliveries, ended or not. What is zero chooses nothing out.
type DeliverySearch struct {
	TenantID    *string // of the workflow; "" = operators' workflows
	WorkflowIDs []string
	Statuses    []DeliveryStatus // empty: all
	Kind        string
	Recipient   string
	// Lane is that of a destination. The log of what has ended knows none: Actions are those
	// that go there, of the versions that are to be looked at.
	Lane        int64
	Actions     []VersionAction
	Table       string // label of the event's table, or domain:<name>
	RowKey      string // as the log has it
	EventID     string
	ExecutionID string
	Cause       string    // a part of the reason, in upper or lower case
	Since       time.Time // commit time of the change: not before,
	Until       time.Time // and before
	Cursor      string    // Next of the page before; "" = the first page
	Limit       int       // defaults to 100; at most 1000
}

func (l ListedDelivery) place() place {
	return place{At: l.CommittedAt, ID: l.ExecutionID, Action: l.Action, Recipient: l.Recipient}
}

// Cursor is that of a page which begins behind a delivery.
func (l ListedDelivery) Cursor() string { return l.place().cursor() }

// searchedDeliveryColumns are those of scanDelivery.
var searchedDeliveryColumns = strings.NewReplacer(
	"d.execution_id", "c.id", "d.reason", "c.error", "d.", "c.",
).Replace(deliveryColumns)

// SearchDeliveries reads a page of deliveries. Returns ErrCursor for a cursor of something
// else.
func (s *State) SearchDeliveries(ctx context.Context, f DeliverySearch) (Page[ListedDelivery], error) {
	q := logSearch{
		sources: deliverySources, deliveries: true, tenantID: f.TenantID, workflowIDs: f.WorkflowIDs, table: f.Table, rowKey: f.RowKey,
		recipient: f.Recipient, eventID: f.EventID, executionID: f.ExecutionID, kind: f.Kind, text: f.Cause, lane: f.Lane, actions: f.Actions,
		since: f.Since, until: f.Until, cursor: f.Cursor, limit: f.Limit,
	}
	for _, status := range f.Statuses {
		q.statuses = append(q.statuses, string(status))
	}
	if f.Cause != "" && q.statuses == nil { // what has succeeded has no reason
		q.statuses = []string{string(DeliveryPending), string(DeliveryRetrying), string(DeliveryDead), string(DeliveryCancelled)}
	}
	page, err := searchLog(ctx, s, q, searchedDeliveryColumns, func(row pgx.CollectableRow) (ListedDelivery, error) { return scanDelivery(row) }, ListedDelivery.place)
	if err != nil {
		return page, searchError("search deliveries", err)
	}
	return page, nil
}

// deliveriesOf reads the deliveries of an execution, with their attempts: one more than are
// shown, if there are as many.
func (s *State) deliveriesOf(ctx context.Context, executionID string, committedAt time.Time) ([]ShownDelivery, error) {
	list := []ShownDelivery{}
	rows, err := s.db.Query(ctx, `select `+deliveryColumns+`, coalesce(d.response, ''), d.address::text, d.duration_ms
from `+deliveriesSQL+` d `+deliveryJoins+` where d.execution_id = $1 and d.committed_at = $2 order by d.action, d.recipient limit $3`, executionID, committedAt, mostShown+1)
	if err != nil {
		return list, err
	}
	var last []*int64 // how long their last attempts took, in ms
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ShownDelivery, error) {
		var d ShownDelivery
		var address *string
		var ms *int64
		l, err := scanDelivery(row, &d.Response, &address, &ms)
		d.ListedDelivery = l
		if address != nil {
			d.Person = workflow.ParsePerson([]byte(*address))
		}
		last = append(last, ms)
		return d, err
	})
	if err != nil {
		return list, err
	}
	rows, err = s.db.Query(ctx, `select action, recipient, attempt, started_at, duration_ms::int8, coalesce(code, 0)::int4, coalesce(error, ''), coalesce(response, '')
from rowbell.attempt where execution_id = $1 and committed_at = $2 order by action, recipient, attempt`, executionID, committedAt)
	if err != nil {
		return list, err
	}
	type attempt struct {
		Action    int16
		Recipient string
		DeliveryAttempt
	}
	tries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a attempt, err error) {
		err = row.Scan(&a.Action, &a.Recipient, &a.Attempt, &a.StartedAt, &a.DurationMS, &a.Code, &a.Error, &a.Response)
		return a, err
	})
	if err != nil {
		return list, err
	}
	for i := range list {
		d := &list[i]
		d.Tries = []DeliveryAttempt{}
		for _, a := range tries {
			if a.Action == d.Action && a.Recipient == d.Recipient {
				d.Tries = append(d.Tries, a.DeliveryAttempt)
			}
		}
		d.addLastTry(last[i])
	}
	return list, nil
}

// addLastTry adds the attempt with which it ended, which stands with the delivery.
func (d *ShownDelivery) addLastTry(ms *int64) {
	if d.EndedAt == nil || d.Attempts == 0 || ms == nil {
		return
	}
	took := time.Duration(*ms) * time.Millisecond
	d.Tries = append(d.Tries, DeliveryAttempt{d.Attempts, d.EndedAt.Add(-took), *ms, d.Code, d.Reason, d.Response})
}

func contains[E comparable](list []E, e E) bool { return slices.Contains(list, e) }

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
