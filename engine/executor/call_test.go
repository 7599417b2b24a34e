package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// caller is a kind in transaction: it calls the registered function that it is told.
type caller struct {
	function string
	silent   bool // it calls nothing, as where deliveries are redirected
	twice    bool
	calls    *atomic.Int64
}

func (c *caller) Destination() string { return "function " + c.function }
func (c *caller) Secrets() []string   { return nil }

func (c *caller) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	c.calls.Add(1)
	if c.silent {
		return actions.Result{Code: 200}, nil
	}
	f := workflow.FunctionCall{Function: c.function, TenantID: d.Workflow.TenantID, Key: d.ID, Payload: []byte(`{}`)}
	said, err := d.Call(ctx, f)
	if c.twice && err == nil {
		if _, err = d.Call(ctx, f); err == nil {
			return actions.Result{}, errors.New("called twice")
		}
	}
	var failed *workflow.CallError
	if errors.As(err, &failed) {
		err = &actions.Error{Permanent: failed.Permanent, Err: err}
	}
	return actions.Result{Response: said}, err
}

// callWorld has a kind "call" whose config names the function.
func callWorld(t *testing.T) (*world, *atomic.Int64) {
	t.Helper()
	w := newWorld(t)
	calls := &atomic.Int64{}
	kind := &actions.Kind{
		Name: "probe", Title: "call", InTransaction: true, Retry: actions.Schedule{10 * time.Millisecond, time.Hour},
		Schema: `{"type": "object", "properties": {"f": {"type": "string"}, "silent": {}, "twice": {}}, "additionalProperties": false}`,
		Parse: func(config json.RawMessage, _ actions.Texts) (actions.Runner, error) {
			var c struct {
				F             string
				Silent, Twice bool
			}
			err := json.Unmarshal(config, &c)
			return &caller{c.F, c.Silent, c.Twice, calls}, err
		},
	}
	var err error
	if w.registry, err = actions.NewRegistry(kind); err != nil {
		t.Fatal(err)
	}
	w.db.Exec(t, `create schema app;
create table app.got (key text);
create sequence app.tries;
create function app.take(key text, payload jsonb) returns jsonb language sql as $$ insert into app.got values (key); select '"thanks"'::jsonb $$;
create function app.fail_once(key text, payload jsonb) returns void language plpgsql as $$
begin
	insert into app.got values (key);
	if nextval('app.tries') = 1 then raise exception 'not yet'; end if;
end $$;
create function app.never(key text, payload jsonb) returns void language plpgsql as $$ begin raise exception 'never' using errcode = 'RB001'; end $$;
create function app.slow(key text, payload jsonb) returns void language plpgsql as $$
begin
	insert into app.got values (key);
	perform pg_sleep(0.3);
end $$;
select rowbell.register_function(f, 'app.' || f || '(text,jsonb)') from unnest(array['take', 'fail_once', 'never', 'slow']) f`)
	return w, calls
}

func TestCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config, log, response string
		n, effects, calls     int
	}{
		"takes":      {`{"f": "take"}`, "success 20", `"thanks"`, 20, 20, 20},
		"twice":      {`{"f": "take", "twice": true}`, "success 3", `"thanks"`, 3, 3, 3}, // the second one fails, and the first has been written down
		"fails once": {`{"f": "fail_once"}`, "success 1", "", 1, 1, 2},
		"never":      {`{"f": "never"}`, "failure 2", "", 2, 0, 2},
		"redirected": {`{"f": "take", "silent": true}`, "success 2", "", 2, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, calls := callWorld(t)
			f := w.define(t, definition{id: "w", actions: []action{{config: c.config}}})
			p := w.start(t, "p1")
			w.queued(t, f, c.n)
			w.eventually(t, f, c.log)
			if got := w.rows(t, `select key from app.got group by key having count(*) = 1`); c.effects > 0 && len(pgtest.Query[string](t, w.db, `select key from app.got`)) != c.effects || c.effects == 0 && got != "" {
				t.Errorf("the effects are %s; want %d, each once", got, c.effects)
			}
			if n := calls.Load(); int(n) != c.calls {
				t.Errorf("%d attempts, want %d", n, c.calls)
			}
			if got := w.rows(t, `select distinct coalesce(result ->> 'response', '') from rowbell.workflow_log where workflow_id = 'w'`); got != c.response {
				t.Errorf("the response is %s, want %s", got, c.response)
			}
			pgtest.Eventually(t, soon, "all of it to be counted", func() bool { return p.gauge(t, "rowbell_executor_held") == 0 })
		})
	}
}

// Few calls run at once, and of one function fewer; what has no turn is given back, and
// has its turn later.
func TestCallsAtOnce(t *testing.T) {
	t.Parallel()
	w, _ := callWorld(t)
	f := w.define(t, definition{id: "w", actions: []action{{config: `{"f": "slow"}`}}})
	w.queued(t, f, 24)
	w.start(t, "p1")
	most := 0
	pgtest.Eventually(t, soon, "all calls", func() bool {
		most = max(most, pgtest.One[int](t, w.db, `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`))
		return w.log(t, f) == "success 24"
	})
	if most == 0 || most > 4 {
		t.Errorf("%d calls ran at once, want up to 4", most)
	}
	if n := pgtest.One[int](t, w.db, `select count(*)::int from app.got`); n != 24 {
		t.Errorf("%d effects", n)
	}
	if n := pgtest.One[int](t, w.db, `select count(*)::int from rowbell.attempt`); n != 0 {
		t.Errorf("%d attempts failed", n)
	}
}
