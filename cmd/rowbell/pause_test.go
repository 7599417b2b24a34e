package main

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"
)

func TestPauseCommands(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('large-order', 'acme', 'Large order')`)
	run := func(args ...string) result {
		return rowbell(t, []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}, args...)
	}
	wants(t, run("pause", "list"), 0, "Nothing is paused.")
	wants(t, run("resume", "--all"), 0, "Nothing was paused.")
	for message, args := range map[string][]string{
		"say what to pause: --all, or --tenant, --workflow or --kind": {"pause", "--for", "1h"},
		"a workflow belongs to one tenant":                            {"pause", "--tenant", "acme", "--workflow", "large-order"},
		"--all pauses more than tenant acme: give one or the other":   {"pause", "--tenant", "acme", "--all"},
		"--tenant is empty": {"pause", "--tenant="},
		`--for: "soon" is not a duration of 1s to 8760h`:              {"pause", "--all", "--for", "soon"},
		`--for: "10ms" is not a duration of 1s to 8760h`:              {"pause", "--all", "--for", "10ms"},
		"say what to resume: ids of pauses":                           {"resume"},
		"--all ends every pause: give nothing else":                   {"resume", "--all", "--kind", "email"},
		`unknown option --tennant. Did you mean --tenant?`:            {"pause", "--tennant", "acme"},
		`"lst" is not a command of rowbell pause. Did you mean list?`: {"pause", "lst"},
	} {
		wants(t, run(args...), 2, message)
	}
	for message, args := range map[string][]string{
		"there is no workflow large-orders; rowbell workflow list has all": {"pause", "--workflow", "large-orders"},
		"no workflow belongs to tenant globex":                             {"pause", "--tenant", "globex"},
		"there is no action kind emial. Did you mean email?":               {"pause", "--kind", "emial"},
		"there is no action kind smoke; there are chat, email, ":           {"pause", "--kind", "smoke"},
		"there is no pause 01; rowbell pause list has all":                 {"resume", "01"},
		"there is no pause of tenant acme":                                 {"resume", "--tenant", "acme"},
	} {
		wants(t, run(args...), 1, message)
	}

	wants(t, run("pause", "--kind", "email", "--tenant", "acme", "--for", "2h", "--reason", "the mail server moves", "--actor", "ann"), 0, "Paused: tenant acme, kind email, until 20")
	r := run("pause", "--all")
	wants(t, r, 0, "Paused: everything, until it is resumed: rowbell resume 0")
	id := regexp.MustCompile(`resume (\S+)`).FindStringSubmatch(r.stdout)[1]
	wants(t, run("pause", "--workflow", "large-order"), 0, "Paused: workflow large-order, until it is resumed")
	wants(t, run("pause", "list"), 0, "PAUSE                       OF                       SINCE                UNTIL                BY",
		"tenant acme, kind email", "  ann", "the mail server moves", "everything", "workflow large-order")
	wants(t, run("check"), 0, "deliveries wait in 3 pauses: tenant acme, kind email; everything; workflow large-order")
	// Pausing the same again replaces the pause.
	wants(t, run("pause", "--tenant", "acme", "--kind", "email", "--for", "3h", "--actor", "ben"), 0, "Paused: tenant acme, kind email")
	var shown []struct {
		Scope, Kind string
		TenantID    string     `json:"tenant_id"`
		CreatedBy   string     `json:"created_by"`
		Until       *time.Time `json:"until"`
	}
	r = run("pause", "list", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &shown); err != nil || len(shown) != 3 || shown[0].Scope != "all" || shown[0].Until != nil ||
		shown[2].Scope != "tenant_kind" || shown[2].CreatedBy != "ben" || shown[2].Until == nil || time.Until(*shown[2].Until) < 150*time.Minute {
		t.Errorf("%v: %s", err, r.stdout)
	}
	wants(t, run("resume", "--kind", "email"), 1, "there is no pause of kind email; paused are: everything; workflow large-order; tenant acme, kind email")
	wants(t, run("resume", id, "--actor", "ben"), 0, "Resumed: everything")
	wants(t, run("resume", "--kind", "email", "--tenant", "acme"), 0, "Resumed: tenant acme, kind email")
	wants(t, run("resume", "--all"), 0, "Resumed: workflow large-order")
	wants(t, run("pause", "list"), 0, "Nothing is paused.")
	got := db.QueryString(t, `select string_agg(concat_ws(' ', case when actor in ('ann', 'ben') then actor end, tenant_id, action, detail ->> 'of'), '; ' order by at) from rowbell.audit_log where object_type = 'pause'`)
	want := "ann acme pause.begin tenant acme, kind email; pause.begin everything; acme pause.begin workflow large-order; ben acme pause.begin tenant acme, kind email; " +
		"ben pause.end everything; acme pause.end tenant acme, kind email; acme pause.end workflow large-order"
	if got != want {
		t.Errorf("the audit log has\n%s, want\n%s", got, want)
	}
}
