package engine_test

import (
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
