package definition

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// secretKeys are the keys of action_config under which a text is a secret: the version
// trigger moves it into table secret.
var secretKeys = []string{"secret", "password", "token"}

func isSecret(key string, value any) (string, bool) {
	text, ok := value.(string)
	return text, ok && text != "" && slices.Contains(secretKeys, strings.ToLower(key))
}

// besideOwn does something with a configuration without the action's own conditions, in which
// such keys are columns.
func besideOwn(config any, do func()) {
	m, _ := config.(map[string]any)
	if own, is := m[workflow.OnlyIfKey].([]any); is {
		delete(m, workflow.OnlyIfKey)
		defer func() { m[workflow.OnlyIfKey] = own }()
	}
	do()
}

// keepSecrets puts the references of the live workflow in the place of plain secrets that
// are the same as the stored ones. One that can't be opened counts as another.
func (p *planner) keepSecrets(ctx context.Context, next, live *workflow.Workflow) error {
	if p.service.Secret == nil {
		return nil
	}
	tenantID := value(next.TenantID)
	for i := range next.Actions {
		of := &next.Actions[i]
		at := slices.IndexFunc(live.Actions, func(a workflow.Action) bool { return a.ID == of.ID })
		if at < 0 || !secretLike.Match(of.Config) {
			continue
		}
		config, err1 := decoded(of.Config)
		stored, err2 := decoded(live.Actions[at].Config)
		if err1 != nil || err2 != nil {
			continue // which is judged elsewhere
		}
		kept := false
		besideOwn(config, func() {
			keepSecret(config, stored, func(plain, ref string) bool {
				is, err := p.service.Secret(ctx, tenantID, ref)
				same := err == nil && is == plain
				kept = kept || same
				return same
			})
		})
		if !kept {
			continue
		}
		raw, err := json.Marshal(config)
		if err != nil {
			return err
		}
		of.Config = raw
	}
	return nil
}

// keepSecret walks two configurations side by side.
func keepSecret(config, stored any, same func(plain, ref string) bool) {
	switch config := config.(type) {
	case map[string]any:
		with, _ := stored.(map[string]any)
		for key, v := range config {
			plain, secret := isSecret(key, v)
			if !secret {
				keepSecret(v, with[key], same)
				continue
			}
			ref, _ := with[key].(map[string]any)
			if name, ok := ref["ref"].(string); ok && same(plain, name) {
				config[key] = ref
			}
		}
	case []any:
		with, _ := stored.([]any)
		for i, v := range config {
			if i < len(with) {
				keepSecret(v, with[i], same)
			}
		}
	}
}

