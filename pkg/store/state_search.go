package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Lists of the log are read newest first, each from an index that has what is asked for in
// that order: by_id of event and execution, whose ids begin with the time; by workflow, by
// status, by recipient, by the row's key, by tenant. What no index knows (a text in an
// error, the table without a row) is looked for among what that index gives, of which one
// page looks at so much and no more: it may find less than it was asked for, and says how
// far it came. So no page takes long, and nothing is ever counted to its end.

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
	Window    int // of windows, where a search goes on that has found little so far
}

type placeJSON struct {
	At        int64  `json:"t"` // microseconds since 1970
	ID        string `json:"i,omitempty"`
	Action    int16  `json:"a,omitempty"`
	Recipient string `json:"r,omitempty"`
	Window    int    `json:"w,omitempty"`
}

func (p place) cursor() string {
	text, _ := json.Marshal(placeJSON{p.At.UnixMicro(), p.ID, p.Action, p.Recipient, p.Window}) // never fails
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
	if err != nil || !utf8.Valid(text) || strings.ContainsRune(j.ID+j.Recipient, 0) || j.Window < 0 || j.Window >= len(windows) {
		return place{}, fmt.Errorf("%.60q is %w", cursor, ErrCursor)
	}
	return place{time.UnixMicro(j.At).UTC(), j.ID, j.Action, j.Recipient, j.Window}, nil
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
}

// The sources of a list of executions.
var executionSources = []logSource{
	{
		table: "rowbell.execution", where: "true", id: "x.id", action: "0::int2", recipient: "''", status: "x.status", error: "x.error",
		own:         map[string]string{"success": "success", "failure": "failure", "cancelled": "cancelled"},
		columns:     "x.executed_at, x.settled_at, x.priority",
		partitioned: true,
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
		partitioned: true,
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
	firstLook = 300
	mostLooks = 2100
	// The same of events, each of which is looked up in several tables.
	firstEvents = 100
	mostEvents  = 300
	// And of events of which only those of one table are looked up.
	mostOfTables = 4000
)

// longPage is after what time a page stops that has to look at more than it is asked for.
const longPage = 20 * time.Millisecond

// fewVersions is how many workflow versions are looked up one by one instead of by what
// all have in common.
const fewVersions = 200

// manyVersions is from how many on a tenant's share of all that happens is so large that
// what it has is found among that of all.
const manyVersions = 2000

// drive is what a search goes along.
type drive int

const (
	alongID        drive = iota // all of the log by id
	alongVersions               // each workflow version by time
	alongTenant                 // each version of a tenant's workflows by time, day by day
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
		more, err := pgx.CollectRows(rows, scan)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, more...)
		if len(page.Items) > q.limit {
			page.Items = page.Items[:q.limit]
			page.Next = placeOf(page.Items[q.limit-1]).cursor()
			return page, nil
		}
		goesOn, err := p.goOn(ctx, s)
		if err != nil || !goesOn && !p.stopped {
			return page, err
		}
		if p.stopped {
			p.at.Window = p.window
			page.Next = p.at.cursor()
			to := p.at.At.UTC()
			page.SearchedTo = &to
			return page, nil
		}
	}
}

// windows are how far back one step of a search goes: where many things happen, the first
// one has enough, and few partitions are looked at; where few do, the next one has not very
// many more. Zero: to the beginning.
var windows = []time.Duration{time.Hour, 4 * time.Hour, 16 * time.Hour, 64 * time.Hour, 11 * 24 * time.Hour, 0}

// sparseWindow is where a search begins for what there is little of.
const sparseWindow = 2

// windowsAtOnce is how many of them a page goes through along all versions of a tenant
// that has very many.
const windowsAtOnce = 3

// pager is a search as it goes on.
type pager struct {
	logSearch
	drive    drive
	nothing  bool
	refs     []int32 // of the versions it is about; nil = of all, or of all of the tenant
	ofTenant bool    // refs is nil, and it is about those of the tenant
	residual bool    // not all that is looked at is asked for
	tables   []int32 // versions of the table, in surrogate; nil = any
	domain   string  // instead of tables: the name of a domain event

	at     place
	behind bool      // events begin behind the one at the place, not with it
	from   time.Time // the window's beginning; zero = the log's
	window int       // index of the window
	// windowsLeft is how many more of them this page goes through.
	windowsLeft int
	wanted      int // rows
	look        int // candidates
	spent       int // candidates that were looked at in vain
	begun       time.Time
	// stopped says that the page is over before its end.
	stopped bool
}

