package sentence

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/workflow"
)

const maxLine = 100 // characters of Line

// Changes says what is different in after, a line each, in a fixed order. nil before is
// a workflow that was not there yet, nil after one that is gone. Secrets, headers and
// what a URL may hide are said to have changed, and never shown.
func Changes(before, after *workflow.Workflow) []string {
	switch {
	case before == nil && after == nil:
		return nil
	case before == nil:
		return []string{"created"}
	case after == nil:
		return []string{"deleted"}
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, clean(fmt.Sprintf(format, args...), 2000)) }
	if before.Name != after.Name {
		say("renamed from %s to %s", quote(before.Name, maxValue), quote(after.Name, maxValue))
	}
	switch b, a := before.Description, after.Description; {
	case a == b:
	case a == "":
		say("description removed")
	case b == "":
		say("description added: %s", quote(a, maxQuoted))
	default:
		say("description changed to %s", quote(a, maxQuoted))
	}
	if before.Status != after.Status {
		switch after.Status {
		case workflow.Active:
			say("turned on")
		case workflow.Inactive:
			say("turned off")
		case workflow.Draft:
			say("made a draft")
		default:
			say("status changed to %s", word(string(after.Status)))
		}
	}
	if b, a := tenant(before), tenant(after); b != a {
		say("now for %s, no longer for %s", a, b)
	}
	settingsChanges(say, before, after)
	triggerChanges(say, before, after)
	conditionChanges(say, before, after)
	actionChanges(say, before, after)
	recipientChanges(say, before, after)
	templateChanges(say, before, after)
	return lines
}

// Line says what changed in at most 100 characters: as many of the changes as there is
// room for, and how many more there are.
func Line(before, after *workflow.Workflow) string {
	return Shorten(Changes(before, after))
}

// Shorten makes one line of what Changes returns; see Line.
func Shorten(lines []string) string {
	if len(lines) == 0 {
		return "nothing changed"
	}
	for n := len(lines); n > 0; n-- {
		text := strings.Join(lines[:n], "; ")
		if rest := len(lines) - n; rest > 0 {
			text += fmt.Sprintf("; %d more", rest)
		}
		if utf8.RuneCountInString(text) <= maxLine {
			return text
		}
	}
	more := ""
	if len(lines) > 1 {
		more = fmt.Sprintf("; %d more", len(lines)-1)
	}
	runes := []rune(lines[0])
	return strings.TrimRight(string(runes[:min(len(runes), maxLine-1-len(more))]), " ,;:") + "…" + more
}

func tenant(w *workflow.Workflow) string {
	if w.TenantID == nil {
		return "all tenants"
	}
	return "tenant " + word(*w.TenantID)
}

