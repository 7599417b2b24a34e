package sentence

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const maxTriggers = 5

// Of says in one sentence, on one line, what a workflow does. It never fails: what is
// broken or not there yet is said to be so. Whether the workflow is active is no part of it.
func Of(w *workflow.Workflow) string {
	if w == nil {
		return "There is no workflow."
	}
	var prefix []string
	if w.TenantID == nil {
		prefix = append(prefix, "for all tenants")
	}
	rest := conditions(w.Conditions)
	if rest.when != "" {
		prefix = append(prefix, rest.when)
	}
	events := collect(w.Triggers)
	of := "row"
	if len(events) > 0 && !slices.ContainsFunc(events, func(e event) bool { return !e.domain }) {
		of = "event"
	}
	do := does(w, of)
	if len(events) == 0 {
		return nothingSets(prefix, rest, do)
	}
	if do == "" {
		do = "nothing is done yet"
	} else if critical, err := w.Critical(); err == nil && critical {
		do += ", whatever people opted out of, and in quiet hours too"
	}
	firing, err := w.Firing()
	var said string
	switch {
	case err != nil:
		said = "when " + every(events, rest) + " (how often can't be read)"
	case firing == workflow.OncePerRow:
		said = once(events, rest)
	case firing == workflow.BecomesTrue:
		said = "when " + becoming(events, rest)
	default:
		said = "when " + every(events, rest)
	}
	return capital(strings.Join(append(prefix, said, do), ", ")) + "."
}

func nothingSets(prefix []string, rest common, do string) string {
	begin := "Nothing sets it off yet"
	if do == "" {
		return begin + ", and it does nothing yet."
	}
	once := "once something does"
	if rest.by != "" {
		once += " (" + rest.by + ")"
	}
	if rest.of != nil {
		once += " and " + rest.of.String() + ","
	}
	if len(prefix) > 0 {
		once = strings.Join(prefix, ", ") + ", " + once
	}
	if strings.HasPrefix(do, "if ") { // of an action's own
		return begin + "; " + strings.TrimSuffix(once, ",") + ", it will, " + do + "."
	}
	return begin + "; " + strings.TrimSuffix(once, ",") + ", it will " + do + "."
}

// Trigger says when a trigger holds: "an order is updated and its status becomes approved".
func Trigger(t workflow.Trigger) string {
	e := collect([]workflow.Trigger{t})[0]
	return e.clause(article(e.noun), common{}, false)
}

// Condition says what a condition asks for: "its total is over 1000", "on weekdays
// between 09:00 and 17:30 (UTC)", "by someone with role approver".
func Condition(c workflow.Condition) string {
	all := conditions([]workflow.Condition{c})
	var parts []string
	for _, p := range []string{all.when, all.by} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if all.of != nil {
		parts = append(parts, all.of.String())
	}
	if len(parts) == 0 {
		return "nothing is asked for"
	}
	return strings.Join(parts, ", and ")
}

// common is what a workflow's conditions ask for, whatever the trigger.
type common struct {
	when string  // on weekdays
	by   string  // by someone with role approver
	of   *clause // its total is over 1000; nil nothing
}

func conditions(list []workflow.Condition) common {
	var c common
	var when, by []string
	var kids []*clause
	for i, cond := range list {
		what := name(cond.Type)
		if len(list) > 1 {
			what = fmt.Sprintf("condition %d", i+1)
		}
		cond = asForm(cond)
		switch cond.Type {
		case "field_value":
			if k := ofRow.form(what, cond.Config); k != nil {
				kids = append(kids, k)
			} else {
				kids = append(kids, unreadable(what+" is empty"))
			}
		case "expression":
			if source, ok := expressionText(cond); ok {
				kids = append(kids, expression(source))
			} else {
				kids = append(kids, unreadable(what))
			}
		case "time_based":
			at, of := timed(cond.Config)
			if at != "" {
				when = append(when, at)
			}
			if of != nil {
				kids = append(kids, of)
			}
		case "role_based":
			by = append(by, roles(cond.Config))
		default:
			kids = append(kids, unreadable("of kind "+quote(cond.Type, maxName)))
		}
	}
	c.when, c.by = and(when), and(by)
	if len(kids) > 0 {
		c.of = group("and", kids)
	}
	return c
}

