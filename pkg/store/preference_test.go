package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestPreferences(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	ann, ben := workflow.PersonKey{TenantID: "acme", ID: "ann"}, workflow.PersonKey{ID: "ben"}
	no, yes := false, true
	set := func(who workflow.PersonKey, p workflow.Preference, wanted *bool) {
		t.Helper()
		if err := state.SetPreference(t.Context(), who, p, wanted, "test"); err != nil {
			t.Fatal(err)
		}
	}
	set(ann, workflow.Preference{}, &no)
	set(ann, workflow.Preference{}, &yes)
	set(ann, workflow.Preference{WorkflowID: "wf"}, &no)
	set(ann, workflow.Preference{WorkflowID: "wf", Channel: "email"}, &no)
	set(ann, workflow.Preference{WorkflowID: "wf", Channel: "email"}, nil)
	set(ben, workflow.Preference{Channel: "email"}, &no)
	weekend := workflow.QuietHours{Days: 1<<time.Saturday | 1<<time.Sunday, From: 0, To: 24 * time.Hour, Zone: "Europe/Vienna"}
	night := workflow.QuietHours{Days: workflow.EveryDay, From: 22*time.Hour + 30*time.Minute, To: 7 * time.Hour}
	for _, q := range []workflow.QuietHours{weekend, night, night} {
		if err := state.AddQuietHours(t.Context(), ann, q, ""); err != nil {
			t.Fatal(err)
		}
	}
	got, err := state.Preferences(t.Context(), []workflow.PersonKey{ben, {TenantID: "globex", ID: "ann"}, ann, {ID: "nul\x00"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || !slices.Equal(got[0].Wanted, []workflow.Preference{{Channel: "email"}}) || got[1].Wanted != nil || got[1].Quiet != nil {
		t.Errorf("ben and another ann: %+v", got)
	}
	if !slices.Equal(got[2].Wanted, []workflow.Preference{{Wanted: true}, {WorkflowID: "wf"}}) || !slices.Equal(got[2].Quiet, []workflow.QuietHours{weekend, night}) {
		t.Errorf("ann: %+v", got[2])
	}
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', workflow_id, channel, wanted), ', ') from rowbell.preferences('ann', 'acme')`); got != "  t, wf  f" {
		t.Errorf("rowbell.preferences gives %q", got)
	}
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', starts, ends, days, zone), ', ') from rowbell.quiet_hours_of('ann', 'acme')`); got != "00:00:00 24:00:00 {sat,sun} Europe/Vienna, 22:30:00 07:00:00 {mon,tue,wed,thu,fri,sat,sun}" {
		t.Errorf("rowbell.quiet_hours_of gives %q", got)
	}
	tenant := "acme"
	list, err := state.ListPreferences(t.Context(), listOf(&tenant, 100))
	if err != nil || len(list) != 4 || list[1].Preference.WorkflowID != "wf" || list[1].UpdatedBy != "test" || *list[3].Quiet != night {
		t.Errorf("ListPreferences = %+v, %v", list, err)
	}
	if n, err := state.ClearQuietHours(t.Context(), ann); n != 2 || err != nil {
		t.Errorf("ClearQuietHours = %d, %v", n, err)
	}
}

// Stopping a channel stops it for workflows that were wanted before, and no other channel.
func TestStopChannel(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	ann := workflow.PersonKey{TenantID: "acme", ID: "ann"}
	yes, no := true, false
	for p, wanted := range map[workflow.Preference]*bool{
		{WorkflowID: "a"}: &yes, {WorkflowID: "b", Channel: "email"}: &yes, {WorkflowID: "c"}: &no, {WorkflowID: "d", Channel: "chat"}: &yes,
	} {
		if err := state.SetPreference(t.Context(), ann, p, wanted, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.StopChannel(t.Context(), ann, "email", "unsubscribe"); err != nil {
		t.Fatal(err)
	}
	want := " email f, a  t, a email f, b email f, c  f, d chat t"
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', workflow_id, channel, wanted), ', ') from rowbell.preferences('ann', 'acme')`); got != want {
		t.Errorf("preferences are %q\nwant %q", got, want)
	}
}

// What an application may hand over and isn't right is refused with the mend.
func TestPreferenceFunctionsRefuse(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	conn := db.Conn(t)
	for sql, want := range map[string]string{
		`rowbell.set_preference('', false)`:                                    "a recipient is named by an id of 1 to 200 characters",
		`rowbell.set_preference(null, false)`:                                  "a recipient is named",
		`rowbell.set_preference(repeat('a', 201), false)`:                      "a recipient is named",
		`rowbell.set_preference('ann', false, workflow => repeat('a', 65))`:    "workflow_id_must_have_at_most_64_characters",
		`rowbell.set_quiet_hours('ann', null, '07:00')`:                        "need a time at which they start",
		`rowbell.set_quiet_hours('ann', '24:00', '07:00')`:                     "need a time at which they start",
		`rowbell.set_quiet_hours('ann', '22:00', '07:00', '{}')`:               "{} are no days",
		`rowbell.set_quiet_hours('ann', '22:00', '07:00', '{mon,NULL}')`:       "{mon,NULL} are no days",
		`rowbell.set_quiet_hours('ann', '22:00', '07:00', '{monday}')`:         "{monday} are no days",
		`rowbell.set_quiet_hours('ann', '22:00', '07:00', zone => 'Mars/One')`: "there is no time zone Mars/One",
		`rowbell.inbox_mark('ann', null, 'lost')`:                              "'lost' is no mark of a notification",
		`rowbell.inbox_mark('ann', null, null)`:                                "NULL is no mark of a notification",
		`rowbell.inbox_mark('ann', array_fill('a'::text, '{1001}'), 'read')`:   "1001 ids are more than 1000",
	} {
		if _, err := conn.Exec(t.Context(), `select `+sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
	db.Exec(t, `select rowbell.set_quiet_hours('ann', '22:00', make_time(n / 60, n % 60, 0)) from generate_series(1, 50) n`)
	if _, err := conn.Exec(t.Context(), `select rowbell.set_quiet_hours('ann', '23:00', '01:00')`); err == nil || !strings.Contains(err.Error(), "more than 50 quiet hours") {
		t.Errorf("the 51st: %v", err)
	}
	db.Exec(t, `select rowbell.set_preference('ann', false, n::text) from generate_series(1, 1000) n`)
	if _, err := conn.Exec(t.Context(), `select rowbell.set_preference('ann', false)`); err == nil || !strings.Contains(err.Error(), "more than 1000 preferences") {
		t.Errorf("the 1001st: %v", err)
	}
	db.Exec(t, `set rowbell.actor = 'ada'; select rowbell.set_quiet_hours('ben', '22:00', '07:00', '{FRI,mon}')`)
	if got := pgtest.One[string](t, db, `select days::text from rowbell.quiet_hours where recipient_id = 'ben'`); got != "{mon,fri}" {
		t.Errorf("the days are %s", got)
	}
}

func listOf(tenant *string, limit int) store.PreferenceFilter {
	return store.PreferenceFilter{TenantID: tenant, Limit: limit}
}