// templateChanges names the stored templates whose texts are different for the workflow.
func templateChanges(say func(string, ...any), before, after *workflow.Workflow) {
	names := slices.Concat(slices.Collect(maps.Keys(before.Templates)), slices.Collect(maps.Keys(after.Templates)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		b, a := before.Templates[name], after.Templates[name]
		switch {
		case b == nil:
			say("template %s used", quote(name, maxValue))
		case a == nil:
			say("template %s not used any more", quote(name, maxValue))
		case !maps.Equal(b, a):
			say("template %s changed", quote(name, maxValue))
		}
	}
}

func settingsChanges(say func(string, ...any), before, after *workflow.Workflow) {
	b, bOK := asObject(before.Settings)
	a, aOK := asObject(after.Settings)
	if !bOK || !aOK {
		if !equal(before.Settings, after.Settings) {
			say("settings changed")
		}
		return
	}
	if w, i := firing(before), firing(after); w != i {
		say("now fires %s, no longer %s", i, w)
	}
	testChanges(say, b, a)
	said := func(m member) bool { return m.key == "firing" || m.key == workflow.TestsKey }
	for _, change := range objectChanges(nil, slices.DeleteFunc(b, said), slices.DeleteFunc(a, said)) {
		say("setting %s", change)
	}
}

// testChanges says which saved tests changed, by their names.
func testChanges(say func(string, ...any), b, a object) {
	was, _ := b.get(workflow.TestsKey)
	is, _ := a.get(workflow.TestsKey)
	if text(sorted(was)) == text(sorted(is)) {
		return
	}
	befores, beforeNames, ok1 := testsByName(was)
	afters, afterNames, ok2 := testsByName(is)
	if !ok1 || !ok2 {
		say("tests changed")
		return
	}
	said := false
	for _, name := range afterNames {
		before, had := befores[name]
		switch {
		case !had:
			say("test added: %s", quote(name, maxValue))
		case before != afters[name]:
			say("test changed: %s", quote(name, maxValue))
		default:
			continue
		}
		said = true
	}
	for _, name := range beforeNames {
		if _, has := afters[name]; !has {
			say("test removed: %s", quote(name, maxValue))
			said = true
		}
	}
	if !said {
		say("tests in another order")
	}
}

// testsByName has the text of each test by its name, and the names in order; false if they
// are no tests, or two have one name.
func testsByName(v any) (texts map[string]string, names []string, ok bool) {
	list, isList := v.([]any)
	if v != nil && !isList {
		return nil, nil, false
	}
	texts = make(map[string]string)
	for _, e := range list {
		o, _ := e.(object)
		named, _ := o.get("name")
		name, isText := named.(string)
		if _, twice := texts[name]; !isText || twice {
			return nil, nil, false
		}
		texts[name] = text(sorted(e))
		names = append(names, name)
	}
	return texts, names, true
}

func firing(w *workflow.Workflow) string {
	f, err := w.Firing()
	switch {
	case err != nil:
		return "in a way that can't be read"
	case f == workflow.BecomesTrue:
		return "when a row begins to match"
	case f == workflow.OncePerRow:
		return "once for each row"
	}
	return "for every matching change"
}

// pair is one part of a workflow before and after; -1 where it is not there.
type pair struct{ before, after int }

// pairs matches parts: by their content, so that ones that were written anew are the same
// as they were; then by id; then, of what is left, those that are alike. New ones stand
// where they are in after, removed ones at the end.
func pairs(befores, afters int, tests ...func(b, a int) bool) []pair {
	taken := make([]bool, befores)
	of := make([]int, afters)
	for a := range of {
		of[a] = -1
	}
	for _, test := range tests {
		for a := range of {
			for b := 0; of[a] < 0 && b < befores; b++ {
				if !taken[b] && test(b, a) {
					of[a], taken[b] = b, true
				}
			}
		}
	}
	var list []pair
	for a, b := range of {
		list = append(list, pair{b, a})
	}
	for b := range befores {
		if !taken[b] {
			list = append(list, pair{b, -1})
		}
	}
	return list
}

func triggerChanges(say func(string, ...any), before, after *workflow.Workflow) {
	bs, as := before.Triggers, after.Triggers
	same := func(b, a int) bool {
		return bs[b].EntityLabel() == as[a].EntityLabel() && bs[b].Operation == as[a].Operation && bs[b].Priority == as[a].Priority &&
			equalConditions(bs[b].FieldConditions, as[a].FieldConditions)
	}
	for _, p := range pairs(len(bs), len(as),
		func(b, a int) bool { return bs[b].ID == as[a].ID && same(b, a) }, same,
		func(b, a int) bool { return bs[b].ID == as[a].ID && bs[b].ID != "" },
		func(b, a int) bool {
			return bs[b].EntityLabel() == as[a].EntityLabel() && bs[b].Operation == as[a].Operation
		},
	) {
		switch {
		case p.before < 0:
			say("trigger added: %s", Trigger(as[p.after]))
		case p.after < 0:
			say("trigger removed: %s", Trigger(bs[p.before]))
		case !same(p.before, p.after):
			b, a := bs[p.before], as[p.after]
			was, is := Trigger(b), Trigger(a)
			switch more, less := factChanges(b, a); {
			case b.EntityLabel() == a.EntityLabel() && b.Operation == a.Operation && more+less != "":
				say("trigger changed: %s, %s", onlyEvent(a), inPlaceOf(more, less))
			case was != is:
				say("trigger changed: %s (before: %s)", is, was)
			case !equalConditions(b.FieldConditions, a.FieldConditions):
				say("trigger changed in its details: %s", is)
			}
			if b.Priority != a.Priority {
				say("priority of the trigger (%s) changed from %d to %d", is, b.Priority, a.Priority)
			}
		}
	}
}

// onlyEvent is a trigger without what it asks for: when an order is updated.
func onlyEvent(t workflow.Trigger) string {
	t.FieldConditions = nil
	return "when " + Trigger(t)
}

func inPlaceOf(more, less string) string {
	switch {
	case less == "":
		return "now only if " + more
	case more == "":
		return "no longer only if " + less
	}
	return "now if " + more + " (before: if " + less + ")"
}

// factChanges says what a trigger asks for that it didn't before, and no longer.
func factChanges(b, a workflow.Trigger) (more, less string) {
	was, is := facts(b), facts(a)
	difference := func(list, other []string) string {
		return join(slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) }), "and")
	}
	return difference(is, was), difference(was, is)
}

