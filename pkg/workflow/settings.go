package workflow

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Firing says which of the changes that match set a workflow off.
type Firing string

const (
	// Every matching change; the default.
	Every Firing = "every"
	// BecomesTrue: changes by which a row begins to match. The old row of an update did
	// not; an insert counts as well.
	BecomesTrue Firing = "becomes_true"
	// OncePerRow: the first matching change of each row, whatever the version.
	OncePerRow Firing = "once_per_row"
)

// Firing reads the setting firing of the workflow: {"firing": "becomes_true"}.
func (w *Workflow) Firing() (Firing, error) {
	if len(w.Settings) == 0 {
		return Every, nil
	}
	var s struct {
		Firing json.RawMessage `json:"firing"`
	}
	if err := json.Unmarshal(w.Settings, &s); err != nil {
		return Every, fmt.Errorf("settings are not a JSON object; write them as {\"firing\": %q}", BecomesTrue)
	}
	if len(s.Firing) == 0 || string(s.Firing) == "null" {
		return Every, nil
	}
	var f Firing
	_ = json.Unmarshal(s.Firing, &f)
	switch f {
	case Every, BecomesTrue, OncePerRow:
		return f, nil
	}
	given := string(s.Firing)
	if len(given) > 60 {
		given = strings.ToValidUTF8(given[:60], "") + "…"
	}
	return Every, fmt.Errorf("settings: firing is %s; it is \"every\", \"becomes_true\" or \"once_per_row\"", given)
}
