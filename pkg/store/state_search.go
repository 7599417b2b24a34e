package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Lists of the log are read newest first, each from an index that has what is asked for in
// that order: by id of event and execution, which begins with the time; by workflow version,
// by status, by recipient, by the row's key. No index knows the tenant. Its versions are
// looked up one by one, or found among those of all: what costs less (along). What no index
// knows (a text in an error, the table without a row) is looked for among what an index
// gives, of which one page looks at so much and no more: it may find less than it was asked
// for, and says how far it came. So no page takes long, and nothing is ever counted to its
// end.
//
// A statement reads a window of time, whose ends stand in it as values: of the day partitions
// only those are planned and locked that it touches, which is most of the time that a page
// takes if there are thirty, and what is pending is read for that time only. How far back
// the first window has to go is known from the counts of hours (tenant_statistic), if it
// finds too little the next one goes further. For a tenant row-level security asks of each
// row whether it is its; a limit counts only rows that pass. So what bounds the work is the
// window, and not how many rows are looked at, and a condition for the version that the
// server can ask first stands beside it wherever rows of others are come across.

// Page is a part of a list, the newest first.
type Page[T any] struct {
	Items []T `json:"items"`
	// Next is the cursor of what comes behind; "" = that was all. A page may have fewer items
	// than were asked for, or none, though there is a next one.
	Next string `json:"next,omitempty"`
	// SearchedTo is the commit time down to which the page looked, if it stopped before it
	// had as many as were asked for though there may be more: Next goes on there.
	SearchedTo *time.Time `json:"searched_to,omitempty"`
}

// ErrCursor says that a cursor is not one of the list's.
var ErrCursor = errors.New("not a cursor of this list; give the one that came with the page before, or none for the first page")

// place is where a page ended. Its zero value is before the first row.
type place struct {
	At        time.Time // commit time
	ID        string    // of the execution or event; "" = before all of that time
	Action    int16
	Recipient string
	Window    int   // how many windows the search has gone through that has found little so far
	Drive     drive // that it goes along; the places of others are in another order
}

type placeJSON struct {
	At        int64  `json:"t"` // microseconds since 1970
	ID        string `json:"i,omitempty"`
	Action    int16  `json:"a,omitempty"`
	Recipient string `json:"r,omitempty"`
	Window    int    `json:"w,omitempty"`
	Drive     drive  `json:"d,omitempty"`
}

func (p place) cursor() string {
	text, _ := json.Marshal(placeJSON{p.At.UnixMicro(), p.ID, p.Action, p.Recipient, p.Window, p.Drive}) // never fails
	return base64.RawURLEncoding.EncodeToString(text)
}

func parsePlace(cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	var j placeJSON
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err != nil || !utf8.Valid(text) || strings.ContainsRune(j.ID+j.Recipient, 0) || j.Window < 0 || j.Window > mostWindows || j.Drive < 0 || j.Drive > alongEvents {
		return place{}, fmt.Errorf("%.60q is %w", cursor, ErrCursor)
	}
	return place{time.UnixMicro(j.At).UTC(), j.ID, j.Action, j.Recipient, j.Window, j.Drive}, nil
}

// listLimit is how many rows a page has.
func listLimit(limit int) int { return min(cmp.Or(max(limit, 0), listedByDefault), mostListed) }

// parameters are those of a statement that is put together.
type parameters []any

// add returns how the statement names the value.
func (p *parameters) add(v any) string {
	*p = append(*p, v)
	return fmt.Sprintf("$%d", len(*p))
}

// planned are the arguments of a statement that is planned for them each time: which
// partitions have to be looked at, and how much an index gives, depends on them, and a plan
// for any arguments reads far too much of some.
func planned(args []any) []any {
	return append([]any{pgx.QueryExecModeCacheDescribe}, args...)
}

// A logSource is one of the tables that a list is made of, as x.
type logSource struct {
	table string
	where string // what of it is in the list
	// The key in a list's order: id, and of deliveries the action and the recipient.
	id, action, recipient string
	columns               string            // behind the key, committed_at, version_ref, status and error; the same of all
	status                string            // expression for the list's status
	error                 string            // and the error
	own                   map[string]string // the table's own word for each status that it can have; nil = status says it
	partitioned           bool              // it is as big as the log
	single                bool              // id alone is the key
}

// The sources of a list of executions.
var executionSources = []logSource{
	{
		table: "rowbell.execution", where: "true", id: "x.id", action: "0::int2", recipient: "''", status: "x.status", error: "x.error",
		own:         map[string]string{"success": "success", "failure": "failure", "cancelled": "cancelled"},
		columns:     "x.executed_at, x.settled_at, x.priority",
		partitioned: true, single: true,
	},
	{
		table: "rowbell.queue", where: "x.sole", id: "x.execution_id", action: "0::int2", recipient: "''", status: "'pending'", error: "x.error",
		columns: "x.executed_at, null::timestamptz as settled_at, x.priority",
	},
	{
		table: "rowbell.execution_open", where: "true", id: "x.id", action: "0::int2", recipient: "''", status: "'pending'", error: "x.error",
		columns: "x.executed_at, null::timestamptz as settled_at, x.priority",
	},
}

