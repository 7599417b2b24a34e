package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestCritical(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		``: "false", `{}`: "false", `{"critical": null}`: "false", `{"critical": false, "firing": "every"}`: "false", `{"critical": true}`: "true",
		`{"critical": "yes"}`: `settings: critical is "yes"; it is true or false`,
		`[1]`:                 `settings are not a JSON object; write them as {"critical": …}`,
	} {
		critical, err := (&Workflow{Settings: json.RawMessage(settings)}).Critical()
		got := fmt.Sprint(critical)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", settings, got, want)
		}
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	const mend = `; write a list, as ["user:ann", "role:support", "group:night-shift"]`
	for settings, want := range map[string]string{
		``: "", `{}`: "", `{"owners": []}`: "",
		`{"owners": ["user:ann", "role:support", "user:ann", "group:a:b"]}`: "user=ann role=support group=a:b",
		`{"owners": "ann"}`:                                             `settings: owners is "ann"` + mend,
		`{"owners": ["ann"]}`:                                           `settings: owners: "ann" is no owner` + mend,
		`{"owners": ["user:"]}`:                                         `settings: owners: "user:" is no owner` + mend,
		`{"owners": ["mailto:ann@example.com"]}`:                        `settings: owners: "mailto:ann@example.com" is no owner` + mend,
		`{"owners": ["user:` + strings.Repeat("a", 201) + `"]}`:         `settings: owners: "user:` + strings.Repeat("a", 55) + `" is no owner` + mend,
		`{"owners": [` + strings.Repeat(`"user:a",`, 20) + `"user:b"]}`: "settings: 21 owners are too many; the most are 20",
	} {
		list, err := (&Workflow{Settings: json.RawMessage(settings)}).Owners()
		var said []string
		for _, r := range list {
			said = append(said, r.Type+"="+r.Value)
		}
		got := strings.Join(said, " ")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", settings, got, want)
		}
	}
}

func TestWeekdays(t *testing.T) {
	t.Parallel()
	w, err := ParseWeekdays([]string{"sun", " MON", "fri", "mon"})
	if err != nil || !slices.Equal(w.Names(), []string{"mon", "fri", "sun"}) {
		t.Errorf("%v, %v", w.Names(), err)
	}
	if n := len(EveryDay.Names()); n != 7 {
		t.Errorf("every day is %d", n)
	}
	for _, names := range [][]string{nil, {"monday"}} {
		if _, err := ParseWeekdays(names); err == nil || !strings.Contains(err.Error(), "write mon, tue") {
			t.Errorf("%v: %v", names, err)
		}
	}
}