// facts are what a trigger asks for, each by itself.
func facts(t workflow.Trigger) []string {
	c := ofRow.form("field_conditions", t.FieldConditions)
	if c == nil {
		return nil
	}
	if c = c.simple(); c.join != "and" {
		return []string{c.top(maxClauses)}
	}
	var list []string
	for _, k := range c.kids {
		list = append(list, k.top(maxClauses))
	}
	return list
}

func conditionChanges(say func(string, ...any), before, after *workflow.Workflow) {
	bs, as := before.Conditions, after.Conditions
	same := func(b, a int) bool { return bs[b].Type == as[a].Type && equalConditions(bs[b].Config, as[a].Config) }
	for _, p := range pairs(len(bs), len(as),
		same,
		func(b, a int) bool { return bs[b].ID == as[a].ID && bs[b].ID != "" },
		func(b, a int) bool { return bs[b].Type == as[a].Type },
	) {
		switch {
		case p.before < 0:
			say("condition added: %s", Condition(as[p.after]))
		case p.after < 0:
			say("condition removed: %s", Condition(bs[p.before]))
		case !same(p.before, p.after):
			if was, is := Condition(bs[p.before]), Condition(as[p.after]); was != is {
				say("condition changed: %s (before: %s)", is, was)
			} else {
				say("condition changed in its details: %s", is)
			}
		}
	}
}

func actionChanges(say func(string, ...any), before, after *workflow.Workflow) {
	for _, p := range actionPairs(before, after) {
		switch {
		case p.before < 0:
			say("action added: %s", Action(after.Actions[p.after], after.Recipients))
		case p.after < 0:
			say("action removed: %s", Action(before.Actions[p.before], before.Recipients))
		default:
			actionChange(say, before.Actions[p.before], after.Actions[p.after])
		}
	}
}

func actionPairs(before, after *workflow.Workflow) []pair {
	bs, as := before.Actions, after.Actions
	same := func(b, a int) bool {
		return bs[b].Type == as[a].Type && bs[b].Order == as[a].Order && equal(bs[b].Config, as[a].Config)
	}
	sameID := func(b, a int) bool { return bs[b].ID == as[a].ID && bs[b].ID != "" }
	return pairs(len(bs), len(as),
		func(b, a int) bool { return sameID(b, a) && same(b, a) }, same, sameID,
		func(b, a int) bool { return bs[b].Type == as[a].Type && bs[b].Order == as[a].Order },
		func(b, a int) bool { return bs[b].Type == as[a].Type },
	)
}

func actionChange(say func(string, ...any), b, a workflow.Action) {
	if b.Type != a.Type {
		say("action changed: %s (before: %s)", Action(a, nil), Action(b, nil))
	} else {
		was, bOK := asObject(b.Config)
		is, aOK := asObject(a.Config)
		switch {
		case bOK && aOK:
			onlyIfChange(say, b, a, was, is)
			own := func(m member) bool { return m.key == workflow.OnlyIfKey }
			for _, change := range objectChanges(nil, slices.DeleteFunc(was, own), slices.DeleteFunc(is, own)) {
				say("%s: %s", called(a), change)
			}
		case !equal(b.Config, a.Config):
			say("%s: configuration changed", called(a))
		}
	}
	if b.Order != a.Order {
		say("%s: order changed from %d to %d", called(a), b.Order, a.Order)
	}
}

