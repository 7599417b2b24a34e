package workflow_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestOnlyIf(t *testing.T) {
	for config, want := range map[string]string{
		``:                  `null`,
		`{}`:                `null`,
		`[1]`:               `null`, // which is said of the whole
		`{"only_if": null}`: `null`,
		`{"only_if": []}`:   `null`,
		`{"only_if": [{"condition_type": "expression", "condition_config": {"expression": "new.total == 1"}}, {"id": "c", "condition_type": "x"}]}`: `[{"id":"","condition_type":"expression","condition_config":{"expression":"new.total == 1"}},{"id":"c","condition_type":"x","condition_config":null}]`,
		`{"only_if": {"total": 1}}`:                           `only_if: it is no list; write a list of conditions: [{"condition_type": `,
		`{"only_if": "new.total > 1"}`:                        `only_if: it is no list`,
		`{"only_if": [{"total": 1}]}`:                         `only_if[0]: it has a condition_type and a condition_config`,
		`{"only_if": [{"condition_type": "x", "negate": 1}]}`: `only_if[0]: it has`,
		`{"only_if": [{"condition_type": "x"}, 7]}`:           `only_if[1]: it has`,
		`{"only_if": [{"condition_config": {}}]}`:             `only_if[0]: it has`,
	} {
		a := workflow.Action{Config: json.RawMessage(config)}
		list, err := a.OnlyIf()
		got, _ := json.Marshal(list)
		if err != nil {
			got = []byte(err.Error())
		}
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("%s\n got %s\nwant %s", config, got, want)
		}
	}
}
