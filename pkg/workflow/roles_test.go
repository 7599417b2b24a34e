package workflow

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRoles(t *testing.T) {
	for _, c := range []struct{ config, problem string }{
		{`{"roles": ["approver"]}`, ""},
		{`{"not_actors": ["robot"], "by": "context"}`, ""},
		{`{"attributes": {"level": 3}}`, ""},
		{`{"roles": ["approver"], "by": "directory"}`, ""},
		{`{}`, "it asks for nothing"},
		{`{"by": "directory"}`, "it asks for nothing"},
		{`{"roles": []}`, "roles is an empty list"},
		{`{"all_roles": [""]}`, "all_roles holds an empty text"},
		{`{"rolls": ["x"]}`, `unknown field "rolls"; there are roles`},
		{`{"Roles": ["x"]}`, `unknown field "Roles"`},
		{`{"roles": "x"}`, "lists of texts"},
		{`{"roles": ["x"], "by": "ldap"}`, `by is "ldap"`},
		{`{"roles": ["x"], "attributes": {"a": 1}, "by": "directory"}`, "the directory knows no attributes"},
	} {
		_, err := ParseRoles(json.RawMessage(c.config))
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: got %v, want %q", c.config, err, c.problem)
		}
	}
}

func TestFiring(t *testing.T) {
	for _, c := range []struct {
		settings, problem string
		want              Firing
	}{
		{``, "", Every},
		{`{}`, "", Every},
		{`{"firing": null}`, "", Every},
		{`{"firing": "becomes_true"}`, "", BecomesTrue},
		{`{"firing": "once_per_row", "retry": []}`, "", OncePerRow},
		{`{"firing": "once"}`, `firing is "once"; it is "every"`, Every},
		{`{"firing": 1}`, `firing is 1`, Every},
		{`[]`, "settings are not a JSON object", Every},
	} {
		w := Workflow{Settings: json.RawMessage(c.settings)}
		got, err := w.Firing()
		if got != c.want || c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: got %s, %v, want %s, %q", c.settings, got, err, c.want, c.problem)
		}
	}
}
