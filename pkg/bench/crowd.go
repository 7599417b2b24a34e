package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
)

// crowd defines $1 active workflows on creates of orders, 20 for each tenant. All ask for
// equality; or, with $2, of ten five ask for equality, two for several and in, two for a
// range, and one is an expression. None matches what fill writes. The rows are those that
// the version trigger would write; through the five tables it takes minutes.
const crowd = `
insert into rowbell.workflow_version (workflow_id, version, tenant_id, status, created_by, document)
select 'crowd' || i, 1, tenant, 'active', 'bench', jsonb_build_object(
	'id', 'crowd' || i, 'tenant_id', tenant, 'name', 'crowd ' || i, 'description', '', 'status', 'active', 'settings', '{}'::jsonb,
	'triggers', jsonb_build_array(jsonb_build_object('id', 't', 'entity_type', 'orders', 'operation', 'create', 'priority', 100,
		'field_conditions', case
			when not $2::boolean or i % 10 < 5 then jsonb_build_object('status', 'state' || i % 10)
			when i % 10 < 7 then jsonb_build_object('status', jsonb_build_object('in', jsonb_build_array('state' || i % 5, 'paid')), 'share', i % 10)
			when i % 10 < 9 then jsonb_build_object('total', jsonb_build_object('gte', 10001 + i % 1000))
			else '{}' end)),
	'conditions', case when $2 and i % 10 = 9 then jsonb_build_array(jsonb_build_object('id', 'c', 'condition_type', 'expression',
		'condition_config', jsonb_build_object('expression', format('new.total * 2 > %s || len(new.note) > 500', 20100 + i % 20)))) else '[]' end,
	'actions', '[{"id": "a", "action_type": "log", "action_config": {}, "order": 0}]'::jsonb,
	'recipients', '[]'::jsonb)
from (select i, 'tenant-' || i / 20 as tenant from generate_series(0, $1::int - 1) i) x`

// crowds compares draining beside many workflows with draining beside few.
func crowds(ctx context.Context, o Options, server *localpg.Server) ([]*figure, error) {
	if !strings.HasPrefix("drain100k", o.Only) {
		return nil, nil
	}
	equality := &figure{name: "drain with 100,000 active workflows, 1 % matching", unit: "× with 10", floor: 0.8, goal: 0.8}
	mixed := &figure{name: "the same, a mixed set", unit: "× with 10"}
	for _, f := range []*figure{equality, mixed} {
		if err := crowded(ctx, o, server, f, f == mixed); err != nil {
			return nil, err
		}
	}
	return []*figure{equality, mixed}, nil
}

// crowded measures one of the figures.
func crowded(ctx context.Context, o Options, server *localpg.Server, f *figure, mixed bool) error {
	var sides [2]struct {
		w     *workload
		rate  figure // events a second, in thousands
		ready figure
		rss   figure
	}
	events := int(600_000*o.Scale) / 1000 * 1000
	for i, n := range []int{9, 99_999} {
		fmt.Fprintf(o.Log, "drain100k: writing %d events and %d workflows\n", events, n+1)
		var err error
		sides[i].w, err = prepare(ctx, server, spec{
			name: fmt.Sprintf("crowd%d", n+1), events: events, perTxn: 1, condition: `{"status": "hit"}`, action: "webhook", matches: 100, crowd: n, mixed: mixed,
		})
		if err != nil {
			return fmt.Errorf("workload drain100k: %w", err)
		}
		if i == 0 {
			// The name is wanted again; reset makes the slot anew from its copy.
			if err := execute(ctx, sides[i].w.url, "select pg_drop_replication_slot('rowbell')"); err != nil {
				return err
			}
		}
	}
	random := rand.New(rand.NewPCG(o.Seed, 1))
	for round := range o.Runs {
		order := []int{0, 1}
		random.Shuffle(2, func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			s := &sides[i]
			r, err := s.w.drain(ctx, app.CoalesceOn)
			if err != nil {
				return err
			}
			s.rate.values = append(s.rate.values, float64(events)/r.result.Took/1000)
			s.ready.values = append(s.ready.values, r.result.Ready)
			s.rss.values = append(s.rss.values, float64(r.rss)/(1<<20))
		}
		f.values = append(f.values, sides[1].rate.values[round]/sides[0].rate.values[round])
		fmt.Fprintf(o.Log, "  round %d: %.1fk/s with 10, %.1fk/s with 100,000 (ready after %.1f s, %.0f MB)\n", round+1,
			sides[0].rate.values[round], sides[1].rate.values[round], sides[1].ready.values[round], sides[1].rss.values[round])
	}
	f.note = fmt.Sprintf("1-row transactions, binding included: %.0fk/s against %.0fk/s; before, the 100,000 are loaded in %.1f s; peak RSS %.0f MB",
		sides[1].rate.median(), sides[0].rate.median(), sides[1].ready.median(), sides[1].rss.median())
	for _, s := range sides {
		if err := s.w.drop(ctx, server); err != nil {
			return err
		}
	}
	return nil
}
