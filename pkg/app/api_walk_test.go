package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/deploy"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// tenantThings are the ids of what a tenant has, one of each kind.
type tenantThings struct {
	tenant                                                        string
	workflow, spare, event, execution, dead, waiting, template    string
	destination, key, linkKey, member, pause, audit, version, row string
	dismissal, cause, view, open                                  string
	replay, storm                                                 string
}

// call is one request that an operation answers.
type call struct {
	id, method, path string
	body             any
	status           int // with one's own things; 0: 200
}

// calls has each operation of the API, with what a tenant has. What is taken away comes
// last.
func calls(t *tenantThings) []call {
	now := time.Now().UTC()
	row := map[string]any{"table": "orders", "key": t.row}
	doc := map[string]any{
		"name": "Doc of " + t.tenant, "triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}},
		"actions": []any{map[string]any{"action_type": "log"}},
	}
	named := func(id string) map[string]any {
		m := map[string]any{"id": id}
		for k, v := range doc {
			m[k] = v
		}
		return m
	}
	w := "/workflows/" + t.workflow
	text := "id: file-" + t.tenant + "\nname: In a file\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: notification\n    action_config:\n      title: Order {{ new.id }}\n" +
		"recipients:\n  - recipient_type: user\n    recipient_id: ann\n"
	file := map[string]any{"name": "in/" + t.tenant + ".yaml", "text": text}
	files := map[string]any{"files": []any{file}}
	rowOfFile := map[string]any{"table": "orders", "key": t.row, "file": file}
	return []call{
		{"getMe", "GET", "/me", nil, 0},
		{"listWorkflows", "GET", "/workflows?sort=updated&limit=1&outline=true", nil, 0},
		{"getWorkflow", "GET", w, nil, 0},
		{"createWorkflow", "POST", "/workflows", named("new-" + t.tenant), 201},
		{"updateWorkflow", "PUT", "/workflows/" + t.spare, doc, 0},
		{"putDraft", "PUT", w + "/draft", doc, 0},
		{"validateWorkflow", "POST", w + "/validate", nil, 0},
		{"testWorkflow", "POST", w + "/test", nil, 0},
		{"recordTest", "POST", w + "/record-test?draft=true", map[string]any{"event_id": t.event}, 0},
		{"addTest", "POST", w + "/draft/tests", map[string]any{"name": "walks", "change": map[string]any{"new": map[string]any{"status": "new"}}, "expect": map[string]any{"fires": true}}, 0},
		{"checkWorkflows", "POST", "/workflows/check", map[string]any{"workflow_ids": []string{t.workflow, "there-is-none"}}, 0},
		{"testWorkflows", "POST", "/workflows/test", map[string]any{"workflow_ids": []string{t.workflow}}, 0},
		{"listDependents", "GET", "/dependents?of=orders.status", nil, 0},
		{"discardDraft", "DELETE", w + "/draft", nil, 0},
		{"validateDocument", "POST", "/workflows/validate", doc, 0},
		{"duplicateWorkflow", "POST", w + "/duplicate", map[string]any{"id": "copy-" + t.tenant}, 201},
		{"listVersions", "GET", w + "/versions", nil, 0},
		{"getVersion", "GET", w + "/versions/1", nil, 0},
		{"restoreVersion", "POST", w + "/versions/1/restore?force=true", nil, 0},
		{"diffWorkflow", "GET", w + "/diff?from=1&to=live", nil, 0},
		{"simulateWorkflow", "POST", w + "/simulate", row, 0},
		{"previewAction", "POST", w + "/actions/2/preview", row, 0},
		{"testSendAction", "POST", w + "/actions/2/test-send", row, 422}, // a key is nobody
		{"exportWorkflows", "GET", "/export?workflow_id=" + t.workflow, nil, 0},
		{"importWorkflows", "POST", "/import?dry_run=true", "id: in-" + t.tenant + "\nname: In\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: log\n", 0},
		{"checkFiles", "POST", "/files/check", files, 0},
		{"testFiles", "POST", "/files/test", files, 0},
		{"planFiles", "POST", "/files/plan", files, 0},
		{"applyFiles", "POST", "/files/apply", files, 0},
		{"simulateFile", "POST", "/files/simulate", rowOfFile, 0},
		{"previewFile", "POST", "/files/preview/1", rowOfFile, 0},
		{"recordFileTest", "POST", "/files/record-test", map[string]any{"event_id": t.event, "file": file}, 0},
		{"exportFiles", "GET", "/export/files?workflow_id=" + t.workflow, nil, 0},
		{"activateWorkflow", "POST", w + "/activate", nil, 0},
		{"listTables", "GET", "/tables", nil, 0},
		{"getTable", "GET", "/tables/orders", nil, 0},
		{"listRows", "GET", "/tables/orders/rows", nil, 0},
		{"listActionKinds", "GET", "/action-kinds", nil, 0},
		{"listExecutions", "GET", "/executions?table=orders&row_key=" + t.row, nil, 0},
		{"getExecution", "GET", "/executions/" + t.execution, nil, 0},
		{"listDeliveries", "GET", "/deliveries?status=dead", nil, 0},
		{"getDelivery", "GET", "/deliveries/" + t.dead, nil, 0},
		{"listEvents", "GET", "/events?table=orders&row_key=" + t.row + "&executions=true&data=true", nil, 0},
		{"explainEvent", "GET", "/events/" + t.event + "/explain", nil, 0},
		{"explainRow", "GET", "/explain?table=orders&row_key=" + t.row, nil, 0},
		{"saveView", "PUT", "/views", map[string]any{"name": "Failed", "filter": map[string]any{"status": "failure", "within": "day"}}, 0},
		{"listViews", "GET", "/views", nil, 0},
		{"deleteView", "DELETE", "/views/" + t.view, nil, 204},
		{"listFailures", "GET", "/failures?dismissed=true", nil, 0},
		{"dismissFailure", "POST", "/failures/dismissals", map[string]any{"workflow_id": t.workflow, "cause": t.cause, "note": "a walk"}, 201},
		{"restoreFailure", "DELETE", "/failures/dismissals/" + t.dismissal, nil, 204},
		{"getStatistics", "GET", "/statistics?by=day", nil, 0},
		{"getWorkflowStatistics", "GET", w + "/statistics", nil, 0},
		{"listWorkflowStatistics", "GET", "/statistics/workflows?by=day&workflow_id=" + t.workflow + "&workflow_id=" + t.spare, nil, 0},
		{"listDestinations", "GET", "/destinations", nil, 0},
		{"getDestination", "GET", "/destinations/" + t.destination, nil, 0},
		{"testDestination", "POST", "/destinations/" + t.destination + "/test", nil, 0},
		{"rotateDestinationSecret", "POST", "/destinations/" + t.destination + "/rotate-secret", map[string]any{"keep": "1h"}, 0},
		{"resolveRecipients", "POST", "/recipients/resolve", map[string]any{"recipients": []any{map[string]any{"recipient_type": "user", "recipient_id": "ann"}}}, 0},
		{"listMissingAddresses", "GET", "/recipients/missing-addresses", nil, 0},
		{"listInbox", "GET", "/people/ann/inbox", nil, 0},
		{"countInbox", "GET", "/people/ann/inbox/counts", nil, 0},
		{"markInbox", "POST", "/people/ann/inbox/mark", map[string]any{"mark": "read"}, 0},
		{"listPreferences", "GET", "/people/ann/preferences", nil, 0},
		{"searchPreferences", "GET", "/preferences?recipient_id=ann", nil, 0},
		{"setPreference", "PUT", "/people/ann/preferences", map[string]any{"workflow_id": t.spare, "channel": "email", "wanted": false}, 0},
		{"addQuietHours", "POST", "/people/ann/quiet-hours", map[string]any{"from": "22:00", "to": "07:00", "zone": "Europe/Vienna"}, 204},
		{"clearQuietHours", "DELETE", "/people/ann/quiet-hours", nil, 204},
		{"listTemplates", "GET", "/templates", nil, 0},
		{"getTemplate", "GET", "/templates/" + t.template, nil, 0},
		{"putTemplate", "PUT", "/templates/" + t.template, map[string]any{"source": "Dear {{ recipient.name }}", "locale": "en"}, 0},
		{"previewTemplate", "POST", "/templates/preview", map[string]any{"source": "Order {{ new.id }}", "on": row}, 0},
		{"deleteTemplate", "DELETE", "/templates/" + t.template + "?locale=en", nil, 204},
		{"planReplay", "POST", "/replays/plan", map[string]any{"since": now.Add(-time.Hour), "workflow_ids": []string{t.workflow}}, 0},
		{"startReplay", "POST", "/replays", map[string]any{"since": now.Add(-time.Hour), "workflow_ids": []string{t.workflow}, "rate": 1000}, 201},
		{"listReplays", "GET", "/replays", nil, 0},
		{"getReplay", "GET", "/replays/" + t.replay, nil, 0},
		{"cancelReplay", "POST", "/replays/" + t.replay + "/cancel", nil, 409}, // it has ended
		{"listStorms", "GET", "/storms?all=true", nil, 0},
		{"releaseStorm", "POST", "/storms/" + url.PathEscape(t.storm) + "/release", nil, 0},
		{"discardStorm", "POST", "/storms/" + url.PathEscape(t.storm) + "/discard", nil, 404}, // it was released
		{"listKeys", "GET", "/keys", nil, 0},
		{"createKey", "POST", "/keys", map[string]any{"name": "another", "roles": []string{"viewer"}}, 201},
		{"listLinkKeys", "GET", "/link-keys", nil, 0},
		{"createLinkKey", "POST", "/link-keys", map[string]any{"name": "another", "roles": []string{"viewer"}}, 201},
		{"listMembers", "GET", "/members", nil, 0},
		{"setMember", "PUT", "/members", map[string]any{"issuer": "https://login.example.com", "subject": "another", "roles": []string{"viewer"}}, 0},
		{"listAudit", "GET", "/audit?limit=2", nil, 0},
		{"getAudit", "GET", "/audit/" + t.audit, nil, 0},
		{"listTenants", "GET", "/tenants", nil, 403}, // they concern all
		{"listPauses", "GET", "/pauses", nil, 0},
		{"createPause", "POST", "/pauses", map[string]any{"workflow_id": t.spare, "for": "1h", "reason": "a walk"}, 201},
		{"listConnections", "GET", "/connections", nil, 0},
		{"verifyConnection", "POST", "/connections/chat/verify", nil, 0},
		{"getSettings", "GET", "/settings", nil, 0},
		{"setWeight", "PUT", "/settings/weight", map[string]any{"tenant_id": t.tenant, "weight": 2}, 403}, // it concerns all
		{"streamLive", "GET", "/live?workflow_id=" + t.workflow, nil, 0},
		{"getHealth", "GET", "/health", nil, 403},                                  // it concerns all tenants
		{"cancelExecution", "POST", "/executions/" + t.open + "/cancel", nil, 0},   // the same
		{"cancelDelivery", "POST", "/deliveries/" + t.waiting + "/cancel", nil, 0}, // as long as it waits for the pause
		{"endPause", "DELETE", "/pauses/" + t.pause, nil, 204},
		{"retryDelivery", "POST", "/deliveries/" + t.dead + "/retry", nil, 0},
		{"disableDestination", "POST", "/destinations/" + t.destination + "/disable", map[string]any{"reason": "a walk"}, 0},
		{"enableDestination", "POST", "/destinations/" + t.destination + "/enable", nil, 0},
		{"removeMember", "DELETE", "/members/" + t.member, nil, 0},
		{"revokeLinkKey", "DELETE", "/link-keys/" + t.linkKey, nil, 0},
		{"revokeKey", "DELETE", "/keys/" + t.key, nil, 0},
		{"deactivateWorkflow", "POST", w + "/deactivate", nil, 0},
		{"deleteWorkflow", "DELETE", "/workflows/" + t.spare, nil, 204},
	}
}