// The sources of a list of deliveries.
var deliverySources = []logSource{
	{
		table: "rowbell.execution", where: "x.action is not null", id: "x.id", action: "x.action", recipient: "coalesce(x.recipient, '')",
		status: "case x.status when 'success' then 'succeeded' when 'failure' then 'dead' else 'cancelled' end", error: "x.error",
		own:         map[string]string{"succeeded": "success", "dead": "failure", "cancelled": "cancelled"},
		columns:     "x.kind, x.attempts, x.code, x.settled_at as ended_at, null::timestamptz as next_at, null::int8 as lane",
		partitioned: true, single: true,
	},
	{
		table: "rowbell.delivery_ended", where: "true", id: "x.execution_id", action: "x.action", recipient: "x.recipient", status: "x.status", error: "x.reason",
		own:         map[string]string{"succeeded": "succeeded", "dead": "dead", "cancelled": "cancelled"},
		columns:     "x.kind, x.attempts, x.code, x.ended_at, null::timestamptz as next_at, null::int8 as lane",
		partitioned: true,
	},
	{
		table: "rowbell.queue", where: "true", id: "x.execution_id", action: "x.action", recipient: "x.recipient",
		status: "case when x.attempts = 0 then 'pending' else 'retrying' end", error: "x.error",
		columns: "x.kind, x.attempts, null::int2 as code, null::timestamptz as ended_at, nullif(x.ready_at, 'infinity') as next_at, x.lane",
	},
}

// has says that the source can have rows of these statuses; nil is all. Of partitioned
// tables it returns their own words, nil for all.
func (s *logSource) has(statuses []string) (own []string, ok bool) {
	if s.own == nil {
		return nil, statuses == nil || slices.ContainsFunc(statuses, func(status string) bool { return status == "pending" || status == "retrying" })
	}
	if statuses == nil {
		return nil, true
	}
	for _, status := range statuses {
		if word, ok := s.own[status]; ok {
			own = append(own, word)
		}
	}
	return own, len(own) > 0
}

// unwell says that none of a source's words stands for success, which is most of what there
// is: what remains has indexes of its own.
func unwell(own []string) bool {
	return own != nil && !slices.Contains(own, "success") && !slices.Contains(own, "succeeded")
}

// logSearch is what executions and deliveries are searched by.
type logSearch struct {
	sources     []logSource
	deliveries  bool
	tenantID    *string
	workflowIDs []string
	statuses    []string // in the list's words; nil = all
	table       string
	rowKey      string
	recipient   string // of deliveries only
	eventID     string
	executionID string // of deliveries only
	kind        string
	text        string
	lane        int64
	actions     []VersionAction
	since       time.Time
	until       time.Time
	cursor      string
	limit       int
}

// How many rows one page looks at, at first and at most, where it can't know how many of
// them are asked for.
const (
	firstLook = 150
	mostLooks = 2100
	// The same of events, each of which is looked up in several tables.
	firstEvents = 100
	mostEvents  = 300
	// And of events of which only those of one table are looked up.
	mostOfTables = 4000
)

// longPage is after what time a page stops that has not found as much as it is asked for.
const longPage = 10 * time.Millisecond

// emptyLong is the same of a page that has found nothing yet, and goes from one stretch of time to
// the next: who sees an empty page takes the whole log for empty.
const emptyLong = 25 * time.Millisecond

// manyVersions is from how many on versions are not looked up one by one any more, unless
// nothing else is left.
const manyVersions = 2000

// fewVersions is up to how many are named in a condition: the server's planner looks at each.
const fewVersions = 200

// mostVersions is how many versions of the workflows that are asked for are looked at.
const mostVersions = 5000

// What a search costs the server, about, on the machine of docs/benchmarks.md: enough to
// choose by.
const (
	probeCost  = 2500 * time.Nanosecond // looking a version up in one partition
	rowCost    = 600 * time.Nanosecond  // coming across a row along ids,
	policyCost = 2500 * time.Nanosecond // of which row-level security asks whose it is
	awayCost   = 2 * time.Microsecond   // coming across it where each is on another page
	wholeCost  = 24 * time.Hour         // coming across all there is
	steady     = 1_000_000              // rows of a day, if the server hasn't counted any
)

// drive is what a search goes along.
type drive int

const (
	alongID        drive = iota // all of the log by id
	alongVersions               // each workflow version by time
	alongStatus                 // each status by time
	alongRecipient              // a recipient's by time
	alongEvent                  // those of one event, or of one execution, by id
	alongRow                    // events of a row by time, and what belongs to them
	alongEvents                 // events of a tenant, or of all, by id, and what belongs to them
)

// byTime says that the order is that of commit time and id, instead of id alone. The ids
// of one millisecond may be in another order than their times.
func (d drive) byTime() bool {
	return d != alongID && d != alongEvent && d != alongEvents
}

func (d drive) byEvents() bool { return d == alongRow || d == alongEvents }

// searchLog reads a page. columns are those of scan, over c (a candidate), v (its workflow
// version), e and t (its event, and the table of that).
func searchLog[T any](ctx context.Context, s *State, q logSearch, columns string, scan pgx.RowToFunc[T], placeOf func(T) place) (Page[T], error) {
	page := Page[T]{Items: []T{}}
	q.limit = listLimit(q.limit)
	at, err := parsePlace(q.cursor)
	if err != nil {
		return page, err
	}
	p := &pager{logSearch: q, at: at, begun: time.Now()}
	if err := p.choose(ctx, s); err != nil || p.nothing {
		return page, err
	}
	for {
		p.wanted = q.limit - len(page.Items) + 1
		if !p.residual {
			p.look = p.wanted
		}
		sql, args := p.pageSQL(columns)
		rows, err := s.db.Query(ctx, sql, planned(args)...)
		if err != nil {
			return page, err
		}
		var seen looked
		for rows.Next() {
			item, ok, err := scanLooked(rows, p.residual, &seen, scan)
			if err != nil {
				rows.Close()
				return page, err
			}
			if ok {
				page.Items = append(page.Items, item)
			}
		}
		if err := rows.Err(); err != nil {
			return page, err
		}
		if len(page.Items) > q.limit {
			page.Items = page.Items[:q.limit]
			end := placeOf(page.Items[q.limit-1])
			end.Drive = p.drive
			page.Next = end.cursor()
			return page, nil
		}
		if !p.goOn(&seen, len(page.Items) > 0) && !p.stopped {
			return page, nil
		}
		if p.stopped {
			p.at.Window, p.at.Drive = p.step, p.drive
			page.Next = p.at.cursor()
			to := p.at.At.UTC()
			page.SearchedTo = &to
			return page, nil
		}
	}
}

