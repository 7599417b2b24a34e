package workflow

import (
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]Limits{
		``: {}, `{}`: {}, `{"storm": null, "max_depth": null}`: {},
		`{"max_depth": 5, "storm": 20000}`:                   {MaxDepth: 5, StormTransaction: 20000, StormMinute: 20000},
		`{"storm": "off"}`:                                   {StormTransaction: Unlimited, StormMinute: Unlimited},
		`{"storm": {"transaction": 5, "minute": "off"}}`:     {StormTransaction: 5, StormMinute: Unlimited},
		`{"storm": {"minute": 7}, "firing": "becomes_true"}`: {StormMinute: 7},
	} {
		w := &Workflow{Settings: []byte(settings)}
		if got, err := w.Limits(); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", settings, got, err, want)
		}
	}
	for settings, want := range map[string]string{
		`[]`: "not a JSON object", `{"max_depth": 0}`: "from 1 to 100", `{"max_depth": 2.5}`: "max_depth is 2.5", `{"max_depth": "3"}`: `max_depth is "3"`,
		`{"storm": 0}`: "storm: 0 is no limit", `{"storm": true}`: `"off"`, `{"storm": {"minute": -1}}`: "-1 is no limit", `{"storm": {"hour": 1}}`: "transaction and minute alone",
		`{"storm": 10000000000}`: "from 1 to 1000000000", `{"storm": "` + strings.Repeat("x", 500) + `"}`: "…",
	} {
		w := &Workflow{Settings: []byte(settings)}
		if _, err := w.Limits(); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	e := &Event{ID: "01M84JMESM000038NKS0000000"}
	c := e.Next("a")
	if c.ID != e.ID || c.Depth != 1 || c.Path() != "a" || string(c.JSON()) != `{"id":"01M84JMESM000038NKS0000000","depth":1,"workflows":["a"]}` {
		t.Errorf("the first is %s", c.JSON())
	}
	for n := range 12 {
		parsed, err := ParseChain(c.JSON())
		if err != nil {
			t.Fatal(err)
		}
		c = (&Event{ID: "another", Chain: &parsed}).Next(string(rune('b' + n)))
	}
	if c.ID != e.ID || c.Depth != 13 || len(c.Workflows) != ChainWorkflows || c.Path() != "… → d → e → f → g → h → i → j → k → l → m" {
		t.Errorf("the thirteenth is %s, %s", c.JSON(), c.Path())
	}
	for _, bad := range []string{
		``, `null`, `[]`, `{"id": "", "depth": 1}`, `{"id": "x"}`, `{"id": "x", "depth": 0}`, `{"id": "x", "depth": 1000001}`, `{"id": "x", "depth": 1e99}`,
		`{"id": "x\u0000", "depth": 1}`, `{"id": "x", "depth": 1, "workflows": [""]}`, `{"id": "x", "depth": 1, "workflows": "a"}`, "{\"id\": \"\xff\", \"depth\": 1}",
		`{"id": "` + strings.Repeat("x", 300) + `", "depth": 1}`, `{"id": "x", "depth": 1, "workflows": ["` + strings.Repeat(`a","`, 11) + `"]}`,
		`{"id": "x", "depth": 1, "more": "` + strings.Repeat("x", 5000) + `"}`,
	} {
		if c, err := ParseChain([]byte(bad)); err == nil {
			t.Errorf("ParseChain(%.80s) = %+v", bad, c)
		}
	}
}

func TestParseIDs(t *testing.T) {
	t.Parallel()
	const execution = "01M84JMESM000038NKS0000000-3"
	for _, d := range []struct {
		execution string
		action    int16
		recipient string
	}{{execution, 0, ""}, {execution, GateAction, ""}, {execution + "-7", 12, "ann"}, {execution, 1, "a_b@c.d_1"}} {
		x, action, recipient, ok := ParseDeliveryID(DeliveryID(d.execution, d.action, d.recipient))
		if !ok || x != d.execution || action != d.action || recipient != d.recipient {
			t.Errorf("%+v comes back as %s, %d, %s, %v", d, x, action, recipient, ok)
		}
	}
	for _, bad := range []string{"", "_", execution, execution + "_", execution + "_x", execution + "_99999", "short-1_0", strings.Repeat("_", 100)} {
		if _, _, _, ok := ParseDeliveryID(bad); ok {
			t.Errorf("ParseDeliveryID(%q) takes it", bad)
		}
	}
	for id, want := range map[string]int32{execution: 0, execution + "-7": 7, execution + "-x": 0, "": 0, "short": 0} {
		if got := RunOf(id); got != want {
			t.Errorf("RunOf(%q) = %d, want %d", id, got, want)
		}
	}
	if ref, at, ok := ParseStormID(StormID(12, 0x1A2B3C8)); !ok || ref != 12 || at != change.LSN(0x1A2B3C8) {
		t.Errorf("a storm's id comes back as %d, %s, %v", ref, at, ok)
	}
	if bad := []string{"", "12", "-0/1", "0-0/1", "-3-0/1", "12-", "12-0/1/2", "x-0/1", "order-approved"}; slices.ContainsFunc(bad, func(s string) bool { _, _, ok := ParseStormID(s); return ok }) {
		t.Error("ParseStormID takes what is none")
	}
}
