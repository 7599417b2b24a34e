package engine_test

import (
	"fmt"
	"strings"
	"testing"
)

// Any database user may send a message with any prefix and content. None of it may
// stop the stream, nor what other transactions are told.
func TestHostileContext(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"not UTF-8":     `'\x7b226964223a2261ff62227d'::bytea`, // {"id":"a\xffb"}
		"half a pair":   `'{"id": "\ud83d"}'`,
		"a zero":        `'{"id": "a\u0000b"}'`,
		"not JSON":      `'{"id": '`,
		"deep":          `'{"id": ' || repeat('[', 9000) || repeat(']', 9000) || '}'`,
		"long":          `'{"id": "' || repeat('x', 70000) || '"}'`,
		"no object":     `'["id"]'`,
		"huge exponent": `'{"id": 1e999999}'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, orders)
			s.capture(t, "orders")
			s.define(t, flow{id: "w", on: []string{"orders create"}})
			s.begin(t)
			r := s.start(t, options{})
			s.db.Exec(t, `begin; select pg_logical_emit_message(true, 'rowbell.context', `+content+`); insert into orders (id) values (1); commit`)
			s.db.Exec(t, `insert into orders (id) values (2)`)
			r.caughtUp(t)
			s.wantLogged(t, "w v1 create 1", "w v1 create 2")
			for _, d := range s.data(t, "w") {
				if len(d) > 70000 {
					t.Errorf("an event of %d bytes was recorded", len(d))
				}
			}
		})
	}
}

// A key column may be longer than an index takes, and its text has twice the bytes.
func TestLongKey(t *testing.T) {
	t.Parallel()
	s := newStage(t, `create table docs (id bytea primary key); create table notes (id int primary key, title text)`)
	s.capture(t, "docs")
	s.db.Exec(t, `call rowbell.capture('notes', key_columns => '{title,id}')`)
	s.define(t, flow{id: "w", on: []string{"docs create", "notes create"}})
	s.begin(t)
	r := s.start(t, options{})
	long := `(select string_agg(md5(n::text), 'ä') from generate_series(1, %d) n)`
	s.db.Exec(t, `insert into docs values (decode(replace(`+fmt.Sprintf(long, 80)+`, 'ä', ''), 'hex'))`)
	s.db.Exec(t, `insert into notes values (1, `+fmt.Sprintf(long, 1000)+`)`)
	s.db.Exec(t, `insert into notes values (2, 'short')`)
	r.caughtUp(t)
	got := s.logged(t)
	if len(got) != 3 || !strings.HasSuffix(got[2], "create short,2") {
		t.Errorf("logged %q", got)
	}
}

// Nor does a message decide which transactions count: one that was writing while its
// table was being captured doesn't, whatever is said of it.
func TestForgedHeartbeat(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.define(t, flow{id: "w", on: []string{"orders create"}})
	s.begin(t)
	r := s.start(t, options{})
	early := s.db.Conn(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := early.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`begin; insert into orders (id) values (1)`)
	s.capture(t, "orders")
	s.db.Exec(t, `insert into orders (id) values (2)`)
	s.db.Exec(t, `select pg_logical_emit_message(true, 'rowbell.heartbeat', '99999999999999:0:forged:1')`)
	s.define(t, flow{id: "other", on: []string{"orders delete"}})
	exec(`insert into orders (id) values (3); commit`)
	s.db.Exec(t, `insert into orders (id) values (4)`)
	r.caughtUp(t)
	s.wantLogged(t, "w v1 create 2", "w v1 create 4")
}
