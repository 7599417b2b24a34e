package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// ExecutionFilter chooses executions. What is zero chooses nothing out.
type ExecutionFilter struct {
	TenantID    *string // of the workflow; "" = operators' workflows
	WorkflowIDs []string
	Statuses    []workflow.ExecutionStatus
	Table       string // label of the event's table, or domain:<name>
	RowKey      string // as the log has it
	Recipient   string // who has, or had, a delivery of it
	EventID     string
	Error       string    // a part of the error, in upper or lower case
	Since       time.Time // commit time of the change: not before,
	Until       time.Time // and before
	Cursor      string    // Next of the page before; "" = the first page
	Limit       int       // defaults to 100; at most 1000
}

// ListedExecution is one execution in a list.
type ListedExecution struct {
	ID           string                   `json:"id"`
	EventID      string                   `json:"event_id"`
	WorkflowID   string                   `json:"workflow_id"`
	WorkflowName string                   `json:"workflow_name"`
	Version      int32                    `json:"workflow_version"`
	TenantID     string                   `json:"tenant_id,omitempty"`
	Status       workflow.ExecutionStatus `json:"status"`
	Error        string                   `json:"error,omitempty"` // why it failed or was cancelled; while pending, of the last attempt
	Table        string                   `json:"table,omitempty"` // "" if the event is gone
	RowKey       string                   `json:"row_key,omitempty"`
	RowTenant    string                   `json:"row_tenant,omitempty"`
	Operation    string                   `json:"operation,omitempty"`
	CommittedAt  time.Time                `json:"committed_at"` // of the change
	ExecutedAt   time.Time                `json:"executed_at"`  // when it was recorded
	SettledAt    *time.Time               `json:"settled_at,omitempty"`
	VersionRef   int32                    `json:"version_ref,omitempty"` // surrogate of the version
}

func (x ListedExecution) place() place { return place{At: x.CommittedAt, ID: x.ID} }

const executionColumns = `c.id, c.status, coalesce(c.error, ''), c.committed_at, c.executed_at, c.settled_at, c.version_ref, v.id, v.name, v.version,
	coalesce(v.tenant_id, ''), ` + eventColumns

// eventColumns say what an execution or a delivery is about.
const eventColumns = `coalesce(t.name, 'domain:' || e.domain, ''), coalesce(e.row_key, ''), coalesce(e.tenant_id, ''),
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else '' end`

func scanExecution(row pgx.CollectableRow) (ListedExecution, error) {
	var x ListedExecution
	err := row.Scan(&x.ID, &x.Status, &x.Error, &x.CommittedAt, &x.ExecutedAt, &x.SettledAt, &x.VersionRef, &x.WorkflowID, &x.WorkflowName, &x.Version,
		&x.TenantID, &x.Table, &x.RowKey, &x.RowTenant, &x.Operation)
	if err == nil {
		x.EventID = x.ID[:workflow.EventIDSize]
		x.CommittedAt, x.ExecutedAt = x.CommittedAt.UTC(), x.ExecutedAt.UTC()
	}
	return x, err
}

// SearchExecutions reads a page of the log. Returns ErrCursor for a cursor of something
// else.
func (s *State) SearchExecutions(ctx context.Context, f ExecutionFilter) (Page[ListedExecution], error) {
	const what = "search executions"
	if f.Recipient != "" {
		return s.executionsFor(ctx, f)
	}
	q := logSearch{
		sources: executionSources, tenantID: f.TenantID, workflowIDs: f.WorkflowIDs, table: f.Table, rowKey: f.RowKey, eventID: f.EventID,
		text: f.Error, since: f.Since, until: f.Until, cursor: f.Cursor, limit: f.Limit,
	}
	for _, status := range f.Statuses {
		q.statuses = append(q.statuses, string(status))
	}
	if f.Error != "" && q.statuses == nil { // what has succeeded has no error
		q.statuses = []string{string(workflow.Pending), string(workflow.Failure), string(workflow.Cancelled)}
	}
	page, err := searchLog(ctx, s, q, executionColumns, scanExecution, ListedExecution.place)
	if err != nil {
		return page, searchError(what, err)
	}
	return page, nil
}

// searchError leaves what is wrong with the search as it is said.
func searchError(what string, err error) error {
	if errors.Is(err, ErrCursor) {
		return err
	}
	return stateError(what, err)
}

// executionsFor reads those that have deliveries for a recipient.
func (s *State) executionsFor(ctx context.Context, f ExecutionFilter) (Page[ListedExecution], error) {
	const what = "search the executions of a recipient"
	page := Page[ListedExecution]{Items: []ListedExecution{}}
	deliveries, err := s.SearchDeliveries(ctx, DeliverySearch{
		TenantID: f.TenantID, WorkflowIDs: f.WorkflowIDs, Table: f.Table, RowKey: f.RowKey, EventID: f.EventID, Recipient: f.Recipient,
		Since: f.Since, Until: f.Until, Cursor: f.Cursor, Limit: f.Limit,
	})
	if err != nil {
		return page, err
	}
	var ids []string
	var ats []time.Time
	for _, d := range deliveries.Items {
		if n := len(ids); n == 0 || ids[n-1] != d.ExecutionID {
			ids, ats = append(ids, d.ExecutionID), append(ats, d.CommittedAt)
		}
	}
	page.SearchedTo = deliveries.SearchedTo
	if page.Next = deliveries.Next; page.Next != "" && page.SearchedTo == nil && len(ids) > 0 {
		// Behind all deliveries of the last execution, which would come again else.
		page.Next = place{At: ats[len(ats)-1], ID: ids[len(ids)-1], Action: -32768}.cursor()
	}
	if len(ids) == 0 {
		return page, nil
	}
	var args parameters
	sql := executionsByIDSQL(ids, ats, &args)
	rows, err := s.db.Query(ctx, sql, planned(args)...)
	if err != nil {
		return page, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanExecution)
	if err != nil {
		return page, stateError(what, err)
	}
	for _, x := range list {
		if f.wants(&x) {
			page.Items = append(page.Items, x)
		}
	}
	return page, nil
}