// choose looks up what the search is about, and decides what it goes along.
func (p *pager) choose(ctx context.Context, s *State) error {
	if err := p.chooseTable(ctx, s); err != nil || p.nothing {
		return err
	}
	many := false
	if len(p.workflowIDs) > 0 || p.tenantID != nil {
		sql := `select ref from rowbell.surrogate where kind = 'workflow'`
		var args parameters
		most := manyVersions + 1
		if p.tenantID != nil {
			sql += " and " + tenantIs("tenant_id", *p.tenantID, &args)
		}
		if len(p.workflowIDs) > 0 {
			sql += " and id = any (" + args.add(p.workflowIDs) + ")"
			most = mostVersions
		}
		rows, err := s.db.Query(ctx, sql+fmt.Sprintf(" limit %d", most), args...)
		if err != nil {
			return err
		}
		if p.refs, err = pgx.CollectRows(rows, pgx.RowTo[int32]); err != nil {
			return err
		}
		switch {
		case len(p.refs) == 0:
			p.nothing = true
			return nil
		case len(p.workflowIDs) == 0 && len(p.refs) > fewVersions:
			many = len(p.refs) > manyVersions
			p.refs, p.ofTenant = nil, true
		}
	}
	eventTable := p.tables != nil || p.domain != ""
	switch {
	case p.eventID != "" || p.executionID != "":
		p.drive = alongEvent
	case p.rowKey != "":
		p.drive = alongRow
	case p.recipient != "":
		p.drive = alongRecipient
	case p.refs != nil:
		p.drive = alongVersions
	case p.ofTenant && !many:
		p.drive = alongTenant
	case eventTable && !p.ofTenant:
		p.drive = alongEvents
	case p.unwell():
		p.drive = alongStatus
	}
	elsewhere := p.refs != nil && p.drive != alongVersions || p.ofTenant && p.drive != alongTenant
	p.residual = p.text != "" || p.kind != "" || p.lane != 0 || eventTable || elsewhere
	p.look = firstLook
	if p.drive.byEvents() {
		p.residual, p.look = true, min(firstEvents, p.limit+1)
	}
	p.window = len(windows) - 1
	switch p.drive {
	case alongEvent, alongRow, alongRecipient: // which are few
	case alongVersions:
		if len(p.refs) > 4 {
			p.window = 1
		}
	default:
		p.window = 0
	}
	if !p.hasEnded() { // what is pending has no partitions
		p.window = len(windows) - 1
	}
	if p.window < sparseWindow && p.unwell() {
		p.window = sparseWindow
	}
	p.window = max(p.window, p.at.Window)
	p.windowsLeft = windowsAtOnce
	p.setWindow()
	return nil
}

// mostVersions is how many versions of the workflows that are asked for are looked at.
const mostVersions = 5000

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

