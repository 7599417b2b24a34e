package cdc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// BenchmarkDrain reads a backlog that was written before, by pg_recvlogical and by the
// stream, each from a copy of one slot. One iteration is one drain by each, in turn;
// x/recvlogical is the ratio of the medians. ROWBELL_BENCH_EVENTS says how long a
// backlog is.
//
//	go test -run '^$' -bench Drain -benchtime 5x ./cdc
func BenchmarkDrain(b *testing.B) {
	events := 150_000
	if s := os.Getenv("ROWBELL_BENCH_EVENTS"); s != "" {
		var err error
		if events, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	server := pgtest.Server(b, localpg.Options{FSync: true, Settings: map[string]string{
		"shared_buffers": "1GB", "max_wal_size": "8GB", "max_replication_slots": "20",
	}})
	for _, w := range []struct {
		name, setup, load string
		events            int
	}{
		{"one-row transactions", "", fmt.Sprintf("do $$ begin for i in 1..%d loop insert into orders select * from make_row(i); commit; end loop; end $$", events), events},
		{"1000-row transactions", "", fmt.Sprintf("do $$ begin for i in 1..%d loop insert into orders select r.* from generate_series(i * 1000 + 1, i * 1000 + 1000) n, make_row(n) r; commit; end loop; end $$", events*2/1000), events * 2},
		{
			"full updates", "alter table orders replica identity full; insert into orders select r.* from generate_series(1, 100) n, make_row(n) r",
			fmt.Sprintf("do $$ begin for i in 1..%d loop update orders set status = 's' || i, total = total + 1; commit; end loop; end $$", events/100), events,
		},
	} {
		b.Run(w.name, func(b *testing.B) {
			db := pgtest.DBOn(b, server)
			db.Exec(b, `create table orders (id bigint primary key, tenant_id text, status text, total numeric(12,2), email text, note text,
					created_at timestamptz, updated_at timestamptz, meta jsonb);
				create function make_row(i int) returns orders language sql as $$ select i, 'tenant-' || i % 20, 'new', i * 1.25, 'customer' || i || '@example.com',
					'a note that is about as long as notes are', now(), now(), '{"source": "web", "items": 3}'::jsonb $$;
				create publication p for table orders; create publication p_insert with (publish = 'insert');`+w.setup)
			cfg := Config{SourceURL: db.URL, Slot: "bench", Publication: "p", Instance: "bench", WorkerID: "w"}
			if _, err := CreateSlot(b.Context(), cfg); err != nil {
				b.Fatal(err)
			}
			db.Exec(b, "set synchronous_commit = off")
			db.Exec(b, w.load)
			end, err := change.ParseLSN(db.QueryString(b, `select pg_current_wal_flush_lsn()::text`))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Exec(b, `select pg_drop_replication_slot('bench')`)
			copySlot := func() string {
				db.Exec(b, `select pg_copy_logical_replication_slot('bench', 'copy')`)
				return "copy"
			}
			drop := func() {
				pgtest.Eventually(b, 10*time.Second, "the copy is dropped", func() bool { return DropSlot(b.Context(), Config{SourceURL: db.URL, Slot: "copy"}) == nil })
			}
			var plain, fast, slow []time.Duration
			for b.Loop() {
				copySlot()
				plain = append(plain, recvlogical(b, server, db, end))
				drop()
				for _, mode := range []Coalesce{CoalesceOn, CoalesceOff} {
					c := cfg
					c.Slot, c.Coalesce = copySlot(), mode
					d, allocs := drainSlot(b, c, end, w.events)
					drop()
					if mode == CoalesceOn {
						fast = append(fast, d)
						b.ReportMetric(allocs, "allocs/event")
					} else {
						slow = append(slow, d)
					}
				}
			}
			m := median(plain)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(w.events)/m.Seconds(), "recvlogical-events/s")
			b.ReportMetric(float64(w.events)/median(fast).Seconds(), "events/s")
			b.ReportMetric(m.Seconds()/median(fast).Seconds(), "x/recvlogical")
			b.ReportMetric(m.Seconds()/median(slow).Seconds(), "x/uncoalesced")
		})
	}
}

func recvlogical(b *testing.B, server *localpg.Server, db *pgtest.Database, end change.LSN) time.Duration {
	b.Helper()
	path := filepath.Join(server.BinDir(), "pg_recvlogical")
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("pg_recvlogical"); err != nil {
			b.Fatalf("%v: install the PostgreSQL client programs", err)
		}
	}
	cmd := exec.CommandContext(b.Context(), path, "-d", db.URL, "-S", "copy", "--start", "-f", "/dev/null", "--endpos", end.String(), "--no-loop",
		"-o", "proto_version=1", "-o", `publication_names=p`)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("pg_recvlogical: %v\n%s", err, out)
	}
	return time.Since(start)
}

func drainSlot(b *testing.B, cfg Config, end change.LSN, events int) (time.Duration, float64) {
	b.Helper()
	start := time.Now()
	s, err := Connect(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	done := make(chan error, 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() { done <- s.Run(ctx) }()
	n := 0
	var took time.Duration
	for p := range s.Parts() {
		for i := range p.List {
			for j := range p.List[i].Events {
				// As matching does: the tenant and one more column are looked at.
				e := &p.List[i].Events[j]
				_, _ = e.New.Column(1)
				_, _ = e.New.Column(2)
				n++
			}
		}
		if n >= events && took == 0 && p.WALEnd != 0 {
			took = time.Since(start)
			runtime.ReadMemStats(&after)
			cancel()
			s.Finish()
		}
		p.Release()
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if n != events {
		b.Fatalf("%d events, want %d", n, events)
	}
	return took, float64(after.Mallocs-before.Mallocs) / float64(events)
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
