package demo

import (
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
)

func TestSentence(t *testing.T) {
	for _, c := range []struct {
		row  store.FeedRow
		want string
	}{
		{
			store.FeedRow{Table: "orders", Operation: "update", RowKey: "42", Data: []byte(`{"new": {"tenant_id": "acme", "id": 42, "status": "approved", "total": 1000.00}, "old": {"id": 42, "status": "new", "total": 1000.00}, "changed": ["status"]}`)},
			"order 42 of acme: status new → approved",
		},
		{ // by comparison, where the event doesn't tell what changed
			store.FeedRow{Table: "customers", Operation: "update", RowKey: "7", Data: []byte(`{"new": {"tenant_id": "acme", "credit_limit": 750.00, "city": "Porto"}, "old": {"credit_limit": 500.00, "city": "Porto"}, "changed": null}`)},
			"customer 7 of acme: credit limit 500.00 → 750.00",
		},
		{ // the old value isn't in the WAL
			store.FeedRow{Table: "invoices", Operation: "update", RowKey: "3", Data: []byte(`{"new": {"tenant_id": "globex", "status": "overdue"}, "old": {}, "changed": ["status"]}`)},
			"invoice 3 of globex: status is now overdue",
		},
		{
			store.FeedRow{Table: "invoices", Operation: "update", RowKey: "3", Data: []byte(`{"new": {"tenant_id": "globex", "status": "overdue", "amount": 12.50, "due_on": "2026-12-01"}, "changed": null}`)},
			"invoice 3 of globex: updated, amount 12.50, status overdue",
		},
		{
			store.FeedRow{Table: "orders", Operation: "create", RowKey: "8", Data: []byte(`{"new": {"tenant_id": "globex", "total": 12345678901234567890.10, "status": "new"}}`)},
			"order 8 of globex: created, total 12345678901234567890.10, status new",
		},
		{
			store.FeedRow{Table: "orders", Operation: "delete", RowKey: "8", Data: []byte(`{"old": {"status": null, "total": 5.00}}`)},
			"order 8: deleted, total 5.00, status nothing",
		},
		{store.FeedRow{Table: "parcels", Operation: "create", RowKey: "1", Data: []byte(`{"new": {"tenant_id": "acme", "a": 1}}`)}, "parcel 1 of acme: created, no details"},
		{store.FeedRow{Table: "orders", Operation: "update", RowKey: "1"}, "order 1: update"},
	} {
		if got := sayChange(&c.row); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 ms", 4120 * time.Microsecond: "4.1 ms", 12 * time.Millisecond: "12 ms",
		1300 * time.Millisecond: "1.3 s", 42 * time.Second: "42 s", 298 * time.Second: "5 min",
	} {
		if got := since(d); got != want {
			t.Errorf("since(%v): got %s, want %s", d, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0 B", 999: "999 B", 1234: "1.2 kB", 123456: "123 kB", 3.4e6: "3.4 MB", 5e9: "5.0 GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%v): got %s, want %s", n, got, want)
		}
	}
	if got := pad("order → new", 6); got != "order…" {
		t.Errorf("pad cuts to %q", got)
	}
	if got := pad("→ x", 5); got != "→ x  " {
		t.Errorf("pad fills to %q", got)
	}
}
