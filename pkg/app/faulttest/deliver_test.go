package faulttest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// hookLease is how long deliveries stay with a worker that was killed or stands still:
// the shortest there may be.
const hookLease = 5 * time.Second

// newDelivering makes a world whose workers deliver, and whose webhooks go to r.
func newDelivering(t testing.TB, db *pgtest.Database, bin string, env ...string) (*world, *receiver) {
	t.Helper()
	w := newWorld(t, db, bin, append(env,
		"ROWBELL_DELIVERY=on", "ROWBELL_EGRESS_ALLOW=127.0.0.0/8", "ROWBELL_DELIVERY_LEASE="+hookLease.String(),
		"ROWBELL_SECRET_KEY="+base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))...)
	r, err := newReceiver(w)
	if err != nil {
		t.Fatal(err)
	}
	// Tries for longer than the receiver is ever away.
	w.hook = fmt.Sprintf(`{"url": %q, "secret": %q, "retry": ["50ms", "100ms", "200ms"%s]}`, r.url(), hookSecret, strings.Repeat(`, "500ms"`, 45))
	w.settles = r
	// One that the editor leaves alone, so that there is always something to deliver.
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, name, status) values ('sure', 'sure', 'active')`)
	w.db.Exec(t, `with t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('sure', 'orders', 'create', '{"status": "approved"}'))
		insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ('sure', 'webhook', $1, 0), ('sure', 'webhook', $1, 1)`, w.hook)
	return w, r
}

// TestDeliveredThroughKills kills the only worker again and again, mostly between an
// attempt and its outcome, while the receiver loses answers, fails and goes away.
func TestDeliveredThroughKills(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	report(t, w)(deliverScenario(w, r, 1, 12*chaos(), 5000*chaos()))
}

// Two, then three workers share the queue, and are killed and stopped one by one.
func TestDeliveredByTwo(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	report(t, w)(deliverScenario(w, r, 2, 10*chaos(), 5000*chaos()))
}

func TestDeliveredByThree(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	report(t, w)(deliverScenario(w, r, 3, 10*chaos(), 5000*chaos()))
}

// deliverScenario ends one of so many workers so many times, while rows are written,
// definitions change, and the receiver is what it is.
func deliverScenario(w *world, r *receiver, workers, ends, rows int) (outcome, error) {
	ctx := w.t.Context()
	running := make([]*worker, workers)
	for i := range running {
		var err error
		if running[i], err = w.start(fmt.Sprint("deliver-", i)); err != nil {
			return outcome{}, err
		}
	}
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()
	kills, between, stops, aways := 0, 0, 0, 0
	for n := range ends {
		if err := l.during(ctx, w.upTo(400*time.Millisecond), rows/ends); err != nil {
			return outcome{}, err
		}
		if w.rng.IntN(4) == 0 {
			aways++
			r.away()
			if err := l.during(ctx, w.upTo(1500*time.Millisecond), rows/ends); err != nil {
				return outcome{}, err
			}
			if err := r.back(); err != nil {
				return outcome{}, err
			}
		}
		i := w.rng.IntN(workers)
		k := running[i]
		how := w.rng.IntN(5)
		if how == 0 && !k.logged(msgRuns) {
			how = 1
		}
		end := func() {}
		if how > 0 { // else none of its outcomes may be lost
			end = r.breaks()
		}
		switch how {
		case 0:
			stops++
			if err := k.stop(patience); err != nil {
				return outcome{}, err
			}
		case 1: // at any time
			kills++
			k.kill()
		default: // when an attempt has been made, and its outcome is not written
			kills++
			dead := make(chan struct{})
			r.onNext(how == 2, func() { k.kill(); close(dead) })
			select {
			case <-dead:
				between++
			case <-time.After(2 * time.Second): // nothing is sent just now
				r.onNext(false, nil)
				k.kill()
			}
		}
		end()
		if err := w.alarm(); err != nil {
			return outcome{}, err
		}
		var err error
		if running[i], err = w.start(fmt.Sprintf("deliver-%d-%d", i, n)); err != nil {
			return outcome{}, err
		}
	}
	w.t.Logf("workers ended by SIGKILL: %d, %d of them while a request waited for its answer or just had it; by SIGTERM: %d; the receiver was away %d times",
		kills, between, stops, aways)
	return w.drainAndStop(l, running...)
}

// TestLeaseOfAPausedWorker stops a worker by SIGSTOP while it delivers. What it holds is
// delivered by another one when its leases are over, and when it goes on nothing of what
// it had begun counts twice.
func TestLeaseOfAPausedWorker(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	report(t, w)(pauseScenario(w, r, 2*chaos(), 40, 1600*chaos()))
}

// pausedConcurrency is how many attempts run at once where a worker stands still for a
// while: so many it may make when it goes on.
const pausedConcurrency = 8

// pauseScenario stops one of two workers so many times, when it holds at least so many
// deliveries.
func pauseScenario(w *world, r *receiver, pauses, least, rows int) (outcome, error) {
	ctx := w.t.Context()
	w.env = append(w.env, fmt.Sprint("ROWBELL_DELIVERY_CONCURRENCY=", pausedConcurrency))
	var two [2]*worker
	for i := range two {
		var err error
		if two[i], err = w.start(fmt.Sprint("paused-", i)); err != nil {
			return outcome{}, err
		}
		if _, err := two[i].waitFor(msgRuns, 1, patience); err != nil {
			return outcome{}, err
		}
	}
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()
	if err := w.eventually(ctx, w.db.URL, patience, "both tables are captured", "select count(distinct label) = 2 from rowbell.captured_table"); err != nil {
		return outcome{}, err
	}
	// So slow that each holds more than it sends at once, and that what the paused one held
	// is still in the other one's hands when it goes on.
	r.takes(200 * time.Millisecond)
	for n := range pauses {
		k := two[n/2%2]
		line, err := k.waitFor(msgRuns, 1, patience)
		if err != nil {
			return outcome{}, err
		}
		// A writer of a big transaction may wait for more rows than are left of the first ones.
		const parts = 4
		for i := range parts {
			l.app.allow(rows / pauses / parts * (2 - min(i, 1)))
			err = w.eventually(ctx, w.state, patience/parts, "the worker holds more than it sends at once",
				"select count(*) >= $2 from rowbell.queue where lease_by = $1 and lease_until > clock_timestamp()", line["worker"], least)
			if err == nil {
				break
			}
		}
		if err != nil {
			return outcome{}, err
		}
		// In the middle of an attempt, whosever.
		stopped := make(chan struct{})
		r.onNext(false, func() { r.breaks()(); k.signal(syscall.SIGSTOP); close(stopped) })
		select {
		case <-stopped:
		case <-time.After(patience):
			return outcome{}, errors.New("nothing is sent")
		}
		begun := time.Now()
		held, err := query(ctx, w.state, "select execution_id || '_' || action from rowbell.queue where lease_by = $1 and lease_until is not null", line["worker"])
		if err != nil {
			return outcome{}, err
		}
		const long = 15 * time.Second
		// It goes on while the other one is at it, or when nothing is left of what it held.
		what, until := "another worker has much of what the paused one held",
			fmt.Sprintf("select count(*) >= %d from rowbell.queue where", min(40, len(held)/4))+`
				lease_by <> $1 and lease_until > clock_timestamp() and execution_id || '_' || action = any ($2)`
		if n%2 == 1 {
			what, until = "another worker has had all that the paused one held",
				"select not exists (select from rowbell.queue where lease_by = $1 and lease_until is not null and execution_id || '_' || action = any ($2))"
		}
		err = w.eventually(ctx, w.state, hookLease+long, what, until, line["worker"], held)
		took := time.Since(begun)
		r.resumes()
		if err == nil && n%2 == 0 {
			err = w.loses(ctx, k, two[1-n/2%2], line["worker"], held)
		}
		k.signal(syscall.SIGCONT)
		if err != nil {
			return outcome{}, err
		}
		if took < hookLease/2 {
			return outcome{}, fmt.Errorf("what the paused worker held was taken from it after %s, and its leases last for %s", took, hookLease)
		}
		w.t.Logf("%s, %d deliveries, %s after it stopped; leases last for %s", what, len(held), took.Round(100*time.Millisecond), hookLease)
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return outcome{}, err
		}
		if err := w.alarm(); err != nil {
			return outcome{}, err
		}
	}
	return w.drainAndStop(l, two[:]...)
}

// loses lets a worker go on that stood still for longer than its leases, while the one
// that has taken some of them over stands still in its turn, and so neither changes
// anything: what was taken over must stay so.
func (w *world) loses(ctx context.Context, paused, other *worker, pausedID any, held []string) error {
	other.signal(syscall.SIGSTOP)
	defer other.signal(syscall.SIGCONT)
	// What it had sent to its server before is still carried out.
	if err := pause(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	if err := w.eventually(ctx, w.state, patience, "nothing is carried out for either", `select not exists (select from pg_stat_activity
		where datname = current_database() and backend_type = 'client backend' and application_name like 'rowbell/%' and state = 'active')`); err != nil {
		return err
	}
	const taken = `select execution_id || '_' || action from rowbell.queue where lease_by <> $1 and execution_id || '_' || action = any ($2)
		and lease_until > clock_timestamp() + $3::interval`
	before, err := query(ctx, w.state, taken, pausedID, held, 2*time.Second)
	if err != nil {
		return err
	}
	paused.signal(syscall.SIGCONT)
	if err := pause(ctx, 1500*time.Millisecond); err != nil {
		return err
	}
	after, err := query(ctx, w.state, taken, pausedID, before, time.Duration(0))
	if err != nil {
		return err
	}
	w.t.Logf("%d deliveries are another worker's when the paused one goes on", len(before))
	if len(after) < len(before) {
		return fmt.Errorf("a worker that stood still has changed %d of %d deliveries that were another one's by then", len(before)-len(after), len(before))
	}
	return nil
}

// TestDeliveredThroughRestarts stops the server in every way under a worker that
// delivers.
func TestDeliveredThroughRestarts(t *testing.T) {
	t.Parallel()
	server := durable(t)
	w, _ := newDelivering(t, pgtest.DBOn(t, server), binary(t, ""))
	report(t, w)(restartScenario(w, server, 3*chaos(), 3000*chaos()))
}

// TestDeliveredThroughCuts breaks the connections between one of two workers and state:
// by resets, by refusing new ones, and by a silence that outlasts its leases.
func TestDeliveredThroughCuts(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	report(t, w)(deliverCutScenario(w, r, 4*chaos(), 3000*chaos()))
}

func deliverCutScenario(w *world, r *receiver, cuts, rows int) (outcome, error) {
	ctx := w.t.Context()
	proxy, url := pgtest.ProxyURL(w.t, w.db.URL)
	far, err := w.start("far", "ROWBELL_STATE_URL="+url)
	if err != nil {
		return outcome{}, err
	}
	near, err := w.start("near")
	if err != nil {
		return outcome{}, err
	}
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()
	silence := w.rng.IntN(cuts)
	for n := range cuts {
		if err := l.during(ctx, w.upTo(time.Second), rows/cuts/2); err != nil {
			return outcome{}, err
		}
		length := w.upTo(700 * time.Millisecond)
		end := r.breaks()
		switch how := w.rng.IntN(3); {
		case n == silence:
			length = hookLease + 2*time.Second
			proxy.Pause()
		case how == 0:
			proxy.Pause()
		case how == 1:
			proxy.Refuse()
		default:
			proxy.Cut()
		}
		if err := l.during(ctx, length, rows/cuts/2); err != nil {
			return outcome{}, err
		}
		proxy.Resume()
		end()
		for _, k := range []*worker{far, near} {
			if !k.running() {
				return outcome{}, k.endedByItself()
			}
		}
		if err := w.alarm(); err != nil {
			return outcome{}, err
		}
	}
	return w.drainAndStop(l, far, near)
}

// TestStoppedWhileDelivering stops a worker by SIGTERM that has much to deliver: it ends
// what it has begun, and others need not wait for what it had not begun.
func TestStoppedWhileDelivering(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	report(t, w)(stopScenario(w, r, 3*chaos(), 4000*chaos()))
}

func stopScenario(w *world, r *receiver, stops, rows int) (outcome, error) {
	ctx := w.t.Context()
	const drain = 3 * time.Second
	k, err := w.start("stop-0", "ROWBELL_DRAIN_TIMEOUT="+drain.String())
	if err != nil {
		return outcome{}, err
	}
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()
	if err := w.eventually(ctx, w.db.URL, patience, "both tables are captured", "select count(distinct label) = 2 from rowbell.captured_table"); err != nil {
		return outcome{}, err
	}
	conn, err := connect(ctx, w.state)
	if err != nil {
		return outcome{}, err
	}
	defer closeConn(conn)
	for n := range stops {
		last := n == stops-1
		r.takes(200 * time.Millisecond)
		if last { // longer than a stop may take: attempts are cut off
			r.takes(drain + 5*time.Second)
		}
		l.app.allow(rows / stops)
		err := w.eventually(ctx, w.state, patience, "the worker holds more than it sends at once",
			"select count(*) >= 60 from rowbell.queue where lease_until > clock_timestamp()")
		if err != nil {
			return outcome{}, err
		}
		// The writers go on: something is recorded all the while.
		if err := pause(ctx, w.upTo(300*time.Millisecond)); err != nil {
			return outcome{}, err
		}
		end := func() {}
		if last {
			end = r.breaks()
		}
		begun := time.Now()
		if err := k.stop(drain + 5*time.Second); err != nil {
			return outcome{}, err
		}
		took := time.Since(begun)
		end()
		var leased, waiting int
		var stopped time.Time
		err = conn.QueryRow(ctx, "select count(*) filter (where lease_until > clock_timestamp()), count(*), clock_timestamp() from rowbell.queue").Scan(&leased, &waiting, &stopped)
		if err != nil {
			return outcome{}, err
		}
		if leased > 0 {
			list, _ := query(ctx, w.state, "select to_jsonb(q)::text from rowbell.queue q where lease_until > clock_timestamp() limit 3")
			return outcome{}, fmt.Errorf("a worker that was stopped in an orderly way left %d leases behind, of %d deliveries:\n%s", leased, waiting, strings.Join(list, "\n"))
		}
		if waiting == 0 {
			return outcome{}, errors.New("nothing waited when the worker was stopped: the scenario shows nothing")
		}
		if !last && took > drain {
			return outcome{}, fmt.Errorf("the stop took %s, though no attempt takes longer than 300 ms", took)
		}
		r.takes(0)
		before := r.came()
		if k, err = w.start(fmt.Sprint("stop-", n+1), "ROWBELL_DRAIN_TIMEOUT="+drain.String()); err != nil {
			return outcome{}, err
		}
		if err := w.eventually(ctx, w.state, patience, "the next worker is there", "select exists (select from rowbell.executor where seen_at > $1)", stopped); err != nil {
			return outcome{}, err
		}
		begun = time.Now()
		if err := poll(hookLease/2, func() error {
			if r.came() == before {
				return errors.New("the next worker sends nothing")
			}
			return nil
		}); err != nil {
			return outcome{}, err
		}
		w.t.Logf("stopped within %s with %d deliveries waiting; the next worker sent after %s",
			took.Round(time.Millisecond), waiting, time.Since(begun).Round(time.Millisecond))
	}
	return w.drainAndStop(l, k)
}

// TestPlantedDeliveryFaults: see TestPlantedFaults.
func TestPlantedDeliveryFaults(t *testing.T) {
	t.Parallel()
	for fault, scenario := range map[string]func(*world, *receiver) (outcome, error){
		"key_per_attempt":      func(w *world, r *receiver) (outcome, error) { return deliverScenario(w, r, 1, 4, 2000) },
		"forget_retry":         func(w *world, r *receiver) (outcome, error) { return deliverScenario(w, r, 1, 4, 2000) },
		"settle_without_lease": func(w *world, r *receiver) (outcome, error) { return pauseScenario(w, r, 1, 250, 5000) },
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			w, r := newDelivering(t, migrated(t), binary(t, "faults"), "ROWBELL_FAULT="+fault)
			o, err := scenario(w, r)
			if err == nil {
				t.Fatalf("nothing was found wrong, in %d executions, though the binary has a fault", o.executions)
			}
			t.Logf("found: %.2000s", err)
		})
	}
}

// settled waits until nothing is left to deliver.
func (w *world) settled(ctx context.Context) error {
	w.settles.calm()
	// The receiver was away again and again: a breaker waits for longer each time.
	open, err := query(ctx, w.state, "select coalesce(ceil(extract(epoch from max(probe_at) - clock_timestamp())), 0)::text from rowbell.destination where state = 'open'")
	if err != nil {
		return err
	}
	wait, err := time.ParseDuration(open[0] + "s")
	if err != nil {
		return err
	}
	return w.eventually(ctx, w.state, patience+max(0, wait), "everything is settled",
		"select not exists (select from rowbell.queue) and not exists (select from rowbell.execution_open)")
}

// verifyDelivered compares the deliveries with the executions, which differences compares
// with what they must be, and with what the receiver got.
func (w *world) verifyDelivered(ctx context.Context, source, state *pgx.Conn) error {
	rows, err := state.Query(ctx, `select d.id, d.execution_id as execution, d.workflow_id as workflow, l.trigger_event_id as event, e.table_name as table, e.operation,
			d.status, coalesce(d.reason, '') as reason, l.workflow_version as version, d.attempts::int as attempts, '{}'::int[] as tried, '{}'::int[] as codes
		from rowbell.delivery_done d join rowbell.workflow_log l on l.id = d.execution_id join rowbell.workflow_event e on e.id = l.trigger_event_id`)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[done])
	if err != nil {
		return err
	}
	var problems []error
	bad := func(format string, args ...any) {
		if len(problems) < 20 {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}

	// What must be there, by the documents; in the source.
	type version struct {
		status  string
		once    bool // per row
		actions []definedAction
	}
	versions := make(map[string]map[int32]version)
	rows, err = source.Query(ctx, "select workflow_id, version, status, coalesce(document -> 'settings' ->> 'firing', '') = 'once_per_row', coalesce(document -> 'actions', '[]')::text from rowbell.workflow_version")
	if err != nil {
		return err
	}
	var id, status, actions string
	var number int32
	var once bool
	if _, err := pgx.ForEachRow(rows, []any{&id, &number, &status, &once, &actions}, func() error {
		v := version{status: status, once: once}
		if versions[id] == nil {
			versions[id] = make(map[int32]version)
		}
		err := json.Unmarshal([]byte(actions), &v.actions)
		versions[id][number] = v
		return err
	}); err != nil {
		return err
	}
	// offSince says that a workflow was later what the reason says it was.
	offSince := func(d *done) bool {
		for n, v := range versions[d.Workflow] {
			if n > d.Version && v.status != "active" && d.Reason == offReasons[v.status] {
				return true
			}
		}
		return false
	}

	// Which executions of once_per_row may go on: history.unlike judges whether they are the first.
	list, err := query(ctx, w.state, "select execution_id from rowbell.fired")
	if err != nil {
		return err
	}
	first := make(map[string]bool, len(list))
	for _, x := range list {
		first[x] = true
	}

	byID := make(map[string]*done, len(all))
	var hooks []*done
	cancelled := 0
	for _, d := range all {
		if _, ok := byID[d.ID]; ok {
			bad("delivery %s has ended twice", d.ID)
		}
		byID[d.ID] = d
		again := versions[d.Workflow][d.Version].once && !first[d.Execution]
		forgotten := false // what a deleted workflow has fired for is
		for _, v := range versions[d.Workflow] {
			forgotten = forgotten || v.status == "deleted"
		}
		switch {
		case d.Status == "succeeded" && (!again || forgotten):
		case d.Status == "cancelled" && offSince(d):
		case d.Status == "cancelled" && again && strings.HasPrefix(d.Reason, firedBefore):
		default:
			bad("delivery %s of version %d of %s is %s: %s", d.ID, d.Version, d.Workflow, d.Status, d.Reason)
		}
	}
	rows, err = state.Query(ctx, "select delivery_id, attempt, coalesce(code, 0)::int from rowbell.delivery_attempt order by attempt")
	if err != nil {
		return err
	}
	var attempt, code int32
	if _, err := pgx.ForEachRow(rows, []any{&id, &attempt, &code}, func() error {
		if d := byID[id]; d != nil {
			d.Tried, d.Codes = append(d.Tried, attempt), append(d.Codes, code)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, d := range all {
		// The last attempt of a cancelled one is that before it was cancelled.
		for n, attempt := range d.Tried {
			if attempt != int32(n)+1 || len(d.Tried) != int(d.Attempts) {
				bad("delivery %s counts %d attempts, and has these: %v", d.ID, d.Attempts, d.Tried)
				break
			}
		}
	}
	rows, err = state.Query(ctx, "select id, workflow_id, workflow_version from rowbell.workflow_log")
	if err != nil {
		return err
	}
	var workflow string
	expected := 0
	if _, err := pgx.ForEachRow(rows, []any{&id, &workflow, &number}, func() error {
		list := versions[workflow][number].actions
		if versions[workflow][number].once {
			expected++
			if name := id + "_-1"; byID[name] == nil {
				bad("the gate %s, of version %d of %s, is not there", name, number, workflow)
			}
		} else if !slices.ContainsFunc(list, func(a definedAction) bool { return a.Type != "log" }) {
			return nil // it is recorded as success, without deliveries
		}
		for n, a := range list {
			expected++
			name := fmt.Sprintf("%s_%d", id, n)
			d, ok := byID[name]
			if !ok {
				bad("delivery %s (%s), of version %d of %s, is not there", name, a.Type, number, workflow)
				continue
			}
			if a.Type != "webhook" {
				continue
			}
			if d.Status == "cancelled" {
				cancelled++
			}
			hooks = append(hooks, d)
			for m, before := range list {
				earlier := byID[fmt.Sprintf("%s_%d", id, m)]
				if before.Type == "webhook" && before.Order < a.Order && earlier != nil && earlier.Status == "succeeded" {
					if err := w.settles.inOrder(earlier.ID, d.ID); err != nil {
						bad("%w", err)
					}
				}
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if expected != len(all) {
		bad("%d deliveries have ended, want %d", len(all), expected)
	}
	t, err := w.settles.compare(hooks)
	w.t.Logf("%d webhooks were due, %d of them cancelled; %d attempts, %d of them reached nobody; %d requests, %d of their answers lost, %d more than attempts were written down",
		len(hooks), cancelled, t.attempts, t.unheard, w.settles.requests, w.settles.lost, t.extra)
	if len(hooks)-cancelled < 20 {
		bad("only %d webhooks were delivered: the scenario shows nothing", len(hooks)-cancelled)
	}
	return errors.Join(append(problems, err)...)
}

// definedAction is an action of a version's document.
type definedAction struct {
	Type  string `json:"action_type"`
	Order int32  `json:"order"`
}

// firedBefore is how the reason begins why the executor ends what a workflow that fires
// once per row did again.
const firedBefore = "the workflow fires once per row, and "

// offReasons is why deliveries of a workflow are cancelled, by the workflow's status.
var offReasons = map[string]string{
	"inactive": "the workflow was turned off",
	"deleted":  "the workflow was deleted",
	"draft":    "the workflow was made a draft",
}
