package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// tail shows by a server what it shows of the database, also of what ended while the server
// couldn't be reached.
func TestServerTail(t *testing.T) {
	t.Parallel()
	w, _, refuses := newOrders(t)
	refuses.Store(false)
	at, _, _ := strings.Cut(strings.TrimPrefix(w.byServer[0], "ROWBELL_SERVER=http://"), "/")
	proxy := pgtest.Proxy(t, at)
	away := append([]string{"ROWBELL_SERVER=http://" + proxy.Addr()}, w.byServer[1:]...)
	said := &lockedBuffer{}
	direct := watched(t, w.directly, "tail", "--since", "1h")
	cut := program(t, away, "tail", "--since", "1h")
	cut.Stderr = said
	served := started(t, cut)
	both := func(texts ...string) {
		t.Helper()
		a, b := direct.line(t), served.line(t)
		if plain := w.plain; plain(result{stdout: a}) != plain(result{stdout: b}) {
			t.Errorf("of the database comes %q, by the server %q", a, b)
		}
		for _, text := range texts {
			if !strings.Contains(b, text) {
				t.Errorf("%q isn't in %q", text, b)
			}
		}
	}
	for range 3 { // those of one transaction end in any order
		direct.line(t)
		served.line(t)
	}
	w.each(func(db *pgtest.Database) { db.Exec(t, `insert into orders values (51, 'acme', 1, null)`) })
	both("  success    large-order  orders.51 create  webhook 200 in ")
	proxy.Refuse()
	w.each(func(db *pgtest.Database) { db.Exec(t, `insert into orders values (52, 'acme', 1, null)`) })
	pgtest.Eventually(t, pgtest.Patience, "it to say that the server is gone", func() bool { return strings.Contains(said.String(), "; it is asked again until it answers\n") })
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("it says\n%s", said)
	}
	proxy.Resume()
	both("orders.52 create")
	w.each(func(db *pgtest.Database) { db.Exec(t, `insert into orders values (53, 'acme', 1, null)`) })
	both("orders.53 create")
	for _, p := range []*process{direct, served} {
		if code := p.interrupt(t); code != 0 {
			t.Errorf("Ctrl-C ends it with %d", code)
		}
	}

	var rows []string
	asData := watched(t, w.byServer, "tail", "--since", "1h", "--tenant", "acme", "--workflow", "large-order", "--status", "success", "--json")
	for range 3 {
		var x store.LiveExecution
		if line := asData.line(t); json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&x) != nil || x.Did[0].Code != 200 {
			t.Errorf("in JSON it is %q", line)
		}
		rows = append(rows, x.RowKey)
	}
	if !slices.Equal(rows, []string{"51", "52", "53"}) {
		t.Errorf("the rows are %v", rows)
	}
	asData.interrupt(t)
	wants(t, rowbell(t, w.byServer, "tail", "--tenant", "nobody"), 1, "no workflow belongs to tenant nobody; rowbell workflow list has all")
	wants(t, rowbell(t, w.byServer, "tail", "--workflow", "nothing"), 1, "there is no workflow nothing")
	wants(t, rowbell(t, w.byServer, "tail", "--since", "48h"), 2, `--since: "48h" is not`)
	wants(t, rowbell(t, []string{"ROWBELL_SERVER=http://127.0.0.1:1", "ROWBELL_KEY=k"}, "tail"), 1, "nothing answers at http://127.0.0.1:1")
}
