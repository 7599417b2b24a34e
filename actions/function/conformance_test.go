package function_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/actiontest"
	"github.com/rowbell/rowbell/actions/function"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The counterpart is an application's function that keeps what it got without a key, so
// that the database's transactions alone make it exactly once. It is called through the
// queue, in the transaction that settles the delivery.
const host = `create schema app;
create table app.got (n int generated always as identity, key text, payload jsonb);
create table app.mode (what text);
insert into app.mode values ('ok');
create function app.take(key text, payload jsonb) returns jsonb language plpgsql as $$
declare
	what text;
begin
	insert into app.got (key, payload) values (key, payload);
	select m.what into what from app.mode m for share;
	if what = 'refuse' then raise exception 'no, never' using errcode = 'RB001'; end if;
	if what = 'later' then raise exception 'not now'; end if;
	return '{"thanks": true}';
end $$`

func TestConformance(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, host)
	db.Exec(t, `select rowbell.register_function('take', 'app.take(text,jsonb)')`)
	proxy, url := pgtest.ProxyURL(t, db.URL)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := &counterpart{t: t, db: db, state: store.OpenState(pool), leased: make(map[string]bool)}
	t.Cleanup(c.close)
	owner := db.Conn(t)
	mode := func(what string) func() {
		return func() {
			proxy.Resume()
			pool.Reset()
			c.close() // what Refuse broke would fail one attempt each
			if _, err := owner.Exec(context.Background(), `update app.mode set what = $1`, what); err != nil {
				t.Error(err)
			}
		}
	}
	actiontest.Run(t, actiontest.Subject{
		Kind: function.Kind(true),
		Valid: []string{
			`{"function": "take", "arguments": {"order": "{{ new.id }} of {{ workflow.name }}", "points": 10, "more": [true, null, {"who": "{{ actor.id | default: 'nobody' }}"}]}}`,
			`{"function": "take"}`,
			`{"function": "a.b-c_1", "arguments": {}}`,
		},
		Invalid: map[string][]string{
			`{}`:                                    {"function", "missing", "credit_order"},
			`{"function": "app.take(text,jsonb)"}`:  {"function", "credit_order"},
			`{"function": "take", "arguments": []}`: {"arguments", "object"},
			`{"function": "take", "arguments": {"a": {"b": ["{{ x | nope }}"]}}}`:              {`arguments.a.b[0]: line 1: the filter "nope"`},
			`{"function": "take", "arguments": {"a": [[[[[[[[[1]]]]]]]]]}}`:                    {"nested deeper than 8"},
			`{"function": "take", "argument": {}}`:                                             {`did you mean "arguments"?`},
			`{"function": "take", "arguments": {"a": "{% for x in y %}", "b": "{{ 1 | b }}"}}`: {"arguments.a: ", "arguments.b: "},
		},
		Call:         c.call,
		OK:           mode("ok"),
		Refuse:       mode("refuse"),
		RefuseForNow: mode("later"),
		Away:         proxy.Refuse,
		Hang: func() (<-chan struct{}, func()) {
			ctx, cancel := context.WithCancel(t.Context())
			lock, err := owner.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lock.Exec(t.Context(), `select from app.mode for update`); err != nil {
				t.Fatal(err)
			}
			reached, watched := make(chan struct{}), make(chan struct{})
			watcher := db.Conn(t)
			go func() {
				defer close(watched)
				for ctx.Err() == nil {
					var waits bool
					if err := watcher.QueryRow(ctx, `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%app.take%')`).Scan(&waits); err != nil {
						return // released
					}
					if waits {
						close(reached)
						return
					}
				}
			}()
			return reached, func() {
				cancel()
				<-watched
				if err := lock.Rollback(context.Background()); err != nil {
					t.Error(err)
				}
			}
		},
		Effects: func() []actiontest.Effect {
			return pgtest.Structs[actiontest.Effect](t, db, `select key, payload::text as content from app.got order by n`)
		},
	})
}

// counterpart makes the calls of deliveries that stand in the queue.
type counterpart struct {
	t     *testing.T
	db    *pgtest.Database
	state *store.State

	mu     sync.Mutex
	idle   []*store.Queue
	leased map[string]bool
}

const process = "conformance"

// call is what an executor does, but for a delivery that has ended: an executor would
// not try it, and here it is as it was.
func (c *counterpart) call(ctx context.Context, d *actions.Delivery, f workflow.FunctionCall) (string, error) {
	l := &workflow.Leased{ExecutionID: d.Event.ID + "-12", Kind: "function", Sole: true}
	if l.ID() != d.ID {
		return "", fmt.Errorf("the delivery is %s", d.ID)
	}
	c.mu.Lock()
	if !c.leased[d.ID] {
		c.leased[d.ID] = true
		c.db.Exec(c.t, `insert into rowbell.queue (execution_id, action, recipient, version_ref, kind, "order", priority, attempts, sole, addressed, lane,
	committed_at, executed_at, ready_at, lease_until, lease_by) values ($1, 0, '', 2, 'function', 0, 100, 0, true, true, 1, $2, $2, $2, $3, $4)`,
			l.ExecutionID, d.Event.CommittedAt, time.Now().Add(time.Hour), process)
	}
	var q *store.Queue
	if n := len(c.idle); n > 0 {
		q, c.idle = c.idle[n-1], c.idle[:n-1]
	} else {
		q = c.state.Queue(process, 30*time.Second)
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.idle = append(c.idle, q)
	}()
	said, err := q.Call(ctx, l, f)
	if errors.Is(err, workflow.ErrConflict) {
		return "", nil
	}
	return said, err
}

func (c *counterpart) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.idle {
		_ = q.Close(context.Background()) // it may be broken
	}
	c.idle = nil
}
