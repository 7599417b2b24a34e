package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

const destinationColumns = `lane, coalesce(tenant_id, ''), kind, destination, coalesce(workflow_id, ''), state,
	failures, first_failure_at, window_at, window_tries, window_failures, opens, opened_at, closed_at, probe_at, probe_until,
	disabled_at, coalesce(disabled_by, ''), coalesce(disabled_reason, ''), coalesce(last_error, ''), last_error_at, last_success_at,
	coalesce(rate, ''), coalesce(concurrency, 0), created_at`

// scanDestination reads destinationColumns behind what before takes.
func scanDestination(row pgx.CollectableRow, before ...any) (d workflow.Destination, err error) {
	var firstFailure, window, opened, closed, probe, probeUntil, disabled, lastError, lastSuccess *time.Time
	err = row.Scan(append(before, &d.Lane, &d.TenantID, &d.Kind, &d.Destination, &d.WorkflowID, &d.State,
		&d.Failures, &firstFailure, &window, &d.WindowTries, &d.WindowFailures, &d.Opens, &opened, &closed, &probe, &probeUntil,
		&disabled, &d.DisabledBy, &d.DisabledReason, &d.LastError, &lastError, &lastSuccess, &d.Rate, &d.Concurrency, &d.CreatedAt)...)
	for _, at := range []struct {
		from *time.Time
		to   *time.Time
	}{
		{firstFailure, &d.FirstFailureAt},
		{window, &d.WindowAt},
		{opened, &d.OpenedAt},
		{closed, &d.ClosedAt},
		{probe, &d.ProbeAt},
		{probeUntil, &d.ProbeUntil},
		{disabled, &d.DisabledAt},
		{lastError, &d.LastErrorAt},
		{lastSuccess, &d.LastSuccessAt},
	} {
		if at.from != nil {
			*at.to = *at.from
		}
	}
	return d, err
}

// mostError is how much of an error's text is kept with a destination, in bytes.
const mostError = 2000

// NoteAttempts counts attempts at destinations, each of which is in the list once, and
// opens, closes and disables as b says. It returns how each stands then, closed ones too.
func (s *State) NoteAttempts(ctx context.Context, list []workflow.Attempts, b workflow.Breaker) ([]workflow.Barred, error) {
	what := fmt.Sprintf("note what attempts at %d destinations came to", len(list))
	byLane := make(map[int64]workflow.Attempts, len(list))
	lanes, tenants, kinds, names := make([]int64, len(list)), make([]string, len(list)), make([]string, len(list)), make([]string, len(list))
	// In one order, so that two processes don't wait for each other.
	slices.SortFunc(list, func(a, b workflow.Attempts) int { return cmp.Compare(a.Lane, b.Lane) })
	for i, a := range list {
		a.Error = storable(cutText(a.Error, mostError))
		byLane[a.Lane] = a
		lanes[i], tenants[i], kinds[i], names[i] = a.Lane, a.TenantID, a.Kind, storable(a.Destination)
	}
	barred := make([]workflow.Barred, 0, len(list))
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into rowbell.destination (lane, tenant_id, kind, destination)
select lane, nullif(tenant_id, ''), kind, name from unnest($1::int8[], $2::text[], $3::text[], $4::text[]) n (lane, tenant_id, kind, name)
where not exists (select from rowbell.destination d where d.lane = n.lane)
order by lane on conflict (lane) do nothing`, lanes, tenants, kinds, names)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select clock_timestamp(), `+destinationColumns+` from rowbell.destination where lane = any ($1) order by lane for update`, lanes)
		if err != nil {
			return err
		}
		var now time.Time
		known, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Destination, error) { return scanDestination(row, &now) })
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for i := range known {
			d := &known[i]
			d.Note(byLane[d.Lane], now, b)
			queueDestination(batch, d)
			barred = append(barred, workflow.Barred{Lane: d.Lane, Kind: d.Kind, State: d.State, Reason: disabledReason(d)})
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return barred, nil
}