// looked is what a step with a residual looked at.
type looked struct {
	n   int
	end place // the last one
	// before is the same of the events among which those that are asked for were chosen.
	beforeN int
	before  place
}

// withLooked are the columns of looked in front of those of a row.
type withLooked struct {
	pgx.CollectableRow
	seen *looked
}

func (r withLooked) Scan(dest ...any) error {
	var at, beforeAt *time.Time
	s := r.seen
	var id, recipient, beforeID *string
	var action *int16
	err := r.CollectableRow.Scan(append([]any{&s.n, &at, &id, &action, &recipient, &s.beforeN, &beforeAt, &beforeID}, dest...)...)
	if at != nil {
		s.end = place{At: *at, ID: *id, Action: *action, Recipient: *recipient}
	}
	if beforeAt != nil {
		s.before = place{At: *beforeAt, ID: *beforeID}
	}
	return err
}

// lookedColumns is how many columns stand before those of a row.
const lookedColumns = 8

// scanLooked scans a row of a step. Where the step has found none there is one with what it
// looked at alone.
func scanLooked[T any](row pgx.Rows, residual bool, seen *looked, scan pgx.RowToFunc[T]) (item T, ok bool, err error) {
	if !residual {
		item, err = scan(row)
		return item, true, err
	}
	if row.RawValues()[lookedColumns] == nil {
		nothing := make([]any, len(row.RawValues())-lookedColumns)
		return item, false, withLooked{row, seen}.Scan(nothing...)
	}
	item, err = scan(withLooked{row, seen})
	return item, true, err
}

// windows are how far back one step of a search goes if nobody has counted how much there
// is: where many things happen, the first one has enough, and few partitions are looked at;
// where few do, the next one has not very many more. Zero: to the beginning.
var windows = []time.Duration{time.Hour, 4 * time.Hour, 16 * time.Hour, 64 * time.Hour, 11 * 24 * time.Hour, 0}

// Where among them a search begins.
const (
	someWindow   = 1 // for some versions
	sparseWindow = 2 // for what there is little of
	fewWindow    = 3 // for what is looked up at once
)

// mostWindows bounds how many a search goes through: each has more than the one before.
const mostWindows = 20

// pager is a search as it goes on.
type pager struct {
	logSearch
	drive    drive
	nothing  bool
	refs     []int32 // of the versions it is about; nil = of all, or of all of the tenant
	ofTenant bool    // refs is nil, and it is about those of the tenant
	owned    bool    // row-level security leaves only what is the tenant's
	residual bool    // not all that is looked at is asked for
	tables   []int32 // versions of the table, in surrogate; nil = any
	domain   string  // instead of tables: the name of a domain event
	// rowTenant is whose the row is; nil = anybody's.
	rowTenant *string

	at     place
	behind bool      // events begin behind the one at the place, not with it
	top    time.Time // nothing is behind it; zero = nobody knows
	from   time.Time // the window's beginning; zero = the log's
	first  int       // index of the first window
	step   int       // windows so far in which little was found
	hours  []hourCount
	daily  float64 // executions of a day, of all tenants
	wanted int     // rows
	look   int     // candidates
	spent  int     // candidates that were looked at in vain
	begun  time.Time
	// stopped says that the page is over before its end.
	stopped bool
}

// hourCount is how many executions settled that the search may be about, of an hour of
// commit time.
type hourCount struct {
	hour, end time.Time // so far
	n         float64
}

// mostHours is how many hours with executions are looked at for a window.
const mostHours = 72

// choose looks up what the search is about, and decides what it goes along.
func (p *pager) choose(ctx context.Context, s *State) error {
	p.owned = s.tenant != nil && p.tenantID != nil && *p.tenantID == s.tenant.ID
	if err := p.lookUp(ctx, s); err != nil || p.nothing {
		return err
	}
	eventTable := p.tables != nil || p.domain != ""
	switch {
	case p.eventID != "" || p.executionID != "":
		p.drive = alongEvent
	case p.rowKey != "":
		p.drive = alongRow
	case p.recipient != "":
		p.drive = alongRecipient
	case p.refs != nil || p.ofTenant:
		p.drive = alongVersions // or along
	case eventTable:
		p.drive = alongEvents
	case p.unwell():
		p.drive = alongStatus
	}
	p.residual = p.text != "" || p.kind != "" || p.lane != 0 || eventTable
	p.look = firstLook
	if p.drive.byEvents() {
		p.residual, p.look = true, min(firstEvents, p.limit+1)
	}
	if p.drive == alongRow && p.tenantID != nil && *p.tenantID != "" {
		p.rowTenant = p.tenantID // whose workflows see no other rows
	}
	switch p.drive {
	case alongEvent, alongRow:
		p.first = len(windows) - 1
	case alongRecipient:
		p.first = fewWindow
	case alongVersions:
		if p.first = someWindow; len(p.refs) <= 4 && p.refs != nil {
			p.first = fewWindow
		}
	}
	if !p.hasEnded() { // what is pending has no partitions
		p.first, p.hours = len(windows)-1, nil
	}
	if p.unwell() {
		p.first = max(p.first, sparseWindow)
	}
	p.step = p.at.Window
	p.setWindow()
	if p.at.ID != "" && p.drive == alongVersions {
		p.drive = p.at.Drive // whose order its place is in
	}
	return nil
}

