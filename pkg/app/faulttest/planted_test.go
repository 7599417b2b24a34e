package faulttest

import (
	"testing"
)

// TestPlantedFaults runs the scenarios with a binary that makes a mistake on purpose. A
// scenario that finds nothing wrong then proves nothing at other times.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for fault, scenario := range map[string]func(*world) (outcome, error){
		"confirm_before_record": func(w *world) (outcome, error) { return killScenario(w, 30, 20000) },
		"no_skip":               func(w *world) (outcome, error) { return killScenario(w, 30, 20000) },
		"no_fence": func(w *world) (outcome, error) {
			o, _, err := takeoverScenario(w, []way{overtaken, overtaken, overtaken, overtaken}, 20000)
			return o, err
		},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, migrated(t), binary(t, "faults"), "ROWBELL_FAULT="+fault)
			o, err := scenario(w)
			if err == nil {
				t.Fatalf("nothing was found wrong, in %d executions, though the binary has a fault", o.executions)
			}
			t.Logf("found: %.20000s", err)
		})
	}
}
