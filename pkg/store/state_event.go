package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// EventFilter chooses recorded events. What is zero chooses nothing out.
type EventFilter struct {
	// TenantID is the row's, and, without a RowKey, that of a workflow that matched: "" =
	// operators' workflows, which match the rows of all tenants.
	TenantID *string
	Table    string    // label of the table, or domain:<name>
	RowKey   string    // as the log has it; Table goes with it
	Since    time.Time // commit time: not before,
	Until    time.Time // and before
	Cursor   string    // Next of the page before; "" = the first page
	Limit    int       // defaults to 100; at most 1000
	// Executions says that each event comes with its executions: what happened to a row.
	// With a TenantID they are those of that tenant's workflows.
	Executions bool
	// Data says that each comes with what was recorded of the row.
	Data bool
}

// ListedEvent is one recorded event in a list.
type ListedEvent struct {
	ID          string            `json:"id"`
	Table       string            `json:"table"`
	Operation   string            `json:"operation"` // create, update, delete or emit
	RowKey      string            `json:"row_key,omitempty"`
	TenantID    string            `json:"tenant_id,omitempty"` // of the row
	CommittedAt time.Time         `json:"committed_at"`
	Data        json.RawMessage   `json:"data,omitempty"`
	Executions  []ListedExecution `json:"executions,omitempty"` // the newest first; of each event at most 100
}

// SearchEvents reads a page of the events that matched a workflow. Returns ErrCursor for a
// cursor of something else.
func (s *State) SearchEvents(ctx context.Context, f EventFilter) (Page[ListedEvent], error) {
	const what = "search events"
	if f.TenantID != nil && f.RowKey == "" {
		return s.eventsOf(ctx, f)
	}
	page := Page[ListedEvent]{Items: []ListedEvent{}}
	q := logSearch{table: f.Table, rowKey: f.RowKey, since: f.Since, until: f.Until, cursor: f.Cursor, limit: f.Limit}
	at, err := parsePlace(f.Cursor)
	if err != nil {
		return page, err
	}
	limit := listLimit(f.Limit)
	p := &pager{logSearch: q, drive: alongEvents, at: at, behind: true}
	if f.RowKey != "" {
		p.drive = alongRow
	}
	if err := p.chooseTable(ctx, s); err != nil {
		return page, stateError(what, err)
	}
	if p.top, err = s.logTop(ctx); err != nil {
		return page, stateError(what, err)
	}
	if p.nothing {
		return page, nil
	}
	look := limit + 1
	if p.drive == alongEvents && (p.tables != nil || p.domain != "") {
		look = mostOfTables
	}
	if f.RowKey != "" {
		p.rowTenant = f.TenantID
	}
	var args parameters
	sql, order := f.sql(p, look, limit+1, &args)
	rows, err := s.db.Query(ctx, sql, planned(args)...)
	if err != nil {
		return page, stateError(what, err)
	}
	looked := 0
	var end place
	page.Items, err = pgx.CollectRows(rows, scanListedEvent)
	if err != nil {
		return page, stateError(what, err)
	}
	switch n := len(page.Items); {
	case n > limit:
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		page.Next = place{At: last.CommittedAt, ID: last.ID}.cursor()
	case look > limit+1:
		args = nil
		pre := "with " + p.eventsSQL(look, 1, &args)
		err := s.db.QueryRow(ctx, pre+` select (select count(*) from pre), committed_at, event_id from pre order by `+strings.ReplaceAll(order, " desc", "")+` limit 1`, planned(args)...).
			Scan(&looked, &end.At, &end.ID)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return page, stateError(what, err)
		}
		if looked == look {
			to := end.At.UTC()
			page.Next, page.SearchedTo = place{At: to, ID: end.ID}.cursor(), &to
		}
	}
	if f.Executions && len(page.Items) > 0 {
		if err := s.addExecutions(ctx, f.TenantID, page.Items); err != nil {
			return page, stateError("read the executions of events", err)
		}
	}
	return page, nil
}

