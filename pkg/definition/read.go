package definition

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Document is a workflow as a file has it.
type Document struct {
	Workflow workflow.Workflow
	// Has says which of its keys the file has.
	Has map[string]bool

	base   int32  // of a draft; 0 without
	by     string // of a draft
	root   *node
	places map[string]*node   // by path: triggers[0].field_conditions
	parts  map[string][]*node // triggers, conditions, actions, recipients
	file   string
	source File
}

// File is where it comes from.
func (d *Document) File() string { return d.file }

// partName is how problems name parts: trigger 2 (orders update), condition 1 (expression).
var partName = regexp.MustCompile(`(trigger|condition|action|recipient|test) (\d+)(?: \([^)]*\))?(?:, field_conditions)?`)

// onlyIfName is how they name an action's own conditions: action 2 (webhook), only_if,
// condition 1 (field_value).
var onlyIfName = regexp.MustCompile(`action (\d+)(?: \([^)]*\))?, only_if(?:, condition (\d+)(?: \([^)]*\))?)?`)

// Place is where in the file something stands, as file:line:column, that a
// match.Problem's Where names: "trigger 1 (orders update), field_conditions.total.gt". What
// can't be found stands where that begins which it is a part of; at worst it is the file.
func (d *Document) Place(where string) string {
	line, column := d.place(where)
	if line == 0 {
		return d.file
	}
	return fmt.Sprintf("%s:%d:%d", d.file, line, column)
}

// Pointer is the same as a JSON pointer in a URI fragment, #/triggers/0/field_conditions;
// "#" if it can't be found.
func (d *Document) Pointer(where string) string {
	line, column := d.place(where)
	at := place{line, column}
	return cmp.Or(d.root.pointers(map[place]bool{at: true})[at], "#")
}

func (d *Document) place(where string) (line, column int) {
	at := member{}
	rest := ""
	if own := onlyIfName.FindStringSubmatchIndex(where); own != nil {
		return d.placeOwn(where, own)
	}
	if found := partName.FindAllStringSubmatchIndex(where, -1); found != nil {
		last := found[len(found)-1]
		kind, number := where[last[2]:last[3]], where[last[4]:last[5]]
		nodes := d.parts[kind+"s"]
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > len(nodes) {
			return 0, 0
		}
		at = member{value: nodes[n-1], line: nodes[n-1].line, column: nodes[n-1].column}
		config := map[string]string{"trigger": "field_conditions", "condition": "condition_config"}[kind]
		if v := at.value.get(config); v != nil {
			rest = where[last[1]:]
			at.value = v
			if e := v.get("expression"); e != nil && kind == "condition" {
				at.line, at.column = e.line, e.column
			}
		}
	} else if key, _, _ := strings.Cut(where, ":"); d.places[key] != nil {
		at = member{value: d.places[key], line: d.places[key].line, column: d.places[key].column}
	}
	if at.value == nil {
		return 0, 0
	}
	at = at.walk(rest)
	return at.line, at.column
}

// placeOwn is place for an action's own conditions, which were found at these indexes of where.
func (d *Document) placeOwn(where string, found []int) (line, column int) {
	nodes := d.parts["actions"]
	n, err := strconv.Atoi(where[found[2]:found[3]])
	if err != nil || n < 1 || n > len(nodes) {
		return 0, 0
	}
	at := member{value: nodes[n-1], line: nodes[n-1].line, column: nodes[n-1].column}
	at = at.walk(".action_config").walk("." + workflow.OnlyIfKey)
	if found[4] < 0 {
		return at.line, at.column
	}
	n, err = strconv.Atoi(where[found[4]:found[5]])
	if err != nil || n < 1 || n > len(at.value.items) {
		return at.line, at.column
	}
	at = at.walk(fmt.Sprintf("[%d]", n-1))
	config := at.walk(".condition_config")
	if e := config.walk(".expression"); e.value != config.value {
		return e.line, e.column
	}
	if config.value != at.value {
		at = config.walk(where[found[1]:])
	}
	return at.line, at.column
}