// lookUp looks up what the search is about, in one go.
func (p *pager) lookUp(ctx context.Context, s *State) (err error) {
	if p.top, err = s.logTop(ctx); err != nil {
		return err
	}
	b := &pgx.Batch{}
	if len(p.workflowIDs) > 0 || p.tenantID != nil {
		sql := `select ref from rowbell.surrogate where kind = 'workflow'`
		var args parameters
		if p.tenantID != nil {
			sql += " and " + tenantIs("tenant_id", *p.tenantID, &args)
		}
		most := manyVersions + 1
		if len(p.workflowIDs) > 0 {
			sql += " and id = any (" + args.add(p.workflowIDs) + ")"
			most = mostVersions
		}
		b.Queue(sql+fmt.Sprintf(" limit %d", most), args...).Query(func(rows pgx.Rows) error {
			p.refs, err = pgx.CollectRows(rows, pgx.RowTo[int32])
			if p.nothing = len(p.refs) == 0; len(p.workflowIDs) == 0 && len(p.refs) > manyVersions {
				p.refs, p.ofTenant = nil, true
			}
			return err
		})
	}
	if name, ok := strings.CutPrefix(p.table, workflow.DomainPrefix); ok {
		p.domain = name
	} else if p.table != "" {
		b.Queue(tableRefsSQL, strings.TrimPrefix(p.table, "public.")).Query(func(rows pgx.Rows) error {
			p.tables, err = pgx.CollectRows(rows, pgx.RowTo[int32])
			p.nothing = p.nothing || len(p.tables) == 0
			return err
		})
	}
	if p.counted() {
		tenant := "*"
		if p.tenantID != nil {
			tenant = *p.tenantID
		}
		b.Queue(fmt.Sprintf(`select t.hour, coalesce(h.counted_at, t.hour + interval '1 hour'), t.success, t.failure, t.cancelled
from rowbell.tenant_statistic t left join rowbell.statistic_hour h on h.hour = t.hour
where t.tenant_id = $1 and t.hour < $2 order by t.hour desc limit %d`, mostHours), tenant, p.windowTop()).Query(func(rows pgx.Rows) error {
			var h hourCount
			var success, failure, cancelled float64
			_, err := pgx.ForEachRow(rows, []any{&h.hour, &h.end, &success, &failure, &cancelled}, func() error {
				h.n = 0
				for status, n := range map[string]float64{"success": success, "failure": failure, "cancelled": cancelled} {
					if p.wants(status) {
						h.n += n
					}
				}
				if end := h.hour.Add(time.Hour); h.end.After(end) {
					h.end = end
				}
				p.hours = append(p.hours, h)
				return nil
			})
			return err
		})
		b.Queue(`select greatest(max(c.reltuples), 0)::float8 from pg_class c join pg_inherits i on i.inhrelid = c.oid where i.inhparent = 'rowbell.execution'::regclass`).QueryRow(func(row pgx.Row) error {
			return row.Scan(&p.daily)
		})
	}
	if b.Len() == 0 {
		return nil
	}
	return s.db.SendBatch(ctx, b).Close()
}

// counted says that counts of hours are about what is looked for.
func (p *pager) counted() bool {
	return len(p.workflowIDs) == 0 && p.eventID == "" && p.executionID == "" && p.rowKey == "" && p.recipient == ""
}

// logTop is a time behind all of the log; zero if its end is in an odd future. By it the
// partitions that are made ahead need not be looked at.
func (s *State) logTop(ctx context.Context) (time.Time, error) {
	top, _, err := s.logEnds(ctx)
	return top, err
}

// logEnds are logTop, and when the oldest day began that has a partition: between both the
// DEFAULT partition has nothing.
func (s *State) logEnds(ctx context.Context) (top, bottom time.Time, err error) {
	now := time.Now().UTC()
	top = now.Add(time.Hour).Truncate(24 * time.Hour).Add(24 * time.Hour)
	r := s.reach
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.looked) > lookAhead || !r.top.Equal(top) {
		err := s.pool.QueryRow(ctx, `select exists (select from rowbell.event where event_id >= $1 and committed_at >= $2),
	(select coalesce(min(right(c.relname, 8)::date)::timestamp at time zone 'UTC', $2) from pg_inherits i join pg_class c on c.oid = i.inhrelid
	where i.inhparent = 'rowbell.execution'::regclass and c.relname ~ '^execution_[0-9]{8}$')`, planned([]any{firstID(top), top})...).Scan(&r.far, &r.bottom)
		if err != nil {
			return top, top, err
		}
		r.looked, r.top, r.bottom = now, top, r.bottom.UTC()
	}
	if r.far {
		return time.Time{}, r.bottom, nil
	}
	return top, r.bottom, nil
}

// lookAhead is how long it is taken for known whether the log has events of an odd future.
const lookAhead = 5 * time.Second

// logReach is what is known of the log's end.
type logReach struct {
	mu     sync.Mutex
	looked time.Time
	top    time.Time
	bottom time.Time // of the oldest partition of a day
	far    bool      // there are events behind top
}

// chooseTable finds the versions of the table.
func (p *pager) chooseTable(ctx context.Context, s *State) error {
	if p.table == "" {
		return nil
	}
	if name, ok := strings.CutPrefix(p.table, workflow.DomainPrefix); ok {
		p.domain = name
		return nil
	}
	tables, err := s.tableRefs(ctx, p.table)
	p.tables, p.nothing = tables, len(tables) == 0
	return err
}

const tableRefsSQL = `select ref from rowbell.surrogate where kind = 'table' and id = $1`