// eventsOf reads the events for which a tenant's workflows have run, by their executions.
func (s *State) eventsOf(ctx context.Context, f EventFilter) (Page[ListedEvent], error) {
	const what = "search the events of a tenant"
	page := Page[ListedEvent]{Items: []ListedEvent{}}
	executions, err := s.SearchExecutions(ctx, ExecutionFilter{TenantID: f.TenantID, Table: f.Table, Since: f.Since, Until: f.Until, Cursor: f.Cursor, Limit: f.Limit})
	if err != nil {
		return page, err
	}
	page.Next, page.SearchedTo = executions.Next, executions.SearchedTo
	var ids []string
	var ats []time.Time
	for _, x := range executions.Items {
		if !contains(ids, x.EventID) { // they may be interleaved within a millisecond
			ids, ats = append(ids, x.EventID), append(ats, x.CommittedAt)
		}
	}
	if len(ids) == 0 {
		return page, nil
	}
	if page.Next != "" && page.SearchedTo == nil {
		// Behind the last event, whose other executions would bring it again.
		last := executions.Items[len(executions.Items)-1]
		page.Next = place{At: last.CommittedAt, ID: last.EventID}.cursor()
	}
	rows, err := s.db.Query(ctx, `select `+f.columns()+` from unnest($1::text[], $2::timestamptz[]) with ordinality w (id, at, n) cross join lateral (
	select * from rowbell.event e where e.event_id = w.id and e.committed_at = w.at offset 0
) e
left join rowbell.surrogate t on t.ref = e.table_ref order by w.n`, planned([]any{ids, ats})...)
	if err != nil {
		return page, stateError(what, err)
	}
	if page.Items, err = pgx.CollectRows(rows, scanListedEvent); err != nil {
		return page, stateError(what, err)
	}
	if f.Executions && len(page.Items) > 0 {
		if err := s.addExecutions(ctx, f.TenantID, page.Items); err != nil {
			return page, stateError("read the executions of events", err)
		}
	}
	return page, nil
}

func scanListedEvent(row pgx.CollectableRow) (ListedEvent, error) {
	var e ListedEvent
	err := row.Scan(&e.ID, &e.CommittedAt, &e.Table, &e.Operation, &e.RowKey, &e.TenantID, &e.Data)
	e.CommittedAt = e.CommittedAt.UTC()
	return e, err
}

// columns are those of scanListedEvent.
func (f *EventFilter) columns() string {
	data := "null::json"
	if f.Data {
		data = "e.data"
	}
	return `e.event_id, e.committed_at, coalesce(t.name, 'domain:' || e.domain, ''),
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else '' end,
	coalesce(e.row_key, ''), coalesce(e.tenant_id, ''), ` + data
}

// sql selects the page, and says in what order.
func (f *EventFilter) sql(p *pager, look, most int, args *parameters) (sql, order string) {
	sql = "with " + p.eventsSQL(look, look, args)
	order = "event_id desc"
	if p.drive == alongRow {
		order = "committed_at desc, event_id desc"
	}
	where := "true"
	if f.TenantID != nil {
		where = tenantIs("e.tenant_id", *f.TenantID, args)
	}
	qualified := "e." + strings.ReplaceAll(order, ", ", ", e.")
	return fmt.Sprintf(`%s
select %s
from ev cross join lateral (
	select * from rowbell.event e where e.event_id = ev.event_id and e.committed_at = ev.committed_at and %s offset 0
) e
left join rowbell.surrogate t on t.ref = e.table_ref
where %s order by %s limit %d`, sql, f.columns(), p.within("e.committed_at", args), where, qualified, most), order
}

// mostOfEvent is how many executions of one event come with it.
const mostOfEvent = 100

// addExecutions reads the executions of events.
func (s *State) addExecutions(ctx context.Context, tenantID *string, events []ListedEvent) error {
	ids, ats := make([]string, len(events)), make([]time.Time, len(events))
	at := make(map[string]int, len(events))
	for i := range events {
		ids[i], ats[i] = events[i].ID, events[i].CommittedAt
		at[events[i].ID] = i
		events[i].Executions = []ListedExecution{}
	}
	var args parameters
	var parts []string
	for i := range executionSources {
		src := &executionSources[i]
		parts = append(parts, fmt.Sprintf(`(select %s as id, x.committed_at, x.version_ref, %s as status, %s as error, %s from %s x
where %s and %[1]s >= w.id || '-' and %[1]s < w.id || '.' and x.committed_at = w.at and %[7]s)`, src.id, src.status, src.error, src.columns, src.table, src.where, betweenTimes("x.committed_at", ats, &args)))
	}
	where := "true"
	list := fmt.Sprintf("unnest(%s::text[], %s::timestamptz[]) w (id, at)", args.add(ids), args.add(ats))
	if tenantID != nil {
		where = tenantIs("v.tenant_id", *tenantID, &args)
	}
	rows, err := s.db.Query(ctx, fmt.Sprintf(`select %s from %s cross join lateral (
	select c.* from (%s) c join rowbell.surrogate v on v.ref = c.version_ref where %s order by c.id desc limit %d
) c
join rowbell.surrogate v on v.ref = c.version_ref
%s
left join rowbell.surrogate t on t.ref = e.table_ref order by c.id desc`, executionColumns, list, strings.Join(parts, "\nunion all\n"), where, mostOfEvent,
		eventJoin(betweenTimes("e.committed_at", ats, &args))), planned(args)...)
	if err != nil {
		return err
	}
	executions, err := pgx.CollectRows(rows, scanExecution)
	if err != nil {
		return err
	}
	for _, x := range executions {
		e := &events[at[x.ID[:workflow.EventIDSize]]]
		e.Executions = append(e.Executions, x)
	}
	return nil
}
