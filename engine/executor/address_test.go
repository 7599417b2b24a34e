package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestAddressing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(t, "p1")
	for i, tc := range []struct {
		recipients []string
		data       string
		log        string
		done       string // recipients, or status and reason
	}{
		{[]string{"user:ann"}, `{"new": {"id": 1}}`, "success 1", "succeeded ann"},
		{[]string{"user:ann", "user:ben", "user:ben"}, `{"new": {"id": 1}}`, "success 1", "succeeded ann, succeeded ben"},
		{[]string{"attribute:owner", "user:ann"}, `{"new": {"owner": "ann"}, "old": {"owner": "x"}}`, "success 1", "succeeded ann"},
		{[]string{"attribute:owner"}, `{"new": null, "old": {"owner": 12345678901234567890}}`, "success 1", "succeeded 12345678901234567890"},
		{[]string{"attribute:all", "user:cid"}, `{"new": {"all": ["ann", "ben", null, 7, "ann", ""]}}`, "success 1", "succeeded 7, succeeded ann, succeeded ben, succeeded cid"},
		{[]string{"attribute:owner", "attribute:all"}, `{"new": {"owner": null, "all": []}}`, "cancelled 1", "cancelled there is no recipient: nothing stands in owner, nothing stands in all"},
		{[]string{"attribute:owner"}, `{"new": {"owner": "***"}}`, "failure 1", "dead the recipient is in column owner, which is redacted"},
		{[]string{"attribute:owner", "user:ann"}, `{"new": {"id": 1}}`, "failure 1", "dead the recipient is in column owner, which orders 1 does not have, or which is not in the WAL"},
		{[]string{"attribute:owner"}, `{"new": {"owner": {"a": 1}}}`, "failure 1", "dead the recipient is in column owner: it holds no id but map[a:1]"},
		{[]string{"attribute:owner"}, `{"new": {"owner": "a\u0000b"}}`, "failure 1", `dead the recipient is in column owner: "a\x00b" is no recipient: an id has at most 200 bytes, and no control characters`},
		{[]string{"attribute:owner"}, `{"new": {"owner": "` + strings.Repeat("x", 5000) + `"}}`, "failure 1", `dead the recipient is in column owner: "` + strings.Repeat("x", 60) + `" is no recipient: an id has at most 200 bytes, and no control characters`},
		{[]string{"attribute:all"}, `{"new": {"all": [1` + manyIDs(10500) + `]}}`, "failure 1", "dead there are more than 10000 recipients"},
	} {
		f := w.define(t, definition{id: fmt.Sprint("f", i), actions: []action{{kind: "mail"}}, recipients: tc.recipients})
		w.queued(t, f, 1, tc.data)
		w.eventually(t, f, tc.log)
		p.record(t, w.batch(f, 1, tc.data), lease)
		w.eventually(t, f, strings.Replace(tc.log, "1", "2", 1))
		got := w.rows(t, `select distinct string_agg(concat_ws(' ', status, recipient, reason), ', ' order by recipient) from rowbell.delivery_done where workflow_id = $1 group by execution_id`, f.id)
		if got != tc.done {
			t.Errorf("%s of %.80s:\n got %s\nwant %s", tc.recipients, tc.data, got, tc.done)
		}
	}
	pgtest.Eventually(t, soon, "nothing is held", func() bool { return p.gauge(t, "rowbell_executor_held") == 0 })
	for id, attempts := range w.probe.seen {
		if len(attempts) != 1 {
			t.Errorf("%d attempts at %s", len(attempts), id)
		}
	}
}

func manyIDs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",%d", i)
	}
	return b.String()
}

