package main

import (
	"encoding/json"
	"testing"
)

func TestPreference(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}
	wants(t, rowbell(t, env, "migrate"), 0)
	run := func(args ...string) result { return rowbell(t, env, append([]string{"preference"}, args...)...) }

	wants(t, run("list"), 0, "Nobody has said anything: everything is wanted, at any time.\n")
	wants(t, run("set", "ann", "off", "--channel", "email", "--tenant", "acme", "--actor", "olga"), 0, "ann doesn't want: all by email.\n")
	wants(t, run("set", "ann", "on", "--channel", "email", "--workflow", "wf", "--tenant", "acme"), 0, "ann wants: workflow wf by email.\n")
	wants(t, run("set", "ann", "default", "--channel", "email", "--workflow", "wf", "--tenant", "acme"), 0, "ann doesn't want: workflow wf by email.\n")
	wants(t, run("set", "ben", "off"), 0, "ben doesn't want: all.\n")
	wants(t, run("quiet", "ann", "22:00-07:00", "--tenant", "acme"), 0, "ann has quiet hours: 22:00-07:00.\n")
	wants(t, run("quiet", "ann", "00:00-24:00", "--days", "sun,sat", "--zone", "Europe/Vienna", "--tenant", "acme", "--actor", "olga"), 0,
		"ann has quiet hours: 00:00-24:00 sat sun (Europe/Vienna).\n")
	wants(t, run("list"), 0, "TENANT  RECIPIENT  WHAT", "-       ben        all", "acme    ann        all by email", "acme    ann        quiet 00:00-24:00 sat sun (Europe/Vienna)", "olga\n")
	r := run("list", "--tenant", "acme", "--recipient", "ann", "--json")
	var list []listedPreference
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list) != 3 {
		t.Fatalf("%v of %s", err, r.stdout)
	}
	if p, q := list[0], list[1]; p.Channel != "email" || *p.Wanted || p.UpdatedBy != "olga" || q.Starts != "00:00" || q.Ends != "24:00" || len(q.Days) != 2 || q.Zone != "Europe/Vienna" {
		t.Errorf("the list is %s", r.stdout)
	}
	if r := run("list", "--tenant", "none", "--json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &list) != nil || len(list) != 1 || list[0].RecipientID != "ben" {
		t.Errorf("those of no tenant: %s", r.stdout)
	}
	wants(t, run("quiet", "ann", "none", "--tenant", "acme"), 0, "ann has no quiet hours any more; there were 2.\n")

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"set", "ann", "maybe"}, `"maybe" is no answer; write on, off or default`},
		{[]string{"set", "ann"}, "on|off|default is missing"},
		{[]string{"quiet", "ann", "22:00"}, `"22:00" are no hours; write 22:00-07:00, or none`},
		{[]string{"quiet", "ann", "22:00-25:00"}, `"25:00" is no time`},
		{[]string{"quiet", "ann", "24:00-07:00"}, "hours can't begin at 24:00"},
		{[]string{"quiet", "ann", "22:00-07:00", "--days", "monday"}, `"monday" is no day`},
		{[]string{"quiet", "ann", "22:00-07:00", "--zone", "Mars/One"}, `there is no time zone "Mars/One"`},
		{[]string{"lost"}, `"lost" is not a command of rowbell preference. Did you mean list?`},
	} {
		wants(t, run(c.args...), 2, c.want)
	}
	wants(t, run("set", "ann", "off", "--channel", "emial"), 1, `nothing reaches people by "emial"; there are: notification, email`)
	wants(t, run("set", "ann", "default", "--channel", "emial"), 0)
	wants(t, run("set", "", "off"), 1, "a recipient is named by an id of 1 to 200 characters")
}
