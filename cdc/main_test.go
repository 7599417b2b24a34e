package cdc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newSource makes a database with a table, the two publications and a slot.
func newSource(t testing.TB) (*pgtest.Database, Config) {
	t.Helper()
	db := pgtest.DB(t)
	cfg := prepare(t, db)
	if _, err := CreateSlot(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return db, cfg
}

// prepare makes everything but the slot.
func prepare(t testing.TB, db *pgtest.Database) Config {
	t.Helper()
	db.Exec(t, `create table orders (id int primary key, status text, note text);
		create table log (line text);
		create publication "p ub" for table orders with (publish_via_partition_root);
		create publication "p ub_insert" for table log with (publish = 'insert', publish_via_partition_root)`)
	return Config{
		SourceURL: db.URL, Slot: pgtest.Slot(t, db), Publication: "p ub", Instance: "test", WorkerID: "w1",
		StatusInterval: 50 * time.Millisecond,
	}
}

func connect(t testing.TB, cfg Config) *Stream {
	t.Helper()
	s, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reader runs a stream and notes what it hands over, as text.
type reader struct {
	*Stream
	stop    context.CancelFunc
	done    chan error // Run's result
	taken   chan struct{}
	confirm bool // confirms everything at once

	mu    sync.Mutex
	lines []string
	ends  []change.LSN // of whole transactions
	idle  change.LSN
	parts []change.Part // without events
}

// startReader runs the stream; it is stopped in order at the end of t.
func startReader(t testing.TB, s *Stream, confirm bool) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{Stream: s, stop: cancel, done: make(chan error, 1), taken: make(chan struct{}), confirm: confirm}
	go func() { r.done <- s.Run(ctx) }()
	go func() {
		defer close(r.taken)
		for p := range s.Parts() {
			r.take(p)
			p.Release()
		}
	}()
	t.Cleanup(func() {
		cancel()
		s.Finish()
		<-r.taken
	})
	return r
}

func (r *reader) take(p *change.Parts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range p.List {
		part := &p.List[i]
		if part.First && part.Last() && len(part.Events) == 0 {
			// 14 sends unpublished transactions as empty ones.
			if r.confirm {
				r.Confirm(part.EndLSN, 0)
			}
			continue
		}
		if part.First {
			r.lines = append(r.lines, "begin")
		}
		for j := range part.Events {
			r.lines = append(r.lines, show(&part.Events[j]))
		}
		copied := *part
		copied.Events = nil
		r.parts = append(r.parts, copied)
		if part.Last() {
			r.lines = append(r.lines, "commit")
			r.ends = append(r.ends, part.EndLSN)
			if r.confirm {
				r.Confirm(part.EndLSN, 0)
			}
		}
	}
	if p.Idle != 0 {
		r.idle = p.Idle
		if r.confirm {
			r.Confirm(p.Idle, 0)
		}
	}
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// finish stops the stream in order and returns Run's error.
func (r *reader) finish() error {
	r.stop()
	<-r.taken
	r.Finish()
	return <-r.done
}

func (r *reader) wait(t testing.TB, want string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.text() != want {
		if time.Now().After(deadline) {
			t.Fatalf("got\n%s\nwant\n%s", r.text(), want)
		}
		<-tick.C
	}
}

func show(e *change.Event) string {
	var b strings.Builder
	b.WriteString(e.Op.String())
	if e.Relation != nil {
		b.WriteString(" " + e.Relation.Label())
	}
	for _, x := range []struct {
		name string
		row  change.Row
	}{{"old", e.Old}, {"new", e.New}} {
		if x.row.Empty() {
			continue
		}
		var cols []string
		x.row.Columns(func(_ int, text []byte, s change.State) bool {
			switch s {
			case change.Null:
				cols = append(cols, "null")
			case change.NotInWAL:
				cols = append(cols, "-")
			default:
				v := string(text)
				if len(v) > 30 {
					v = fmt.Sprintf("%s…%d", v[:5], len(v))
				}
				cols = append(cols, v)
			}
			return true
		})
		fmt.Fprintf(&b, " %s(%s)", x.name, strings.Join(cols, ","))
	}
	if e.OldKeyOnly {
		b.WriteString(" key")
	}
	if e.Op == change.Emit {
		fmt.Fprintf(&b, " %s %s", e.Message.Prefix, e.Message.Content)
	}
	return b.String()
}
