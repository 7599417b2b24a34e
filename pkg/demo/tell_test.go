package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// story is what the feed reads of a minute in the shop.
func story() []news {
	at := time.Date(2026, 11, 25, 16, 5, 22, 0, time.Local)
	order := &store.FeedRow{
		ExecutionID: "e1", CommittedAt: at, Table: "orders", Operation: "update", RowKey: "19", WorkflowName: "Order approved",
		Data: []byte(`{"new": {"tenant_id": "acme", "status": "approved"}, "old": {"status": "new"}, "changed": ["status"]}`),
	}
	credit := &store.FeedRow{
		ExecutionID: "e2", CommittedAt: at.Add(time.Second), Table: "customers", Operation: "update", RowKey: "2", WorkflowName: "Credit raised",
		Data: []byte(`{"new": {"tenant_id": "acme", "credit_limit": 1050.00}, "old": {"credit_limit": 800.00}, "changed": ["credit_limit"]}`),
	}
	deleted := &store.FeedRow{
		ExecutionID: "e3", CommittedAt: at.Add(5 * time.Second), ExecutedAt: at.Add(5*time.Second + 1200*time.Microsecond), Table: "orders", Operation: "delete",
		RowKey: "37", WorkflowName: "Live order deleted", Data: []byte(`{"old": {"tenant_id": "globex", "total": 1789.43, "status": "approved"}}`),
	}
	webhook := func(x *store.FeedRow, attempt int16, outcome string, code int16, after, wait time.Duration) news {
		d := store.DeliveryRow{
			DeliveryID: x.ExecutionID + "_0", Kind: "webhook", State: outcome, Attempt: attempt, Outcome: outcome, Code: code,
			StartedAt: x.CommittedAt.Add(after - time.Millisecond), Duration: time.Millisecond, At: x.CommittedAt.Add(after + wait),
		}
		if outcome == "retry" {
			d.State, d.Error = "ready", "no matter"
		}
		return news{Execution: x, Status: workflow.Pending, Delivery: d, URL: "http://127.0.0.1:41234/webhook"}
	}
	inbox := func(x *store.FeedRow, title string, after time.Duration) news {
		return news{Execution: x, Status: workflow.Pending, Delivery: store.DeliveryRow{
			DeliveryID: x.ExecutionID + "_1_maria", Kind: "notification", Recipient: "maria", State: "succeeded", Attempt: 1, Outcome: "succeeded",
			Title: title, At: x.CommittedAt.Add(after),
		}}
	}
	dead := webhook(order, 3, "dead", 422, 9*time.Second, 0)
	dead.Delivery.Error = "too dear\nfor \x1b[31mus"
	off := webhook(credit, 0, "cancelled", 0, 9*time.Second, 0)
	off.Delivery.Error = "the workflow is inactive"
	return []news{
		webhook(order, 1, "succeeded", 200, 4100*time.Microsecond, 0),
		inbox(order, "Order 19 is approved", 6300*time.Microsecond),
		webhook(credit, 1, "retry", 503, 5*time.Millisecond, 2100*time.Millisecond),
		{Execution: deleted, Status: workflow.Success},
		webhook(credit, 2, "retry", 0, 2105*time.Millisecond, 5*time.Second),
		webhook(credit, 3, "succeeded", 200, 7300*time.Millisecond, 0),
		inbox(credit, "Noor Haddad has credit of 1050.00", 7310*time.Millisecond),
		dead,
		off,
		{Execution: deleted, Status: workflow.Failure, ExecutionError: "new.note is not in the WAL"},
	}
}

const wide = `16:05:22  order 19 of acme: status new → approved                       → Order approved
          ✓ webhook 127.0.0.1:41234/webhook                             200, signature verified               4.1 ms
          ✓ inbox of maria                                              Order 19 is approved                  6.3 ms
16:05:23  customer 2 of acme: credit limit 800.00 → 1050.00             → Credit raised
          ↻ webhook 127.0.0.1:41234/webhook                             503, again in 2.1 s
16:05:27  order 37 of globex: deleted, total 1789.43, status approved   → Live order deleted
          ✓ log                                                         recorded                              1.2 ms
16:05:25  customer 2 of acme: credit limit 800.00 → 1050.00             → Credit raised
          ↻ webhook 127.0.0.1:41234/webhook                             no answer, again in 5.0 s, attempt 2
          ✓ webhook 127.0.0.1:41234/webhook                             200, signature verified, attempt 3     7.3 s
          ✓ inbox of maria                                              Noor Haddad has credit of 1050.00      7.3 s
16:05:31  order 19 of acme: status new → approved                       → Order approved
          ✗ webhook 127.0.0.1:41234/webhook                             gave up, 422, attempt 3                9.0 s
            too dear for  [31mus
16:05:32  customer 2 of acme: credit limit 800.00 → 1050.00             → Credit raised
          · webhook 127.0.0.1:41234/webhook                             cancelled                              9.0 s
            the workflow is inactive
16:05:27  order 37 of globex: deleted, total 1789.43, status approved   → Live order deleted
          ✗ execution                                                   failed                                1.2 ms
            new.note is not in the WAL
          and 3 more
`

const slim = `16:05:22  order 19 of acme: status new → approved    → Order approved
          ✓ webhook 127.0.0.1:41234/webhook  200, verified               4.1 ms
          ✓ inbox of maria                   Order 19 is approved        6.3 ms
16:05:23  customer 2 of acme: credit limit 800.00 → 1050.00  → Credit raised
          ↻ webhook 127.0.0.1:41234/webhook  503, again in 2.1 s
16:05:27  order 37 of globex: deleted, total 1789.43, st…  → Live order deleted
          ✓ log                              recorded                    1.2 ms
16:05:25  customer 2 of acme: credit limit 800.00 → 1050.00  → Credit raised
          ↻ webhook 127.0.0.1:41234/webhook  no answer, again in 5.0 s
          ✓ webhook 127.0.0.1:41234/webhook  200, verified, attempt 3     7.3 s
          ✓ inbox of maria                   Noor Haddad has credit o…    7.3 s
16:05:31  order 19 of acme: status new → approved    → Order approved
          ✗ webhook 127.0.0.1:41234/webhook  gave up, 422, attempt 3      9.0 s
            too dear for  [31mus
16:05:32  customer 2 of acme: credit limit 800.00 → 1050.00  → Credit raised
          · webhook 127.0.0.1:41234/webhook  cancelled                    9.0 s
            the workflow is inactive
16:05:27  order 37 of globex: deleted, total 1789.43, st…  → Live order deleted
          ✗ execution                        failed                      1.2 ms
            new.note is not in the WAL
          and 3 more
`

func TestTell(t *testing.T) {
	for name, c := range map[string]struct {
		width int
		want  string
	}{"wide": {200, wide}, "narrow": {80, slim}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tell := newTeller(&screen{out: &out, terminal: true, width: func() int { return c.width }}, func(id string) (receipt, bool) {
				return receipt{Requests: map[string]int{"e1_0": 1, "e2_0": 4}[id]}, true
			})
			for _, n := range story() {
				tell.tell(&n)
			}
			tell.other(dim, "and %d more", 3)
			got := strings.ReplaceAll(out.String(), "\r\x1b[K", "")
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(line); n > c.width {
					t.Errorf("%d columns: %s", n-1, line)
				}
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
