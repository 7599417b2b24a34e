package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ReplayFilter chooses ended executions to run again. Of an event and a workflow only the
// last run is chosen, so that what succeeded in a replay is no failure any more.
type ReplayFilter struct {
	Workflows []string                   `json:"workflows,omitempty"` // ids; empty: all
	TenantID  *string                    `json:"tenant,omitempty"`    // "": operators' workflows
	Statuses  []workflow.ExecutionStatus `json:"statuses"`            // of ended ones
	Cause     string                     `json:"cause,omitempty"`     // a part of the reason, in upper or lower case; # may stand for a number, as in a Cause
	Since     time.Time                  `json:"since"`               // commit time of the change: not before,
	Until     time.Time                  `json:"until"`               // and before
	Limit     int                        `json:"limit"`               // the oldest so many
	// Executions are the only ones that are meant, by id; empty: all.
	Executions []string `json:"executions,omitempty"`
}

// MostReplayed is how many executions one replay may run again.
const MostReplayed = 1_000_000

// runOf is the run of an execution: $ stands for its id.
const runOf = `coalesce(nullif(split_part(substr(%[1]s, 28), '-', 2), ''), '0')::int4`

// laterSQL says that an execution of x's event and workflow stands in a table with a later
// run than x. The rows of the event are few, and are looked for by themselves: a server that
// joined first would read all that its workflow ever did, for each x.
const laterSQL = `exists (
	select from (
		select y.%[1]s as id, y.version_ref from rowbell.%[2]s y
		where y.%[1]s >= left(x.id, 26) || '-' and y.%[1]s < left(x.id, 26) || '.' and y.committed_at = x.committed_at offset 0
	) y join rowbell.surrogate yv on yv.ref = y.version_ref where yv.id = v.id and ` + "%[3]s > %[4]s" + `
)`

var (
	laterRun = func() string {
		in := func(table, id string) string {
			return fmt.Sprintf(laterSQL, id, table, fmt.Sprintf(runOf, "y.id"), fmt.Sprintf(runOf, "x.id"))
		}
		return "(" + in("execution", "id") + " or " + in("queue", "execution_id") + " or " + in("execution_open", "id") + ")"
	}()

	// chosenSQL is what a filter chooses, as chosenArgs has it.
	chosenSQL = `select x.id, x.committed_at, x.version_ref, x.priority, x.status, v.id as workflow_id, v.name, v.version
from rowbell.execution x join rowbell.surrogate v on v.ref = x.version_ref
where x.committed_at >= $1 and x.committed_at < $2 and x.status = any ($3)
and x.version_ref in (select ref from rowbell.surrogate s where s.kind = 'workflow' and (cardinality($4::text[]) = 0 or s.id = any ($4)) and ($5::text is null or coalesce(s.tenant_id, '') = $5))
and ($6 = '' or position(lower($6) in lower(x.error)) > 0 or position(lower($6) in lower(regexp_replace(x.error, '[0-9]+', '#', 'g'))) > 0)
and (cardinality($8::text[]) = 0 or x.id = any ($8))
and not ` + laterRun + `
order by x.committed_at, x.id limit $7`
)

// of keeps the filter to the tenant that the state is for, if it is for one.
func (f ReplayFilter) of(t *Tenant) ReplayFilter {
	if t.one() {
		f.TenantID = &t.ID
	}
	return f
}

func (f *ReplayFilter) args() []any {
	statuses := make([]string, len(f.Statuses))
	for i, s := range f.Statuses {
		statuses[i] = string(s)
	}
	workflows := f.Workflows
	if workflows == nil {
		workflows = []string{}
	}
	executions := f.Executions
	if executions == nil {
		executions = []string{}
	}
	return []any{f.Since, f.Until, statuses, workflows, f.TenantID, f.Cause, f.Limit, executions}
}

// ReplayPart is what a filter chooses of one version of a workflow.
type ReplayPart struct {
	WorkflowID string                   `json:"workflow_id"`
	Name       string                   `json:"workflow_name"`
	Version    int32                    `json:"workflow_version"`
	Status     workflow.ExecutionStatus `json:"status"`
	Count      int                      `json:"count"`
	Gone       int                      `json:"gone,omitempty"` // of them, those whose event is no longer in the log
}

