package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A PersonKey names somebody whose preferences are kept: the ids of two tenants are apart.
type PersonKey struct {
	TenantID string // "" = there is none
	ID       string // the application's; of someone without an account, their address
}

// A Preference is what somebody wants of a workflow through a channel: a row of
// rowbell.preference.
type Preference struct {
	WorkflowID string // "" = all
	Channel    string // the action kind, as email; "" = all
	Wanted     bool
}

// QuietHours are when somebody wants nothing: a row of rowbell.quiet_hours.
type QuietHours struct {
	Days Weekdays // those on which it begins
	// From and To are what the clock on the wall shows, since midnight, 0 to 24 h. If To
	// isn't later than From it is on the next day.
	From, To time.Duration
	Zone     string // IANA; "" = the person's
}

// Preferences are all that is known of what somebody wants.
type Preferences struct {
	Wanted []Preference // at most one for each workflow and channel
	Quiet  []QuietHours
}

// Weekdays is a set of days: bit n is time.Weekday(n).
type Weekdays uint8

// EveryDay is the whole week.
const EveryDay Weekdays = 1<<7 - 1

// DayNames are the days as rowbell.quiet_hours writes them, by time.Weekday.
var DayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWeekdays reads a set: {"mon", "fri"}. The error names the day that is none.
func ParseWeekdays(names []string) (Weekdays, error) {
	var w Weekdays
	for _, name := range names {
		i := slices.Index(DayNames[:], strings.ToLower(strings.TrimSpace(name)))
		if i < 0 {
			return 0, fmt.Errorf("%.20q is no day; write mon, tue, wed, thu, fri, sat or sun", name)
		}
		w |= 1 << i
	}
	if w == 0 {
		return 0, errors.New("there must be a day; write mon, tue, wed, thu, fri, sat or sun")
	}
	return w, nil
}

// Has says whether a day is in the set.
func (w Weekdays) Has(d time.Weekday) bool { return w&(1<<d) != 0 }

// Names are the days of the set as ParseWeekdays reads them, from Monday on.
func (w Weekdays) Names() []string {
	var names []string
	for i := range 7 {
		if d := time.Weekday((i + 1) % 7); w.Has(d) {
			names = append(names, DayNames[d])
		}
	}
	return names
}

// Critical reads the setting critical of the workflow: what it tells people reaches them
// whatever they have opted out of, and in quiet hours too.
func (w *Workflow) Critical() (bool, error) {
	raw, err := w.setting("critical")
	if err != nil || raw == nil {
		return false, err
	}
	var critical bool
	if json.Unmarshal(raw, &critical) != nil {
		return false, fmt.Errorf("settings: critical is %s; it is true or false", quoteSetting(raw))
	}
	return critical, nil
}

// mostOwners is how many owners a workflow may name.
const mostOwners = 20

// Owners reads the setting owners of the workflow, who are told when it fails:
// {"owners": ["user:ann", "role:support", "group:night-shift"]}. None if there is none.
func (w *Workflow) Owners() ([]Recipient, error) {
	raw, err := w.setting("owners")
	if err != nil || raw == nil {
		return nil, err
	}
	const mend = `; write a list, as ["user:ann", "role:support", "group:night-shift"]`
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil, fmt.Errorf("settings: owners is %s%s", quoteSetting(raw), mend)
	}
	if len(list) > mostOwners {
		return nil, fmt.Errorf("settings: %d owners are too many; the most are %d", len(list), mostOwners)
	}
	var owners []Recipient
	for _, text := range list {
		kind, value, _ := strings.Cut(text, ":")
		if !slices.Contains([]string{"user", "role", "group"}, kind) || value == "" || len(value) > 200 {
			return nil, fmt.Errorf("settings: owners: %.60q is no owner%s", text, mend)
		}
		if r := (Recipient{Type: kind, Value: value}); !slices.Contains(owners, r) {
			owners = append(owners, r)
		}
	}
	return owners, nil
}

// setting is one of the workflow's settings; nil if it isn't set.
func (w *Workflow) setting(key string) (json.RawMessage, error) {
	if len(w.Settings) == 0 {
		return nil, nil
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(w.Settings, &all) != nil {
		return nil, fmt.Errorf("settings are not a JSON object; write them as {%q: …}", key)
	}
	if raw := all[key]; len(raw) > 0 && string(raw) != "null" {
		return raw, nil
	}
	return nil, nil
}

func quoteSetting(raw json.RawMessage) string {
	if len(raw) <= 60 {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:60]), "") + "…"
}