// anybodys are calls that answer the same to everybody, or name nothing but what the caller
// may call so too: nothing in them is a tenant's.
var anybodys = []string{
	"putTemplate", "deleteTemplate", "setPreference", "saveView", // of a name, which the caller's tenant may have as well
	"getMe", "validateDocument", "listTables", "getTable", "listActionKinds", "getHealth", "resolveRecipients", "importWorkflows", "createWorkflow",
	"checkFiles", "testFiles", "planFiles", "applyFiles",
}

// rowsOfApplication are calls that read rows of the application's own tables, which have no
// policies of Rowbell's: the code alone looks whose they are.
var rowsOfApplication = []string{"simulateWorkflow", "previewAction", "previewTemplate", "testSendAction", "simulateFile", "previewFile", "listRows"}

// fill gives a tenant one of each kind, by the API as far as it makes such things.
func (w *apiWorld) fill(t *testing.T, tenant, hook string) *tenantThings {
	t.Helper()
	c := w.as(t, tenant, access.Admin)
	things := &tenantThings{tenant: tenant, workflow: "main-" + tenant, spare: "spare-" + tenant, template: "greeting-" + tenant, version: "1"}
	id := func(status int, method, path string, body any, key string) string {
		var out map[string]any
		c.want(status, c.ask(method, path, body), &out)
		return fmt.Sprint(out[key])
	}
	c.want(200, c.ask("PUT", "/templates/"+things.template, map[string]any{"source": "Hello {{ recipient.name }}"}), nil)
	trigger := []any{map[string]any{"entity_type": "orders", "operation": "create", "field_conditions": map[string]any{"status": "new"}}}
	c.want(201, c.ask("POST", "/workflows", map[string]any{
		"id": things.workflow, "name": "Main of " + tenant, "status": "active", "triggers": trigger,
		"settings": map[string]any{"storm": map[string]any{"transaction": 5}, "on_failure": "continue"},
		"actions": []any{
			map[string]any{"action_type": "webhook", "action_config": map[string]any{"url": hook + "/" + tenant, "secret": "whsec_" + strings.Repeat("MfKQ9r8GKYqrTwjU", 2), "retry": []string{}}},
			map[string]any{"action_type": "notification", "order": 1, "action_config": map[string]any{"title": "{% render '" + things.template + "' %} of " + tenant}},
		},
		"recipients": []any{map[string]any{"recipient_type": "user", "recipient_id": "ann"}},
	}), nil)
	c.want(201, c.ask("POST", "/workflows", map[string]any{"id": things.spare, "name": "Spare of " + tenant, "triggers": trigger, "actions": []any{map[string]any{"action_type": "log"}}}), nil)
	captured(t, w.db)
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply", func() bool {
		return pgtest.One[bool](t, w.db, `select exists (select from rowbell.applied where id = $1)`, things.workflow)
	})
	// The receiver refuses: the webhook is dead, and the notification is made.
	things.row = fmt.Sprint(pgtest.One[int64](t, w.db, `insert into orders (tenant_id, note) values ($1, 'of ' || $1) returning id`, tenant))
	pgtest.Eventually(t, pgtest.Patience, "a delivery to give up", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where workflow_id = $1 and status = 'failure'`, things.workflow) == 1
	})
	things.execution = pgtest.One[string](t, w.db, `select id from rowbell.workflow_log where workflow_id = $1`, things.workflow)
	things.event = things.execution[:26]
	things.dead = pgtest.One[string](t, w.db, `select id from rowbell.delivery_done where workflow_id = $1 and status = 'dead'`, things.workflow)
	var list struct{ Items []struct{ ID string } }
	pgtest.Eventually(t, pgtest.Patience, "the destination to be known", func() bool {
		c.want(200, c.ask("GET", "/destinations?kind=webhook", nil), &list)
		return len(list.Items) == 1
	})
	things.destination = list.Items[0].ID
	things.replay = id(201, "POST", "/replays", map[string]any{"since": time.Now().Add(-time.Hour), "workflow_ids": []string{things.workflow}, "rate": 1000}, "id")
	pgtest.Eventually(t, pgtest.Patience, "the replay to end", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where workflow_id = $1 and status = 'failure'`, things.workflow) == 2
	})
	var failing struct{ Causes []struct{ Cause string } }
	c.want(200, c.ask("GET", "/failures?workflow_id="+things.workflow, nil), &failing)
	things.cause = failing.Causes[0].Cause
	things.dismissal = id(201, "POST", "/failures/dismissals", map[string]any{"workflow_id": things.workflow, "cause": things.cause, "note": "of " + tenant}, "id")
	things.view = id(200, "PUT", "/views", map[string]any{"name": "of " + tenant, "shared": true, "filter": map[string]any{"workflow_id": things.workflow}}, "id")
	things.pause = id(201, "POST", "/pauses", map[string]any{"reason": "of " + tenant}, "id")
	// Nine in one transaction are a storm, and what goes waits for the pause.
	time.Sleep(1500 * time.Millisecond)
	w.db.Exec(t, `insert into orders (tenant_id) select $1 from generate_series(1, 9)`, tenant)
	pgtest.Eventually(t, pgtest.Patience, "a storm", func() bool {
		c.want(200, c.ask("GET", "/storms", nil), &list)
		return len(list.Items) == 1
	})
	things.storm = list.Items[0].ID
	pgtest.Eventually(t, pgtest.Patience, "a delivery that waits", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.delivery where workflow_id = $1 and state = 'ready'`, things.workflow) > 1
	})
	things.waiting = pgtest.One[string](t, w.db, `select id from rowbell.delivery where workflow_id = $1 and state = 'ready' order by id limit 1`, things.workflow)
	things.open = pgtest.One[string](t, w.db, `select execution_id from rowbell.delivery where workflow_id = $1 and state = 'ready' order by id desc limit 1`, things.workflow)
	things.key = id(201, "POST", "/keys", map[string]any{"name": "of " + tenant, "roles": []string{"viewer"}}, "id")
	things.linkKey = id(201, "POST", "/link-keys", map[string]any{"name": "of " + tenant, "roles": []string{"viewer"}}, "id")
	things.member = id(200, "PUT", "/members", map[string]any{"issuer": "https://login.example.com", "subject": "member of " + tenant, "roles": []string{"viewer"}}, "id")
	c.want(200, c.ask("GET", "/audit?object_id="+things.workflow, nil), &list)
	things.audit = list.Items[0].ID
	return things
}

// refuses is a receiver that takes nothing.
func refuses(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(s.Close)
	return s.URL
}

// operation is one of the document that the server serves.
type operation struct {
	ID    string `json:"operationId"`
	Right string `json:"x-rowbell-right"`
}

// operationsOf reads the document.
func operationsOf(c *client) map[string]operation {
	var doc struct {
		Paths map[string]map[string]operation
	}
	c.want(200, c.ask("GET", "/openapi.json", nil), &doc)
	all := make(map[string]operation)
	for path, methods := range doc.Paths {
		for method, op := range methods {
			all[op.ID] = op
			if op.Right == "" {
				c.t.Errorf("%s %s states no right", method, path)
			}
		}
	}
	return all
}

// Every operation of the document is called by a test, answers what is one's own, and nothing
// of another tenant's; once with row-level security alone and once with the code alone.
func TestAPIWalk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*app.Config)
	}{
		{"both walls", nil},
		{"code alone", app.WithoutRowSecurity},
		{"row-level security alone", app.WithoutCode},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newAPIWorld(t, delivers)
			hook := refuses(t)
			acme, globex := w.fill(t, "acme", hook), w.fill(t, "globex", hook)
			mine := w.as(t, "acme", access.Admin)
			if c.change != nil {
				mine.base = "http://" + startWorker(t, w.db, delivers, c.change).PublicAddr().String() + "/api/v1"
			}
			all := operationsOf(mine)
			for _, call := range calls(globex) {
				if slices.Contains(anybodys, call.id) {
					continue
				}
				if c.name == "row-level security alone" && slices.Contains(rowsOfApplication, call.id) {
					continue
				}
				a := mine.ask(call.method, call.path, call.body)
				switch {
				case a.status == http.StatusNotFound:
				case a.status/100 == 2 && strings.Contains(string(a.body), "globex"):
					t.Errorf("%s of the other tenant is answered by %d: %s", call.id, a.status, a.body)
				case a.status >= 500:
					t.Errorf("%s of the other tenant is answered by %d: %s", call.id, a.status, a.body)
				case a.status/100 == 2 && strings.Contains(call.path, globex.tenant) && call.method != "GET":
					t.Errorf("%s of the other tenant is done: %d %s", call.id, a.status, a.body)
				}
			}
			if c.name == "row-level security alone" {
				return // with the code off, one's own things come to what all may
			}
			if c.name == "both walls" {
				for _, call := range calls(acme) {
					wrongly(t, mine, call)
				}
			}
			for _, call := range calls(acme) {
				if _, ok := all[call.id]; !ok {
					t.Errorf("there is no operation %s", call.id)
				}
				delete(all, call.id)
				want := call.status
				if want == 0 {
					want = http.StatusOK
				}
				if a := mine.ask(call.method, call.path, call.body); a.status != want {
					t.Errorf("%s is answered by %d, want %d: %s", call.id, a.status, want, a.body)
				}
			}
			for id := range all {
				t.Errorf("no test calls operation %s", id)
			}
		})
	}
}

// Who is for all tenants may do with the things of each what its administrators may; with the
// roles of deploy/ too, by which the worker itself may not write definitions.
func TestAPIWalkForAll(t *testing.T) {
	t.Parallel()
	t.Run("as the tables' owner", func(t *testing.T) {
		t.Parallel()
		walkForAll(t, newAPIWorld(t, delivers))
	})
	t.Run("with least privilege", func(t *testing.T) {
		t.Parallel()
		db := pgtest.DBOn(t, pgtest.Server(t, localpg.Options{Template: true}))
		db.Exec(t, deploy.Roles)
		as := func(role string) func(*app.Config) {
			return func(c *app.Config) {
				c.SourceURL = strings.Replace(c.SourceURL, "//"+localpg.Superuser+"@", "//"+role+"@", 1)
			}
		}
		if err := app.Migrate(t.Context(), config(db, as("rowbell_migrate"))); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, deploy.Grants)
		db.Exec(t, shop)
		db.Exec(t, `call rowbell.capture('orders')`)
		db.Exec(t, `grant select on orders to rowbell_run`) // to try workflows on rows
		walkForAll(t, newAPIWorldOn(t, db, testLogger(t), delivers, as("rowbell_run"), func(c *app.Config) { c.Capture, c.NoMigrate = app.CaptureManual, true }))
	})
}

func walkForAll(t *testing.T, w *apiWorld) {
	t.Helper()
	things := w.fill(t, "acme", refuses(t))
	all := w.as(t, "", access.Admin)
	for _, call := range calls(things) {
		want := call.status
		switch call.id {
		case "getHealth", "listTenants", "setWeight": // what is refused to a tenant's
			want = http.StatusOK
		case "getTemplate":
			call.path += "?tenant=acme" // without it, the operators'
		}
		if want == 0 {
			want = http.StatusOK
		}
		if a := all.ask(call.method, call.path, call.body); a.status != want {
			t.Errorf("%s is answered by %d, want %d: %s", call.id, a.status, want, a.body)
		}
	}
}

// No operation is open to who has none of its right, and each is to who has it alone.
func TestAPIRights(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	none := w.as(t, "acme", access.Viewer)
	nobody := &client{t, w.base, ""}
	all := operationsOf(nobody)
	things := &tenantThings{tenant: "acme", workflow: "w", spare: "s", event: "e", execution: "e-1", dead: "e-1_0", waiting: "e-1_0", template: "t", destination: "0123456789abcdef", key: "k", linkKey: "l", member: "m", pause: "p", audit: "a", row: "1", replay: "1", storm: "s", dismissal: "d", cause: "c", view: "v", open: "e-1"}
	viewer := access.Viewer.Rights()
	called := 0
	for _, call := range calls(things) {
		op := all[call.id]
		nobody.want(http.StatusUnauthorized, nobody.ask(call.method, call.path, call.body), nil)
		if op.Right == "anyone" || slices.Contains(viewer, access.Right(op.Right)) {
			continue
		}
		called++
		var p struct{ Detail string }
		a := none.ask(call.method, call.path, call.body)
		if err := json.Unmarshal(a.body, &p); err != nil || a.status != http.StatusForbidden || !strings.Contains(p.Detail, op.Right) {
			t.Errorf("%s without %s is answered by %d: %s", call.id, op.Right, a.status, a.body)
		}
	}
	if called < 20 {
		t.Errorf("only %d operations need more than a viewer has", called)
	}
}
