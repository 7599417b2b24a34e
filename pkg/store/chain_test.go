package store_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// rowbell.set_chain takes what an action was given, and says what is wrong with the rest.
// Who may say who acts may call it, also who could before there was one.
func TestSetChain(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	role, roleURL := db.Role(t, "app", "")
	other, otherURL := db.Role(t, "other", "")
	text, err := os.ReadFile("../../migrations/source/00009_chain.sql")
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `grant usage on schema rowbell to `+role+`, `+other)
	db.Exec(t, `grant execute on function rowbell.set_actor(text, text[], text, text[], boolean, jsonb) to `+role+` with grant option`)
	db.Exec(t, `drop function rowbell.set_chain(jsonb), rowbell.set_chain(text, integer, text[])`)
	db.Exec(t, string(text))
	for _, call := range []string{
		`select rowbell.set_chain('{"id": "01M84JMESM000038NKS0000000", "depth": 1, "workflows": ["a"]}')`,
		`select rowbell.set_chain('{"id": "x", "depth": 3}')`, `select rowbell.set_chain(null::jsonb)`, `select rowbell.set_chain('null'::jsonb)`,
		`select rowbell.set_chain('x', 2)`, `select rowbell.set_chain('x', 2, '{a,b}')`, `select rowbell.set_chain('x', 20, array(select 'w' || n from generate_series(1, 20) n))`,
	} {
		if err := tryExec(t, roleURL, call); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	for call, want := range map[string]string{
		`select rowbell.set_chain('[]'::jsonb)`:                                         "a chain is a JSON object with id and depth",
		`select rowbell.set_chain('{"id": "x", "depth": "1"}')`:                         "a chain is a JSON object with id and depth",
		`select rowbell.set_chain('{"id": "x", "depth": 1, "workflows": "a"}')`:         "a chain is a JSON object with id and depth",
		`select rowbell.set_chain('{"depth": 1}')`:                                      "a chain needs an id of 1 to 64 characters",
		`select rowbell.set_chain('{"id": "x", "depth": 0}')`:                           "the depth of a chain is 1 to 1000000, not 0",
		`select rowbell.set_chain('{"id": "x", "depth": 100000000000000000000000000}')`: "the depth of a chain is 1 to 1000000",
		`select rowbell.set_chain(repeat('x', 65), 1)`:                                  "a chain needs an id of 1 to 64 characters",
		`select rowbell.set_chain('x', null)`:                                           "not null",
		`select rowbell.set_chain('x', 1, '{a,null}')`:                                  "ids of 1 to 64 characters",
		`select rowbell.set_chain('{"id": "x", "depth": 1, "workflows": [null]}')`:      "ids of 1 to 64 characters",
		`select rowbell.set_chain('x', 1, array[repeat('w', 65)])`:                      "ids of 1 to 64 characters",
	} {
		if err := tryExec(t, roleURL, call); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", call, err, want)
		}
	}
	if err := tryExec(t, otherURL, `select rowbell.set_chain('x', 1)`); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("as another role: %v", err)
	}
	if got := pgtest.One[bool](t, db, `select bool_and(a.is_grantable) and count(*) = 2 from pg_proc p cross join aclexplode(p.proacl) a where p.proname = 'set_chain' and a.grantee <> p.proowner`); !got {
		t.Error("the grant option has not come along")
	}
}
