package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
)

// retriesFigures compare what commits while very many retries are due, to the same
// destination, with what commits while nothing else is to be done: how long it takes from
// the commit to the webhook.
func retriesFigures(ctx context.Context, o Options, server *localpg.Server, to *receiver) ([]*figure, error) {
	const perSecond = 200
	longer := &figure{name: "commit to webhook received beside 100,000 due retries, p99", unit: "× without them", floor: 3, goal: 2, less: true}
	var usual99, beside99, rates figure
	n := int(100_000*o.Scale) / 1000 * 1000
	p99 := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[min(len(list)-1, len(list)*99/100)].Microseconds()) / 1000
	}
	for round := range o.Runs {
		w, err := prepare(ctx, server, spec{name: fmt.Sprint("usual-", round), events: 0, perTxn: 1, condition: "{}", action: "webhook", matches: 1, to: to.url + "/hook"})
		if err != nil {
			return nil, err
		}
		if err := to.ask(ctx, http.MethodPost, "/forget", nil); err != nil {
			return nil, err
		}
		hooks, _, err := w.live(ctx, to, perSecond*10, perSecond)
		if err != nil {
			return nil, err
		}
		if err := w.drop(ctx, server); err != nil {
			return nil, err
		}
		w, err = prepare(ctx, server, spec{name: fmt.Sprint("retries-", round), events: n, perTxn: 100, condition: "{}", action: "webhook", matches: 1, to: to.url + "/hook"})
		if err != nil {
			return nil, err
		}
		if err := to.ask(ctx, http.MethodPost, "/forget", nil); err != nil {
			return nil, err
		}
		beside, rate, err := w.besideRetries(ctx, to, n, perSecond)
		if err != nil {
			return nil, err
		}
		usual, with := p99(hooks), p99(beside)
		usual99.values, beside99.values, rates.values = append(usual99.values, usual), append(beside99.values, with), append(rates.values, rate)
		longer.values = append(longer.values, with/usual)
		fmt.Fprintf(o.Log, "  round %d: p99 %.2f ms without retries, %.2f ms (p50 %.2f ms, of %d) beside %d of them, which go at %.0f/s\n", round+1,
			usual, with, float64(beside[len(beside)/2].Microseconds())/1000, len(beside), n, rate)
		if err := w.drop(ctx, server); err != nil {
			return nil, err
		}
	}
	longer.note = fmt.Sprintf("%d changes/s, to the same destination; %.3g ms against %.3g ms; the retries go at %.1fk/s", perSecond, beside99.median(), usual99.median(), rates.median()/1000)
	return []*figure{longer}, nil
}

// dueAfter is how long after their making the retries become due: the worker has the slot
// by then.
const dueAfter = 15 * time.Second

// besideRetries makes n deliveries retries, starts a worker, and commits changes at a
// steady rate, until the retries, which have all become due at one moment, are gone. It
// returns how long each of the changes took that committed meanwhile, and how many
// retries a second went.
func (w *workload) besideRetries(ctx context.Context, to *receiver, n, perSecond int) (took []time.Duration, rate float64, err error) {
	if err := w.reset(ctx); err != nil {
		return nil, 0, err
	}
	if _, err := output(ctx, "drain", w.url, w.mark.String(), string(app.CoalesceOn)); err != nil {
		return nil, 0, err
	}
	due := time.Now().Add(dueAfter)
	for _, sql := range []string{
		fmt.Sprintf(`update rowbell.queue set attempts = 1, error = 'connection refused', ready_at = '%s'::timestamptz - random() * interval '1 s'`, due.Format(time.RFC3339Nano)),
		`vacuum analyze rowbell.queue`,
	} {
		if err := execute(ctx, w.url, sql); err != nil {
			return nil, 0, err
		}
	}
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	look, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = look.Close(ctx) }()
	stop, err := startLive(ctx, w.url)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	const first = 1_000_000_000 // id of the first change
	var committed []int64
	gone := make(chan error, 1)
	looking, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	go func() {
		for {
			var left bool
			err := look.QueryRow(looking, "select exists (select from rowbell.queue where attempts > 0)").Scan(&left)
			if err == nil && left {
				err = pause(looking, 200*time.Millisecond)
			}
			if err != nil || !left {
				gone <- err
				return
			}
		}
	}()
	next := time.Now()
	for worked := false; !worked; {
		select {
		case err := <-gone:
			if err != nil {
				return nil, 0, fmt.Errorf("the retries are not worked off: %w", err)
			}
			worked = true
			continue
		default:
		}
		if err := pause(ctx, time.Until(next)); err != nil {
			return nil, 0, err
		}
		next = next.Add(time.Second / time.Duration(perSecond))
		if _, err := conn.Exec(ctx, `insert into orders (id, tenant_id, status, total, email, note, meta)
			values ($1, 'tenant-1', 'new', 12.25, 'customer@example.com', 'a note', '{"channel": "web"}')`, first+len(committed)); err != nil {
			return nil, 0, err
		}
		committed = append(committed, time.Now().UnixMicro())
	}
	rate = float64(n) / time.Since(due).Seconds()
	at, err := w.receivedFrom(ctx, conn, to, first, n+len(committed))
	if err != nil {
		return nil, 0, err
	}
	for i := range committed {
		if committed[i] < due.UnixMicro() {
			continue
		}
		came, ok := at[first+int64(i)]
		if !ok {
			return nil, 0, fmt.Errorf("change %d has no webhook", i)
		}
		took = append(took, time.Duration(max(0, came-committed[i]))*time.Microsecond)
	}
	if len(took) < perSecond {
		return nil, 0, fmt.Errorf("the retries were gone after %d changes: take more of them (-scale)", len(took))
	}
	return took, rate, nil
}

// receivedFrom waits until so many webhooks have come in all, and returns when those came
// that are of orders from an id on.
func (w *workload) receivedFrom(ctx context.Context, conn *pgx.Conn, to *receiver, first int64, all int) (map[int64]int64, error) {
	var got receipts
	for deadline := time.Now().Add(time.Minute); len(got.At) < all; {
		if err := to.ask(ctx, http.MethodGet, "/received", &got); err != nil {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d webhooks came", len(got.At), all)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	rows, err := conn.Query(ctx, `select event_id, row_key from rowbell.event where row_key ~ '^[0-9]{10}$' and row_key::int8 >= $1`, first)
	if err != nil {
		return nil, err
	}
	events := make(map[string]int64)
	var event string
	var key string
	if _, err := pgx.ForEachRow(rows, []any{&event, &key}, func() error {
		var id int64
		_, err := fmt.Sscan(key, &id)
		events[event] = id
		return err
	}); err != nil {
		return nil, err
	}
	at := make(map[int64]int64)
	for id, t := range got.At {
		if order, ok := events[strings.SplitN(id, "-", 2)[0]]; ok {
			at[order] = t
		}
	}
	return at, nil
}
