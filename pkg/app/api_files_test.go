package app_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	remote "github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const fileWorkflow = "id: big\nname: Big\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: log\n"

// Files are applied as they were planned or not at all; what is active needs the right to
// publish, templates theirs, and nobody's files are another tenant's.
func TestAPIFiles(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	admin, author, viewer := w.as(t, "acme", access.Admin), w.as(t, "acme", access.Author), w.as(t, "acme", access.Viewer)
	body := func(text string, more ...any) map[string]any {
		m := map[string]any{"files": []any{map[string]any{"name": "in/big.yaml", "text": text}}}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	count := func(want int64) {
		t.Helper()
		if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_definition`); n != want {
			t.Errorf("there are %d workflows, want %d", n, want)
		}
	}
	var plan api.PlanOut
	viewer.want(200, viewer.ask("POST", "/files/plan", body(fileWorkflow)), &plan)
	if len(plan.Steps) != 1 || plan.Steps[0].Do != definition.Creates || plan.Steps[0].TenantID != "acme" || plan.Steps[0].File != "in/big.yaml" {
		t.Errorf("the plan is %+v", plan)
	}
	viewer.want(403, viewer.ask("POST", "/files/apply", body(fileWorkflow)), nil)
	active := strings.Replace(fileWorkflow, "name:", "status: active\nname:", 1)
	author.want(403, author.ask("POST", "/files/apply", body(active)), nil)
	count(0)

	// With a seed the plan is the same again; without, parts have other ids.
	seeded := body(fileWorkflow, "seed", ulid.Make().String())
	var again api.PlanOut
	author.want(200, author.ask("POST", "/files/plan", seeded), &plan)
	author.want(200, author.ask("POST", "/files/plan", seeded), &again)
	if plan.Plan != again.Plan {
		t.Error("with a seed the plan is another one")
	}
	author.want(200, author.ask("POST", "/files/plan", body(fileWorkflow)), &again)
	if plan.Plan == again.Plan {
		t.Error("without a seed the plan is the same")
	}
	seeded["plan"] = plan.Plan
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('big', 'acme', 'Another')`)
	author.want(http.StatusPreconditionFailed, author.ask("POST", "/files/apply", seeded), nil)
	if got := w.db.QueryString(t, `select name from rowbell.workflow_definition`); got != "Another" {
		t.Errorf("a plan that has changed was done: %s", got)
	}
	var done api.AppliedOut
	delete(seeded, "plan")
	author.want(200, author.ask("POST", "/files/apply", seeded), &done)
	if len(done.Steps) != 1 || done.Steps[0].Do != definition.Changes || done.Steps[0].Version != 2 || done.Stopped != nil {
		t.Errorf("what was done is %+v", done)
	}
	admin.want(200, admin.ask("POST", "/files/apply", body(active)), nil)
	author.want(403, author.ask("POST", "/files/apply", body(fileWorkflow+"description: turned off\nstatus: inactive\n")), nil)
	author.want(403, author.ask("POST", "/files/apply", body("template: footer\nsource: Yours\n", "tenant_id", "acme", "prune", true)), nil) // it would delete what is active
	count(1)

	// Whether a secret is the one that is stored, readers aren't told.
	hook := "id: hook\nname: Hook\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: webhook\n    action_config:\n      url: https://example.com/hook\n      secret: whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=\n"
	author.want(200, author.ask("POST", "/files/apply", body(hook)), nil)
	for who, does := range map[*client]definition.Doing{author: definition.Nothing, viewer: definition.Changes} {
		who.want(200, who.ask("POST", "/files/plan", body(hook)), &plan)
		if plan.Steps[0].Do != does || strings.Contains(plan.Steps[0].YAML, "whsec_") {
			t.Errorf("with the secret that is stored the plan is %+v", plan.Steps[0])
		}
	}
	author.want(200, author.ask("POST", "/files/plan", body(strings.Replace(hook, "cm93", "dm93", 1))), &plan)
	if plan.Steps[0].Do != definition.Changes {
		t.Errorf("with another secret the plan is %+v", plan.Steps[0])
	}

	// Another tenant's stay its own.
	for _, of := range []map[string]any{
		body("tenant_id: globex\n" + fileWorkflow), body(fileWorkflow, "tenant_id", "globex"), body("template: footer\ntenant_id: globex\nsource: Yours\n"),
		body("tenant_id: globex\n"+fileWorkflow, "prune", true),
	} {
		for _, path := range []string{"/files/plan", "/files/apply", "/files/check", "/files/test"} {
			if strings.HasSuffix(path, "check") || strings.HasSuffix(path, "test") {
				of = map[string]any{"files": of["files"]}
				if !strings.Contains(of["files"].([]any)[0].(map[string]any)["text"].(string), "globex") {
					continue
				}
			}
			admin.want(422, admin.ask("POST", path, of), nil)
		}
	}
	var p api.Problem
	admin.want(422, admin.ask("POST", "/files/plan", body("tenant_id: globex\n"+fileWorkflow+"lost: 1\n")), &p)
	if len(p.Errors) != 1 || p.Errors[0].Place != "in/big.yaml:9:1" || p.Errors[0].Pointer != "#/lost" {
		t.Errorf("a key that there isn't is %+v", p)
	}
	globex := w.as(t, "globex", access.Admin)
	if a := globex.ask("POST", "/files/apply", body(fileWorkflow)); a.status/100 != 4 || strings.Contains(string(a.body), "acme") {
		t.Errorf("an id of another tenant's is answered by %d: %s", a.status, a.body)
	}
	// What was done before is told with why it went no further.
	partly := globex.ask("POST", "/files/apply", body(strings.Replace(fileWorkflow, "big", "fine", 1)+"---\n"+fileWorkflow))
	globex.want(200, partly, &done)
	if len(done.Steps) != 1 || done.Steps[0].ID != "fine" || done.Stopped == nil || done.Stopped.Status/100 != 4 || strings.Contains(string(partly.body), "acme") {
		t.Errorf("what was done in part is %s", partly.body)
	}
	for _, wrong := range []map[string]any{
		body(fileWorkflow, "seed", "lost"), body(fileWorkflow, "replace", true), body(fileWorkflow, "import", true, "prune", true),
		body(fileWorkflow, "import", true, "replace", true, "new_ids", true),
		{"files": []any{}},
	} {
		admin.want(422, admin.ask("POST", "/files/plan", wrong), nil)
	}
	all := w.as(t, "", access.Admin)
	all.want(422, all.ask("POST", "/files/plan", body(fileWorkflow, "prune", true)), nil)

	// The client's plan conflicts as one on the database does.
	c := remote.New(remote.Config{URL: strings.TrimSuffix(w.base, api.Prefix), Key: admin.key, KeyFrom: "a test"})
	t.Cleanup(c.Close)
	b, err := definition.BundleOf(definition.File{Name: "big.yaml", Text: strings.Replace(fileWorkflow, "Big", "Bigger", 1)})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.Plan(t.Context(), b, definition.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.db.Exec(t, `update rowbell.workflow_definition set name = 'Between' where id = 'big'`)
	if done, err := c.Apply(t.Context(), made, ""); !errors.Is(err, workflow.ErrConflict) || len(done) > 0 {
		t.Errorf("a plan that has changed gives %v, and error %v", done, err)
	}
}