// wants says whether an execution has a status and an error that are asked for.
func (f *ExecutionFilter) wants(x *ListedExecution) bool {
	return (len(f.Statuses) == 0 || contains(f.Statuses, x.Status)) && (f.Error == "" || containsFold(x.Error, f.Error))
}

// executionsByIDSQL reads executions by id and commit time, in the order that is given.
func executionsByIDSQL(ids []string, ats []time.Time, args *parameters) string {
	sql := ""
	within := func(column string) string { return betweenTimes(column, ats, args) }
	for i := range executionSources {
		src := &executionSources[i]
		if i > 0 {
			sql += "\nunion all\n"
		}
		sql += fmt.Sprintf(`select %s as id, x.committed_at, x.version_ref, %s as status, %s as error, %s from %s x where %s and %[1]s = w.id and x.committed_at = w.at and %[7]s`,
			src.id, src.status, src.error, src.columns, src.table, src.where, within("x.committed_at"))
	}
	return fmt.Sprintf(`select %s from unnest(%s::text[], %s::timestamptz[]) with ordinality w (id, at, n) cross join lateral (%s) c
join rowbell.surrogate v on v.ref = c.version_ref
%s
left join rowbell.surrogate t on t.ref = e.table_ref order by w.n`, executionColumns, args.add(ids), args.add(ats), sql, eventJoin(within("e.committed_at")))
}

// betweenTimes is the condition that a column is one of these times, or between them: with
// values that the server knows when it plans, so that it plans few partitions.
func betweenTimes(column string, ats []time.Time, args *parameters) string {
	return column + " between " + args.add(slices.MinFunc(ats, time.Time.Compare)) + " and " + args.add(slices.MaxFunc(ats, time.Time.Compare))
}

// ShownExecution is all that is known of one execution.
type ShownExecution struct {
	ListedExecution
	Priority   int32           `json:"priority"`
	Run        int32           `json:"run,omitempty"`      // of the replay that made it
	Result     json.RawMessage `json:"result,omitempty"`   // what its actions gave back
	Data       json.RawMessage `json:"data,omitempty"`     // of its event
	Chain      json.RawMessage `json:"chain,omitempty"`    // the same
	Deliveries []ShownDelivery `json:"deliveries"`         // by action and recipient
	More       bool            `json:"more,omitempty"`     // there are more deliveries than these: SearchDeliveries has them
	Others     []string        `json:"others,omitempty"`   // other executions of the same event, by id
	Storm      string          `json:"storm_id,omitempty"` // that holds it: rowbell storm
}

// mostShown is how many deliveries are shown with their execution.
const mostShown = 200

// Execution reads one execution by its id, with its deliveries and their attempts. tenantID
// nil: of whatever tenant. Returns ErrNotFound if there is none.
func (s *State) Execution(ctx context.Context, id string, tenantID *string) (ShownExecution, error) {
	what := "read execution " + id
	var x ShownExecution
	if len(id) <= workflow.EventIDSize {
		return x, notFound("there is no execution %.100s in the log", id)
	}
	page, err := searchLog(ctx, s, logSearch{sources: executionSources, executionID: id, tenantID: tenantID, limit: 1}, executionColumns, scanExecution, ListedExecution.place)
	if err != nil {
		return x, stateError(what, err)
	}
	if len(page.Items) == 0 {
		return x, notFound("there is no execution %s in the log", id)
	}
	x.ListedExecution = page.Items[0]
	err = s.db.QueryRow(ctx, `select c.priority, c.result, e.data, e.chain, coalesce(c.storm, '')
from (
	select priority, result, null as storm from rowbell.execution where id = $1 and committed_at = $2
	union all
	select priority, null, case when big_stream < 0 then -big_stream || '-' || big_lsn end from rowbell.queue where execution_id = $1 and sole
	union all
	select o.priority, o.result, (select -q.big_stream || '-' || q.big_lsn from rowbell.queue q where q.execution_id = o.id and q.big_stream < 0 limit 1)
	from rowbell.execution_open o where o.id = $1
) c left join rowbell.event e on e.event_id = left($1, 26) and e.committed_at = $2`, id, x.CommittedAt).
		Scan(&x.Priority, &x.Result, &x.Data, &x.Chain, &x.Storm)
	if errors.Is(err, pgx.ErrNoRows) { // it has just been settled, or put back
		return s.Execution(ctx, id, tenantID)
	}
	if err != nil {
		return x, stateError(what, err)
	}
	x.Run = workflow.RunOf(id)
	if x.Deliveries, err = s.deliveriesOf(ctx, id, x.CommittedAt); err != nil {
		return x, stateError(what, err)
	}
	if len(x.Deliveries) > mostShown {
		x.Deliveries, x.More = x.Deliveries[:mostShown], true
	}
	others, err := s.SearchExecutions(ctx, ExecutionFilter{EventID: x.EventID, TenantID: tenantID, Limit: mostShown})
	if err != nil {
		return x, err
	}
	for _, o := range others.Items {
		if o.ID != id {
			x.Others = append(x.Others, o.ID)
		}
	}
	return x, nil
}