// asForm is the time_based or role_based condition that an expression was written from,
// if it was: in that form it has better words.
func asForm(c workflow.Condition) workflow.Condition {
	if source, ok := expressionText(c); ok && len(source) <= maxWorded {
		if kind, config, ok := condition.FromExpression(source); ok && kind != "field_value" {
			return workflow.Condition{ID: c.ID, Type: kind, Config: config}
		}
	}
	return c
}

func expressionText(c workflow.Condition) (string, bool) {
	if c.Type != "expression" {
		return "", false
	}
	j, err := parse(c.Config)
	o, ok := j.(object)
	if err != nil || !ok || !o.only("expression") {
		return "", false
	}
	v, _ := o.get("expression")
	source, ok := v.(string)
	return source, ok
}

// and joins whole phrases: "on weekdays (UTC) and from 1 May 2026 on (UTC)".
func and(list []string) string {
	if len(list) > maxListed {
		list = append(slices.Clone(list[:fewListed]), count(len(list)-fewListed, "more condition"))
	}
	return join(slices.Compact(list), "and")
}

// event is one or more triggers on one table that ask for the same.
type event struct {
	domain     bool
	entity     string
	noun       string   // order; the event order.paid
	operations []string // in the order of operationNames
	odd        string   // an operation that there isn't
	of         *clause
}

var operationNames = []string{"create", "update", "delete"}

func collect(triggers []workflow.Trigger) []event {
	var events []event
	for _, t := range triggers {
		e := event{domain: t.Domain(), entity: t.EntityLabel()}
		if e.domain {
			e.noun = "event " + eventName(strings.TrimPrefix(t.EntityType, workflow.DomainPrefix))
			e.of = ofRow.form("field_conditions", t.FieldConditions)
			if t.Operation != "create" {
				e.odd = t.Operation
			}
		} else {
			e.noun = noun(e.entity)
			e.of = ofRow.form("field_conditions", t.FieldConditions)
			if slices.Contains(operationNames, t.Operation) {
				e.operations = []string{t.Operation}
			} else {
				e.odd = t.Operation
			}
		}
		at := slices.IndexFunc(events, func(other event) bool {
			return other.entity == e.entity && other.odd == e.odd && sameClause(other.of, e.of)
		})
		if at < 0 {
			events = append(events, e)
			continue
		}
		for _, op := range e.operations {
			if !slices.Contains(events[at].operations, op) {
				events[at].operations = append(events[at].operations, op)
			}
		}
	}
	for i := range events {
		slices.SortFunc(events[i].operations, func(a, b string) int {
			return slices.Index(operationNames, a) - slices.Index(operationNames, b)
		})
	}
	return events
}

func sameClause(a, b *clause) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.join != b.join || a.subject != b.subject || a.is != b.is || len(a.kids) != len(b.kids) {
		return false
	}
	for i := range a.kids {
		if !sameClause(a.kids[i], b.kids[i]) {
			return false
		}
	}
	return true
}

// eventName shows the name of a domain event: order.paid.
func eventName(s string) string {
	if isPlainChannel(s) {
		return s
	}
	if s == "" {
		return "without a name"
	}
	return quote(s, maxName)
}

