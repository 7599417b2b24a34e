package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// OnlyIfKey is the key of action_config that has an action's own conditions.
const OnlyIfKey = "only_if"

// NotMet begins the reason of a delivery whose action was left out of an execution, since
// its own conditions do not hold for the event.
const NotMet = "its condition was not met: "

// StoppedSuffix ends the reason of a delivery that was never begun, since an action of a lower
// order failed, or was cancelled.
const StoppedSuffix = ", and its on_failure is stop"

const onlyIfMend = `write a list of conditions: [{"condition_type": "field_value", "condition_config": {"total": {"gt": 1000}}}]`

// OnlyIf reads an action's own conditions: where one of them does not hold, the action is left
// out of the execution. They are written as a workflow's conditions are, and judged here for
// their shape alone. nil: it has none.
func (a *Action) OnlyIf() ([]Condition, error) {
	if !bytes.Contains(a.Config, []byte(`"`+OnlyIfKey+`"`)) {
		return nil, nil
	}
	var config struct {
		OnlyIf json.RawMessage `json:"only_if"`
	}
	if err := json.Unmarshal(a.Config, &config); err != nil {
		return nil, nil // it is no object, which is said of the whole
	}
	return ParseOnlyIf(config.OnlyIf)
}

// ParseOnlyIf reads what stands under OnlyIfKey.
func ParseOnlyIf(text json.RawMessage) ([]Condition, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("%s: it is no list; %s", OnlyIfKey, onlyIfMend)
	}
	list := make([]Condition, len(items))
	for i, item := range items {
		var c struct {
			ID     *string         `json:"id"`
			Type   *string         `json:"condition_type"`
			Config json.RawMessage `json:"condition_config"`
		}
		dec := json.NewDecoder(bytes.NewReader(item))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&c); err != nil || c.Type == nil {
			return nil, fmt.Errorf("%s[%d]: it has a condition_type and a condition_config, as a workflow's conditions have; %s", OnlyIfKey, i, onlyIfMend)
		}
		list[i] = Condition{Type: *c.Type, Config: c.Config}
		if c.ID != nil {
			list[i].ID = *c.ID
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list, nil
}
