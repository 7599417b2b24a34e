package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/access"
)

// What a request has wrong is said to who sends it, whoever finds it out.
func TestAPIWrongRequests(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	c := w.as(t, "", access.Admin)
	c.want(200, c.ask("PUT", "/templates/footer", map[string]any{"source": "Bye"}), nil)
	doc := func(action string) string {
		return "triggers: [{entity_type: orders, operation: create}]\nactions: [" + action + "]\n"
	}
	c.want(201, c.ask("POST", "/workflows", "id: w\n"+doc(`{action_type: notification, action_config: {title: "{% render 'footer' %}"}}`)+"recipients: [{recipient_type: user, recipient_id: ann}]\n"), nil)
	c.want(200, c.ask("POST", "/workflows/w/activate", nil), nil)
	captured(t, w.db)
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1500)`)
	c.want(201, c.ask("POST", "/workflows", "id: tested\n"+doc("{action_type: log}")+"settings: {tests: [{name: never, change: {new: {id: 1}}, expect: {fires: false}}]}\n"), nil)

	for _, x := range []struct {
		method, path string
		body         any
		status       int
		says         string
	}{
		{"GET", "/workflows?name=%00", nil, 422, "the database can't take"},
		{"POST", "/replays/plan", map[string]any{"workflow_ids": []string{"w"}, "since": "0001-01-01T00:00:00Z"}, 422, "from when on"},
		{"POST", "/replays/plan", map[string]any{"workflow_ids": []string{"w"}, "since": "0001-01-01T00:00:01Z"}, 200, ""},
		{"DELETE", "/templates/footer", nil, 409, "template footer is still used by workflow w"},
		{"POST", "/workflows/w/simulate", map[string]any{"table": "orders", "key": "abc"}, 422, `it can't be the key of a row: invalid input syntax for type bigint: \"abc\"`},
		{"POST", "/workflows/w/simulate", map[string]any{"table": "orders", "key": "1", "new": map[string]any{"totl": 1}}, 422, "table orders has no column totl; did you mean"},
		{"POST", "/workflows/tested/activate", nil, 422, `test \"never\": `},
		{"GET", "/workflows/w/diff?from=first", nil, 422, `\"first\" is no version`},
	} {
		t.Run(fmt.Sprint(x.method, " ", x.path, " ", x.body), func(t *testing.T) {
			a := c.ask(x.method, x.path, x.body)
			if a.status != x.status || !strings.Contains(string(a.body), x.says) {
				t.Errorf("it is answered by %d, want %d and %s: %s", a.status, x.status, x.says, a.body)
			}
		})
	}
}