// queueDestination writes what Destination.Note may change.
func queueDestination(b *pgx.Batch, d *workflow.Destination) {
	b.Queue(`update rowbell.destination set workflow_id = nullif($2, ''), state = $3, failures = $4, first_failure_at = $5, window_at = $6,
	window_tries = $7, window_failures = $8, opens = $9, opened_at = $10, closed_at = $11, probe_at = $12, probe_until = $13,
	probe_by = case when $13::timestamptz is not null then probe_by end,
	disabled_at = $14, disabled_by = nullif($15, ''), disabled_reason = nullif($16, ''), last_error = nullif($17, ''), last_error_at = $18,
	last_success_at = $19, rate = nullif($20, ''), concurrency = nullif($21, 0)
where lane = $1`, d.Lane, d.WorkflowID, string(d.State), d.Failures, orNull(d.FirstFailureAt), orNull(d.WindowAt), d.WindowTries, d.WindowFailures, d.Opens,
		orNull(d.OpenedAt), orNull(d.ClosedAt), orNull(d.ProbeAt), orNull(d.ProbeUntil), orNull(d.DisabledAt), d.DisabledBy, d.DisabledReason,
		d.LastError, orNull(d.LastErrorAt), orNull(d.LastSuccessAt), d.Rate, d.Concurrency)
}

// orNull is null for the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// cutText shortens a text to so many bytes, and says so by an ellipsis.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// wasDisabled is how disabledReason begins.
const wasDisabled = "its destination was disabled"

// disabledReason is why deliveries are cancelled that go to a disabled destination.
func disabledReason(d *workflow.Destination) string {
	if d.State != workflow.Disabled {
		return ""
	}
	by := ""
	if d.DisabledBy != "" {
		by = " by " + d.DisabledBy
	}
	return fmt.Sprintf(wasDisabled+"%s on %s: %s; rowbell destination enable %s lets the next ones go",
		by, d.DisabledAt.UTC().Format("2006-01-02 15:04 UTC"), cutText(d.DisabledReason, 300), workflow.LaneID(d.Lane))
}

// proberGone says of a destination d that is half open that who tries it has lost the right
// to, or is not there any more: killed, it would keep the rest waiting until then.
const proberGone = `(d.probe_until <= clock_timestamp()
	or not exists (select from rowbell.executor e where e.process = d.probe_by and e.seen_at > clock_timestamp() - interval '10 s'))`

// Barred returns the destinations that are open, half open or disabled, at most limit
// of them.
func (s *State) Barred(ctx context.Context, limit int) ([]workflow.Barred, error) {
	const what = "read which destinations take nothing"
	rows, err := s.db.Query(ctx, `select coalesce(case state when 'open' then probe_at <= clock_timestamp() when 'half_open' then `+proberGone+` end, false),
	`+destinationColumns+` from rowbell.destination d where state <> 'closed' limit $1`, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Barred, error) {
		var due bool
		d, err := scanDestination(row, &due)
		return workflow.Barred{Lane: d.Lane, Kind: d.Kind, State: d.State, Due: due, Reason: disabledReason(&d)}, err
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// Probe takes the right to try one delivery to a destination whose breaker is open and
// whose time is over, for so long. Only one process has it.
func (s *State) Probe(ctx context.Context, lane int64, process string, lease time.Duration) (bool, error) {
	taken := false
	err := pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		// Of several who ask at once the next must see not only that the first has it, but
		// that the first is there: so it looks when it has the lock.
		if _, err := tx.Exec(ctx, `select from rowbell.destination where lane = $1 for update`, lane); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `with me as (
	insert into rowbell.executor (process, seen_at) values ($2, clock_timestamp()) on conflict (process) do update set seen_at = excluded.seen_at
)
update rowbell.destination d set state = 'half_open', probe_by = $2, probe_until = clock_timestamp() + $3::interval
where lane = $1 and (state = 'open' and probe_at <= clock_timestamp() or state = 'half_open' and `+proberGone+`)`, lane, process, lease)
		taken = tag.RowsAffected() == 1
		return err
	})
	if err != nil {
		return false, stateError("take the right to try destination "+workflow.LaneID(lane), err)
	}
	return taken, nil
}