// walk follows a path of keys and numbers, ".any[1].total", as far as there is one.
func (m member) walk(path string) member {
	for {
		next := member{}
		length := 0
		switch {
		case strings.HasPrefix(path, "."):
			for _, inner := range m.value.members {
				after, ok := strings.CutPrefix(path[1:], inner.key)
				if ok && (after == "" || after[0] == '.' || after[0] == '[') && len(inner.key)+1 > length {
					next, length = inner, len(inner.key)+1
				}
			}
		case strings.HasPrefix(path, "["):
			number, _, _ := strings.Cut(path[1:], "]")
			if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < len(m.value.items) {
				item := m.value.items[n]
				next, length = member{value: item, line: item.line, column: item.column}, len(number)+2
			}
		}
		if next.value == nil {
			return m
		}
		m, path = next, path[length:]
	}
}

// IsFile tells a file from an id, which has no dot; - is standard input.
func IsFile(name string) bool { return strings.ContainsAny(name, "./") || name == "-" }

// ReadFile reads a workflow from a file as Read does; - is standard input, as YAML.
func ReadFile(name string) (*Document, error) {
	name, data, err := readBytes(name)
	if err != nil {
		return nil, err
	}
	return Read(name, data)
}

// Read reads a workflow from YAML or JSON, strictly. The error joins a *Problem for each
// thing that is wrong. name is the file's, for them; one that ends in .json is JSON.
func Read(name string, data []byte) (*Document, error) {
	return read(name, data, strings.HasSuffix(name, ".json"), false)
}

// readDraft reads what workflow_definition.draft holds.
func readDraft(id string, data []byte) (*Document, error) {
	return read("the draft of workflow "+id, data, true, true)
}

func read(name string, data []byte, isJSON, draft bool) (*Document, error) {
	if len(data) > maxFile {
		return nil, &Problem{File: name, Message: fmt.Sprintf("it has %d bytes, and a workflow at most %d", len(data), maxFile)}
	}
	parse := parseYAML
	if isJSON {
		parse = parseJSON
	}
	root, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	if root.get(templateKey) != nil && !draft {
		at := root.get(templateKey)
		return nil, &Problem{File: name, Line: at.line, Column: at.column, Message: "it is a stored template, and a workflow belongs here"}
	}
	d, err := readTree(name, root, draft)
	if err == nil {
		d.source = File{name, string(data)}
	}
	return d, err
}

// readTree makes a workflow of a tree.
func readTree(name string, root *node, draft bool) (*Document, error) {
	d := &Document{root: root, Has: make(map[string]bool), places: make(map[string]*node), parts: make(map[string][]*node), file: name}
	r := &reader{doc: d, name: name}
	r.workflow(root, draft)
	if err := r.err(root); err != nil {
		return nil, err
	}
	return d, nil
}

// reader makes a workflow of a tree.
type reader struct {
	doc      *Document
	name     string
	problems []*Problem
	failed   int // how many there are, of which problems has the first
}

// mostProblems is how many of the things that are wrong with a file are told.
const mostProblems = 100