// Each recipient's share has an end of its own.
func TestShares(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		switch d.Recipient {
		case "ben":
			return actions.Result{}, &actions.Error{Permanent: true, Err: errors.New("unknown")}
		case "cid":
			return actions.Result{}, errors.New("not now")
		}
		return actions.Result{}, nil
	})
	dies := w.define(t, definition{
		id: "dies", settings: `{"on_failure": "continue"}`, actions: []action{{kind: "mail"}, {order: 1}}, recipients: []string{"user:ann", "user:ben"},
	})
	off := w.define(t, definition{id: "off", actions: []action{{kind: "mail"}}, recipients: []string{"user:ann", "user:cid"}})
	p := w.start(t, "p1")
	w.queued(t, dies, 3)
	p.record(t, w.batch(off, 3), lease)
	w.eventually(t, dies, "failure 3")
	if got := w.rows(t, `select distinct string_agg(concat_ws(' ', action, recipient, status, reason), ', ' order by action, recipient) from rowbell.delivery_done where workflow_id = 'dies' group by execution_id`); got != "0 ann succeeded, 0 ben dead unknown, 1 succeeded" {
		t.Errorf("deliveries: %s", got)
	}
	pgtest.Eventually(t, soon, "one waits for its next attempt", func() bool {
		return w.rows(t, `select string_agg(recipient || attempts, ' ') from rowbell.delivery`) == "cid1 cid1 cid1"
	})
	w.status(t, off, "inactive")
	p.StatusChanged("off")
	w.eventually(t, off, "success 3")
	if got := w.rows(t, `select distinct string_agg(concat_ws(' ', recipient, status, attempts, reason), ', ' order by recipient) from rowbell.delivery_done where workflow_id = 'off' group by execution_id`); got != "ann succeeded 1, cid cancelled 1 the workflow was turned off" {
		t.Errorf("deliveries: %s", got)
	}
}

// What the database refuses to take ends alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `alter table rowbell.execution add constraint no_evil check (error is null or error <> 'evil');
		alter table rowbell.queue add constraint no_evil check (recipient <> 'evil')`)
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if strings.Contains(string(d.Event.Data), "evil") {
			return actions.Result{}, &actions.Error{Permanent: true, Err: errors.New("evil")}
		}
		return actions.Result{}, nil
	})
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	mails := w.define(t, definition{id: "mails", actions: []action{{kind: "mail"}}, recipients: []string{"user:ann", "attribute:owner"}})
	w.queued(t, f, 50, `{"new": {}}`, `{"new": {"is": "evil"}}`)
	w.queued(t, mails, 50)
	w.db.Exec(t, `update rowbell.event set data = case when row_key = '7' then '{"new": {"owner": "evil"}}' else '{"new": {"owner": "ben"}}' end::json
		where event_id in (select trigger_event_id from rowbell.workflow_log where workflow_id = 'mails')`)
	w.start(t, "p1")
	w.eventually(t, f, "failure 1, success 49")
	w.eventually(t, mails, "failure 1, success 49")
	got := w.rows(t, `select error from rowbell.workflow_log where status = 'failure' order by workflow_id`)
	if !strings.HasPrefix(got, "what became of it could not be written down\nits recipients can't be written down: ") {
		t.Errorf("they failed for:\n%s", got)
	}
}

// Attempts at finding out whom a delivery is for are none at its shares: each is delivered
// once, and what came of it counts.
func TestAddressedAtSecondTry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{kind: "mail"}}, recipients: []string{"user:ann", "user:ben"}})
	w.queued(t, f, 3)
	w.db.Exec(t, `update rowbell.queue set attempts = 2`)
	p := w.start(t, "p1")
	w.eventually(t, f, "success 3")
	if n := p.gauge(t, "rowbell_leases_lost_total"); n != 0 {
		t.Errorf("%v outcomes counted for nothing", n)
	}
	for id, attempts := range w.probe.seen {
		if len(attempts) != 1 {
			t.Errorf("%d attempts at %s", len(attempts), id)
		}
	}
	if got := w.rows(t, `select distinct attempts from rowbell.delivery_done`); got != "1" {
		t.Errorf("they ended after %s attempts", got)
	}
}

// One that was put back because its recipients could not be found out is asked about again,
// on a schedule that begins anew.
func TestAddressedAfterPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `create table person (id text)`)
	d := directory.New(directory.Config{RoleMembersSQL: `select id from person where id <> $1 and id <> $2`}, w.db.Pool(t))
	f := w.define(t, definition{id: "f", actions: []action{{kind: "mail"}}, recipients: []string{"role:staff"}})
	w.db.Exec(t, `alter table person rename to away`)
	w.queued(t, f, 1)
	w.db.Exec(t, `update rowbell.queue set attempts = 6, base = 6`)
	w.start(t, "p1", func(c *executor.Config) {
		c.Directory, c.GateRetry = d, []time.Duration{time.Millisecond, time.Hour}
	})
	pgtest.Eventually(t, soon, "it is tried twice", func() bool {
		return w.rows(t, `select attempts || ' ' || (error is not null) from rowbell.delivery`) == "8 true"
	})
}