// TakeTokens takes attempts at destinations that have a rate, for whoever asks: all
// processes together get no more than the rate, and what a second or the time of one
// attempt holds at once. A destination that is not known is left out of the answer.
func (s *State) TakeTokens(ctx context.Context, list []workflow.TokenRequest) ([]workflow.TokenGrant, error) {
	what := fmt.Sprintf("take attempts at %d destinations that have a rate", len(list))
	lanes, each, most := make([]int64, len(list)), make([]float64, len(list)), make([]int32, len(list))
	for i, r := range list {
		lanes[i], each[i], most[i] = r.Lane, 1/r.PerSecond, int32(r.Most)
	}
	// It goes by the moment up to which all is taken (GCRA, ITU-T I.371), which is a row's
	// only state: what isn't taken in time is nobody's later.
	rows, err := s.db.Query(ctx, `with ask as materialized (
	select * from unnest($1::int8[], $2::float8[], $3::int4[]) a (lane, each, most)
), held as materialized (
	select d.lane, d.rate_at, a.each, a.most from rowbell.destination d join ask a on a.lane = d.lane order by d.lane for update of d
), now as materialized (
	select lane, each, most, greatest(rate_at, n) as at, n from held, lateral (select clock_timestamp() as n) t
), free as materialized (
	select lane, each, at, greatest(0, least(most, floor((extract(epoch from n - at)::float8 + greatest(1, each)) / each + 1e-6)))::int4 as k,
		extract(epoch from at - n)::float8 + each - greatest(1, each) as wait
	from now
), taken as (
	update rowbell.destination d set rate_at = f.at + f.k * f.each * interval '1 s' from free f where d.lane = f.lane and f.k > 0
)
select lane, k, greatest(0, wait) from free`, lanes, each, most)
	if err != nil {
		return nil, stateError(what, err)
	}
	grants, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.TokenGrant, error) {
		var g workflow.TokenGrant
		var seconds float64
		err := row.Scan(&g.Lane, &g.N, &seconds)
		g.Wait = time.Duration(seconds * float64(time.Second))
		return g, err
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return grants, nil
}

// Executors says that a process delivers, and returns the names of all that have said so
// in the last while, sorted.
func (s *State) Executors(ctx context.Context, process string, while time.Duration) ([]string, error) {
	const what = "say that this process delivers"
	rows, err := s.db.Query(ctx, `with me as (
	insert into rowbell.executor (process, seen_at) values ($1, clock_timestamp()) on conflict (process) do update set seen_at = excluded.seen_at
), gone as (
	delete from rowbell.executor where seen_at < clock_timestamp() - interval '1 hour' and process <> $1
)
select process from rowbell.executor where seen_at > clock_timestamp() - $2::interval union select $1::text order by 1`, process, while)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, stateError(what, err)
	}
	slices.Sort(list) // whatever the database sorts by
	return list, nil
}

// ExecutorLeft says that a process delivers no more.
func (s *State) ExecutorLeft(ctx context.Context, process string) error {
	if _, err := s.db.Exec(ctx, `delete from rowbell.executor where process = $1`, process); err != nil {
		return stateError("say that this process delivers no more", err)
	}
	return nil
}

// TenantWeights are how many turns tenants get that get more than one; "" stands for
// operators' workflows.
func (s *State) TenantWeights(ctx context.Context) (map[string]int, error) {
	const what = "read the tenants' weights"
	rows, err := s.db.Query(ctx, `select tenant_id, weight from rowbell.tenant_weight where weight > 1 limit 100000`)
	if err != nil {
		return nil, stateError(what, err)
	}
	weights := make(map[string]int)
	var tenant string
	var weight int
	if _, err := pgx.ForEachRow(rows, []any{&tenant, &weight}, func() error { weights[tenant] = weight; return nil }); err != nil {
		return nil, stateError(what, err)
	}
	return weights, nil
}

// SetTenantWeight writes how many turns a tenant gets; 1 is what all others have. weight
// is 1 to 100.
func (s *State) SetTenantWeight(ctx context.Context, tenantID string, weight int) error {
	_, err := s.db.Exec(ctx, `insert into rowbell.tenant_weight (tenant_id, weight) values ($1, $2)
on conflict (tenant_id) do update set weight = excluded.weight, updated_at = clock_timestamp()`, tenantID, weight)
	if err != nil {
		return stateError("write the weight of tenant "+tenantID, err)
	}
	return nil
}

// KindUse is what came of deliveries to the destinations of one kind.
type KindUse struct {
	Destinations int
	Barred       int // of them, those that take nothing now
	LastSuccess  *time.Time
	LastErrorAt  *time.Time
	LastError    string
}

// KindUses are what came of deliveries by the kind of their destinations, of a tenant, "" for
// operators'; nil: of all.
func (s *State) KindUses(ctx context.Context, tenant *string) (map[string]KindUse, error) {
	const what = "read how destinations are used"
	rows, err := s.db.Query(ctx, `select kind, count(*), count(*) filter (where state <> 'closed'), max(last_success_at), max(last_error_at),
	coalesce((array_agg(last_error order by last_error_at desc nulls last))[1], '')
from rowbell.destination where $1::text is null or coalesce(tenant_id, '') = $1 group by kind`, tenant)
	if err != nil {
		return nil, stateError(what, err)
	}
	uses := make(map[string]KindUse)
	var kind string
	var u KindUse
	if _, err := pgx.ForEachRow(rows, []any{&kind, &u.Destinations, &u.Barred, &u.LastSuccess, &u.LastErrorAt, &u.LastError}, func() error { uses[kind] = u; return nil }); err != nil {
		return nil, stateError(what, err)
	}
	return uses, nil
}

