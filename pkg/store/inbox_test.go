package store_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func notify(t testing.TB, state *store.State, tenant, who string, n int) {
	t.Helper()
	for i := range n {
		err := state.Notify(t.Context(), workflow.Notification{
			DeliveryID: fmt.Sprintf("%s/%s/%d", tenant, who, i), TenantID: tenant, RecipientID: who, Title: fmt.Sprintf("%s %d", tenant, i),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	ctx := t.Context()
	notify(t, state, "acme", "ann", 7)
	notify(t, state, "globex", "ann", 2)
	notify(t, state, "", "ann", 1)
	notify(t, state, "acme", "ben", 1)
	acme, operators := "acme", ""

	var titles []string
	before := ""
	for {
		page, err := state.Inbox(ctx, store.InboxQuery{RecipientID: "ann", TenantID: &acme, Before: before, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			titles = append(titles, e.Title)
		}
		before = page[len(page)-1].ID
	}
	if want := []string{"acme 6", "acme 5", "acme 4", "acme 3", "acme 2", "acme 1", "acme 0"}; !slices.Equal(titles, want) {
		t.Errorf("pages have %q", titles)
	}
	count := func(tenant *string, want store.InboxCounts) {
		t.Helper()
		got, err := state.CountInbox(ctx, "ann", tenant)
		if err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		var viaSQL store.InboxCounts
		if err := db.Conn(t).QueryRow(ctx, `select unread, unseen from rowbell.inbox_count('ann', $1)`, tenant).Scan(&viaSQL.Unread, &viaSQL.Unseen); err != nil || viaSQL != want {
			t.Errorf("inbox_count: %+v, %v; want %+v", viaSQL, err, want)
		}
	}
	mark := func(ids []string, tenant *string, mark store.InboxMark, want int) {
		t.Helper()
		if n, err := state.MarkInbox(ctx, "ann", tenant, ids, mark); n != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", mark, n, err, want)
		}
	}
	id := func(title string) string {
		return pgtest.One[string](t, db, `select id from rowbell.notification where title = $1 and recipient_id = 'ann'`, title)
	}
	count(nil, store.InboxCounts{Unread: 10, Unseen: 10})
	count(&operators, store.InboxCounts{Unread: 1, Unseen: 1})
	mark(nil, &acme, store.MarkSeen, 7)
	mark(nil, &acme, store.MarkSeen, 0)
	count(&acme, store.InboxCounts{Unread: 7})
	mark([]string{id("acme 1"), id("acme 2"), "no such", id("globex 0")}, &acme, store.MarkRead, 2)
	mark([]string{id("globex 0")}, nil, store.MarkRead, 1)
	mark([]string{id("acme 1")}, nil, store.MarkUnread, 1)
	mark([]string{id("acme 3")}, nil, store.MarkArchived, 1)
	count(&acme, store.InboxCounts{Unread: 5})
	count(nil, store.InboxCounts{Unread: 7, Unseen: 2}) // acme's five, one of globex, and the operators'
	ben := pgtest.One[string](t, db, `select id from rowbell.notification where recipient_id = 'ben'`)
	mark([]string{ben}, nil, store.MarkRead, 0)
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.notification where recipient_id = 'ben' and seen_at is null and read_at is null`); n != 1 {
		t.Error("another one's notification was marked")
	}
	away, err := state.Inbox(ctx, store.InboxQuery{RecipientID: "ann", Archived: true, Limit: 10})
	if err != nil || len(away) != 1 || away[0].Title != "acme 3" || away[0].ArchivedAt == nil || away[0].SeenAt == nil || away[0].ReadAt != nil {
		t.Errorf("put away: %+v, %v", away, err)
	}
	unread, err := state.Inbox(ctx, store.InboxQuery{RecipientID: "ann", TenantID: &acme, Unread: true, Limit: 10})
	if err != nil || len(unread) != 5 {
		t.Errorf("%d unread, %v", len(unread), err)
	}
	mark(nil, nil, store.MarkUnarchived, 1)
	mark(nil, nil, store.MarkRead, 8)
	count(nil, store.InboxCounts{})
	if got := db.QueryString(t, `select string_agg(title, ', ') from rowbell.inbox('ann', most => 2, tenant => 'acme')`); got != "acme 6, acme 5" {
		t.Errorf("rowbell.inbox gives %q", got)
	}
	if _, err := state.MarkInbox(ctx, "ann", nil, nil, "lost"); !errors.Is(err, workflow.ErrRefused) {
		t.Errorf("an unknown mark: %v", err)
	}
}

// What an application asks for at each page goes by an index.
func TestInboxUsesIndexes(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	db.Exec(t, `insert into rowbell.notification (id, tenant_id, recipient_id, delivery_id, title, read_at)
		select '01' || lpad(n::text, 24, '0'), 'acme', 'p' || n % 500, n::text, 't', case when n % 50 > 0 then now() end from generate_series(1, 50000) n;
		analyze rowbell.notification`)
	conn := db.Conn(t)
	for _, sql := range []string{
		`select count(*) from rowbell.notification n where n.recipient_id = 'p0' and n.tenant_id = 'acme' and n.read_at is null and n.archived_at is null`,
		`select * from rowbell.notification n where n.recipient_id = 'p7' and n.tenant_id = 'acme' and n.id < '02' and n.archived_at is null order by n.id desc limit 50`,
	} {
		if plan := explain(t, conn, sql); regexp.MustCompile(`Seq Scan`).MatchString(plan) {
			t.Errorf("%s\n%s", sql, plan)
		}
	}
}

func TestTrimInbox(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	old := time.Now().AddDate(0, 0, -31)
	db.Exec(t, `insert into rowbell.alert (key, kind, subject, at, raised_at, next_at) values ('old', 'failing', 's', now(), $1, null), ('due', 'failing', 's', now(), $1, now())`, old)
	notify(t, state, "acme", "ann", 2)
	// The 6000 are older: their ids have an earlier time.
	db.Exec(t, `insert into rowbell.notification (id, recipient_id, delivery_id, title) select '01JDMAAAAA' || lpad(n::text, 16, '0'), 'ann', n::text, 't' from generate_series(1, 6000) n`)
	if err := state.TrimInbox(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.notification`); n != 2 {
		t.Errorf("%d notifications are left", n)
	}
	if got := pgtest.Query[string](t, db, `select key from rowbell.alert`); !slices.Equal(got, []string{"due"}) {
		t.Errorf("alerts are %v", got)
	}
}

func TestRingInbox(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), `listen rowbell_inbox`); err != nil {
		t.Fatal(err)
	}
	heard := func(n int) (list []string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for range n {
			got, err := conn.WaitForNotification(ctx)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, got.Payload)
		}
		slices.Sort(list)
		return list
	}
	ann, ben := workflow.PersonKey{TenantID: "acme", ID: "ann"}, workflow.PersonKey{ID: "ben"}
	if err := state.RingInbox(t.Context(), []workflow.PersonKey{ann, ben}); err != nil {
		t.Fatal(err)
	}
	want := pgtest.Query[string](t, db, `select t from unnest(array[rowbell.inbox_topic('ann', 'acme'), rowbell.inbox_topic('ben')]) t order by 1`)
	if got := heard(2); !slices.Equal(got, want) || strings.Contains(strings.Join(got, ""), "ann") {
		t.Errorf("heard %q, want %q", got, want)
	}
	var many []workflow.PersonKey
	for i := range 1001 {
		many = append(many, workflow.PersonKey{ID: fmt.Sprint(i)})
	}
	if err := state.RingInbox(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if got := heard(1); got[0] != "*" {
		t.Errorf("of many: %q", got)
	}
}