// CountReplay says what a filter chooses.
func (s *State) CountReplay(ctx context.Context, f ReplayFilter) ([]ReplayPart, error) {
	const what = "count the executions to run again"
	f = f.of(s.tenant)
	rows, err := s.db.Query(ctx, `select c.workflow_id, max(c.name), c.version, c.status, count(*)::int4,
	(count(*) filter (where not exists (select from rowbell.event e where e.event_id = left(c.id, 26) and e.committed_at = c.committed_at)))::int4
from (`+chosenSQL+`) c group by 1, 3, 4 order by 1, 3, 4`, f.args()...)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ReplayPart])
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// ReplayStatus is where a replay stands.
type ReplayStatus string

const (
	ReplayRunning   ReplayStatus = "running"
	ReplayDone      ReplayStatus = "done"
	ReplayCancelled ReplayStatus = "cancelled"
)

// Replay is a row of rowbell.replay.
type Replay struct {
	ID        int32        `json:"id"`
	Status    ReplayStatus `json:"status"`
	Filter    ReplayFilter `json:"filter"`
	Current   bool         `json:"current"`   // with the current version, not the one that applied
	Rate      float64      `json:"rate"`      // executions per second
	Total     int          `json:"total"`     // executions that it was asked to run again
	Done      int          `json:"done"`      // that it has made
	Unmatched int          `json:"unmatched"` // left out: the current version does not match
	Undecided int          `json:"undecided"` // left out: nobody can tell whether it does
	Gone      int          `json:"gone"`      // left out: the event is no longer in the log
	Changed   int          `json:"changed"`   // left out: retried or replayed meanwhile
	Refused   int          `json:"refused"`   // left out: the version can't run
	Error     string       `json:"error,omitempty"`
	CreatedBy string       `json:"created_by,omitempty"`
	CreatedAt time.Time    `json:"created_at"`
	EndedAt   *time.Time   `json:"ended_at,omitempty"`
}

// Left is how many it has still to look at.
func (r *Replay) Left() int {
	return r.Total - r.Done - r.Unmatched - r.Undecided - r.Gone - r.Changed - r.Refused
}

const replayColumns = `id, status, filter, current, rate, total, done, unmatched, undecided, gone, changed, refused, coalesce(error, ''), coalesce(created_by, ''), created_at, ended_at`

func scanReplay(row pgx.CollectableRow) (Replay, error) {
	var r Replay
	var filter []byte
	err := row.Scan(&r.ID, &r.Status, &filter, &r.Current, &r.Rate, &r.Total, &r.Done, &r.Unmatched, &r.Undecided, &r.Gone, &r.Changed, &r.Refused,
		&r.Error, &r.CreatedBy, &r.CreatedAt, &r.EndedAt)
	if err == nil {
		err = json.Unmarshal(filter, &r.Filter)
	}
	return r, err
}

// StartReplay notes down what a filter chooses now, to be run again at so many executions
// per second by whichever worker has time. Returns ErrNotFound if it chooses nothing.
func (s *State) StartReplay(ctx context.Context, f ReplayFilter, current bool, rate float64, by string) (Replay, error) {
	const what = "start a replay"
	if !(rate > 0) || math.IsInf(rate, 0) || f.Limit < 1 || f.Limit > MostReplayed {
		return Replay{}, fmt.Errorf("%s: a rate of %v and a limit of %d are out of range", what, rate, f.Limit)
	}
	f = f.of(s.tenant)
	filter, err := json.Marshal(f)
	if err != nil {
		return Replay{}, fmt.Errorf("%s: %w", what, err)
	}
	var r Replay
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		var id int32
		err := tx.QueryRow(ctx, `insert into rowbell.replay (rate, total, current, filter, created_by) values ($1, 0, $2, $3, nullif($4, '')) returning id`,
			rate, current, filter, by).Scan(&id)
		if err != nil {
			return err
		}
		args := append(f.args(), id)
		tag, err := tx.Exec(ctx, `insert into rowbell.replay_item (replay, id, committed_at, version_ref, priority)
select $9, c.id, c.committed_at, c.version_ref, c.priority from (`+chosenSQL+`) c`, args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return notFound("there is nothing to run again: no ended execution is as asked for, or each has been replayed since")
		}
		rows, err := tx.Query(ctx, `update rowbell.replay set total = $2 where id = $1 returning `+replayColumns, id, tag.RowsAffected())
		if err != nil {
			return err
		}
		r, err = pgx.CollectExactlyOneRow(rows, scanReplay)
		return err
	})
	if err != nil {
		return Replay{}, orSaid(what, err)
	}
	return r, nil
}

// orSaid is an error that says all itself, or stateError.
func orSaid(what string, err error) error {
	var words said
	if errors.As(err, &words) {
		return words
	}
	return stateError(what, err)
}