func (r *reader) fail(line, column int, format string, args ...any) {
	r.failed++
	if len(r.problems) == mostProblems {
		return
	}
	r.problems = append(r.problems, &Problem{File: r.name, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// The keys of a document, in the order in which they are written.
var (
	documentKeys  = []string{"name", "description", "status", "tenant_id", "id", "settings", "triggers", "conditions", "actions", "recipients", "tests"}
	triggerKeys   = []string{"entity_type", "operation", "field_conditions", "priority", "id"}
	conditionKeys = []string{"condition_type", "condition_config", "id"}
	actionKeys    = []string{"action_type", "action_config", "order", "id"}
	recipientKeys = []string{"recipient_type", "recipient_id", "action_id", "id"}

	recipientTypes = []string{"user", "role", "group", "attribute"}
	operationWords = []string{"create", "update", "delete"}
	statusWords    = []string{string(workflow.Draft), string(workflow.Active), string(workflow.Inactive)}
)

// mostParts is how many parts of a kind a document may have, and what to do about more. Each is
// a row, and a transaction that writes rows of a workflow makes its version for each of them.
var mostParts = map[string]struct {
	most int
	mend string
}{
	"triggers":   {match.MostTriggers, "split it"},
	"conditions": {match.MostConditions, "join them in one form or expression"},
	"actions":    {50, "split it"},
	"recipients": {200, "name a role or a group in their place"},
}

// err joins what is wrong, with where it stands in root.
func (r *reader) err(root *node) error {
	wanted := make(map[place]bool)
	for _, p := range r.problems {
		wanted[place{p.Line, p.Column}] = true
	}
	pointers := root.pointers(wanted)
	var list []error
	for _, p := range r.problems {
		p.Pointer = pointers[place{p.Line, p.Column}]
		list = append(list, p)
	}
	if more := r.failed - len(r.problems); more > 0 {
		list = append(list, &Problem{File: r.name, Message: "and " + counted(more, "more thing is wrong", "more things are wrong")})
	}
	return errors.Join(list...)
}

// keys refuses what n has beside these keys, and returns false if it is no mapping.
func (r *reader) keys(n *node, what string, keys []string) bool {
	if n.kind != mapping {
		r.fail(n.line, n.column, "%s is a mapping of keys (%s), not %s", what, strings.Join(keys, ", "), n.kind)
		return false
	}
	for _, m := range n.members {
		if slices.Contains(keys, m.key) {
			continue
		}
		mend := spelling.Mend(m.key, keys)
		if mend == "" {
			mend = "there are " + strings.Join(keys, ", ")
		}
		r.fail(m.line, m.column, "unknown key %q in %s; %s", m.key, what, mend)
	}
	return true
}

func (r *reader) workflow(root *node, draft bool) {
	keys := documentKeys
	if draft {
		keys = []string{"name", "description", "settings", "triggers", "conditions", "actions", "recipients", "base", "by"}
	}
	if !r.keys(root, "a workflow", keys) {
		return
	}
	w := &r.doc.Workflow
	for _, m := range root.members {
		r.doc.Has[m.key] = true
		r.doc.places[m.key] = m.value
	}
	w.Name = r.text(root, "name", "")
	w.Description = r.text(root, "description", "")
	w.ID = r.id(root, "id")
	if n := root.get("tenant_id"); n != nil && n.kind != null {
		tenant := r.text(root, "tenant_id", "")
		w.TenantID = &tenant
	}
	w.Status = workflow.Status(r.word(root, "status", statusWords...))
	w.Settings = r.settings(root, draft)
	r.doc.base = r.number(root, "base", 0)
	r.doc.by = r.text(root, "by", "")
	ids := map[string]*node{}
	id := func(n *node) string {
		text := r.id(n, "id")
		if text == "" {
			return ""
		}
		if ids[text] != nil {
			r.fail(n.get("id").line, n.get("id").column, "id %q stands there twice", text)
		}
		ids[text] = n
		return text
	}
	each := func(key, what string, keys []string, f func(n *node)) {
		of := root.get(key)
		if of == nil || of.kind == null {
			return
		}
		if of.kind != list {
			r.fail(of.line, of.column, "%s is a list of %ss, not %s", key, what, of.kind)
			return
		}
		if limit := mostParts[key]; len(of.items) > limit.most {
			r.fail(of.line, of.column, "it has %d %s, at most %d are taken; %s", len(of.items), key, limit.most, limit.mend)
		}
		clear(ids) // they are unique among their like
		for _, n := range of.items {
			r.doc.parts[key] = append(r.doc.parts[key], n)
			if r.keys(n, article(what), keys) {
				f(n)
			}
		}
	}
	w.Triggers, w.Conditions, w.Actions, w.Recipients = []workflow.Trigger{}, []workflow.Condition{}, []workflow.Action{}, []workflow.Recipient{}
	each("triggers", "trigger", triggerKeys, func(n *node) {
		w.Triggers = append(w.Triggers, workflow.Trigger{
			ID: id(n), EntityType: r.needed(n, "entity_type", "the name of a table, as orders"),
			Operation:       r.neededWord(n, "operation", operationWords...),
			FieldConditions: r.object(n, "field_conditions"), Priority: r.number(n, "priority", 100),
		})
	})
	each("conditions", "condition", conditionKeys, func(n *node) {
		w.Conditions = append(w.Conditions, workflow.Condition{
			ID: id(n), Type: r.neededWord(n, "condition_type", condition.Types()...), Config: r.object(n, "condition_config"),
		})
	})
	actions := map[string]bool{}
	each("actions", "action", actionKeys, func(n *node) {
		a := workflow.Action{ID: id(n), Type: r.needed(n, "action_type", "a kind, as webhook"), Config: r.object(n, "action_config"), Order: r.number(n, "order", 0)}
		actions[a.ID] = true
		w.Actions = append(w.Actions, a)
	})
	each("recipients", "recipient", recipientKeys, func(n *node) {
		to := workflow.Recipient{
			ID: id(n), Type: r.neededWord(n, "recipient_type", recipientTypes...),
			Value: r.needed(n, "recipient_id", "a user, role or group, or the name of a column"),
		}
		if action := r.id(n, "action_id"); action != "" {
			to.ActionID = &action
			if !actions[action] && (!draft || r.doc.Has["actions"]) {
				at := n.get("action_id")
				r.fail(at.line, at.column, "there is no action with the id %q in here; give one that id, or leave action_id out: then it is for all actions", action)
			}
		}
		w.Recipients = append(w.Recipients, to)
	})
}

// settings reads the settings, and the tests into them.
func (r *reader) settings(root *node, draft bool) json.RawMessage {
	settings, tests := root.get("settings"), root.get("tests")
	if settings == nil || settings.kind == null {
		settings = &node{kind: mapping}
	}
	if settings.kind != mapping {
		r.fail(settings.line, settings.column, "settings is a mapping, not %s", settings.kind)
		return json.RawMessage("{}")
	}
	inside := settings.get(workflow.TestsKey)
	if inside != nil && draft && inside.kind == text {
		// As a text, so that its columns aren't taken for secrets: see draftSettings.
		inner, err := parseJSON(r.name, []byte(inside.value))
		if err != nil {
			r.fail(inside.line, inside.column, "tests can't be read: %v", err)
			return json.RawMessage("{}")
		}
		whole := &node{kind: mapping}
		for _, m := range settings.members {
			if m.key == workflow.TestsKey {
				m.value = inner
			}
			whole.members = append(whole.members, m)
		}
		settings, inside = whole, inner
	}
	if tests != nil && tests.kind != null {
		if inside != nil {
			r.fail(inside.line, inside.column, "tests stand here and in the document itself; leave these out")
			return settings.raw()
		}
		whole := &node{kind: mapping, members: slices.Clone(settings.members)}
		whole.members = append(whole.members, member{key: workflow.TestsKey, value: tests, line: tests.line, column: tests.column})
		settings, inside = whole, tests
	}
	if inside != nil && inside.kind != null {
		r.doc.places["tests"] = inside
		r.tests(inside)
	}
	return settings.raw()
}

// tests judges saved tests. Their keys are looked at here, where their places are known.
func (r *reader) tests(of *node) {
	if of.kind != list {
		r.fail(of.line, of.column, "tests is a list of tests, not %s", of.kind)
		return
	}
	names := make(map[string]bool)
	for _, n := range of.items {
		r.doc.parts["tests"] = append(r.doc.parts["tests"], n)
		before := r.failed
		if !r.keys(n, "a test", testKeys) {
			continue
		}
		for _, inner := range []struct {
			key, what string
			keys      []string
		}{{"change", "the change of a test", testChangeKeys}, {"event", "the event of a test", testEventKeys}, {"expect", "what a test expects", testExpectKeys}} {
			if v := n.get(inner.key); v != nil && v.kind != null {
				r.keys(v, inner.what, inner.keys)
			}
		}
		if r.failed > before {
			continue
		}
		t, err := workflow.ParseTest(n.raw())
		switch {
		case err != nil:
			r.fail(n.line, n.column, "a test: %v", err)
		case names[t.Name]:
			r.fail(n.line, n.column, "there is another test called %q; a test is known by its name", t.Name)
		}
		names[t.Name] = true
	}
}

// The keys of a test, in the order in which people are told of them.
var (
	testKeys       = []string{"name", "change", "event", "fired_before", "expect"}
	testChangeKeys = []string{"entity_type", "operation", "tenant_id", "new", "old", "actor", "at"}
	testEventKeys  = []string{"id", "entity_type", "operation", "tenant_id", "row_key", "committed_at", "data"}
	testExpectKeys = []string{"fires", "stopped_by", "recipients", "texts", "left_out"}
)

func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an " + noun
	}
	return "a " + noun
}

// text reads a text. A number or a word that YAML takes for something else is one too.
func (r *reader) text(of *node, key, missing string) string {
	n := of.get(key)
	switch {
	case n == nil || n.kind == null:
		return missing
	case n.kind == list || n.kind == mapping:
		r.fail(n.line, n.column, "%s is a text, not %s", key, n.kind)
	}
	return n.value
}

// needed reads a text that must be there.
func (r *reader) needed(of *node, key, as string) string {
	s := r.text(of, key, "")
	if s == "" && (of.get(key) == nil || of.get(key).kind <= text) {
		at := of
		if n := of.get(key); n != nil {
			at = n
		}
		r.fail(at.line, at.column, "%s is missing; it is %s", key, as)
	}
	return s
}

func (r *reader) id(of *node, key string) string {
	s := r.text(of, key, "")
	if strings.Contains(s, ".") || len([]rune(s)) > 64 {
		r.fail(of.get(key).line, of.get(key).column, "%s %q is none: an id has at most 64 characters, and no dot", key, s)
	}
	return s
}

// word reads one of a few words; "" if it is not there.
func (r *reader) word(of *node, key string, words ...string) string {
	s := r.text(of, key, "")
	if s == "" || slices.Contains(words, s) {
		return s
	}
	mend := spelling.Mend(s, words)
	if mend == "" {
		mend = "it is one of " + strings.Join(words, ", ")
	}
	r.fail(of.get(key).line, of.get(key).column, "there is no %s %q; %s", key, s, mend)
	return s
}

func (r *reader) neededWord(of *node, key string, words ...string) string {
	s := r.word(of, key, words...)
	if s == "" {
		r.needed(of, key, "one of "+strings.Join(words, ", "))
	}
	return s
}

func (r *reader) number(of *node, key string, missing int32) int32 {
	n := of.get(key)
	if n == nil || n.kind == null {
		return missing
	}
	v, err := strconv.ParseInt(n.value, 10, 32)
	if n.kind != number || err != nil {
		r.fail(n.line, n.column, "%s is a whole number", key)
	}
	return int32(v)
}

// object reads a mapping as JSON; {} if it is not there.
func (r *reader) object(of *node, key string) json.RawMessage {
	n := of.get(key)
	if n == nil || n.kind == null {
		return json.RawMessage("{}")
	}
	if n.kind != mapping {
		r.fail(n.line, n.column, "%s is a mapping, not %s", key, n.kind)
	}
	return n.raw()
}

// Keys are the keys that documents and their parts may have, for those who write about them.
func Keys() [][]string {
	return [][]string{documentKeys, triggerKeys, conditionKeys, actionKeys, recipientKeys, testKeys, testChangeKeys, testExpectKeys, templateKeys}
}
