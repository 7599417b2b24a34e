package cdc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestEventsComeInOrderWithTheirContent(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	r := startReader(t, connect(t, cfg), true)
	db.Exec(t, `insert into orders values (1, 'new', null), (2, 'new', repeat('x', 3000))`)
	db.Exec(t, `begin;
		update orders set status = 'paid' where id = 1;
		savepoint s; insert into orders values (3, 'gone'); rollback to s;
		update orders set id = 10 where id = 1;
		delete from orders where id = 10;
		insert into log values ('a line'); update log set line = 'inserts only';
		commit`)
	db.Exec(t, `begin; insert into orders values (4, 'rolled back'); rollback`)
	db.Exec(t, `begin;
		select pg_logical_emit_message(true, 'rowbell.context', '{}');
		insert into orders values (5);
		select pg_logical_emit_message(true, 'other', 'not ours');
		select pg_logical_emit_message(false, 'rowbell.event', 'not transactional');
		savepoint s; select pg_logical_emit_message(true, 'rowbell.event', 'gone'); rollback to s;
		select pg_logical_emit_message(true, 'rowbell.event', 'kept');
		commit`)
	db.Exec(t, `alter table orders add total numeric; alter table orders replica identity full`)
	db.Exec(t, `update orders set total = 1.50 where id = 5`)
	// The note's value is not in the new row, since it was not touched: but FULL has it.
	db.Exec(t, `alter table orders alter note set storage external; update orders set note = repeat('y', 5000) where id = 2`)
	db.Exec(t, `update orders set status = 'x' where id = 2`)
	db.Exec(t, `truncate orders, log`)
	r.wait(t, strings.TrimSpace(`
begin
create orders new(1,new,null)
create orders new(2,new,xxxxx…3000)
commit
begin
update orders new(1,paid,null)
update orders old(1,null,null) new(10,paid,null) key
delete orders old(10,null,null) key
create log new(a line)
commit
begin
emit rowbell.context {}
create orders new(5,null,null)
emit rowbell.event kept
commit
begin
update orders old(5,null,null,null) new(5,null,null,1.50)
commit
begin
update orders old(2,new,xxxxx…3000,null) new(2,new,yyyyy…5000,null)
commit
begin
update orders old(2,new,yyyyy…5000,null) new(2,x,-,null)
commit
begin
truncate orders
commit`))
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

func TestValuesDoNotDependOnSettings(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	db.Exec(t, `alter table orders add at timestamptz, add d date, add f float8, add b bytea, add i interval;
		alter database `+db.Name+` set datestyle = 'SQL, DMY'; alter database `+db.Name+` set timezone = 'Asia/Tokyo';
		alter database `+db.Name+` set extra_float_digits = -5; alter database `+db.Name+` set bytea_output = 'escape';
		alter database `+db.Name+` set intervalstyle = 'sql_standard'; alter database `+db.Name+` set statement_timeout = '100ms'`)
	r := startReader(t, connect(t, cfg), true)
	db.Exec(t, `insert into orders values (1, null, null, '2026-02-03 04:05:06.7+00', '2026-02-03', 0.1::float8 + 0.2, '\x00ff', '1 day 2 hours')`)
	r.wait(t, "begin\ncreate orders new(1,null,null,2026-02-03 04:05:06.7+00,2026-02-03,0.30000000000000004,\\x00ff,1 day 02:00:00)\ncommit")
}

func TestBigTransactionComesInParts(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	s := connect(t, cfg)
	const rows = 5000
	db.Exec(t, fmt.Sprintf(`begin; insert into orders select i, 'row ' || i, repeat('n', 200) from generate_series(1, %d) i;
		insert into orders values (0, 'huge', (select string_agg(md5(i::text), '') from generate_series(1, 40000) i));
		insert into orders select i, 'row ' || i from generate_series(%d, %d) i; commit`, rows, rows+1, 2*rows))
	want := sha256.Sum256([]byte(db.QueryString(t, `select note from orders where id = 0`)))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	parts, events, bytes, id := 0, 0, 0, 0
	last := false
	for p := range s.Parts() {
		for i := range p.List {
			part := &p.List[i]
			if part.First != (parts == 0) {
				t.Errorf("part %d: First is %v", parts, part.First)
			}
			if last {
				t.Error("a part after the last")
			}
			parts++
			last = part.Last()
			bytes += part.Bytes
			for j := range part.Events {
				e := &part.Events[j]
				events++
				status, _ := e.New.Column(1)
				if string(status) == "huge" {
					note, _ := e.New.Column(2)
					if sha256.Sum256(note) != want {
						t.Error("the huge value came out different")
					}
					bytes -= e.New.Size()
					continue
				}
				id++
				if string(status) != fmt.Sprintf("row %d", id) {
					t.Fatalf("event %d is %q", events, status)
				}
			}
		}
		p.Release()
		if last {
			cancel()
			s.Finish()
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if events != 2*rows+1 || parts < 4 {
		t.Errorf("%d events in %d parts, want %d in several", events, parts, 2*rows+1)
	}
	if bytes < 2*rows*20 {
		t.Errorf("%d bytes is too little", bytes)
	}
}

// Two decodes of the same WAL must agree on everything that keys and limits hang on.
func TestEveryDecodeIsTheSame(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	rnd := pgtest.Rand(t)
	for k := range 30 {
		db.Exec(t, fmt.Sprintf(`with d as (delete from orders) insert into orders select i + %d, 's', repeat('n', i %% 300) from generate_series(1, %d) i`,
			10_000*k, 1+rnd.IntN(1500)))
	}
	other := cfg
	other.Slot = pgtest.Slot(t, db)
	db.Exec(t, `select pg_copy_logical_replication_slot($1::name, $2::name)`, cfg.Slot, other.Slot)
	type txn struct {
		lsn, end change.LSN
		bytes    int
		events   [32]byte
	}
	decode := func(cfg Config) map[int]txn {
		r := startReader(t, connect(t, cfg), false)
		pgtest.Eventually(t, 20*time.Second, "the whole backlog", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.ends) == 30
		})
		if err := r.finish(); err != nil {
			t.Error(err)
		}
		got := make(map[int]txn)
		n := 0
		for _, p := range r.parts {
			x := got[n]
			x.lsn, x.bytes = p.CommitLSN, x.bytes+p.Bytes
			if p.Last() {
				x.end = p.EndLSN
			}
			got[n] = x
			if p.Last() {
				n++
			}
		}
		x := got[0]
		x.events = sha256.Sum256([]byte(r.text()))
		got[0] = x
		return got
	}
	first := decode(cfg)
	other.Coalesce = CoalesceOff
	second := decode(other)
	for n, want := range first {
		if second[n] != want {
			t.Errorf("transaction %d: %+v at first, then %+v", n, want, second[n])
		}
	}
}

func TestUnconfirmedIsSentAgain(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	r := startReader(t, connect(t, cfg), false)
	db.Exec(t, `insert into orders values (1)`)
	db.Exec(t, `insert into orders values (2)`)
	one, two := "begin\ncreate orders new(1,null,null)\ncommit\n", "begin\ncreate orders new(2,null,null)\ncommit"
	r.wait(t, one+two)
	r.Confirm(r.ends[0], 0)
	if err := r.finish(); err != nil {
		t.Fatal(err)
	}
	if got := confirmed(t, cfg); got != r.ends[0] {
		t.Errorf("the slot is confirmed to %s, want %s", got, r.ends[0])
	}
	r = startReader(t, connect(t, cfg), false)
	r.wait(t, two)
	if got := r.Progress(); got.Confirmed > got.Durable || got.Durable > got.Received {
		t.Errorf("%+v is out of order", got)
	}
}

func confirmed(t testing.TB, cfg Config) change.LSN {
	t.Helper()
	info, err := SlotInfo(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return info.Confirmed
}

func TestNothingIsConfirmedByItself(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	before := confirmed(t, cfg)
	s := connect(t, cfg)
	if got := s.System().Confirmed; got != before {
		t.Errorf("System says confirmed %s, the slot %s", got, before)
	}
	r := startReader(t, s, false)
	db.Exec(t, `insert into orders values (1); create table unpublished (); drop table unpublished`)
	r.wait(t, "begin\ncreate orders new(1,null,null)\ncommit")
	// The server takes statuses in order: once it has seen one that was sent after the
	// transaction, it has seen whatever was told about it.
	pgtest.Eventually(t, 10*time.Second, "a status after the transaction", func() bool {
		return db.QueryString(t, `select coalesce(max(write_lsn), '0/0')::text from pg_stat_replication where application_name = 'test' or application_name = 'rowbell/test/w1'`) >= r.ends[0].String()
	})
	if got := confirmed(t, cfg); got != before {
		t.Errorf("the slot moved to %s", got)
	}
	// A checkpoint that is recorded beyond what the stream has passed waits.
	far := r.ends[0] + 1<<40
	r.Confirm(r.ends[0], far)
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	if got := confirmed(t, cfg); got != before {
		t.Errorf("the slot moved to %s, although the stream never reached %s", got, far)
	}
}

func TestConfirmWaitsForTheStreamToPass(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	r := startReader(t, connect(t, cfg), false)
	db.Exec(t, `insert into orders values (1)`)
	r.wait(t, "begin\ncreate orders new(1,null,null)\ncommit")
	recordedAt, err := change.ParseLSN(db.QueryString(t, `select pg_current_wal_insert_lsn()::text`))
	if err != nil {
		t.Fatal(err)
	}
	r.Confirm(r.ends[0], recordedAt)
	pgtest.Eventually(t, 20*time.Second, "the slot is told", func() bool {
		db.Exec(t, `select pg_logical_emit_message(true, 'other', 'moves the WAL on')`)
		return confirmed(t, cfg) == r.ends[0]
	})
}

func TestLastCheckpointIsToldAtTheStop(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.StatusInterval = 3 * time.Second // so that only the stop can have told it
	r := startReader(t, connect(t, cfg), false)
	db.Exec(t, `insert into orders values (1)`)
	r.wait(t, "begin\ncreate orders new(1,null,null)\ncommit")
	r.stop()
	<-r.taken
	db.Exec(t, `create table recorded as select 1 as x`)
	recordedAt, err := change.ParseLSN(db.QueryString(t, `select pg_current_wal_flush_lsn()::text`))
	if err != nil {
		t.Fatal(err)
	}
	r.Confirm(r.ends[0], recordedAt)
	r.Finish()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	info, err := SlotInfo(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if info.Confirmed != r.ends[0] || info.ActivePID != 0 {
		t.Errorf("the slot is confirmed to %s and held by %d, want %s and nobody", info.Confirmed, info.ActivePID, r.ends[0])
	}
}

func TestQuietAndFilteredDatabaseMovesTheSlot(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	r := startReader(t, connect(t, cfg), true)
	db.Exec(t, `create table unpublished as select i from generate_series(1, 1000) i`)
	target, err := change.ParseLSN(db.QueryString(t, `select pg_current_wal_lsn()::text`))
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, 20*time.Second, "the slot moves over what isn't published", func() bool {
		return confirmed(t, cfg) >= target
	})
	if strings.Contains(r.text(), "create") {
		t.Errorf("unpublished rows came: %s", r.text())
	}
}

// A reader that takes nothing for longer than wal_sender_timeout keeps its slot.
func TestBlockedConsumerKeepsTheSlot(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.SenderTimeout = time.Second
	cfg.StatusInterval = 100 * time.Millisecond
	s := connect(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	// More than channel, block and socket buffers hold, so that reading stops.
	db.Exec(t, `insert into orders select i, 's', repeat('n', 500) from generate_series(1, 40000) i`)
	holder := func() int32 {
		info, err := SlotInfo(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return info.ActivePID
	}
	pid := holder()
	for start := time.Now(); time.Since(start) < 3*time.Second; <-time.After(50 * time.Millisecond) {
		if now := holder(); now != pid || now == 0 {
			t.Fatalf("after %v the slot is held by %d, was %d", time.Since(start), now, pid)
		}
	}
	events := 0
	for p := range s.Parts() {
		for i := range p.List {
			events += len(p.List[i].Events)
		}
		p.Release()
		if events == 40000 {
			break
		}
	}
	cancel()
	s.Finish()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A caller that loads for longer than wal_sender_timeout before it reads keeps its slot,
// while the server has more to send than the socket holds.
func TestSlotIsKeptBeforeRun(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.SenderTimeout = time.Second
	cfg.StatusInterval = 100 * time.Millisecond
	s := connect(t, cfg)
	loading, loaded := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() { defer close(kept); s.Keep(loading) }()
	db.Exec(t, `insert into orders select i, 's', repeat('n', 500) from generate_series(1, 40000) i`)
	for start := time.Now(); time.Since(start) < 3*time.Second; <-time.After(50 * time.Millisecond) {
		if info, err := SlotInfo(t.Context(), cfg); err != nil || info.ActivePID == 0 {
			t.Fatalf("after %v the slot is free (%v)", time.Since(start), err)
		}
	}
	loaded()
	<-kept
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	events := 0
	for p := range s.Parts() {
		for i := range p.List {
			events += len(p.List[i].Events)
		}
		p.Release()
		if events == 40000 {
			break
		}
	}
	cancel()
	s.Finish()
	if err := <-done; err != nil || events != 40000 {
		t.Errorf("%d events, %v", events, err)
	}
}

// After ctx ends, the slot is kept until Finish, however long the rest takes.
func TestSlotIsKeptUntilFinish(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.SenderTimeout = time.Second
	cfg.StatusInterval = 100 * time.Millisecond
	r := startReader(t, connect(t, cfg), false)
	db.Exec(t, `insert into orders values (1)`)
	r.wait(t, "begin\ncreate orders new(1,null,null)\ncommit")
	r.stop()
	<-r.taken
	for start := time.Now(); time.Since(start) < 2500*time.Millisecond; <-time.After(50 * time.Millisecond) {
		db.Exec(t, `insert into orders select max(id) + 1 from orders`) // not decoded any more
		if info, err := SlotInfo(t.Context(), cfg); err != nil || info.ActivePID == 0 {
			t.Fatalf("after %v the slot is free (%v)", time.Since(start), err)
		}
	}
	r.Confirm(r.ends[0], 0)
	r.Finish()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if got := confirmed(t, cfg); got != r.ends[0] {
		t.Errorf("confirmed %s, want %s", got, r.ends[0])
	}
}

func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*pgtest.TCPProxy, *reader, Config) {
		db, cfg := newSource(t)
		direct := cfg
		cfg.SenderTimeout = time.Second
		cfg.StatusInterval = 100 * time.Millisecond
		var proxy *pgtest.TCPProxy
		proxy, cfg.SourceURL = pgtest.ProxyURL(t, db.URL)
		r := startReader(t, connect(t, cfg), false)
		db.Exec(t, `insert into orders values (1)`)
		r.wait(t, "begin\ncreate orders new(1,null,null)\ncommit")
		return proxy, r, direct
	}
	// again reads what was not confirmed, over a connection that works.
	again := func(t *testing.T, cfg Config) {
		var s *Stream
		pgtest.Eventually(t, 10*time.Second, "the server gives the slot free", func() bool {
			var err error
			s, err = Connect(t.Context(), cfg)
			if err != nil && !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			return err == nil
		})
		startReader(t, s, true).wait(t, "begin\ncreate orders new(1,null,null)\ncommit")
	}
	t.Run("cut", func(t *testing.T) {
		t.Parallel()
		proxy, r, cfg := setup(t)
		proxy.Cut()
		if err := <-r.done; err == nil {
			t.Error("a cut connection ended without an error")
		}
		again(t, cfg)
	})
	t.Run("swallowed packets", func(t *testing.T) {
		t.Parallel()
		proxy, r, cfg := setup(t)
		proxy.Pause()
		start := time.Now()
		if err := <-r.done; !errors.Is(err, ErrSilent) {
			t.Errorf("got %v, want ErrSilent", err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("noticed after %v", d)
		}
		again(t, cfg)
	})
}

func TestAbort(t *testing.T) {
	t.Parallel()
	_, cfg := newSource(t)
	t.Run("while reading", func(t *testing.T) {
		r := startReader(t, connect(t, cfg), false)
		r.Abort()
		if err := <-r.done; !errors.Is(err, ErrShutdown) {
			t.Errorf("got %v, want ErrShutdown", err)
		}
	})
	t.Run("before Run", func(t *testing.T) {
		var s *Stream
		pgtest.Eventually(t, 10*time.Second, "the slot is free", func() bool {
			var err error
			s, err = Connect(t.Context(), cfg)
			return err == nil
		})
		s.Abort()
		pgtest.Eventually(t, 10*time.Second, "the slot is free again", func() bool {
			info, err := SlotInfo(t.Context(), cfg)
			return err == nil && info.ActivePID == 0
		})
	})
}

// A server in fast shutdown waits for its walsenders to have sent and been told
// everything, but ends ordinary connections at once: that is the sign to leave.
func TestServerInFastShutdownIsLeft(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, localpg.Options{Template: true})
	db := pgtest.DBOn(t, server)
	cfg := prepare(t, db)
	if _, err := CreateSlot(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	s := connect(t, cfg)
	r := startReader(t, s, false)
	h := NewHeartbeat(cfg, s.Abort)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	beating := make(chan error, 1)
	go func() { beating <- h.Run(ctx) }()
	db.Exec(t, `insert into orders select i from generate_series(1, 1000) i`)
	pgtest.Eventually(t, 20*time.Second, "the rows and a heartbeat", func() bool {
		return strings.Contains(r.text(), "new(1000,") && strings.Contains(r.text(), HeartbeatPrefix)
	})
	start := time.Now()
	stop, cancelStop := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancelStop()
	if err := server.Stop(stop, localpg.Fast); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the server took %v to stop", d)
	}
	if err := <-r.done; !errors.Is(err, ErrShutdown) {
		t.Errorf("Run: %v, want ErrShutdown", err)
	}
	cancel()
	if err := <-beating; err != nil {
		t.Error(err)
	}
}

func TestEndedHolderIsNotAShutdown(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.HeartbeatInterval = 100 * time.Millisecond
	aborted := make(chan struct{})
	h := NewHeartbeat(cfg, func() { close(aborted) })
	r := startReader(t, connect(t, cfg), true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	beats := func() int { return strings.Count(r.text(), HeartbeatPrefix) }
	pgtest.Eventually(t, 10*time.Second, "two beats", func() bool { return beats() >= 2 })
	db.Exec(t, `select pg_terminate_backend(a.pid) from pg_stat_activity a
		where application_name = 'rowbell/test/w1' and backend_type = 'client backend' and datname = current_database()`)
	n := beats()
	pgtest.Eventually(t, 10*time.Second, "more beats over a new connection", func() bool { return beats() >= n+3 })
	select {
	case <-aborted:
		t.Error("one ended connection was taken for a shutdown")
	default:
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHeartbeatRoundTrip(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.HeartbeatInterval = 50 * time.Millisecond
	h := NewHeartbeat(cfg, nil)
	s := connect(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run, beating := make(chan error, 1), make(chan error, 1)
	go func() { run <- s.Run(ctx) }()
	go func() { beating <- h.Run(ctx) }()
	seen := 0
	for p := range s.Parts() {
		for i := range p.List {
			for _, e := range p.List[i].Events {
				if e.Op != change.Emit || e.Message.Prefix != HeartbeatPrefix {
					t.Errorf("unexpected event %s", show(&e))
					continue
				}
				var xmin, xmax uint64
				var rest string
				if _, err := fmt.Sscanf(string(e.Message.Content), "%d:%d:%s", &xmin, &xmax, &rest); err != nil || xmin == 0 || xmax < xmin {
					t.Errorf("content %q", e.Message.Content)
				}
				h.Seen(string(e.Message.Content))
				seen++
			}
		}
		p.Release()
		if seen >= 3 {
			cancel()
			s.Finish()
		}
	}
	if err := errors.Join(<-run, <-beating); err != nil {
		t.Fatal(err)
	}
	if h.RoundTrip() <= 0 || h.RoundTrip() > 10*time.Second || h.Age() > 10*time.Second {
		t.Errorf("round trip %v, age %v", h.RoundTrip(), h.Age())
	}
	_ = db
}

func TestHeartbeatCountsItsOwn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := NewHeartbeat(Config{Instance: "a", WorkerID: "w1"}, nil)
	h.now = func() time.Time { return now }
	h.since = now
	h.sent[1], h.sent[2] = now, now
	now = now.Add(40 * time.Second)
	for _, content := range []string{"1:2:a/w2:1", "1:2:b/w1:1", "1:2:a/w1:9", "1:2:a/w1:x", "", "1:2", "a/w1:1"} {
		h.Seen(content)
		if h.Age() != 40*time.Second {
			t.Fatalf("%q counted", content)
		}
	}
	h.Seen("1:2:a/w1:2")
	if h.Age() != 0 || h.RoundTrip() != 40*time.Second {
		t.Errorf("age %v, round trip %v", h.Age(), h.RoundTrip())
	}
	now = now.Add(time.Second)
	h.Seen("1:2:a/w1:1") // older than one that came back
	if h.Age() != time.Second {
		t.Errorf("an old beat counted: age %v", h.Age())
	}
}

func TestSystem(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	s := connect(t, cfg)
	defer s.Abort()
	sys := s.System()
	if want := db.QueryString(t, `select system_identifier::text from pg_control_system()`); sys.SystemID != want {
		t.Errorf("system %s, want %s", sys.SystemID, want)
	}
	if want := pgtest.One[int](t, db, `select current_setting('server_version_num')::int`); sys.ServerVersion != want {
		t.Errorf("version %d, want %d", sys.ServerVersion, want)
	}
	if want := pgtest.One[uint32](t, db, `select oid from pg_database where datname = current_database()`); sys.DatabaseOID != want || sys.Database != db.Name {
		t.Errorf("database %s %d, want %s %d", sys.Database, sys.DatabaseOID, db.Name, want)
	}
	if sys.Timeline < 1 || sys.WALPos == 0 || sys.Confirmed == 0 {
		t.Errorf("%+v", sys)
	}
	if got := db.QueryString(t, `select application_name from pg_stat_replication where pid = (select active_pid from pg_replication_slots where slot_name = $1)`, cfg.Slot); got != "rowbell/test/w1" {
		t.Errorf("application_name %q", got)
	}
}

// A transaction waits for nothing but the moment in which others may join it, whatever
// else is due: statuses and idle positions have deadlines of their own.
func TestTransactionsAreHandedOverAtOnce(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	cfg.StatusInterval = 3 * time.Second
	r := startReader(t, connect(t, cfg), true)
	for i := range 60 {
		// Two in a row, so that the second is gathered.
		db.Exec(t, fmt.Sprintf(`insert into orders values (%d); commit; insert into orders values (%d)`, 2*i, 2*i+1))
		want := fmt.Sprintf("new(%d,", 2*i+1)
		pgtest.Eventually(t, 1500*time.Millisecond, "the transaction", func() bool { return strings.Contains(r.text(), want) })
	}
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}