// onlyIfChange says how an action's own conditions changed.
func onlyIfChange(say func(string, ...any), b, a workflow.Action, was, is object) {
	before, _ := was.get(workflow.OnlyIfKey)
	after, _ := is.get(workflow.OnlyIfKey)
	if text(sorted(before)) == text(sorted(after)) {
		return
	}
	switch b, now := onlyIf(b), onlyIf(a); {
	case b == now && b == "": // nothing, in two ways
	case b == now:
		say("%s: only if changed in its details: %s", called(a), now)
	case b == "":
		say("%s: now only if %s", called(a), now)
	case now == "":
		say("%s: no longer only if %s", called(a), b)
	default:
		say("%s: now only if %s (before: only if %s)", called(a), now, b)
	}
}

// called is how a change refers to an action: webhook to hooks.example.com.
func called(a workflow.Action) string {
	said := word(cmp.Or(a.Type, "action"))
	if o, ok := asObject(a.Config); ok && a.Type == "webhook" {
		if h := host(o); h != "" {
			said += " to " + h
		}
	}
	return said
}

// objectChanges says which keys changed, below objects too.
func objectChanges(path []string, b, a object) []string {
	var said []string
	for _, key := range keys(b, a) {
		was, had := b.get(key)
		is, has := a.get(key)
		if had == has && text(sorted(was)) == text(sorted(is)) {
			continue
		}
		at := append(slices.Clone(path), key)
		below, wasObject := was.(object)
		above, isObject := is.(object)
		if (wasObject || !had) && (isObject || !has) && len(path) < 4 && !reference(below) && !reference(above) {
			if more := objectChanges(at, below, above); len(more) > 0 {
				said = append(said, more...)
				continue
			}
		}
		said = append(said, keyChange(at, was, is, had, has))
	}
	return said
}

// reference says that o stands for a secret.
func reference(o object) bool {
	_, ok := o.get("ref")
	return ok
}

var secretKey = regexp.MustCompile(`(?i)secret|passw|pwd|token|auth|credential|cookie|signature|api.?key|private|access.?key|^key$`)

// keyChange says how the value at a path changed: "timeout changed from 10s to 5s".
func keyChange(path []string, was, is any, had, has bool) string {
	names := make([]string, len(path))
	hidden := false
	for i, k := range path {
		names[i] = name(k)
		hidden = hidden || secretKey.MatchString(k) || k == "headers"
	}
	said := strings.Join(names, ".")
	if len(path) == 2 && path[0] == "headers" {
		said = "header " + quotedHeader(path[1])
	}
	show := func(v any) string { return shown(path[len(path)-1], v) }
	hidden = hidden || secretive(was) || secretive(is)
	switch {
	case !had && hidden:
		return said + " added"
	case !had:
		return said + " added: " + show(is)
	case !has:
		return said + " removed"
	case hidden:
		return said + " changed"
	}
	if b, a := show(was), show(is); b != a {
		return said + " changed from " + b + " to " + a
	}
	return said + " changed" // behind what is shown
}

var plainHeader = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)

func quotedHeader(s string) string {
	if plainHeader.MatchString(s) {
		return s
	}
	return quote(s, maxName)
}

// secretive says that a value holds a secret at any depth: a reference to one, a key that
// is called so, or what looks like one.
func secretive(v any) bool {
	switch v := v.(type) {
	case object:
		return reference(v) || slices.ContainsFunc(v, func(m member) bool {
			return secretKey.MatchString(m.key) || m.key == "headers" || secretive(m.value)
		})
	case []any:
		return slices.ContainsFunc(v, secretive)
	case string:
		return strings.HasPrefix(v, "whsec_") || strings.HasPrefix(v, "whsk_")
	}
	return false
}

