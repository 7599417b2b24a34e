package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// TestsKey is the key of the settings that holds the saved tests.
const TestsKey = "tests"

// Test is a saved test of a workflow: a change that somebody made up, or an event as it was
// recorded, and what the workflow is to say of it. Tests are part of the document, and of
// nothing that runs.
type Test struct {
	Name string `json:"name"`
	// Exactly one of these is there.
	Change *TestChange `json:"change,omitempty"`
	Event  *TestEvent  `json:"event,omitempty"`
	// FiredBefore says, for firing mode once_per_row, that the row has had its firing.
	FiredBefore bool       `json:"fired_before,omitempty"`
	Expect      TestExpect `json:"expect"`
}

// TestChange is a change to try a workflow on. Columns that neither row gives are NULL.
type TestChange struct {
	EntityType string `json:"entity_type,omitempty"` // "" if the workflow's triggers are about one
	Operation  string `json:"operation,omitempty"`   // the same
	// TenantID is whose domain event it is. A row's tenant stands in the row; without one
	// it is the workflow's.
	TenantID string          `json:"tenant_id,omitempty"`
	New      json.RawMessage `json:"new,omitempty"` // the row, or the payload of a domain event
	Old      json.RawMessage `json:"old,omitempty"` // of an update: what was different; of a delete: the row
	Actor    json.RawMessage `json:"actor,omitempty"`
	At       *time.Time      `json:"at,omitempty"` // TestTime if not given
}

// TestTime is when the change of a test commits that says nothing of it: always the same, so
// that a test is. It is a Thursday.
var TestTime = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestEvent is an event as it was recorded.
type TestEvent struct {
	ID          string          `json:"id"`
	EntityType  string          `json:"entity_type"`
	Operation   string          `json:"operation"`
	TenantID    string          `json:"tenant_id,omitempty"`
	RowKey      string          `json:"row_key,omitempty"`
	CommittedAt time.Time       `json:"committed_at"`
	Data        json.RawMessage `json:"data"` // see Event.Data
}

// TestExpect is what a test expects.
type TestExpect struct {
	Fires bool `json:"fires"`
	// StoppedBy stands in the reason why it doesn't fire, as simulate gives it.
	StoppedBy string `json:"stopped_by,omitempty"`
	// Recipients are those of all actions that would run; nil: whoever they are.
	Recipients []TestRecipient `json:"recipients,omitempty"`
	Texts      []TestTexts     `json:"texts,omitempty"`
	// LeftOut are the ids of the actions that would not run, by conditions of their own; nil:
	// whichever.
	LeftOut []string `json:"left_out,omitempty"`
}

// TestRecipient names a recipient by one of the first four members.
type TestRecipient struct {
	User      string  `json:"user,omitempty"`
	Role      string  `json:"role,omitempty"`
	Group     string  `json:"group,omitempty"`
	Attribute string  `json:"attribute,omitempty"` // the column
	Value     *string `json:"value,omitempty"`     // what the column holds; nil: whatever
}

// Named is the type and the name of the recipient, and how many of the members name one.
func (r TestRecipient) Named() (kind, name string, given int) {
	for _, m := range [...]struct{ kind, name string }{{"user", r.User}, {"role", r.Role}, {"group", r.Group}, {"attribute", r.Attribute}} {
		if m.name != "" {
			kind, name = m.kind, m.name
			given++
		}
	}
	return kind, name, given
}

// TestTexts is what texts of one action say, by their names (title, body, button.text).
type TestTexts struct {
	Action string // its id; "" = any action
	Texts  map[string]TestText
}

// TestText is what one text says.
type TestText struct {
	Text     string
	Contains bool // Text is a part of it; else all of it
}

