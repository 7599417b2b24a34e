package ui

import (
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

var streamRoutes = []route{
	{"GET /stream", access.StreamRead, showStream},
	{"POST /stream/pauses", access.PauseWrite, beginPause},
	{"POST /stream/pauses/{id}/end", access.PauseWrite, endPause},
	{"POST /stream/storms/{id}/release", access.DeliveryWrite, releaseStorm},
	{"POST /stream/storms/{id}/discard", access.DeliveryWrite, discardStorm},
}

// streamData is how the machine itself does.
type streamData struct {
	Health  *api.StreamHealth // nil: not this visitor's to see
	Pauses  []api.PauseOut
	Storms  []store.Storm
	Replays []store.Replay // those in the works
	Kinds   []string
	AskAll  bool
}

func (v *visit) stream() (*page, *streamData, error) {
	d := &streamData{AskAll: v.me.Tenant == nil}
	if d.AskAll {
		d.Health = &api.StreamHealth{}
		if err := v.get("/health", nil, d.Health); err != nil {
			return nil, nil, err
		}
	}
	var pauses api.Page[api.PauseOut]
	if err := v.get("/pauses", nil, &pauses); err != nil {
		return nil, nil, err
	}
	d.Pauses = pauses.Items
	if v.can(access.ExecutionRead) {
		var storms api.Page[store.Storm]
		if err := v.get("/storms", nil, &storms); err != nil {
			return nil, nil, err
		}
		var replays api.Page[store.Replay]
		if err := v.get("/replays", nil, &replays); err != nil {
			return nil, nil, err
		}
		d.Storms = storms.Items
		for _, r := range replays.Items {
			if r.Status == store.ReplayRunning {
				d.Replays = append(d.Replays, r)
			}
		}
	}
	if v.can(access.CatalogueRead) && v.can(access.PauseWrite) {
		var kinds api.Page[api.KindOut]
		if err := v.get("/action-kinds", nil, &kinds); err != nil {
			return nil, nil, err
		}
		for _, k := range kinds.Items {
			d.Kinds = append(d.Kinds, k.Name)
		}
	}
	return &page{template: "stream", title: "Stream", nav: "stream", data: d}, d, nil
}

func showStream(v *visit) (*page, error) {
	p, _, err := v.stream()
	return p, err
}

// ofStream goes back to the page after a form, or shows there what is wrong.
func (v *visit) ofStream(wrong error, done string) (*page, error) {
	if wrong == nil {
		return redirect("/stream", done), nil
	}
	p, _, err := v.stream()
	if err != nil {
		return nil, err
	}
	return problemPage(p, wrong)
}

// pause is what a form says of one.
func (v *visit) pause() map[string]any {
	in := map[string]any{"reason": v.form("reason")}
	for name, value := range map[string]string{"workflow_id": v.form("workflow_id"), "kind": v.form("kind"), "for": v.form("for"), "tenant_id": v.form("tenant")} {
		if value != "" {
			in[name] = value
		}
	}
	return in
}

func beginPause(v *visit) (*page, error) {
	return v.ofStream(v.call("POST", "/pauses", nil, v.pause(), nil), "paused")
}

func endPause(v *visit) (*page, error) {
	return v.ofStream(v.call("DELETE", at("/pauses/%s", v.r.PathValue("id")), nil, nil, nil), "resumed")
}

func releaseStorm(v *visit) (*page, error) {
	return v.ofStream(v.call("POST", at("/storms/%s/release", v.r.PathValue("id")), nil, nil, nil), "released")
}

func discardStorm(v *visit) (*page, error) {
	return v.ofStream(v.call("POST", at("/storms/%s/discard", v.r.PathValue("id")), nil, nil, nil), "dropped")
}

// pauseText says what waits for a pause.
func pauseText(p api.PauseOut) string {
	of := "Everything"
	switch {
	case p.WorkflowID != "":
		of = "Workflow " + p.WorkflowID
	case p.TenantID != "":
		of = "Tenant " + p.TenantID
	}
	if p.Kind != "" {
		of += ", " + p.Kind + " only"
	}
	return of
}

// checkTexts are words for states of health checks.
var checkTexts = map[string]choice{"ok": {"success", "In order"}, "warning": {"pending", "Watch it"}, "failing": {"failure", "Failing"}}

func checkText(state string) choice {
	if c, ok := checkTexts[state]; ok {
		return c
	}
	return choice{"", state}
}