// Replays lists replays, the newest first.
func (s *State) Replays(ctx context.Context, limit int) ([]Replay, error) {
	const what = "list replays"
	rows, err := s.db.Query(ctx, `select `+replayColumns+` from rowbell.replay order by id desc limit $1`, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanReplay)
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// Replay reads one replay. Returns ErrNotFound if there is none of this number.
func (s *State) Replay(ctx context.Context, id int32) (Replay, error) {
	what := fmt.Sprintf("read replay %d", id)
	rows, err := s.db.Query(ctx, `select `+replayColumns+` from rowbell.replay where id = $1`, id)
	if err != nil {
		return Replay{}, stateError(what, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReplay)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, notFound("there is no replay %d", id)
	}
	if err != nil {
		return r, stateError(what, err)
	}
	return r, nil
}

// CancelReplay ends a replay: what it has not made yet it won't. What it has made goes on.
// Returns ErrNotFound, or ErrConflict if it has ended.
func (s *State) CancelReplay(ctx context.Context, id int32) (Replay, error) {
	var r Replay
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `update rowbell.replay set status = 'cancelled', ended_at = clock_timestamp() where id = $1 and status = 'running' returning `+replayColumns, id)
		if err != nil {
			return err
		}
		if r, err = pgx.CollectExactlyOneRow(rows, scanReplay); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `delete from rowbell.replay_item where replay = $1`, id)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		if r, err = s.Replay(ctx, id); err == nil {
			err = conflict("replay %d has ended: it is %s", id, r.Status)
		}
		return r, err
	}
	if err != nil {
		return r, stateError(fmt.Sprintf("cancel replay %d", id), err)
	}
	return r, nil
}

// CurrentVersions are the surrogates and numbers of the versions that apply now, as far as
// the stream has come, of these workflows. One that has none is left out.
func (s *State) CurrentVersions(ctx context.Context, slot string, workflowIDs []string) (map[string]CurrentVersion, error) {
	const what = "read which versions apply"
	rows, err := s.db.Query(ctx, `select id, surrogate, version from rowbell.applied where slot = $1 and kind = 'workflow' and id = any ($2)`, slot, workflowIDs)
	if err != nil {
		return nil, stateError(what, err)
	}
	current := make(map[string]CurrentVersion)
	var id string
	var v CurrentVersion
	if _, err := pgx.ForEachRow(rows, []any{&id, &v.Ref, &v.Version}, func() error { current[id] = v; return nil }); err != nil {
		return nil, stateError(what, err)
	}
	return current, nil
}

// CurrentVersion is the version of a workflow that applies.
type CurrentVersion struct{ Ref, Version int32 }

// ReplayItem is an execution that is to be run again.
type ReplayItem struct {
	ID         string
	VersionRef int32
	Priority   int32
	WorkflowID string
	Version    int32
	TenantID   string          // of the workflow
	Event      *workflow.Event // without Data
}

// ReplayOutcome is what became of an item.
type ReplayOutcome string

const (
	ReplayMade      ReplayOutcome = "done"
	ReplayUnmatched ReplayOutcome = "unmatched"
	ReplayUndecided ReplayOutcome = "undecided"
	ReplayRefused   ReplayOutcome = "refused"
)

// Replayed is what became of an item, and what is to be recorded if it is ReplayMade.
type Replayed struct {
	Outcome    ReplayOutcome
	Why        string              // of ReplayRefused
	Execution  *workflow.Execution // Run is filled in
	Deliveries []*workflow.Delivery
	Fires      bool // once per row: the event counts as the row's first if none does yet
	WorkflowID string
}

// replayLock is "rowbellR" in ASCII: replays look for later runs, and record theirs, one
// after the other.
const replayLock int64 = 0x726f7762656c6c52

// ReplayStep works off a part of a replay, as much as its rate allows, and says whether
// there was anything to do. It is at most so many executions, and so many where their
// conditions are to be evaluated. make says what is to become of each item. All is one
// transaction: a process that dies in it has done nothing.
func (s *State) ReplayStep(ctx context.Context, most, mostEvaluated int, make func(context.Context, *Replay, []ReplayItem) ([]Replayed, error)) (worked bool, err error) {
	const what = "work off a replay"
	var at int32 // which one
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		var allowed int
		rows, err := tx.Query(ctx, `select `+replayColumns+`, least(floor(rate * least(extract(epoch from clock_timestamp() - paced_at), 2)) + 1, case when current then $2::int8 else $1::int8 end)::int4
from rowbell.replay where status = 'running' and paced_at <= clock_timestamp() order by paced_at limit 1 for update skip locked`, most, mostEvaluated)
		if err != nil {
			return err
		}
		r, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (Replay, error) {
			return scanReplay(lastColumn{row, &allowed})
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		worked, at = true, r.ID
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, replayLock); err != nil {
			return err
		}
		return replayStep{tx, &r}.run(ctx, allowed, make)
	})
	if err != nil {
		s.postponeReplay(ctx, at)
		return false, orSaid(what, err)
	}
	return worked, nil
}

