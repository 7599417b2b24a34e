package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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

// Limits are how much a workflow may do before somebody looks. Zero: what the operator has
// set counts.
type Limits struct {
	MaxDepth int32 // how many executions may lead to one another
	// Storm is how many matches in one transaction, and in one minute, are delivered without
	// being held; Unlimited: all.
	StormTransaction, StormMinute int32
}

// Unlimited is a limit that nothing reaches.
const Unlimited int32 = math.MaxInt32

// The greatest limits.
const (
	MaxDepthLimit = 100
	MaxStorm      = 1_000_000_000
)

// Limits reads the settings max_depth and storm of the workflow:
//
//	{"max_depth": 5, "storm": 20000}
//	{"storm": {"transaction": 5000, "minute": "off"}}
//	{"storm": "off"}
func (w *Workflow) Limits() (Limits, error) {
	var l Limits
	if len(w.Settings) == 0 {
		return l, nil
	}
	var s struct {
		MaxDepth json.RawMessage `json:"max_depth"`
		Storm    json.RawMessage `json:"storm"`
	}
	if err := json.Unmarshal(w.Settings, &s); err != nil {
		return l, errors.New("settings are not a JSON object; write them as {\"max_depth\": 5, \"storm\": 20000}")
	}
	given := func(text json.RawMessage) bool { return len(text) > 0 && string(text) != "null" }
	if given(s.MaxDepth) {
		var n int64
		if json.Unmarshal(s.MaxDepth, &n) != nil || n < 1 || n > MaxDepthLimit {
			return l, fmt.Errorf("settings: max_depth is %s; it is a whole number from 1 to %d", shorten(string(s.MaxDepth)), MaxDepthLimit)
		}
		l.MaxDepth = int32(n)
	}
	if !given(s.Storm) {
		return l, nil
	}
	one := func(text json.RawMessage) (int32, error) {
		var n int64
		switch {
		case string(text) == `"off"`:
			return Unlimited, nil
		case json.Unmarshal(text, &n) == nil && n >= 1 && n <= MaxStorm:
			return int32(n), nil
		}
		return 0, fmt.Errorf("settings: storm: %s is no limit; it is a whole number from 1 to %d, \"off\", or {\"transaction\": 5000, \"minute\": 20000}", shorten(string(text)), MaxStorm)
	}
	var both struct{ Transaction, Minute json.RawMessage }
	var err error
	if s.Storm[0] != '{' {
		l.StormTransaction, err = one(s.Storm)
		l.StormMinute = l.StormTransaction
		return l, err
	}
	dec := json.NewDecoder(bytes.NewReader(s.Storm))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&both); err != nil {
		return l, errors.New("settings: storm has the keys transaction and minute alone: {\"transaction\": 5000, \"minute\": 20000}")
	}
	if given(both.Transaction) {
		if l.StormTransaction, err = one(both.Transaction); err != nil {
			return l, err
		}
	}
	if given(both.Minute) {
		l.StormMinute, err = one(both.Minute)
	}
	return l, err
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
