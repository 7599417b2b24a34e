package workflow

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
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
	return Every, fmt.Errorf("settings: firing is %s; it is \"every\", \"becomes_true\" or \"once_per_row\"", shorten(string(s.Firing)))
}

// shorten cuts what a message quotes.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Language reads the settings locale and zone, which are for readers of the workflow's
// texts who have none: {"locale": "de-AT", "zone": "Europe/Vienna"}. Both are "" if they
// aren't set, or can't be.
func (w *Workflow) Language() (locale, zone string, err error) {
	if len(w.Settings) == 0 {
		return "", "", nil
	}
	var s struct {
		Locale json.RawMessage `json:"locale"`
		Zone   json.RawMessage `json:"zone"`
	}
	if json.Unmarshal(w.Settings, &s) != nil {
		return "", "", nil // no object, which Firing says
	}
	if len(s.Locale) > 0 && (json.Unmarshal(s.Locale, &locale) != nil || !localeForm.MatchString(locale)) {
		return "", "", fmt.Errorf(`settings: locale is %s; write a language, as "de" or "de-AT"`, shorten(string(s.Locale)))
	}
	if len(s.Zone) > 0 && json.Unmarshal(s.Zone, &zone) != nil {
		return locale, "", fmt.Errorf(`settings: zone is %s; write a time zone, as "Europe/Berlin" or "UTC"`, shorten(string(s.Zone)))
	}
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return locale, "", fmt.Errorf(`settings: zone is %s, which is no time zone; write one, as "Europe/Berlin" or "UTC"`, shorten(string(s.Zone)))
	}
	return locale, zone, nil
}

// localeForm is how BCP 47 writes languages; "" is none.
var localeForm = regexp.MustCompile(`^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})?$`)