// failedReplayWait is how long a replay waits that could not go on.
const failedReplayWait = 5 * time.Second

// postponeReplay lets others go before a replay that could not go on, which may be so each
// time.
func (s *State) postponeReplay(ctx context.Context, id int32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// If it can't be written, nothing can at present.
	_, _ = s.db.Exec(ctx, `update rowbell.replay set paced_at = clock_timestamp() + $2::interval where id = $1 and status = 'running'`, id, failedReplayWait)
}

// lastColumn scans a row's last column beside the others.
type lastColumn struct {
	pgx.CollectableRow
	into any
}

func (l lastColumn) Scan(dest ...any) error { return l.CollectableRow.Scan(append(dest, l.into)...) }

type replayStep struct {
	tx pgx.Tx
	r  *Replay
}

func (p replayStep) run(ctx context.Context, most int, make func(context.Context, *Replay, []ReplayItem) ([]Replayed, error)) error {
	counts := map[ReplayOutcome]int{}
	items, err := p.take(ctx, most, counts)
	if err != nil {
		return err
	}
	var list []Replayed
	if len(items) > 0 {
		if list, err = make(ctx, p.r, items); err != nil {
			return err
		}
	}
	why := ""
	var made []Replayed
	for _, x := range list {
		counts[x.Outcome]++
		if x.Outcome == ReplayRefused {
			why = x.Why
		}
		if x.Outcome == ReplayMade {
			x.Execution.Run = p.r.ID
			made = append(made, x)
		}
	}
	if err := insertReplayed(ctx, p.tx, made); err != nil {
		return err
	}
	_, err = p.tx.Exec(ctx, `update rowbell.replay r set done = done + $2, unmatched = unmatched + $3, undecided = undecided + $4, gone = gone + $5, changed = changed + $6,
	refused = refused + $7, error = coalesce(nullif($8, ''), error),
	paced_at = greatest(paced_at, clock_timestamp() - interval '2 s') + ($9::float8 / rate) * interval '1 s',
	status = case when l.more then status else 'done' end, ended_at = case when not l.more then clock_timestamp() end
from (select exists (select from rowbell.replay_item where replay = $1) as more) l where r.id = $1`,
		p.r.ID, counts[ReplayMade], counts[ReplayUnmatched], counts[ReplayUndecided], counts[replayGone], counts[replayChanged], counts[ReplayRefused], why, len(items))
	return err
}

const (
	replayGone    ReplayOutcome = "gone"
	replayChanged ReplayOutcome = "changed"
)

// take takes items off the list, and counts those that can't be run again any more.
func (p replayStep) take(ctx context.Context, most int, counts map[ReplayOutcome]int) ([]ReplayItem, error) {
	rows, err := p.tx.Query(ctx, `with taken as (
	delete from rowbell.replay_item where replay = $1 and id in (select id from rowbell.replay_item where replay = $1 order by id limit $2) returning *
)
`+itemsSQL("taken"), p.r.ID, most)
	if err != nil {
		return nil, err
	}
	return scanItems(rows, func(gone bool) {
		if gone {
			counts[replayGone]++
		} else {
			counts[replayChanged]++
		}
	})
}

