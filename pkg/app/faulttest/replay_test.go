package faulttest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// TestReplayedThroughKills kills one of two workers again and again while they work off a
// replay. Each execution is made once, and each of its deliveries arrives.
func TestReplayedThroughKills(t *testing.T) {
	t.Parallel()
	const rows = 3000
	var mu sync.Mutex
	mended, arrived := false, map[string]int{}
	sink := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !mended {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		arrived[r.Header.Get("webhook-id")]++
	}))
	t.Cleanup(sink.Close)
	db := pgtest.DB(t)
	w := newWorld(t, db, binary(t, ""), "ROWBELL_DELIVERY=on", "ROWBELL_EGRESS_ALLOW=127.0.0.0/8", "ROWBELL_DELIVERY_LEASE="+hookLease.String())
	db.Exec(t, `insert into rowbell.workflow_definition (id, name, status) values ('again', 'again', 'active')`)
	db.Exec(t, `with t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('again', 'tickets', 'create'))
		insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ('again', 'webhook', $1, 0), ('again', 'webhook', $1, 1)`,
		fmt.Sprintf(`{"url": %q, "on_failure": "continue"}`, sink.URL))
	start := func(name string) *worker {
		t.Helper()
		k, err := w.start(name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	running := []*worker{start("replay-0"), start("replay-1")}
	pgtest.Eventually(t, patience, "tickets to be captured", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.applied where kind = 'table' and id = 'tickets')`)
	})
	db.Exec(t, `insert into tickets (writer, tenant_id, status, total) select 1, 'acme', 'new', n from generate_series(1, $1) n`, rows)
	count := func(where string) int64 {
		return pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where workflow_id = 'again' and `+where)
	}
	pgtest.Eventually(t, time.Minute, "all to fail", func() bool { return count(`status = 'failure'`) == rows })
	mu.Lock()
	mended = true
	mu.Unlock()

	w.mustRun("replay", "--workflow", "again", "--since", "1h", "--rate", "400/s", "--yes")
	kills := 0
	left := func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.replay where status = 'running')`)
	}
	for left() && kills < 60 {
		time.Sleep(w.upTo(500 * time.Millisecond))
		i := w.rng.IntN(2)
		running[i].kill()
		kills++
		running[i] = start(fmt.Sprintf("replay-%d-%d", i, kills))
	}
	pgtest.Eventually(t, time.Minute, "the replay to end", func() bool { return !left() })
	t.Logf("workers ended by SIGKILL: %d", kills)
	if kills < 5 {
		t.Errorf("only %d workers were killed", kills)
	}
	if got := db.QueryString(t, `select concat_ws(' ', status, total, done, unmatched + undecided + gone + changed + refused) from rowbell.replay`); got != fmt.Sprintf("done %d %d 0", rows, rows) {
		t.Errorf("the replay has ended as %s", got)
	}
	pgtest.Eventually(t, time.Minute, "all to succeed", func() bool { return count(`status = 'success'`) == rows })
	if got := count(`true`); got != 2*rows {
		t.Errorf("there are %d executions, want %d", got, 2*rows)
	}
	if got := pgtest.One[int64](t, db, `select count(distinct trigger_event_id) from rowbell.workflow_log where workflow_id = 'again' and status = 'success'`); got != rows {
		t.Errorf("of %d events one was replayed", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(arrived) != 2*rows {
		t.Errorf("%d keys arrived, want %d", len(arrived), 2*rows)
	}
	for id := range arrived {
		if strings.Count(id, "-") != 2 {
			t.Fatalf("%s is not a replay's", id)
		}
	}
	for _, k := range running {
		if err := k.stop(patience); err != nil {
			t.Error(err)
		}
	}
}
