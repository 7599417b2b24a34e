package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// CommonKeys are the keys of action_config that every kind has.
var CommonKeys = []string{"exclude", "on_failure", workflow.OnlyIfKey, "retry"}

// Plan is what a workflow version does: one Step for each action of its document, in
// the document's order.
type Plan struct{ Steps []Step }

// Step is one action, ready to be tried.
type Step struct {
	Kind   *Kind
	Runner Runner
	Order  int32
	Retry  Schedule
	// StopOnFailure says that actions with a higher order are cancelled if a delivery
	// of this one gives up.
	StopOnFailure bool
	// OnlyIf are the action's own conditions: where they don't hold it is left out. They are
	// judged by package match.
	OnlyIf []workflow.Condition
	// Recipients are those that the workflow has for this action; only of kinds that
	// take any.
	Recipients []workflow.Recipient
	// Exclude is who of them doesn't get it.
	Exclude []workflow.Exclusion
	// Limits are the runner's own; the zero ones if it has none.
	Limits Limits
	// Lane is the same for all deliveries of one tenant to one destination.
	Lane int64
}

// Plan reads a workflow's actions. The error joins all that is wrong with them, each
// with the action that it is about and the mend.
func (r *Registry) Plan(w *workflow.Workflow) (*Plan, error) {
	var problems []error
	defaults, err := r.readDefaults(w.Settings)
	if err != nil {
		problems = append(problems, err)
	}
	if defaults.texts, err = textsOf(w); err != nil {
		problems = append(problems, err)
	}
	tenant := ""
	if w.TenantID != nil {
		tenant = *w.TenantID
	}
	p := &Plan{Steps: make([]Step, len(w.Actions))}
	for i, a := range w.Actions {
		step, err := r.step(a, defaults)
		if err == nil && step.Kind.Recipients {
			step.Recipients, err = recipientsOf(w, a)
			step.Exclude = append(slices.Clip(step.Exclude), defaults.exclude...)
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				problems = append(problems, fmt.Errorf("action %d (%s): %s", i+1, shorten(a.Type), line))
			}
			continue
		}
		destination := step.Runner.Destination()
		if destination == "" {
			destination = a.Type
		}
		step.Lane = workflow.Lane(tenant, destination)
		p.Steps[i] = step
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return p, nil
}

func (r *Registry) step(a workflow.Action, d defaults) (Step, error) {
	kind, err := r.Kind(a.Type)
	if err != nil {
		return Step{}, err
	}
	own, common, err := splitConfig(a.Config)
	if err != nil {
		return Step{}, err
	}
	if err := r.validate(kind, own); err != nil {
		return Step{}, err
	}
	runner, err := kind.Parse(own, d.texts)
	if err != nil {
		return Step{}, err
	}
	s := Step{Kind: kind, Runner: runner, Order: a.Order, Retry: kind.Retry, StopOnFailure: true}
	if of, ok := d.retry[kind.Name]; ok {
		s.Retry = of
	} else if of, ok := d.retry[""]; ok {
		s.Retry = of
	}
	if text, ok := common["retry"]; ok {
		if s.Retry, err = parseSchedule(text); err != nil {
			return Step{}, fmt.Errorf("retry: %w", err)
		}
	}
	if text, ok := common["exclude"]; ok {
		if !kind.Recipients {
			return Step{}, errors.New("exclude: an action of this kind has no recipients; leave it out")
		}
		if s.Exclude, err = parseExclude(text); err != nil {
			return Step{}, fmt.Errorf("exclude: %w", err)
		}
	}
	if s.OnlyIf, err = workflow.ParseOnlyIf(common[workflow.OnlyIfKey]); err != nil {
		return Step{}, err
	}
	if limited, ok := runner.(Limited); ok {
		s.Limits = limited.Limits()
	}
	onFailure := d.onFailure
	if text, ok := common["on_failure"]; ok {
		onFailure = text
	}
	if onFailure != nil {
		if s.StopOnFailure, err = parseOnFailure(onFailure); err != nil {
			return Step{}, err
		}
	}
	return s, nil
}

