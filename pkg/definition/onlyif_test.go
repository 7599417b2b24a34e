package definition

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const ownYAML = `name: x
triggers:
  - {entity_type: orders, operation: update}
actions:
  - action_type: log
  - action_type: webhook
    action_config:
      url: https://a.example
      only_if:
        - condition_type: field_value
          condition_config:
            total: {gt: 5}
            token: red
        - condition_type: expression
          condition_config:
            expression: new.x
`

// Problems of an action's own conditions stand where these stand.
func TestPlaceOfOnlyIf(t *testing.T) {
	t.Parallel()
	d, err := Read("x.yaml", []byte(ownYAML))
	if err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{
		"action 2 (webhook), only_if, condition 1 (field_value).total.gt":   "#/actions/1/action_config/only_if/0/condition_config/total/gt",
		"action 2 (webhook), only_if, condition 1 (field_value).nothing":    "#/actions/1/action_config/only_if/0/condition_config",
		"action 2 (webhook), only_if, condition 2 (expression)":             "#/actions/1/action_config/only_if/1/condition_config",
		"action 2 (webhook), only_if":                                       "#/actions/1/action_config/only_if",
		"action 2 (webhook), only_if, condition 7 (expression)":             "#/actions/1/action_config/only_if",
		"action 1 (log), only_if, condition 1 (expression)":                 "#/actions/0",
		"action 9 (log), only_if":                                           "#",
		"action 2 (webhook)":                                                "#/actions/1",
		"trigger 1 (orders update), condition 1 (expression), line 1":       "#",
		"action 2 (webhook), only_if, condition 1 (field_value).token.more": "#/actions/1/action_config/only_if/0/condition_config/token",
	} {
		if got := d.Pointer(where); got != want {
			t.Errorf("%s stands at %s, want %s", where, got, want)
		}
	}
	if got := d.Place("action 2 (webhook), only_if, condition 1 (field_value).total.gt"); got != "x.yaml:12:21" {
		t.Errorf("total.gt stands at %s", got)
	}
}

// What is called like a secret in a condition is a column.
func TestOnlyIfHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	d, err := Read("x.yaml", []byte(strings.Replace(ownYAML, "url: https://a.example", "url: https://a.example\n      secret: whsec_hunter2", 1)))
	if err != nil {
		t.Fatal(err)
	}
	got := string(shownCopy(&d.Workflow).Actions[0].Config) + string(shownCopy(&d.Workflow).Actions[1].Config)
	if strings.Contains(got, "hunter2") || !strings.Contains(got, `"token":"red"`) {
		t.Errorf("it is shown as %s", got)
	}
	// But only there: what bears that name further in is as any other part.
	further := d.Workflow
	further.Actions = slices.Clone(further.Actions)
	further.Actions[1].Config = []byte(`{"body": {"only_if": [{"password": "hunter2"}]}, "headers": [{"only_if": [{"secret": "hunter2"}]}], "only_if": [{"condition_type": "field_value", "condition_config": {"token": "red"}}]}`)
	if got := string(shownCopy(&further).Actions[1].Config); strings.Contains(got, "hunter2") || !strings.Contains(got, `"token":"red"`) {
		t.Errorf("it is shown as %s", got)
	}
	again, err := YAML(&d.Workflow)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read("x.yaml", again)
	if err != nil || !samePart(back.Workflow, d.Workflow) {
		t.Errorf("%v; it comes back as\n%s", err, again)
	}
}

// References are kept for secrets further in, whatever they stand in, but not for columns.
func TestSecretsBesideOnlyIfAreKept(t *testing.T) {
	t.Parallel()
	config, err1 := decoded([]byte(`{"body": {"only_if": [{"password": "p"}]}, "only_if": [{"condition_config": {"token": "p"}}]}`))
	stored, err2 := decoded([]byte(`{"body": {"only_if": [{"password": {"ref": "s"}}]}, "only_if": [{"condition_config": {"token": {"ref": "s"}}}]}`))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	besideOwn(config, func() { keepSecret(config, stored, func(plain, ref string) bool { return plain == "p" && ref == "s" }) })
	got, err := json.Marshal(config)
	if want := `{"body":{"only_if":[{"password":{"ref":"s"}}]},"only_if":[{"condition_config":{"token":"p"}}]}`; err != nil || string(got) != want {
		t.Errorf("it is %s, %v", got, err)
	}
}