// happens says the event itself: "an order is created or updated".
func (e event) happens(subject string) string {
	switch {
	case e.domain && e.odd != "":
		return "the " + e.noun + " is sent (operation " + quote(e.odd, maxName) + ", which there isn't)"
	case e.domain:
		return "the " + e.noun + " is sent"
	case len(e.operations) == 0:
		return subject + " changes (operation " + quote(e.odd, maxName) + ", which there isn't)"
	}
	past := map[string]string{"create": "created", "update": "updated", "delete": "deleted"}
	said := make([]string, len(e.operations))
	for i, op := range e.operations {
		said[i] = past[op]
	}
	return subject + " is " + join(said, "or")
}

// clause says the event with what is asked of it.
func (e event) clause(subject string, with common, becomes bool) string {
	of := both(e.of, with.of)
	if !becomes || e.domain || len(e.operations) == 0 || slices.Equal(e.operations, []string{"create"}) {
		said := e.happens(subject)
		switch {
		case strings.HasPrefix(with.by, "not "):
			said += ", but " + with.by
		case with.by != "":
			said += " " + with.by
		}
		if of == nil {
			return said
		}
		if strings.Contains(with.by, "not by ") {
			said += ","
		}
		return said + " and " + of.String()
	}
	doing := map[string]string{"create": "creating", "update": "updating", "delete": "deleting"}
	list := make([]string, len(e.operations))
	for i, op := range e.operations {
		list[i] = doing[op]
	}
	said := join(list, "or") + " " + subject
	if with.by != "" {
		said += " (" + with.by + ")"
	}
	if of == nil {
		return said + " makes it match (but nothing is asked of it)"
	}
	return said + " makes it true that " + of.String()
}

func both(a, b *clause) *clause {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return group("and", []*clause{a, b})
}

// clauses says all events, joined by "or".
func clauses(events []event, when string, with common, becomes bool, subject func(int, event) string) string {
	var said []string
	for i, e := range events {
		if i == maxTriggers-1 && len(events) > maxTriggers {
			said = append(said, fmt.Sprintf("one of %s happens", count(len(events)-i, "other thing")))
			break
		}
		said = append(said, e.clause(subject(i, e), with, becomes))
	}
	return strings.Join(said, ", or "+when)
}

// one is the subject of an event: "an order", and "one" if the last one was about an
// order too.
func one(events []event) func(int, event) string {
	return func(i int, e event) string {
		if i > 0 && !events[i-1].domain && events[i-1].entity == e.entity {
			return "one"
		}
		return article(e.noun)
	}
}

func every(events []event, rest common) string {
	if len(events) == 1 {
		return clauses(events, "", rest, false, one(events))
	}
	return clauses(events, "when ", common{}, false, one(events)) + inEachCase(len(events), rest)
}

// inEachCase says what holds of all events.
func inEachCase(events int, rest common) string {
	in := "in each case"
	if events == 2 {
		in = "in either case"
	}
	switch {
	case rest.by != "" && rest.of != nil:
		return ", " + in + " " + rest.by + ", and only if " + rest.of.String()
	case rest.by != "":
		return ", " + in + " " + rest.by
	case rest.of != nil:
		return ", and " + in + " only if " + rest.of.String()
	}
	return ""
}

func becoming(events []event, rest common) string {
	if len(events) == 1 {
		return clauses(events, "", rest, true, one(events))
	}
	return clauses(events, "when ", common{of: rest.of}, true, one(events)) + inEachCase(len(events), common{by: rest.by})
}

// once says the events of a workflow that runs once for each row.
func once(events []event, rest common) string {
	single := !slices.ContainsFunc(events, func(e event) bool { return e.entity != events[0].entity })
	if slices.ContainsFunc(events, func(e event) bool { return e.domain }) {
		return "when " + every(events, rest) + ", once for each row"
	}
	row, subject := "row", one(events)
	if single {
		row, subject = events[0].noun, func(int, event) string { return "it" }
	}
	begin := "once for each " + row + ", the first time "
	if len(events) == 1 {
		return begin + clauses(events, "", rest, false, subject)
	}
	return begin + clauses(events, "", common{}, false, subject) + inEachCase(len(events), rest)
}