// splitConfig takes the common keys out of an action_config.
func splitConfig(config json.RawMessage) (own json.RawMessage, common map[string]json.RawMessage, err error) {
	if len(config) == 0 || string(config) == "null" {
		return json.RawMessage("{}"), nil, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, nil, errors.New("action_config is not a JSON object; write {} if there is nothing to configure")
	}
	common = make(map[string]json.RawMessage)
	for _, key := range CommonKeys {
		if text, ok := all[key]; ok {
			common[key] = text
			delete(all, key)
		}
	}
	if len(common) == 0 {
		return config, nil, nil
	}
	own, err = json.Marshal(all)
	return own, common, err
}

// defaults are what a workflow's settings say for all its actions.
type defaults struct {
	retry     map[string]Schedule // by kind; "" for the rest
	onFailure json.RawMessage
	exclude   []workflow.Exclusion
	texts     Texts
}

// readDefaults reads the settings retry, on_failure and exclude of a workflow:
//
//	{"retry": ["5s", "5m"], "on_failure": "continue", "exclude": ["actor"]}
//	{"retry": {"webhook": ["5s", "5m"]}}
func (r *Registry) readDefaults(settings json.RawMessage) (defaults, error) {
	d := defaults{retry: make(map[string]Schedule)}
	if len(settings) == 0 {
		return d, nil
	}
	var s struct {
		Retry     json.RawMessage `json:"retry"`
		OnFailure json.RawMessage `json:"on_failure"`
		Exclude   json.RawMessage `json:"exclude"`
	}
	if err := json.Unmarshal(settings, &s); err != nil {
		return d, errors.New(`settings are not a JSON object; write them as {"retry": ["5s", "5m"], "on_failure": "continue"}`)
	}
	if s.OnFailure != nil && string(s.OnFailure) != "null" {
		if _, err := parseOnFailure(s.OnFailure); err != nil {
			return d, fmt.Errorf("settings: %w", err)
		}
		d.onFailure = s.OnFailure
	}
	if len(s.Exclude) > 0 && string(s.Exclude) != "null" {
		var err error
		if d.exclude, err = parseExclude(s.Exclude); err != nil {
			return d, fmt.Errorf("settings: exclude: %w", err)
		}
	}
	switch text := bytes.TrimSpace(s.Retry); {
	case len(text) == 0 || string(text) == "null":
	case text[0] == '{':
		var byKind map[string]json.RawMessage
		if err := json.Unmarshal(text, &byKind); err != nil {
			return d, fmt.Errorf("settings: retry: %w", err)
		}
		var problems []error
		for _, name := range slices.Sorted(maps.Keys(byKind)) {
			schedule, err := parseSchedule(byKind[name])
			if _, unknown := r.Kind(name); unknown != nil {
				err = unknown
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("settings: retry: %s: %w", shorten(name), err))
			}
			d.retry[name] = schedule
		}
		return d, errors.Join(problems...)
	default:
		schedule, err := parseSchedule(text)
		if err != nil {
			return d, fmt.Errorf("settings: retry: %w", err)
		}
		d.retry[""] = schedule
	}
	return d, nil
}

func parseOnFailure(text json.RawMessage) (stop bool, err error) {
	switch string(text) {
	case `"stop"`:
		return true, nil
	case `"continue"`:
		return false, nil
	}
	return false, fmt.Errorf(`on_failure: %s is not an answer; write "stop" (actions with a higher order are cancelled) or "continue"`, shorten(string(text)))
}

// The limits of a schedule that a workflow brings.
const (
	maxRetries   = 50
	maxRetryWait = 7 * 24 * time.Hour
)

