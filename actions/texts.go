package actions

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// textsOf reads what a workflow's texts rely on: its templates, and the settings locale
// and zone.
//
//	{"locale": "de-AT", "zone": "Europe/Vienna"}
func textsOf(w *workflow.Workflow) (Texts, error) {
	t := Texts{Templates: w.Templates}
	if len(w.Settings) == 0 {
		return t, nil
	}
	var s struct {
		Locale json.RawMessage `json:"locale"`
		Zone   json.RawMessage `json:"zone"`
	}
	if json.Unmarshal(w.Settings, &s) != nil {
		return t, nil // no object, which readDefaults says
	}
	if len(s.Locale) > 0 && json.Unmarshal(s.Locale, &t.Locale) != nil {
		return t, fmt.Errorf(`settings: locale: %s is no text; write a language, as "de" or "de-AT"`, shorten(string(s.Locale)))
	}
	if len(s.Zone) > 0 && json.Unmarshal(s.Zone, &t.Zone) != nil {
		return t, fmt.Errorf(`settings: zone: %s is no text; write a time zone, as "Europe/Berlin"`, shorten(string(s.Zone)))
	}
	if _, err := time.LoadLocation(t.Zone); err != nil || t.Zone == "Local" {
		zone := t.Zone
		t.Zone = ""
		return t, fmt.Errorf(`settings: zone: %q is no time zone; write one as "Europe/Berlin" or "UTC"`, shorten(zone))
	}
	return t, nil
}