// shown is a value as a change shows it: of a URL what is no secret.
func shown(key string, v any) string {
	s, ok := v.(string)
	if !ok {
		if list, ok := v.([]any); ok {
			said := make([]string, len(list))
			for i, e := range list {
				if said[i] = shown("", e); len(said[i]) > maxValue {
					said[i] = clean(said[i], maxValue)
				}
			}
			if len(said) == 0 {
				return "none"
			}
			return some(said, "and")
		}
		return value(v)
	}
	if u, err := url.Parse(s); key == "url" || err == nil && u.Scheme != "" && u.Host != "" {
		if err != nil || u.Host == "" {
			return "one that can't be read"
		}
		// Not more of it: paths hold tokens as well (those of chat webhooks do).
		if said := u.Scheme + "://" + u.Host; isPlainHost(u.Host) {
			return said
		}
		return quote(u.Scheme+"://"+u.Host, maxValue)
	}
	if plainDuration.MatchString(s) {
		return s
	}
	return word(s)
}

var plainDuration = regexp.MustCompile(`^(\d+(\.\d+)?[a-z]{1,2})+$`)

// recipientChanges compares by content: who gets what. An action is the same one as
// actionPairs says.
func recipientChanges(say func(string, ...any), before, after *workflow.Workflow) {
	newID := map[string]string{} // of actions: before → after
	told := map[string]bool{}    // actions whose recipients were told with them
	for _, p := range actionPairs(before, after) {
		switch {
		case p.before < 0:
			told[after.Actions[p.after].ID] = true
		case p.after < 0:
			told[before.Actions[p.before].ID] = true
		default:
			newID[before.Actions[p.before].ID] = after.Actions[p.after].ID
		}
	}
	type key struct {
		all                 bool
		action, kind, value string
	}
	keyOf := func(r workflow.Recipient, ids map[string]string) key {
		k := key{all: r.ActionID == nil, kind: r.Type, value: r.Value}
		if r.ActionID != nil {
			k.action = *r.ActionID
			if id, ok := ids[k.action]; ok {
				k.action = id
			}
		}
		return k
	}
	skip := func(r workflow.Recipient) bool { return r.ActionID != nil && told[*r.ActionID] }
	left := map[key]int{}
	for _, r := range before.Recipients {
		left[keyOf(r, newID)]++
	}
	for _, r := range after.Recipients {
		if k := keyOf(r, nil); left[k] > 0 {
			left[k]--
			continue
		}
		if skip(r) {
			continue
		}
		say("recipient added: %s%s", recipient(r, "row"), forAction(r, after))
	}
	for _, r := range before.Recipients {
		if k := keyOf(r, newID); left[k] > 0 && !skip(r) {
			left[k]--
			say("recipient removed: %s%s", recipient(r, "row"), forAction(r, before))
		}
	}
}

func forAction(r workflow.Recipient, w *workflow.Workflow) string {
	if r.ActionID == nil {
		return ""
	}
	for _, a := range w.Actions {
		if a.ID == *r.ActionID {
			return " (for the " + called(a) + ")"
		}
	}
	return " (for an action that is not there)"
}

// asObject reads an object; nothing, and null, are an empty one.
func asObject(raw json.RawMessage) (object, bool) {
	j, err := parse(raw)
	o, ok := j.(object)
	return o, err == nil && (ok || j == nil)
}

// keys are those of both, sorted.
func keys(a, b object) []string {
	var list []string
	for _, o := range []object{a, b} {
		for _, m := range o {
			list = append(list, m.key)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// equal compares two JSON values; the order of keys is nothing.
func equal(a, b json.RawMessage) bool {
	ja, errA := parse(a)
	jb, errB := parse(b)
	if errA != nil || errB != nil {
		return errA != nil && errB != nil && bytes.Equal(a, b)
	}
	return text(sorted(ja)) == text(sorted(jb))
}

// equalConditions takes nothing, null and an empty object as the same.
func equalConditions(a, b json.RawMessage) bool {
	return equal(a, b) || nothing(a) && nothing(b)
}

func nothing(raw json.RawMessage) bool {
	j, err := parse(raw)
	if err != nil {
		return false
	}
	switch j := j.(type) {
	case nil:
		return true
	case object:
		return len(j) == 0
	case []any:
		return len(j) == 0
	}
	return false
}

// sorted is a value with the keys of its objects in order.
func sorted(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = sorted(e)
		}
		return list
	case object:
		o := make(object, len(v))
		for i, m := range v {
			o[i] = member{m.key, sorted(m.value)}
		}
		slices.SortFunc(o, func(a, b member) int { return cmp.Compare(a.key, b.key) })
		return o
	}
	return v
}