// tableRefs are the numbers of a captured table's versions.
func (s *State) tableRefs(ctx context.Context, label string) ([]int32, error) {
	rows, err := s.db.Query(ctx, tableRefsSQL, strings.TrimPrefix(label, "public."))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// unwell says that nothing is asked for that succeeded, and something that has ended.
func (p *pager) unwell() bool {
	ended := false
	for i := range p.sources {
		own, ok := p.sources[i].has(p.statuses)
		if !ok || !p.sources[i].partitioned {
			continue
		}
		if ended = true; !unwell(own) {
			return false
		}
	}
	return ended
}

// wants says that executions with a status are asked for, or deliveries of which there is
// one.
func (p *pager) wants(status string) bool {
	own, ok := p.sources[0].has(p.statuses)
	return ok && (own == nil || slices.Contains(own, status))
}

// hasEnded says that something is asked for that has ended.
func (p *pager) hasEnded() bool {
	return slices.ContainsFunc(p.sources, func(s logSource) bool {
		_, ok := s.has(p.statuses)
		return ok && s.partitioned
	})
}

// tenantIs is the condition that a column holds the tenant; "" stands for NULL.
func tenantIs(column, tenantID string, args *parameters) string {
	if tenantID == "" {
		return column + " is null"
	}
	return column + " = " + args.add(tenantID)
}

// versionIs is the condition that a column of rows that are read anyway holds a version that
// the search is about; "" if row-level security sees to it, before any condition that the
// server doesn't know to be silent. pageSQL asks it again of what is found.
func (p *pager) versionIs(column string, args *parameters) string {
	switch {
	case p.refs == nil && !p.ofTenant:
		return ""
	case p.refs != nil && (len(p.refs) <= fewVersions || len(p.workflowIDs) > 0):
		return column + " = any (" + args.add(p.refs) + "::int4[])"
	case p.owned:
		return ""
	}
	return "(" + p.versionIn(column, args) + ") is true" // no join, which would be of all rows
}

// versionIn is the same for rows that are found by it.
func (p *pager) versionIn(column string, args *parameters) string {
	switch {
	case p.refs == nil && !p.ofTenant:
		return ""
	case p.refs != nil && (len(p.refs) <= fewVersions || len(p.workflowIDs) > 0):
		// Planned for any such versions, since the planner takes long to look at all of them.
		return column + " = any ((select " + args.add(p.refs) + "::int4[])::int4[])"
	}
	return column + " in (select ref from rowbell.surrogate where kind = 'workflow' and " + tenantIs("tenant_id", *p.tenantID, args) + ")"
}

// windowTop is where the window ends.
func (p *pager) windowTop() time.Time {
	switch {
	case !p.at.At.IsZero():
		return p.at.At
	case !p.until.IsZero():
		return p.until
	}
	return time.Now()
}

func (p *pager) setWindow() {
	top := p.windowTop()
	p.from = time.Time{}
	switch i := min(p.first+p.step, len(windows)-1); {
	case len(p.hours) > 0:
		p.from = p.sinceCount(top, p.need())
	case windows[i] > 0:
		p.from = top.Add(-windows[i])
	}
	if !p.from.IsZero() {
		p.from = p.from.Truncate(time.Millisecond) // as ids have it
	}
	p.along(top)
}

// need is how many candidates the window should have.
func (p *pager) need() float64 {
	n := float64(p.limit)*1.2 + 10
	if p.residual {
		n = float64(p.look) * 1.1
	}
	return n * math.Pow(4, float64(p.step))
}

// sinceCount is the time since which so many executions settled; zero: there are fewer.
func (p *pager) sinceCount(top time.Time, need float64) time.Time {
	for _, h := range p.hours {
		end, length := h.end, h.end.Sub(h.hour)
		if top.Before(end) {
			end = top
		}
		part := end.Sub(h.hour)
		if part <= 0 || length <= 0 {
			continue
		}
		n := h.n * float64(part) / float64(length)
		if need <= n {
			return end.Add(-time.Duration(float64(part) * need / n))
		}
		need -= n
	}
	if n := len(p.hours); n == mostHours { // there are more
		if p.hours[n-1].hour.Before(top) {
			return p.hours[n-1].hour
		}
		if w := windows[min(fewWindow+p.step, len(windows)-1)]; w > 0 {
			return top.Add(-w)
		}
	}
	return time.Time{}
}

// along decides for a window whether versions are looked up in it one by one, or found among
// all that it has. At its beginning the order of both is the same: nothing has been read of
// the millisecond.
func (p *pager) along(top time.Time) {
	if p.at.ID != "" || p.drive != alongVersions && !p.among() || p.refs == nil && !p.ofTenant {
		return
	}
	among, days := alongID, 1+len(p.hours)/24
	if p.unwell() {
		among = alongStatus
	}
	if !p.counted() || len(p.refs) <= 4 && p.refs != nil || !p.hasEnded() {
		p.drive = alongVersions
		return
	}
	whole := wholeCost
	if !p.from.IsZero() {
		days = int(top.UTC().Truncate(24*time.Hour).Sub(p.from.UTC().Truncate(24*time.Hour))/(24*time.Hour)) + 1
		daily := p.daily
		if daily == 0 {
			daily = steady
		}
		rows, each := daily*top.Sub(p.from).Hours()/24, rowCost
		if sum, span := p.countedIn(); sum > 0 { // whatever time of the day it is
			rows = daily * p.need() / sum * span.Hours() / 24
		}
		if among == alongStatus {
			rows, each = rows*unwellShare, awayCost
		}
		if p.owned {
			each += policyCost
		}
		whole = time.Duration(rows * float64(each))
	}
	n := len(p.refs)
	if p.deliveries { // which are in two tables
		days, whole = 2*days, 2*whole
	}
	if p.ofTenant { // or more
		n = 4 * manyVersions
	}
	if p.drive = alongVersions; time.Duration(n*days)*probeCost > whole {
		p.drive = among
	}
}

// countedIn is what hours count together, and from when to when.
func (p *pager) countedIn() (sum float64, span time.Duration) {
	for i, h := range p.hours {
		sum += h.n
		if i == len(p.hours)-1 {
			span = p.hours[0].end.Sub(h.hour)
		}
	}
	return sum, span
}

// unwellShare is how much of the log has not succeeded, for what a search costs.
const unwellShare = 0.05

// among says that the drive comes across what others have.
func (p *pager) among() bool { return p.drive == alongID || p.drive == alongStatus }

// goOn prepares the next step after one that did not find enough; found says that there are some
// items already. It returns false if that
// was all, or if the page stops here.
func (p *pager) goOn(seen *looked, found bool) bool {
	if p.residual {
		full, end := seen.n == p.look, seen.end
		if p.drive.byEvents() && !full && seen.beforeN == p.lookEvents() {
			full, end = true, seen.before
		}
		if full {
			p.at = end
			p.at.Drive = p.drive
			p.spent += p.look
			p.look *= 2
			most := mostLooks
			if p.drive.byEvents() {
				most = mostEvents
			}
			if p.stopped = p.spent >= most || time.Since(p.begun) > longPage; !p.stopped {
				p.setWindow()
			}
			return !p.stopped
		}
	}
	if p.from.IsZero() || !p.from.After(p.since) {
		return false
	}
	p.at = place{At: p.from}
	p.step = min(p.step+1, mostWindows)
	p.setWindow()
	long := longPage
	if !found && !p.residual {
		long = emptyLong
	}
	p.stopped = time.Since(p.begun) > long
	return !p.stopped
}

// keyIs is the condition that a source's row comes behind the place, in the drive's order.
func (p *pager) keyIs(s *logSource, args *parameters) []string {
	var list []string
	if p.at.At.IsZero() {
		return nil
	}
	id := p.at.ID
	if id == "" && !p.drive.byTime() {
		id = firstID(p.at.At)
	}
	key, place := s.id, args.add(id)
	if p.deliveries {
		key = s.id + ", " + s.action + ", " + s.recipient
		place = fmt.Sprintf("%s, %s::int2, %s", place, args.add(p.at.Action), args.add(p.at.Recipient))
	}
	if p.drive.byTime() {
		at := args.add(p.at.At)
		list = append(list, "x.committed_at <= "+at, fmt.Sprintf("(x.committed_at, %s) < (%s, %s)", key, at, place))
	} else {
		list = append(list, "x.committed_at < "+args.add(p.at.At.Truncate(time.Millisecond).Add(time.Millisecond)), fmt.Sprintf("(%s) < (%s)", key, place))
	}
	return list
}

// order is that of the list, over x or c.
func (p *pager) order(alias string) string {
	key := alias + ".id desc"
	if p.deliveries {
		key += ", " + alias + ".action desc, " + alias + ".recipient desc"
	}
	if p.drive.byTime() {
		key = alias + ".committed_at desc, " + key
	}
	return key
}

// times are the conditions for the commit time that were asked for, which the id begins with.
func (p *pager) times(column, id string, args *parameters) []string {
	var list []string
	from := p.since
	if p.from.After(from) {
		from = p.from
	}
	if !from.IsZero() {
		list = append(list, column+" >= "+args.add(from))
		if !p.drive.byTime() { // so that the key's index ends there
			list = append(list, id+" >= "+args.add(firstID(from)))
		}
	}
	if !p.until.IsZero() {
		list = append(list, column+" < "+args.add(p.until))
		if !p.drive.byTime() {
			list = append(list, id+" < "+args.add(firstID(p.until.Add(time.Millisecond))))
		}
	} else if !p.top.IsZero() && p.at.At.IsZero() {
		list = append(list, column+" < "+args.add(p.top))
	}
	return list
}

// within is the condition that a commit time is one of those that a step looks at, so that
// no more partitions are planned than it touches.
func (p *pager) within(column string, args *parameters) string {
	list := []string{"true"}
	from := p.since
	if p.from.After(from) {
		from = p.from
	}
	if !from.IsZero() {
		list = append(list, column+" >= "+args.add(from))
	}
	switch {
	case !p.at.At.IsZero(): // of its millisecond
		list = append(list, column+" < "+args.add(p.at.At.Truncate(time.Millisecond).Add(time.Millisecond)))
	case !p.until.IsZero():
		list = append(list, column+" < "+args.add(p.until))
	case !p.top.IsZero():
		list = append(list, column+" < "+args.add(p.top))
	}
	if from, until, ok := idTime(cmp.Or(p.executionID, p.eventID)); ok && p.drive == alongEvent {
		list = append(list, column+" >= "+args.add(from), column+" < "+args.add(until))
	}
	return strings.Join(list, " and ")
}

// sourceSQL selects the first candidates of a source; "" if it can have none. Of an event
// ev it selects those that belong to it.
func (p *pager) sourceSQL(s *logSource, most int, args *parameters) string {
	own, ok := s.has(p.statuses)
	if !ok {
		return ""
	}
	where := []string{s.where}
	each := ""
	if p.drive.byEvents() {
		where = append(where, s.id+" >= ev.event_id || '-'", s.id+" < ev.event_id || '.'", "x.committed_at = ev.committed_at", p.within("x.committed_at", args))
	}
	switch {
	case p.drive == alongEvent:
		where = append(where, p.eventIs(s, args)...)
		if sql := p.versionIs("x.version_ref", args); sql != "" {
			where = append(where, sql)
		}
	case !s.partitioned || p.drive.byEvents():
		is := p.versionIs
		if p.drive == alongVersions {
			is = p.versionIn
		}
		if sql := is("x.version_ref", args); sql != "" {
			where = append(where, sql)
		}
		if !s.partitioned && p.drive.byTime() && !p.from.IsZero() { // its key begins with the time
			where = append(where, s.id+" >= "+args.add(firstID(p.from)))
		}
		if p.recipient != "" && s.recipient != "''" {
			where = append(where, "x.recipient = "+args.add(p.recipient))
		}
	case p.drive == alongVersions && p.ofTenant:
		each = "(select ref from rowbell.surrogate where kind = 'workflow' and " + tenantIs("tenant_id", *p.tenantID, args) + ") w"
		where = append(where, "x.version_ref = w.ref")
	case p.drive == alongVersions:
		each = "unnest(" + args.add(p.refs) + "::int4[]) w (ref)"
		where = append(where, "x.version_ref = w.ref")
	case p.drive == alongStatus:
		each = "unnest(" + args.add(own) + "::text[]) w (status)"
		where = append(where, "x.status = w.status")
	case p.drive == alongRecipient:
		where = append(where, "x.recipient = "+args.add(p.recipient), "x.recipient <> ''")
	}
	if s.partitioned && (p.among() || p.drive == alongRecipient) {
		if sql := p.versionIs("x.version_ref", args); sql != "" {
			where = append(where, sql)
		}
	}
	switch {
	case own != nil:
		// Said twice, it would be taken for less than it is; and said with constants, the index
		// of failures by their end would be taken for it.
		if p.drive != alongStatus {
			where = append(where, "x.status = any ("+args.add(own)+")")
		}
		if unwell(own) { // as the partial indexes say it
			if s.table == "rowbell.execution" {
				where = append(where, "x.status <> 'success'")
			} else {
				where = append(where, "x.status <> 'succeeded'")
			}
		}
	case p.statuses != nil && !s.partitioned:
		where = append(where, s.status+" = any ("+args.add(p.statuses)+")")
	}
	where = append(where, p.keyIs(s, args)...)
	if p.drive != alongEvent {
		where = append(where, p.times("x.committed_at", s.id, args)...)
	}
	order := p.order("x")
	if s.single { // so that an index has the order, and reading stops at the limit
		order, _, _ = strings.Cut(order, ", x.action")
	}
	order = strings.NewReplacer("x.id ", s.id+" ", "x.action ", s.action+" ", "x.recipient ", s.recipient+" ").Replace(order)
	sql := fmt.Sprintf(`select %s as id, %s as action, %s as recipient, x.committed_at, x.version_ref, %s as status, %s as error, %s
from %s x where %s order by %s limit %d`, s.id, s.action, s.recipient, s.status, s.error, s.columns, s.table, strings.Join(where, " and "), order, most)
	if each != "" {
		sql = fmt.Sprintf("select x.* from %s cross join lateral (%s) x order by %s limit %d", each, sql, p.order("x"), most)
	}
	return "(" + sql + ")"
}

// eventIs is the condition that a row belongs to the event or execution, with the time that
// its id begins with, so that one partition is read.
func (p *pager) eventIs(s *logSource, args *parameters) []string {
	var where []string
	if p.executionID != "" {
		where = append(where, s.id+" = "+args.add(p.executionID))
	} else {
		event := args.add(p.eventID)
		where = append(where, s.id+" >= "+event+" || '-'", s.id+" < "+event+" || '.'")
	}
	if from, until, ok := idTime(cmp.Or(p.executionID, p.eventID)); ok {
		where = append(where, "x.committed_at >= "+args.add(from), "x.committed_at < "+args.add(until))
	}
	return where
}

// idTime is the commit time that an id says: a millisecond. The ids of what was committed
// before 1970 say nothing.
func idTime(id string) (from, until time.Time, ok bool) {
	if len(id) < workflow.EventIDSize {
		return from, until, false
	}
	u, err := ulid.ParseStrict(id[:workflow.EventIDSize])
	if err != nil || u.Time() == 0 {
		return from, until, false
	}
	from = ulid.Time(u.Time()).UTC()
	return from, from.Add(time.Millisecond), true
}

// with is the beginning of a statement, which has the candidates as c, and those that
// drives by events look at as pre and ev.
func (p *pager) with(args *parameters) string {
	most := p.look
	sql := "with "
	if p.drive.byEvents() {
		most = p.wanted
		sql += p.eventsSQL(p.lookEvents(), p.look, args) + ", "
	}
	var parts []string
	for i := range p.sources {
		if s := p.sourceSQL(&p.sources[i], most, args); s != "" {
			parts = append(parts, s)
		}
	}
	union := strings.Join(parts, "\nunion all\n")
	if p.drive.byEvents() {
		return sql + fmt.Sprintf("c as (select x.* from ev cross join lateral (%s) x)", union)
	}
	return sql + fmt.Sprintf("c as materialized (select x.* from (%s) x order by %s limit %d)", union, p.order("x"), most)
}

// lookEvents is how many events are looked at for those of a table: no other table has to
// be read for that.
func (p *pager) lookEvents() int {
	if p.drive == alongEvents && (p.tables != nil || p.domain != "") {
		return mostOfTables
	}
	return p.look
}

// eventsSQL selects events in the drive's order: as pre those that are looked at, and as ev
// those of them that are asked for.
func (p *pager) eventsSQL(look, most int, args *parameters) string {
	where := []string{"true"}
	order := "event_id desc"
	if p.drive == alongRow {
		order = "committed_at desc, event_id desc"
		where = append(where, "e.row_key = "+args.add(p.rowKey))
	}
	if !p.at.At.IsZero() {
		id, until := p.at.ID, "<="
		if p.behind || id == "" {
			until = "<"
		}
		if id == "" && !p.drive.byTime() {
			id = firstID(p.at.At)
		}
		id = args.add(id)
		if p.drive == alongRow {
			at := args.add(p.at.At)
			where = append(where, "e.committed_at <= "+at, fmt.Sprintf("(e.committed_at, e.event_id) %s (%s, left(%s, 26))", until, at, id))
		} else {
			where = append(where, "e.committed_at < "+args.add(p.at.At.Truncate(time.Millisecond).Add(time.Millisecond)), fmt.Sprintf("e.event_id %s left(%s, 26)", until, id))
		}
	}
	where = append(where, p.times("e.committed_at", "e.event_id", args)...)
	of, each := "true", ""
	switch {
	case p.domain != "":
		of = "domain = " + args.add(p.domain)
		if p.drive == alongRow {
			where = append(where, "e.table_ref = 0", "e."+of)
		}
	case p.tables != nil && p.drive == alongRow: // each in the index's order
		each = "unnest(" + args.add(p.tables) + "::int4[]) w (ref)"
		where = append(where, "e.table_ref = w.ref")
	case p.tables != nil:
		of = "table_ref = any (" + args.add(p.tables) + "::int4[])"
	}
	if p.rowTenant != nil {
		where = append(where, tenantIs("e.tenant_id", *p.rowTenant, args))
	}
	sql := fmt.Sprintf("select e.event_id, e.committed_at, e.table_ref, e.domain, e.tenant_id from rowbell.event e where %s order by %s limit %d", strings.Join(where, " and "), order, look)
	if each != "" {
		sql = fmt.Sprintf("select e.* from %s cross join lateral (%s) e order by %s limit %d", each, sql, order, look)
	}
	return fmt.Sprintf("pre as materialized (\n\t%s\n), ev as materialized (select * from pre where %s order by %s limit %d)", sql, of, order, most)
}

// eventJoin finds the event of each c by its key, in its partition: the lists are short, and
// the log is long. within is a condition for commit times that all of them fulfil.
func eventJoin(within string) string {
	return `left join lateral (
	select e.table_ref, e.domain, e.row_key, e.tenant_id, e.op from rowbell.event e
	where e.event_id = left(c.id, 26) and e.committed_at = c.committed_at and ` + within + ` offset 0
) e on true`
}

// pageSQL selects the rows of a page: at most as many as are wanted.
func (p *pager) pageSQL(columns string) (string, []any) {
	var args parameters
	sql := p.with(&args)
	where := []string{"true"}
	from := "c"
	if p.text != "" {
		where = append(where, "position(lower("+args.add(p.text)+") in lower(c.error)) > 0")
	}
	if p.kind != "" {
		where = append(where, "c.kind = "+args.add(p.kind))
	}
	if p.lane != 0 {
		refs, indexes := make([]int32, len(p.actions)), make([]int16, len(p.actions))
		for i, a := range p.actions {
			refs[i], indexes[i] = a.VersionRef, a.Action
		}
		where = append(where, fmt.Sprintf("(c.lane = %s or c.lane is null and (c.version_ref, c.action) in (select * from unnest(%s::int4[], %s::int2[])))",
			args.add(p.lane), args.add(refs), args.add(indexes)))
	}
	mine := "true"
	if p.tenantID != nil {
		mine = tenantIs("v.tenant_id", *p.tenantID, &args)
	}
	join := eventJoin(p.within("e.committed_at", &args))
	if !p.drive.byEvents() && (p.tables != nil || p.domain != "") {
		from = "c " + join
		if p.tables != nil {
			where = append(where, "e.table_ref = any ("+args.add(p.tables)+"::int4[])")
		} else {
			where = append(where, "e.domain = "+args.add(p.domain))
		}
	}
	found := fmt.Sprintf(`(select c.* from %s where %s order by %s limit %d) c
join rowbell.surrogate v on v.ref = c.version_ref and %s
%s
left join rowbell.surrogate t on t.ref = e.table_ref`, from, strings.Join(where, " and "), p.order("c"), p.wanted, mine, join)
	if !p.residual {
		return fmt.Sprintf("%s\nselect %s from %s\norder by %s", sql, columns, found, p.order("c")), args
	}
	// What was looked at comes with it, also if nothing of it is asked for.
	reverse := func(order string) string { return strings.ReplaceAll(order, " desc", "") }
	seen := fmt.Sprintf(`(select count(*)::int4 as n, 0 as before_n from c) l
left join lateral (select c.committed_at as at, c.id, c.action, c.recipient from c order by %s limit 1) z on true
cross join (select null::timestamptz as at, null::text as id) y`, reverse(p.order("c")))
	if p.drive.byEvents() {
		order := "event_id"
		if p.drive == alongRow {
			order = "committed_at, event_id"
		}
		seen = fmt.Sprintf(`(select (select count(*) from ev)::int4 as n, (select count(*) from pre)::int4 as before_n) l
left join lateral (select committed_at as at, event_id as id, 0::int2 as action, '' as recipient from ev order by %[1]s limit 1) z on true
left join lateral (select committed_at as at, event_id as id from pre order by %[1]s limit 1) y on true`, order)
	}
	return fmt.Sprintf(`%s
select l.n, z.at, z.id, z.action, z.recipient, l.before_n, y.at, y.id, r.*
from %s left join lateral (select %s from %s order by %s) r on true`, sql, seen, numbered(columns), found, p.order("c")), args
}

// numbered gives each of a list of columns a name: several are called alike.
func numbered(columns string) string {
	var b strings.Builder
	depth, n := 0, 0
	end := func() {
		n++
		fmt.Fprintf(&b, " as c%d", n)
	}
	for _, r := range columns {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				end()
			}
		}
		b.WriteRune(r)
	}
	end()
	return b.String()
}