// DisabledUntold takes the disabled destinations, at most limit, whose owners are not told
// yet and whom no process is telling, for so long.
func (s *State) DisabledUntold(ctx context.Context, while time.Duration, limit int) ([]workflow.Destination, error) {
	const what = "read which destinations were disabled"
	rows, err := s.db.Query(ctx, `with pick as materialized (
	select lane as which from rowbell.destination
	where state <> 'closed' and state = 'disabled' and disabled_by is null and alerted_at is null and (alert_until is null or alert_until <= clock_timestamp())
	limit $2 for update skip locked
)
update rowbell.destination d set alert_until = clock_timestamp() + $1::interval from pick p where d.lane = p.which
returning `+destinationColumns, while, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Destination, error) { return scanDestination(row) })
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// DisabledTold says that the owner of a destination knows that it was disabled at this
// time.
func (s *State) DisabledTold(ctx context.Context, lane int64, disabledAt time.Time) error {
	_, err := s.db.Exec(ctx, `update rowbell.destination set alerted_at = clock_timestamp() where lane = $1 and disabled_at = $2`, lane, disabledAt)
	if err != nil {
		return stateError("note that a disabled destination's owner was told", err)
	}
	return nil
}

// DestinationFilter says which destinations are wanted; a zero field takes all.
type DestinationFilter struct {
	Tenant *string // "" = operators'
	State  workflow.DestinationState
	Kind   string
	Name   string // the destination, in full
	Cursor string // Next of the page before; "" = the first page
	Limit  int    // 0: 1000
}

// destinationPlace is where a page of destinations ended.
type destinationPlace struct {
	Closed bool   `json:"c,omitempty"`
	Name   string `json:"d"`
	Tenant string `json:"t,omitempty"`
	Lane   int64  `json:"l"`
}

func (f *DestinationFilter) place() (p destinationPlace, err error) {
	text, err := base64.RawURLEncoding.DecodeString(f.Cursor)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || !utf8.Valid(text) || strings.ContainsRune(p.Name+p.Tenant, 0) || p.Name == "" {
		return p, fmt.Errorf("%.60q is %w", f.Cursor, ErrCursor)
	}
	return p, nil
}

// Destinations lists destinations: those that take nothing first, then by name. Returns
// ErrCursor for a cursor of something else.
func (s *State) Destinations(ctx context.Context, f DestinationFilter) ([]workflow.Destination, error) {
	p, err := s.DestinationPage(ctx, f)
	return p.Items, err
}

// DestinationPage reads a page of what Destinations lists. One whose state changes meanwhile may
// come twice, or not at all.
func (s *State) DestinationPage(ctx context.Context, f DestinationFilter) (Page[workflow.Destination], error) {
	const what = "list destinations"
	page := Page[workflow.Destination]{Items: []workflow.Destination{}}
	if f.Limit == 0 {
		f.Limit = 1000
	}
	args := []any{f.Tenant, string(f.State), f.Kind, f.Name, f.Limit + 1}
	behind := ""
	if f.Cursor != "" {
		at, err := f.place()
		if err != nil {
			return page, err
		}
		behind = ` and (state = 'closed', destination, coalesce(tenant_id, ''), lane) > ($6, $7, $8, $9)`
		args = append(args, at.Closed, at.Name, at.Tenant, at.Lane)
	}
	rows, err := s.db.Query(ctx, `select `+destinationColumns+` from rowbell.destination
where ($1::text is null or coalesce(tenant_id, '') = $1) and ($2 = '' or state = $2) and ($3 = '' or kind = $3) and ($4 = '' or destination = $4)`+behind+`
order by state = 'closed', destination, coalesce(tenant_id, ''), lane limit $5`, args...)
	if err != nil {
		return page, stateError(what, err)
	}
	page.Items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Destination, error) { return scanDestination(row) })
	if err != nil {
		return page, stateError(what, err)
	}
	if len(page.Items) > f.Limit {
		page.Items = page.Items[:f.Limit]
		last := page.Items[f.Limit-1]
		text, err := json.Marshal(destinationPlace{last.State == workflow.Closed, last.Destination, last.TenantID, last.Lane})
		if err != nil {
			return page, err
		}
		page.Next = base64.RawURLEncoding.EncodeToString(text)
	}
	return page, nil
}