func decoded(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// shownCopy is the workflow as it may be shown: without plain secrets, and with its parts in
// the order in which they are stored.
func shownCopy(w *workflow.Workflow) *workflow.Workflow {
	c := *w
	c.Actions = slices.Clone(w.Actions)
	for i, a := range c.Actions {
		if !secretLike.Match(a.Config) {
			continue
		}
		config, err := decoded(a.Config)
		if err != nil {
			continue
		}
		besideOwn(config, func() { hide(config) })
		if raw, err := json.Marshal(config); err == nil {
			c.Actions[i].Config = raw
		}
	}
	return inStoredOrder(&c)
}

func hide(config any) {
	switch config := config.(type) {
	case map[string]any:
		for key, v := range config {
			if _, secret := isSecret(key, v); secret {
				config[key] = map[string]any{"ref": "(a new secret)"}
			} else {
				hide(v)
			}
		}
	case []any:
		for _, v := range config {
			hide(v)
		}
	}
}

// inStoredOrder sorts parts as the version trigger does, and writes their JSON as it is
// stored.
func inStoredOrder(w *workflow.Workflow) *workflow.Workflow {
	c := *w
	c.Triggers, c.Conditions = slices.Clone(w.Triggers), slices.Clone(w.Conditions)
	c.Actions, c.Recipients = slices.Clone(w.Actions), slices.Clone(w.Recipients)
	slices.SortStableFunc(c.Triggers, func(a, b workflow.Trigger) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(c.Conditions, func(a, b workflow.Condition) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(c.Actions, func(a, b workflow.Action) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(c.Recipients, func(a, b workflow.Recipient) int { return cmp.Compare(a.ID, b.ID) })
	return inStoredForm(&c)
}

// inStoredForm writes the JSON of a workflow as it is stored, so that it reads the same
// before and after.
func inStoredForm(w *workflow.Workflow) *workflow.Workflow {
	c := *w
	c.Triggers, c.Conditions, c.Actions = slices.Clone(w.Triggers), slices.Clone(w.Conditions), slices.Clone(w.Actions)
	c.Settings = asStored(c.Settings)
	for i := range c.Triggers {
		c.Triggers[i].FieldConditions = asStored(c.Triggers[i].FieldConditions)
	}
	for i := range c.Conditions {
		c.Conditions[i].Config = asStored(c.Conditions[i].Config)
	}
	for i := range c.Actions {
		c.Actions[i].Config = asStored(c.Actions[i].Config)
	}
	return &c
}

// asStored writes JSON as jsonb does: keys by length and then by bytes, numbers without
// exponent.
func asStored(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	root, err := parseJSON("", raw)
	if err != nil {
		return raw
	}
	stored(root)
	return root.raw()
}

func stored(n *node) {
	if n.kind == number {
		n.value = plainNumber(n.value)
	}
	for _, item := range n.items {
		stored(item)
	}
	slices.SortFunc(n.members, func(a, b member) int { return cmp.Or(cmp.Compare(len(a.key), len(b.key)), cmp.Compare(a.key, b.key)) })
	for _, m := range n.members {
		stored(m.value)
	}
}

// mostDigits is how far a number is written out. (PostgreSQL manual: Numeric Types has a
// greater one, which nobody writes by exponent.)
const mostDigits = 1000

// plainNumber writes a JSON number as numeric does: 1e3 is 1000, and 1.50 stays.
func plainNumber(s string) string {
	digits, negative := strings.CutPrefix(s, "-")
	mantissa, exponent := digits, 0
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		n, err := strconv.Atoi(digits[i+1:])
		if err != nil || n > mostDigits || n < -mostDigits {
			return s
		}
		mantissa, exponent = digits[:i], n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	scale := max(len(fraction)-exponent, 0)
	all := whole + fraction
	switch point := len(whole) + exponent; {
	case point <= 0:
		whole, fraction = "0", strings.Repeat("0", -point)+all
	case point >= len(all):
		whole, fraction = all+strings.Repeat("0", point-len(all)), ""
	default:
		whole, fraction = all[:point], all[point:]
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	plain := whole
	if scale > 0 {
		plain += "." + fraction
	}
	if negative && strings.Trim(plain, "0.") != "" {
		plain = "-" + plain
	}
	return plain
}

// sameStored says that two workflows would be stored alike.
func sameStored(a, b *workflow.Workflow) bool { return samePart(inStoredOrder(a), inStoredOrder(b)) }

// renamedActions gives what tests expect of actions the new ids of these.
func renamedActions(settings json.RawMessage, ids map[string]string) json.RawMessage {
	if !bytes.Contains(settings, []byte(`"`+workflow.TestsKey+`"`)) {
		return settings
	}
	root, err := parseJSON("settings", settings)
	if err != nil {
		return settings
	}
	tests := root.get(workflow.TestsKey)
	if tests == nil {
		return settings
	}
	for _, t := range tests.items {
		expect := t.get("expect")
		if expect == nil {
			continue
		}
		if texts := expect.get("texts"); texts != nil {
			for _, of := range texts.items {
				if id := of.get("action"); id != nil && ids[id.value] != "" {
					id.value = ids[id.value]
				}
			}
		}
		if left := expect.get("left_out"); left != nil {
			for _, id := range left.items {
				if ids[id.value] != "" {
					id.value = ids[id.value]
				}
			}
		}
	}
	return root.raw()
}
