package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// partner is the workflow whose receiver is away for longer than attempts go on: its
// breaker opens, and closes again. The receiver is one of the demo's own, at another port.
const partner = `
begin;
insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('partner-told', 'globex', 'Partner told', 'The partner of the demo is away for half of the time', 'active');
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('partner-told', 'orders', 'create');
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('partner-told', 'webhook', jsonb_build_object('url', $url$%s$url$, 'secret', $secret$%s$secret$,
        'retry', '["1s", "1s", "2s", "2s", "5s", "10s", "20s", "30s", "1m", "5m"]'::jsonb));
commit;
`

// partnerFaults are how the partner fails: it hangs up for half a minute each minute.
func (d *show) partnerFaults() faults {
	const away = 30 * time.Second
	return faults{
		AwayEvery: time.Minute, AwayFor: away, AwaySoon: 15 * time.Second,
		Away: func() {
			d.teller.other(yellow, "The partner goes away for %s: see what its breaker does.", since(away))
		},
	}
}

// breaker is how a destination stands.
type breaker struct {
	destination, state string
	failures           int
	waiting            int64
}

// breakers reads those that are not closed.
func breakers(ctx context.Context, pool *pgxpool.Pool) ([]breaker, error) {
	rows, err := pool.Query(ctx, `select e.destination, e.state, e.failures, (select count(*) from rowbell.delivery d where d.workflow_id = 'partner-told')
		from rowbell.endpoint e where e.state <> 'closed' order by e.destination`)
	if err != nil {
		return nil, fmt.Errorf("read rowbell.endpoint: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b breaker, err error) {
		return b, row.Scan(&b.destination, &b.state, &b.failures, &b.waiting)
	})
	if err != nil {
		return nil, fmt.Errorf("read rowbell.endpoint: %w", err)
	}
	return list, nil
}

// tellBreakers says what has changed since the last look.
func (d *show) tellBreakers(was map[string]string, list []breaker) {
	now := make(map[string]bool)
	for _, b := range list {
		now[b.destination] = true
		state := b.state
		if state == "half_open" {
			state = "open" // a probe that fails is no news
		}
		if was[b.destination] == state {
			continue
		}
		was[b.destination] = state
		switch state {
		case "open":
			d.teller.other(yellow, "The breaker of %s is open after %d failures: what goes there waits, and nothing else does.", b.destination, b.failures)
		case "disabled":
			d.teller.other(red, "%s is disabled.", b.destination)
		}
	}
	for destination := range was {
		if !now[destination] {
			delete(was, destination)
			d.teller.other(green, "The breaker of %s is closed: a probe got through, and what waited is on its way.", destination)
		}
	}
}
