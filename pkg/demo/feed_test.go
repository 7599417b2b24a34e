package demo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Each attempt is told once, and so is the end of what ended without one.
func TestFollowing(t *testing.T) {
	row := func(id, state string, attempt int16, outcome, why string) store.DeliveryRow {
		return store.DeliveryRow{ExecutionStatus: workflow.Pending, DeliveryID: id, State: state, Attempt: attempt, Outcome: outcome, Error: why, Reason: "reason"}
	}
	for name, c := range map[string]struct {
		reads [][]store.DeliveryRow
		want  string
	}{
		"not tried yet": {[][]store.DeliveryRow{{row("a", "ready", 0, "", ""), row("b", "waiting", 0, "", "")}}, ""},
		"step by step": {[][]store.DeliveryRow{
			{row("a", "leased", 0, "", "")},
			{row("a", "ready", 1, "retry", "x")},
			{row("a", "ready", 1, "retry", "x")},
			{row("a", "succeeded", 1, "retry", "x"), row("a", "succeeded", 2, "succeeded", "")},
			{row("a", "succeeded", 1, "retry", "x"), row("a", "succeeded", 2, "succeeded", "")},
		}, "a1 retry x, a2 succeeded"},
		"all at once":       {[][]store.DeliveryRow{{row("a", "dead", 1, "retry", "x"), row("a", "dead", 2, "dead", "y"), row("b", "succeeded", 1, "succeeded", "")}}, "a1 retry x, a2 dead y, b1 succeeded"},
		"cancelled untried": {[][]store.DeliveryRow{{row("a", "cancelled", 0, "", "")}, {row("a", "cancelled", 0, "", "")}}, "a0 cancelled reason"},
		"cancelled after an attempt": {[][]store.DeliveryRow{
			{row("a", "ready", 1, "retry", "x")}, {row("a", "cancelled", 1, "retry", "x")}, {row("a", "cancelled", 1, "retry", "x")},
		}, "a1 retry x, a0 cancelled reason"},
		"no deliveries": {[][]store.DeliveryRow{
			{{ExecutionStatus: workflow.Success}}, {{ExecutionStatus: workflow.Success}},
		}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &following{told: make(map[string]told)}
			var got []string
			for _, read := range c.reads {
				for i, d := range read {
					last := i+1 == len(read) || read[i+1].DeliveryID != d.DeliveryID
					for _, n := range x.tell(d, last) {
						got = append(got, strings.TrimSpace(fmt.Sprintf("%s%d %s %s", n.Delivery.DeliveryID, n.Delivery.Attempt, n.Delivery.Outcome, n.Delivery.Error)))
					}
				}
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
