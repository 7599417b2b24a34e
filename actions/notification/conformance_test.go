package notification_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/actions/actiontest"
	"github.com/rowbell/rowbell/actions/notification"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// The counterpart is the inbox: a table, which takes all that a notification can be, so
// that nothing is refused for good. The kind reaches it through a proxy.
func TestConformance(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	proxy, url := pgtest.ProxyURL(t, db.URL)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var lock pgx.Tx
	owner := db.Conn(t)
	actiontest.Run(t, actiontest.Subject{
		Kind: notification.Kind(store.OpenState(pool)),
		Valid: []string{
			`{"title": "Order", "body": "It was approved.", "link": "/orders/42"}`,
			`{"title": "Order"}`,
		},
		Invalid: map[string][]string{
			`{}`:                           {"title", "missing"},
			`{"title": 3}`:                 {"title", "number"},
			`{"title": "a", "titel": "b"}`: {`did you mean "title"?`},
		},
		Recipient: "ann. ü\n",
		OK: func() {
			proxy.Resume()
			pool.Reset() // what Refuse broke would fail one attempt each
		},
		Away: proxy.Refuse,
		Hang: func() (<-chan struct{}, func()) {
			// An attempt waits for the table, and is seen to wait.
			ctx, cancel := context.WithCancel(t.Context())
			var err error
			if lock, err = owner.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := lock.Exec(t.Context(), `lock table rowbell.notification in access exclusive mode`); err != nil {
				t.Fatal(err)
			}
			reached, watched := make(chan struct{}), make(chan struct{})
			watcher := db.Conn(t)
			go func() {
				defer close(watched)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for {
					var waits bool
					if err := watcher.QueryRow(ctx, `select exists (select from pg_locks where not granted and relation = 'rowbell.notification'::regclass)`).Scan(&waits); err != nil {
						return // released
					}
					if waits {
						close(reached)
						return
					}
					select {
					case <-tick.C:
					case <-ctx.Done():
						return
					}
				}
			}()
			return reached, func() {
				cancel()
				<-watched
				if err := lock.Rollback(t.Context()); err != nil {
					t.Error(err)
				}
			}
		},
		Effects: func() []actiontest.Effect {
			return pgtest.Structs[actiontest.Effect](t, db, `select delivery_id as key, concat_ws(' | ', recipient_id, tenant_id, title, body, link) as content
from rowbell.notification order by id`)
		},
	})
}