// tableRefs are the numbers of a captured table's versions.
func (s *State) tableRefs(ctx context.Context, label string) ([]int32, error) {
	rows, err := s.db.Query(ctx, `select ref from rowbell.surrogate where kind = 'table' and id = $1`, strings.TrimPrefix(label, "public."))
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

// versionIs is the condition that a column holds a version that the search is about.
func (p *pager) versionIs(column string, args *parameters) string {
	switch {
	case p.refs != nil:
		return column + " = any (" + args.add(p.refs) + "::int4[])"
	case p.ofTenant:
		return column + " in (select ref from rowbell.surrogate where kind = 'workflow' and " + tenantIs("tenant_id", *p.tenantID, args) + ")"
	}
	return ""
}

func (p *pager) setWindow() {
	p.from = time.Time{}
	if w := windows[p.window]; w > 0 {
		top := time.Now()
		if !p.until.IsZero() {
			top = p.until
		}
		if !p.at.At.IsZero() {
			top = p.at.At
		}
		p.from = top.Add(-w).Truncate(time.Millisecond) // as ids have it
	}
}

// goOn prepares the next step after one that did not find enough. It returns false if that
// was all, or if the page stops here.
func (p *pager) goOn(ctx context.Context, s *State) (bool, error) {
	if p.residual {
		full, end, err := p.end(ctx, s)
		if err != nil {
			return false, err
		}
		if full {
			p.at = end
			p.spent += p.look
			p.look *= 2
			most := mostLooks
			if p.drive.byEvents() {
				most = mostEvents
			}
			p.stopped = p.spent >= most || time.Since(p.begun) > longPage
			return !p.stopped, nil
		}
	}
	if p.from.IsZero() || !p.from.After(p.since) {
		return false, nil
	}
	p.at = place{At: p.from}
	p.window++
	p.windowsLeft--
	p.setWindow()
	p.stopped = p.drive == alongTenant && p.windowsLeft == 0 || p.residual && time.Since(p.begun) > longPage
	return !p.stopped, nil
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
	}
	return list
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
		where = append(where, s.id+" >= ev.event_id || '-'", s.id+" < ev.event_id || '.'", "x.committed_at = ev.committed_at")
	}
	switch {
	case p.drive == alongEvent:
		where = append(where, p.eventIs(s, args)...)
	case !s.partitioned || p.drive.byEvents():
		if sql := p.versionIs("x.version_ref", args); sql != "" {
			where = append(where, sql)
		}
		if p.recipient != "" && s.recipient != "''" {
			where = append(where, "x.recipient = "+args.add(p.recipient))
		}
	case p.drive == alongVersions:
		each = "unnest(" + args.add(p.refs) + "::int4[]) w (ref)"
		where = append(where, "x.version_ref = w.ref")
	case p.drive == alongTenant:
		each = "(select ref from rowbell.surrogate where kind = 'workflow' and " + tenantIs("tenant_id", *p.tenantID, args) + ") w"
		where = append(where, "x.version_ref = w.ref")
	case p.drive == alongStatus:
		each = "unnest(" + args.add(own) + "::text[]) w (status)"
		where = append(where, "x.status = w.status")
	case p.drive == alongRecipient:
		where = append(where, "x.recipient = "+args.add(p.recipient), "x.recipient <> ''")
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
	where = append(where, p.times("x.committed_at", s.id, args)...)
	order := strings.NewReplacer("x.id ", s.id+" ", "x.action ", s.action+" ", "x.recipient ", s.recipient+" ").Replace(p.order("x"))
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
	if p.tables != nil || p.domain != "" || p.drive == alongRow && p.tenantID != nil {
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
	of := "true"
	switch {
	case p.domain != "":
		of = "domain = " + args.add(p.domain)
	case p.tables != nil:
		of = "table_ref = any (" + args.add(p.tables) + "::int4[])"
	}
	if p.drive == alongRow && p.tenantID != nil && *p.tenantID != "" { // whose workflows see no other rows
		of += " and tenant_id = " + args.add(*p.tenantID)
	}
	return fmt.Sprintf(`pre as materialized (
	select e.event_id, e.committed_at, e.table_ref, e.domain, e.tenant_id from rowbell.event e where %s order by %s limit %d
), ev as materialized (select * from pre where %s order by %s limit %d)`, strings.Join(where, " and "), order, look, of, order, most)
}

// eventJoin finds the event of each c by its key, in its partition: the lists are short, and
// the log is long.
const eventJoin = `left join lateral (
	select e.table_ref, e.domain, e.row_key, e.tenant_id, e.op from rowbell.event e where e.event_id = left(c.id, 26) and e.committed_at = c.committed_at offset 0
) e on true`

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
	if !p.drive.byEvents() {
		if p.drive != alongVersions && p.drive != alongTenant {
			if sql := p.versionIs("c.version_ref", &args); sql != "" {
				where = append(where, sql)
			}
		}
		if p.tables != nil || p.domain != "" {
			from = "c " + eventJoin
			if p.tables != nil {
				where = append(where, "e.table_ref = any ("+args.add(p.tables)+"::int4[])")
			} else {
				where = append(where, "e.domain = "+args.add(p.domain))
			}
		}
	}
	return fmt.Sprintf(`%s
select %s from (select c.* from %s where %s order by %s limit %d) c
join rowbell.surrogate v on v.ref = c.version_ref
`+eventJoin+`
left join rowbell.surrogate t on t.ref = e.table_ref
order by %s`, sql, columns, from, strings.Join(where, " and "), p.order("c"), p.wanted, p.order("c")), args
}

// end reads where the candidates of a step end, and whether there may be more behind.
func (p *pager) end(ctx context.Context, s *State) (full bool, end place, err error) {
	var args parameters
	sql := p.with(&args)
	if !p.drive.byEvents() {
		sql += fmt.Sprintf("\nselect (select count(*) from c), c.committed_at, c.id, c.action, c.recipient from c order by %s limit 1",
			strings.ReplaceAll(p.order("c"), " desc", ""))
		var n int
		err := s.db.QueryRow(ctx, sql, planned(args)...).Scan(&n, &end.At, &end.ID, &end.Action, &end.Recipient)
		if errors.Is(err, pgx.ErrNoRows) {
			return false, end, nil
		}
		return n == p.look, end, err
	}
	args = nil
	order := "event_id"
	if p.drive == alongRow {
		order = "committed_at, event_id"
	}
	// The last event that was chosen, unless all of those that were looked at were gone
	// through.
	sql = "with " + p.eventsSQL(p.lookEvents(), p.look, &args) + fmt.Sprintf(`
(select 1, (select count(*) from ev), committed_at, event_id from ev order by %[1]s limit 1)
union all (select 2, (select count(*) from pre), committed_at, event_id from pre order by %[1]s limit 1) order by 1`, order)
	rows, err := s.db.Query(ctx, sql, planned(args)...)
	if err != nil {
		return false, end, err
	}
	var which, n int
	var at time.Time
	var id string
	_, err = pgx.ForEachRow(rows, []any{&which, &n, &at, &id}, func() error {
		if !full && (which == 1 && n == p.look || which == 2 && n == p.lookEvents()) {
			full, end = true, place{At: at, ID: id}
		}
		return nil
	})
	return full, end, err
}
