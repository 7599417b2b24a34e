package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestDestinationCommands(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	run := func(args ...string) result {
		return rowbell(t, []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}, append([]string{"destination"}, args...)...)
	}
	wants(t, run("list"), 0, "There are no such destinations.")
	const to = "https://hooks.example.com/in"
	lane := workflow.Lane("acme", to)
	state := store.OpenState(db.Pool(t))
	failed := workflow.Attempts{
		Lane: lane, TenantID: "acme", Kind: "webhook", Destination: to, Tries: 10, Failures: 10, Trailing: 10, Error: "connection refused", Rate: "10/s", Concurrency: 4,
	}
	other := workflow.Attempts{Lane: 7, Kind: "webhook", Destination: to, Tries: 1, Delivered: true}
	if _, err := state.NoteAttempts(t.Context(), []workflow.Attempts{failed, other}, workflow.Breaker{}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	id := workflow.LaneID(lane)
	r := run("list")
	wants(t, r, 0, "ID                TENANT  KIND     STATE   LAST SUCCESS", id+"  acme    webhook  open    never")
	if lines := strings.Split(r.stdout, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[1], id) {
		t.Errorf("the one that takes nothing is not the first:\n%s", r.stdout)
	}
	wants(t, run("list", "--state", "disabled"), 0, "There are no such")
	wants(t, run("list", "--state", "off"), 2, `there is no state "off"; it is closed, open, half_open or disabled`)
	wants(t, run("list", "--tenant", "none"), 0, "0000000000000007")
	wants(t, run("show", "nowhere"), 1, "there is no destination nowhere; rowbell destination list has all")
	wants(t, run("show", to), 1, "there are several destinations of this name; give the id of one, or --tenant: ", id+" (tenant acme, webhook)")
	wants(t, run("show", to, "--tenant", "acme"), 0, "State         open since ", "one delivery is tried from ", "Waiting       0 deliveries in the queue",
		"Failing       10 attempts in a row, since ", "connection refused", "Rate          10/s", "At once       4", "Last success  never")
	wants(t, run("disable", id, "--reason", "it moves house", "--actor", "ann"), 0, "Nothing is sent to "+to+" any more. rowbell destination enable "+id+" undoes that.")
	wants(t, run("show", id), 0, " by ann: it moves house")
	var shown []struct {
		ID         string
		State      string
		DisabledBy string     `json:"disabled_by"`
		DisabledAt *time.Time `json:"disabled_at"`
		ProbeAt    *time.Time `json:"probe_at"`
	}
	r = run("list", "--state", "disabled", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &shown); err != nil || len(shown) != 1 || shown[0].ID != id || shown[0].DisabledBy != "ann" || shown[0].DisabledAt == nil || shown[0].ProbeAt != nil {
		t.Errorf("%v: %s", err, r.stdout)
	}
	wants(t, run("enable", id, "--actor", "ben"), 0, "Deliveries to "+to+" are tried from now on.")
	wants(t, run("show", id), 0, "State         closed")
	wants(t, run("enable", "00000000000000ff"), 1, "there is no destination 00000000000000ff")
	if got := db.QueryString(t, `select string_agg(actor || ' ' || action || ' ' || object_id, ', ' order by at) from rowbell.audit_log where object_type = 'destination'`); got != "ann destination.disable "+id+", ben destination.enable "+id {
		t.Errorf("the audit log has %q", got)
	}
}

// The secret of a destination is changed: the new one is shown once, both sign, and
// nothing else tells either.
func TestRotateSecret(t *testing.T) {
	t.Parallel()
	const rawKey, old = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE="
	key, err := secret.NewKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	db, _ := shop(t)
	run := func(withKey string, args ...string) result {
		env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}
		if withKey != "" {
			env = append(env, "ROWBELL_SECRET_KEY="+withKey)
		}
		return rowbell(t, env, append([]string{"destination", "rotate-secret"}, args...)...)
	}
	const to = "https://hooks.example.com/in"
	for _, w := range []string{"one", "two"} {
		db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, status) values ($1, 'acme', 'active')`, w)
		db.Exec(t, `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create')`, w)
	}
	db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'hook', $1)`, old)
	db.Exec(t, `insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('one', 'webhook', $1), ('two', 'webhook', $2)`,
		`{"url": "`+to+`?token=x", "secret": {"ref": "hook"}}`, `{"url": "https://elsewhere.example.com/", "secret": {"ref": "hook"}}`)
	stored := func() string {
		t.Helper()
		row, err := store.OpenSource(db.Pool(t)).Secret(t.Context(), "acme", "hook")
		if err != nil {
			t.Fatal(err)
		}
		if row.Plain != nil {
			return *row.Plain
		}
		text, err := key.Open(row.Sealed, row.KeyID, "acme", "hook")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	wants(t, run("", "https://nowhere.example.com/"), 1, "no active workflow has a webhook to https://nowhere.example.com/")
	wants(t, run("", to, "--keep", "soon"), 2, `--keep: "soon" is not a duration of 0s to 2160h`)
	r := run(rawKey, workflow.LaneID(workflow.Lane("acme", to)), "--actor", "ann")
	wants(t, r, 0, "That is secret hook of tenant acme from now on; the one before signs too until ", "It signs for: one, two.")
	first := strings.TrimSpace(r.stdout)
	if strings.Contains(r.stdout+r.stderr, old) || !strings.HasPrefix(first, "whsec_") || len(first) != 6+44 {
		t.Errorf("it prints %q, %q", r.stdout, r.stderr)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.secret where plain is null and sealed is not null and key_id is not null`); n != 1 {
		t.Error("the new secret isn't sealed")
	}
	if got := stored(); !strings.HasPrefix(got, first+" "+old+";until=") {
		t.Errorf("stored is %s", got)
	}
	wants(t, run("", to), 1, `secret "hook" is sealed`, "ROWBELL_SECRET_KEY")
	r = run(rawKey, to, "--keep", "0s", "--json")
	var rotated []struct{ Name, Secret string }
	if err := json.Unmarshal([]byte(r.stdout), &rotated); err != nil || len(rotated) != 1 || rotated[0].Name != "hook" {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if got := stored(); !strings.HasPrefix(got, rotated[0].Secret) || strings.Contains(got, first) {
		t.Errorf("with --keep 0s stored is %s", got)
	}
	if got := db.QueryString(t, `select string_agg(actor || ' ' || action || ' ' || object_id, ', ' order by at) from rowbell.audit_log where action = 'secret.rotate'`); !strings.HasPrefix(got, "ann secret.rotate hook, ") {
		t.Errorf("the audit log has %q", got)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.audit_log where detail::text ~ 'whsec'`); n != 0 {
		t.Error("the audit log tells a secret")
	}
}