// UnmarshalJSON reads {"action": "a1", "title": "Order 42", "body": {"contains": "42"}}.
func (t *TestTexts) UnmarshalJSON(b []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil || keys == nil {
		return fmt.Errorf(`texts are written as {"title": "Order 42", "body": {"contains": "42"}}`)
	}
	*t = TestTexts{Texts: make(map[string]TestText)}
	for key, raw := range keys {
		if key == "action" {
			if err := json.Unmarshal(raw, &t.Action); err != nil || t.Action == "" {
				return fmt.Errorf("action is the id of an action of the workflow")
			}
			continue
		}
		var of struct {
			Contains *string `json:"contains"`
			Equals   *string `json:"equals"`
		}
		text := TestText{}
		switch {
		case len(raw) > 0 && raw[0] == '"':
			_ = json.Unmarshal(raw, &text.Text) // JSON already
		default:
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&of); err != nil || (of.Contains == nil) == (of.Equals == nil) {
				return fmt.Errorf(`%s: a text is written as it is, or as {"contains": "a part of it"}`, shorten(key))
			}
			if of.Contains != nil {
				text = TestText{*of.Contains, true}
			} else {
				text.Text = *of.Equals
			}
		}
		t.Texts[key] = text
	}
	if len(t.Texts) == 0 {
		return fmt.Errorf(`it expects no text; write {"title": "Order 42"}`)
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (t TestTexts) MarshalJSON() ([]byte, error) {
	keys := make(map[string]any)
	if t.Action != "" {
		keys["action"] = t.Action
	}
	for name, text := range t.Texts {
		if text.Contains {
			keys[name] = map[string]string{"contains": text.Text}
		} else {
			keys[name] = text.Text
		}
	}
	return json.Marshal(keys)
}

// The most of a workflow's tests.
const mostTests = 100

// Tests reads the saved tests of the workflow. The error says which one is wrong, and how.
func (w *Workflow) Tests() ([]Test, error) {
	raw, err := w.setting(TestsKey)
	if err != nil || raw == nil {
		return nil, err
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, fmt.Errorf(`tests is %s; it is a list of tests`, shorten(string(raw)))
	}
	if len(list) > mostTests {
		return nil, fmt.Errorf("%d tests are too many; the most are %d", len(list), mostTests)
	}
	tests := make([]Test, len(list))
	names := make(map[string]bool)
	for i, raw := range list {
		if tests[i], err = ParseTest(raw); err == nil && names[tests[i].Name] {
			err = fmt.Errorf("there is another one called %q", tests[i].Name)
		}
		if err != nil {
			return nil, fmt.Errorf("test %d: %w", i+1, err)
		}
		names[tests[i].Name] = true
	}
	return tests, nil
}

// ParseTest reads one test, strictly.
func ParseTest(raw json.RawMessage) (Test, error) {
	var t Test
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return t, fmt.Errorf(`it can't be read (%w); write {"name": "…", "change": {"new": {…}}, "expect": {"fires": true}}`, err)
	}
	var given struct {
		Expect *struct {
			Fires *bool `json:"fires"`
		} `json:"expect"`
	}
	_ = json.Unmarshal(raw, &given) // it was read just now
	object := func(raw json.RawMessage) bool {
		return len(raw) == 0 || string(raw) == "null" || raw[0] == '{'
	}
	switch {
	case t.Name == "":
		return t, fmt.Errorf("it has no name")
	case (t.Change == nil) == (t.Event == nil):
		return t, fmt.Errorf(`it needs a change, as {"new": {"status": "approved"}}, or an event as it was recorded: one of them`)
	case given.Expect == nil || given.Expect.Fires == nil:
		return t, fmt.Errorf(`it expects nothing; write "expect": {"fires": true}, or false`)
	case t.Change != nil && (!object(t.Change.New) || !object(t.Change.Old) || !object(t.Change.Actor)):
		return t, fmt.Errorf("new, old and actor of its change are objects")
	case t.Event != nil && (t.Event.EntityType == "" || t.Event.Operation == "" || len(t.Event.Data) == 0 || t.Event.Data[0] != '{'):
		return t, fmt.Errorf("its event lacks entity_type, operation or data; rowbell workflow test --record writes one")
	case t.Expect.Fires && t.Expect.StoppedBy != "":
		return t, fmt.Errorf("it is to fire, and stopped_by says what stops it: leave one out")
	case !t.Expect.Fires && (t.Expect.Recipients != nil || t.Expect.Texts != nil || t.Expect.LeftOut != nil):
		return t, fmt.Errorf("what doesn't fire has neither recipients nor texts, and leaves no action out; leave them out")
	}
	for _, r := range t.Expect.Recipients {
		kind, _, given := r.Named()
		if given != 1 || r.Value != nil && kind != "attribute" {
			return t, fmt.Errorf(`a recipient is written as {"user": "ann"}, {"role": "…"}, {"group": "…"}, or {"attribute": "owner", "value": "ann"}`)
		}
	}
	return t, nil
}

// DropTests takes the saved tests out of the settings, for those who run the workflow.
func (w *Workflow) DropTests() {
	if !bytes.Contains(w.Settings, []byte(`"`+TestsKey+`"`)) {
		return
	}
	var settings map[string]json.RawMessage
	if json.Unmarshal(w.Settings, &settings) != nil || settings == nil || settings[TestsKey] == nil {
		return
	}
	delete(settings, TestsKey)
	if raw, err := json.Marshal(settings); err == nil {
		w.Settings = raw
	}
}

// AddTest adds a test to the settings.
func (w *Workflow) AddTest(t Test) error {
	list, err := w.Tests()
	if err != nil {
		return err
	}
	for _, other := range list {
		if other.Name == t.Name {
			return fmt.Errorf("there is a test called %q already: %w", t.Name, ErrConflict)
		}
	}
	settings := make(map[string]json.RawMessage)
	if len(w.Settings) > 0 {
		if err := json.Unmarshal(w.Settings, &settings); err != nil {
			return err
		}
	}
	if settings == nil {
		settings = make(map[string]json.RawMessage)
	}
	// The others stay as they were written.
	var raw []json.RawMessage
	if settings[TestsKey] != nil {
		if err := json.Unmarshal(settings[TestsKey], &raw); err != nil {
			return err
		}
	}
	added, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if settings[TestsKey], err = json.Marshal(append(raw, added)); err != nil {
		return err
	}
	w.Settings, err = json.Marshal(settings)
	return err
}