// ReplayItems reads what a filter chooses, and whose event is there.
func (s *State) ReplayItems(ctx context.Context, f ReplayFilter) ([]ReplayItem, error) {
	const what = "read the executions to run again"
	f = f.of(s.tenant)
	rows, err := s.db.Query(ctx, `with chosen as (`+chosenSQL+`) `+itemsSQL("chosen"), f.args()...)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := scanItems(rows, func(bool) {})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// itemsSQL reads executions with their events, and whether they still are what is to be
// run again. The event's id is made first, by itself: where row-level security hides events
// of others, the server finds none by what a function makes of another table's column.
func itemsSQL(from string) string {
	return `select i.id, i.version_ref, i.priority, v.id, v.version, coalesce(v.tenant_id, ''), i.committed_at,
	exists (select from rowbell.execution x where x.id = i.id and x.committed_at = i.committed_at and not ` + laterRun + `),
	coalesce(e.stream, 0), coalesce((e.commit_lsn - '0/0')::int8, 0), coalesce(e.seq, 0), coalesce(e.side, 0::int2), coalesce(e.table_ref, 0), coalesce(e.op::text, ''),
	coalesce(e.tenant_id, ''), coalesce(e.row_key, ''), coalesce(e.domain, ''), coalesce(t.name, ''), e.event_id is not null
from (select *, left(id, 26) as event_id from ` + from + ` offset 0) i join rowbell.surrogate v on v.ref = i.version_ref
left join rowbell.event e on e.event_id = i.event_id and e.committed_at = i.committed_at
left join rowbell.surrogate t on t.ref = e.table_ref
order by i.id`
}

func scanItems(rows pgx.Rows, left func(gone bool)) ([]ReplayItem, error) {
	defer rows.Close()
	var items []ReplayItem
	for rows.Next() {
		var i ReplayItem
		var as, there bool
		var lsn int64
		var op, domain, table string
		e := &workflow.Event{}
		err := rows.Scan(&i.ID, &i.VersionRef, &i.Priority, &i.WorkflowID, &i.Version, &i.TenantID, &e.CommittedAt, &as,
			&e.Position.Stream, &lsn, &e.Position.Seq, &e.Side, &e.TableRef, &op, &e.TenantID, &e.RowKey, &domain, &table, &there)
		if err != nil {
			return nil, err
		}
		switch {
		case !as:
			left(false)
			continue
		case !there:
			left(true)
			continue
		}
		e.ID, e.CommittedAt, e.Position.CommitLSN, e.Op, e.Domain, e.Table = i.ID[:workflow.EventIDSize], e.CommittedAt.UTC(), change.LSN(lsn), opOf(op), domain, table
		if domain != "" {
			e.Table = workflow.DomainPrefix + domain
		}
		i.Event = e
		items = append(items, i)
	}
	return items, rows.Err()
}

// insertReplayed records executions as the stream's are: a pending one with one delivery
// is that row of the queue.
func insertReplayed(ctx context.Context, tx pgx.Tx, list []Replayed) error {
	b := &pgx.Batch{}
	var hour time.Time
	for i := range list {
		x, ds := list[i].Execution, list[i].Deliveries
		id, e := x.ID(), x.Event
		if h := e.CommittedAt.Truncate(time.Hour); !h.Equal(hour) {
			hour = h
			b.Queue(countAgainSQL, hour)
		}
		switch n := len(ds); {
		case x.Status != workflow.Pending && n > 0, x.Status == workflow.Pending && n == 0:
			return fmt.Errorf("execution %s is %s and has %d deliveries", id, x.Status, n)
		case n == 0:
			b.Queue(`insert into rowbell.execution (id, committed_at, version_ref, priority, status, error, executed_at, settled_at)
values ($1, $2, $3, $4, $5, nullif($6, ''), clock_timestamp(), clock_timestamp())`, id, e.CommittedAt, x.VersionRef, x.Priority, string(x.Status), storable(x.Error))
		case n > 1:
			b.Queue(`insert into rowbell.execution_open (id, committed_at, version_ref, priority, open, executed_at) values ($1, $2, $3, $4, $5, clock_timestamp())`,
				id, e.CommittedAt, x.VersionRef, x.Priority, n)
		}
		first := int32(math.MaxInt32)
		for _, d := range ds {
			first = min(first, d.Order)
		}
		for _, d := range ds {
			b.Queue(`insert into rowbell.queue (execution_id, committed_at, version_ref, priority, "order", action, kind, sole, addressed, lane, executed_at, ready_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp(), case when not $11 then clock_timestamp() end)`,
				id, e.CommittedAt, x.VersionRef, x.Priority, d.Order, d.Action, d.Kind, len(ds) == 1, d.Addressed, d.Lane, d.Order > first)
		}
		if list[i].Fires {
			b.Queue(`insert into rowbell.fired (workflow_id, table_label, row_key, committed_at, execution_id) values ($1, $2, $3, $4, $5) on conflict do nothing`,
				list[i].WorkflowID, e.Table, storable(e.RowKey), e.CommittedAt, id)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, b).Close()
}

// NoteReplay keeps with the replays that run why they can't go on just now; "" that they
// can.
func (s *State) NoteReplay(ctx context.Context, why string) error {
	_, err := s.db.Exec(ctx, `update rowbell.replay set error = nullif($1, '') where status = 'running' and error is distinct from nullif($1, '')`, storable(why))
	if err != nil {
		return stateError("note why replays wait", err)
	}
	return nil
}