// parseSchedule reads a list of waits: ["5s", "5m", "2h", "1d"], or seconds as numbers.
func parseSchedule(text json.RawMessage) (Schedule, error) {
	const mend = `write a list of the waits after each failed attempt, as ["5s", "5m", "2h", "1d"]; [] for a single attempt`
	var list []any
	if err := json.Unmarshal(text, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%s is no list; %s", shorten(string(text)), mend)
	}
	if len(list) > maxRetries {
		return nil, fmt.Errorf("%d waits are too many; the most are %d", len(list), maxRetries)
	}
	s := make(Schedule, 0, len(list))
	for _, v := range list {
		d, err := ParseDuration(v)
		if err != nil {
			return nil, fmt.Errorf("%w; %s", err, mend)
		}
		if d < 0 || d > maxRetryWait {
			return nil, fmt.Errorf("a wait of %v is out of range; use 0s to 7d", v)
		}
		s = append(s, d)
	}
	return s, nil
}

// ParseDuration reads a duration from JSON: "90s", "5m", "2h", "1d", or a number of
// seconds.
func ParseDuration(v any) (time.Duration, error) {
	switch v := v.(type) {
	case float64:
		if v >= 0 && v <= 1e9 { // what a Duration can hold, and more than any limit
			return time.Duration(v * float64(time.Second)), nil
		}
	case string:
		if days, ok := strings.CutSuffix(v, "d"); ok {
			if n, err := strconv.ParseUint(days, 10, 16); err == nil {
				return time.Duration(n) * 24 * time.Hour, nil
			}
		}
		if d, err := time.ParseDuration(v); err == nil {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%s is not a duration, as 90s, 5m, 2h or 1d", shorten(fmt.Sprintf("%#v", v)))
}

// recipientsOf are the recipients of an action: its own and those of all actions.
func recipientsOf(w *workflow.Workflow, a workflow.Action) ([]workflow.Recipient, error) {
	var list []workflow.Recipient
	for _, r := range w.Recipients {
		if r.ActionID != nil && *r.ActionID != a.ID {
			continue
		}
		switch r.Type {
		case "user", "role", "group", "attribute":
			if !slices.ContainsFunc(list, func(have workflow.Recipient) bool { return have.Type == r.Type && have.Value == r.Value }) {
				list = append(list, r)
			}
		default:
			return nil, fmt.Errorf("%s is no type of recipient; use user (an id), role, group, or attribute (a column that holds an id or an address)", shorten(r.Type))
		}
	}
	if len(list) == 0 {
		return nil, errors.New("it needs a recipient; add a row to workflow_recipient: a user's id, a role, a group, or attribute with the name of a column that holds an id")
	}
	return list, nil
}

// maxExclusions is how many an action and a workflow's settings may list each.
const maxExclusions = 50

// parseExclude reads who doesn't get what an action sends:
//
//	["actor", {"user": "bob"}, {"role": "intern"}, {"group": "board"}, {"attribute": "created_by"}]
func parseExclude(text json.RawMessage) ([]workflow.Exclusion, error) {
	const mend = `write a list, as ["actor", {"user": "bob"}, {"role": "intern"}, {"group": "board"}, {"attribute": "created_by"}]`
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("%s is no list; %s", shorten(string(text)), mend)
	}
	if len(items) > maxExclusions {
		return nil, fmt.Errorf("%d are too many; the most are %d: make a role or a group of them", len(items), maxExclusions)
	}
	var list []workflow.Exclusion
	for _, item := range items {
		var word string
		var one map[string]string
		switch {
		case json.Unmarshal(item, &word) == nil && word == "actor":
			list = append(list, workflow.Exclusion{Type: "actor"})
		case json.Unmarshal(item, &one) == nil && len(one) == 1:
			for of, value := range one {
				if !slices.Contains([]string{"user", "role", "group", "attribute"}, of) || value == "" {
					return nil, fmt.Errorf("%s excludes nobody; %s", shorten(string(item)), mend)
				}
				list = append(list, workflow.Exclusion{Type: of, Value: value})
			}
		default:
			return nil, fmt.Errorf("%s excludes nobody; %s", shorten(string(item)), mend)
		}
	}
	return list, nil
}

// shorten cuts what a message quotes.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