// Destination reads one. Returns ErrNotFound if nothing was ever sent there.
func (s *State) Destination(ctx context.Context, lane int64) (workflow.Destination, error) {
	rows, err := s.db.Query(ctx, `select `+destinationColumns+` from rowbell.destination where lane = $1`, lane)
	if err != nil {
		return workflow.Destination{}, stateError("read a destination", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Destination, error) { return scanDestination(row) })
	if err != nil {
		return workflow.Destination{}, stateError("read a destination", err)
	}
	if len(list) == 0 {
		return workflow.Destination{}, notFound("there is no destination %s; rowbell destination list has all", workflow.LaneID(lane))
	}
	return list[0], nil
}

// EnableDestination lets deliveries be tried again, and forgets what failed. Returns
// ErrNotFound if there is none.
func (s *State) EnableDestination(ctx context.Context, lane int64) error {
	tag, err := s.db.Exec(ctx, `update rowbell.destination set state = 'closed', failures = 0, first_failure_at = null, window_at = null, window_tries = 0, window_failures = 0,
	opens = 0, probe_at = null, probe_until = null, probe_by = null, closed_at = clock_timestamp(),
	disabled_at = null, disabled_by = null, disabled_reason = null, alert_until = null, alerted_at = null where lane = $1`, lane)
	if err != nil {
		return stateError("enable a destination", err)
	}
	if tag.RowsAffected() == 0 {
		return notFound("there is no destination %s; rowbell destination list has all", workflow.LaneID(lane))
	}
	return nil
}

// DisableDestination lets nothing be tried any more: what waits is cancelled. Its owner is
// not told, since somebody has meant it. Returns ErrNotFound if there is none.
func (s *State) DisableDestination(ctx context.Context, lane int64, by, reason string) error {
	tag, err := s.db.Exec(ctx, `update rowbell.destination set state = 'disabled', disabled_at = clock_timestamp(), disabled_by = $2, disabled_reason = $3,
	probe_at = null, probe_until = null, probe_by = null, alert_until = null, alerted_at = null where lane = $1`, lane, by, reason)
	if err != nil {
		return stateError("disable a destination", err)
	}
	if tag.RowsAffected() == 0 {
		return notFound("there is no destination %s; rowbell destination list has all", workflow.LaneID(lane))
	}
	return nil
}

// OneDestination is the only one of a list, which was found by its name. Returns ErrNotFound,
// and ErrConflict if there are several.
func OneDestination(list []workflow.Destination, name string) (workflow.Destination, error) {
	switch len(list) {
	case 0:
		return workflow.Destination{}, notFound("there is no destination %s; rowbell destination list has all, by id and in full without the query", name)
	case 1:
		return list[0], nil
	}
	var lines []string
	for _, d := range list {
		lines = append(lines, fmt.Sprintf("%s (tenant %s, %s)", workflow.LaneID(d.Lane), cmp.Or(d.TenantID, "-"), d.Kind))
	}
	return workflow.Destination{}, conflict("there are several destinations of this name; give the id of one, or --tenant: %s", strings.Join(lines, ", "))
}

// WaitingFor counts the deliveries in the queue that go to a destination.
func (s *State) WaitingFor(ctx context.Context, lane int64) (int64, error) {
	var n int64
	if err := s.db.QueryRow(ctx, `select count(*) from rowbell.queue where lane = $1`, lane).Scan(&n); err != nil {
		return 0, stateError("count what waits for a destination", err)
	}
	return n, nil
}

// ClaimDisabled leases up to limit deliveries that go to disabled destinations and may be
// tried now or later, so that they can be cancelled. Their events don't come along.
func (q *Queue) ClaimDisabled(ctx context.Context, limit int) ([]*workflow.Leased, error) {
	const what = "claim the deliveries of disabled destinations"
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	rows, err := conn.Query(ctx, `with pick as materialized (
	select p.* from rowbell.destination d cross join lateral (
		select q.execution_id, q.action, q.recipient from rowbell.queue q
		where q.lane = d.lane and q.ready_at < 'infinity' and (q.lease_until is null or q.lease_until <= now())
		limit $1 for update skip locked
	) p
	where d.state <> 'closed' and d.state = 'disabled' limit $1
)
update rowbell.queue q set lease_until = clock_timestamp() + $2::interval, lease_by = $3
from pick p where q.execution_id = p.execution_id and q.action = p.action and q.recipient = p.recipient
returning q.execution_id, q.action, q.recipient, q.version_ref, q.kind, q."order", q.attempts, q.sole, q.lane`, limit, q.lease, q.process)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*workflow.Leased, error) {
		l := &workflow.Leased{Addressed: true}
		return l, row.Scan(&l.ExecutionID, &l.Action, &l.Recipient, &l.VersionRef, &l.Kind, &l.Order, &l.Attempts, &l.Sole, &l.Lane)
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}
