package trial

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Cell is a column of one row, as pgoutput would have it.
type Cell struct {
	State change.State
	Text  []byte
}

// Change is something that happened to a row, or could happen.
type Change struct {
	Op       change.Op
	Table    *workflow.Table
	Relation *change.Relation
	// New and Old have a cell for each column of Relation; nil: there is no such row.
	New, Old []Cell
	// Actor is what rowbell.set_actor was given, as JSON; nil without one.
	Actor       json.RawMessage
	CommittedAt time.Time
	Position    change.Position
	Side        change.Side
	EventID     string // of a recorded event; "" else
	RowKey      string // the same
	// Recorded says that Old is what the WAL had. Else it is the whole row, and what the
	// WAL would have of it follows from the replica identity.
	Recorded bool
	// Tenant is the recorded one; nil: it stands in the row.
	Tenant *string

	masked  map[int]string // columns that the record doesn't know, with the reason
	changed []string       // of a record that knows it; nil unknown
	edited  bool
}

// Recorded reads an event back as it was recorded, for the table and columns that there
// are now.
func Recorded(e *workflow.Event, t *workflow.Table, rel *change.Relation) (*Change, error) {
	if e.Op == change.Emit {
		return recordedDomain(e, t, rel)
	}
	var data struct {
		New, Old    map[string]json.RawMessage
		Changed     *[]string
		Unavailable []string
		Actor       json.RawMessage
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return nil, fmt.Errorf("the recorded data of event %s: %w", e.ID, err)
	}
	c := &Change{
		Op: e.Op, Table: t, Relation: rel, CommittedAt: e.CommittedAt, Position: e.Position, Side: e.Side, EventID: e.ID, RowKey: e.RowKey,
		Recorded: true, Tenant: &e.TenantID, masked: map[int]string{},
	}
	if data.Changed != nil && e.Op == change.Update {
		c.changed = *data.Changed
		if c.changed == nil {
			c.changed = []string{}
		}
	}
	if actor := bytes.TrimSpace(data.Actor); len(actor) > 0 && string(actor) != "null" {
		c.Actor = actor
	}
	read := func(row map[string]json.RawMessage, prefix string) []Cell {
		if row == nil {
			return nil
		}
		cells := make([]Cell, len(rel.Columns))
		for i, col := range rel.Columns {
			value, there := row[col.Name]
			switch {
			case slices.Contains(t.Hidden, col.Name):
				c.masked[i] = "the column is hidden, so it is not recorded"
			case !there && slices.Contains(data.Unavailable, prefix+col.Name):
			case !there:
				c.masked[i] = "the recorded event doesn't have it: it was hidden then, or was added since"
			case string(value) == "null":
				cells[i].State = change.Null
			case slices.Contains(t.Redacted, col.Name) || string(value) == `"***"`:
				c.masked[i] = "the column is redacted, so the recorded event has it masked"
			default:
				text, state, err := change.TextOfJSON(col.Type, value)
				if err != nil {
					c.masked[i] = "the recorded value doesn't fit the column's type any more"
					break
				}
				cells[i] = Cell{state, text}
			}
		}
		return cells
	}
	c.New, c.Old = read(data.New, ""), read(data.Old, "old.")
	return c, nil
}

// recordedDomain reads a domain event back: its payload stands as new.
func recordedDomain(e *workflow.Event, t *workflow.Table, rel *change.Relation) (*Change, error) {
	var data struct {
		New   json.RawMessage
		Actor json.RawMessage
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return nil, fmt.Errorf("the recorded data of event %s: %w", e.ID, err)
	}
	c := Domain(strings.TrimPrefix(e.Table, workflow.DomainPrefix), data.New, e.TenantID)
	if t != nil && rel != nil {
		c.Table, c.Relation = t, rel
	}
	c.CommittedAt, c.Position, c.EventID, c.Recorded = e.CommittedAt, e.Position, e.ID, true
	if actor := bytes.TrimSpace(data.Actor); len(actor) > 0 && string(actor) != "null" {
		c.Actor = actor
	}
	return c, nil
}

// Domain is a domain event: rowbell.emit(name, payload).
func Domain(name string, payload json.RawMessage, tenant string) *Change {
	label, rel := workflow.DomainPrefix+name, condition.DomainRelation(name)
	if len(bytes.TrimSpace(payload)) == 0 {
		payload = json.RawMessage("{}")
	}
	cells := make([]Cell, 2)
	cells[condition.DomainPayload] = Cell{change.Present, payload}
	cells[condition.DomainTenant] = Cell{change.Null, nil}
	if tenant != "" {
		cells[condition.DomainTenant] = Cell{change.Present, []byte(tenant)}
	}
	return &Change{
		Op: change.Emit, Table: &workflow.Table{Schema: rel.Schema, Label: label, Name: name, TenantColumn: "tenant"}, Relation: rel,
		New: cells, Tenant: &tenant,
	}
}

// OfRow is op done to a row that is there: created as it is, updated so that it is as it
// is, or deleted. Edit says what is different before and after.
func OfRow(op change.Op, row []Cell, t *workflow.Table, rel *change.Relation) *Change {
	c := &Change{Op: op, Table: t, Relation: rel}
	if op != change.Delete {
		c.New = slices.Clone(row)
	}
	if op != change.Create {
		c.Old = slices.Clone(row)
	}
	return c
}

// Edit puts values in the place of those of the new and the old row: objects of columns,
// as people write them; empty for none. The error names the column.
func (c *Change) Edit(newValues, oldValues []byte) error {
	if c.Op == change.Emit {
		if len(bytes.TrimSpace(oldValues)) > 0 {
			return errors.New("old: a domain event has no old row")
		}
		return c.editPayload(newValues)
	}
	if err := c.edit("new", &c.New, newValues); err != nil {
		return err
	}
	return c.edit("old", &c.Old, oldValues)
}

func readObject(side string, values []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(values))
	err := dec.Decode(&m)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something stands behind the object")
		}
	}
	if err != nil || m == nil {
		return nil, fmt.Errorf(`%s is not a JSON object of columns; write {"status": "approved"}`, side)
	}
	return m, nil
}

func (c *Change) edit(side string, row *[]Cell, values []byte) error {
	if len(bytes.TrimSpace(values)) == 0 {
		return nil
	}
	edits, err := readObject(side, values)
	if err != nil {
		return err
	}
	if *row == nil {
		what := map[change.Op]string{change.Create: "a create has no old row", change.Delete: "a delete has no new row"}[c.Op]
		if what != "" {
			return fmt.Errorf("%s: %s", side, what)
		}
		*row = make([]Cell, len(c.Relation.Columns)) // an update whose old row wasn't sent
		for i, col := range c.Relation.Columns {
			if col.Key {
				(*row)[i] = c.New[i]
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(edits)) {
		i := c.Relation.Column(name)
		if i < 0 || slices.Contains(c.Table.Hidden, name) {
			return fmt.Errorf("%s: table %s has no column %s%s", side, c.Table.Label, name, semicolon(spelling.Mend(name, c.columnNames())))
		}
		text, state, err := change.TextOfJSON(c.Relation.Columns[i].Type, edits[name])
		if err != nil {
			return fmt.Errorf("%s.%s: %w", side, name, err)
		}
		(*row)[i] = Cell{state, text}
		c.edited = true
		c.Tenant = nil
		if other := map[string][]Cell{"new": c.Old, "old": c.New}[side]; other == nil || other[i].State != change.NotInWAL {
			delete(c.masked, i)
		}
	}
	return nil
}

func (c *Change) editPayload(values []byte) error {
	if len(bytes.TrimSpace(values)) == 0 {
		return nil
	}
	edits, err := readObject("new", values)
	if err != nil {
		return err
	}
	payload := map[string]json.RawMessage{}
	if err := json.Unmarshal(c.New[condition.DomainPayload].Text, &payload); err != nil {
		return errors.New("new: the payload isn't an object")
	}
	maps.Copy(payload, edits)
	text, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	c.New[condition.DomainPayload].Text, c.edited = text, true
	return nil
}

func semicolon(mend string) string {
	if mend == "" {
		return ""
	}
	return "; " + mend
}

func (c *Change) columnNames() []string {
	var names []string
	for _, col := range c.Relation.Columns {
		if !slices.Contains(c.Table.Hidden, col.Name) {
			names = append(names, col.Name)
		}
	}
	return names
}

// event is the change as the stream would bring it.
func (c *Change) event() *change.Event {
	ev := &change.Event{Op: c.Op, Relation: c.Relation, New: rowOf(c.New)}
	old := c.Old
	if old == nil {
		return ev
	}
	switch {
	case c.Recorded:
		ev.OldKeyOnly = c.keyOnly()
	case c.Relation.ReplicaIdentity != 'f':
		if c.Op == change.Update && !c.keyChanged() {
			return ev
		}
		ev.OldKeyOnly = true
	}
	ev.Old = rowOf(old)
	return ev
}

// keyOnly says that the recorded old row has nothing but the replica identity.
func (c *Change) keyOnly() bool {
	if c.Relation.ReplicaIdentity == 'f' {
		return false
	}
	for i, cell := range c.Old {
		if !c.Relation.Columns[i].Key && cell.State != change.NotInWAL {
			return false
		}
	}
	return true
}

func (c *Change) keyChanged() bool {
	for i, col := range c.Relation.Columns {
		if col.Key && !sameCell(c.Old[i], c.New[i]) {
			return true
		}
	}
	return false
}

func sameCell(a, b Cell) bool { return a.State == b.State && bytes.Equal(a.Text, b.Text) }

func rowOf(cells []Cell) change.Row {
	if cells == nil {
		return change.Row{}
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(len(cells)))
	for _, c := range cells {
		switch c.State {
		case change.Null:
			b = append(b, 'n')
		case change.Present:
			b = append(b, 't')
			b = binary.BigEndian.AppendUint32(b, uint32(len(c.Text)))
			b = append(b, c.Text...)
		default:
			b = append(b, 'u')
		}
	}
	return change.NewRow(b)
}

// TenantID is the tenant of the row that the change is about; "" without one.
func (c *Change) TenantID() string { return c.tenant(c.Op) }

// tenant is that of the row which op is about; "" without one.
func (c *Change) tenant(op change.Op) string {
	if c.Tenant != nil {
		return *c.Tenant
	}
	i := -1
	if c.Table.TenantColumn != "" {
		i = c.Relation.Column(c.Table.TenantColumn)
	}
	row := c.New
	if op == change.Delete {
		row = c.Old
	}
	if i < 0 || row == nil || row[i].State != change.Present {
		return ""
	}
	return string(row[i].Text)
}

// unchanged says that an update is known to change nothing: such a one fires nothing.
func (c *Change) unchanged(ev *change.Event) bool {
	if c.Op != change.Update || ev.Old.Empty() || ev.OldKeyOnly {
		return false
	}
	var env condition.Env // for what may be written in several ways
	env.Load(ev, &condition.Context{})
	for i, col := range c.Relation.Columns {
		if slices.Contains(c.Table.Hidden, col.Name) {
			continue
		}
		if _, masked := c.masked[i]; masked {
			if c.changed == nil || slices.Contains(c.changed, col.Name) {
				return false
			}
			continue
		}
		if c.New[i].State == change.NotInWAL {
			continue // unchanged TOAST
		}
		if sameCell(c.Old[i], c.New[i]) {
			continue
		}
		if changed, known := env.Changed(i); changed || !known || !condition.ManySpellings(col.Type) {
			return false
		}
	}
	return true
}

// keyEscapes keep keys of several columns apart.
var keyEscapes = strings.NewReplacer(`,`, `\,`, `\`, `\\`)

// key is what the log would call the row, but for its bound on the length.
func (c *Change) key() string {
	if c.RowKey != "" && !c.edited {
		return c.RowKey
	}
	row := c.New
	if row == nil {
		row = c.Old
	}
	if row == nil || c.Op == change.Emit {
		return ""
	}
	parts := make([]string, 0, len(c.Table.KeyColumns))
	for _, name := range c.Table.KeyColumns {
		i := c.Relation.Column(name)
		switch {
		case i < 0:
		case slices.Contains(c.Table.Redacted, name):
			parts = append(parts, "***")
		case len(c.Table.KeyColumns) > 1:
			parts = append(parts, keyEscapes.Replace(string(row[i].Text)))
		default:
			parts = append(parts, string(row[i].Text))
		}
	}
	return strings.Join(parts, ",")
}

// SplitKey takes a key apart as the log writes it: of several columns, with a backslash
// before each comma and backslash that stands inside one.
func SplitKey(key string, columns int) []string {
	if columns == 1 {
		return []string{key}
	}
	parts := []string{""}
	for i := 0; i < len(key); i++ {
		last := &parts[len(parts)-1]
		switch {
		case key[i] == '\\' && i+1 < len(key):
			i++
			*last += key[i : i+1]
		case key[i] == ',':
			parts = append(parts, "")
		default:
			*last += key[i : i+1]
		}
	}
	return parts
}

// data is what would be recorded of the change: see workflow.Event.
func (c *Change) data(ev *change.Event, op change.Op) []byte {
	if op == change.Emit {
		b := append([]byte(`{"new":`), c.New[condition.DomainPayload].Text...)
		return c.appendActor(append(b, `,"old":null,"changed":[],"unavailable":[],"actor":`...))
	}
	newRow, oldRow := c.New, c.Old
	if ev.Old.Empty() || op == change.Create {
		oldRow = nil
	}
	if op == change.Delete {
		newRow = nil
	}
	var unavailable []string
	object := func(b []byte, row []Cell, prefix string) []byte {
		if row == nil {
			return append(b, "null"...)
		}
		b = append(b, '{')
		n := 0
		for i, col := range c.Relation.Columns {
			if slices.Contains(c.Table.Hidden, col.Name) {
				continue
			}
			cell := row[i]
			_, masked := c.masked[i]
			secret := slices.Contains(c.Table.Redacted, col.Name) && (masked || cell.State == change.Present)
			if cell.State == change.NotInWAL && !secret || prefix != "" && ev.OldKeyOnly && !col.Key {
				unavailable = append(unavailable, prefix+col.Name)
				continue
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = append(change.AppendJSONString(b, col.Name), ':')
			switch {
			case secret:
				b = append(b, `"***"`...)
			case cell.State == change.Null:
				b = append(b, "null"...)
			default:
				b = change.AppendJSON(b, col.Type, cell.Text)
			}
		}
		return append(b, '}')
	}
	b := object([]byte(`{"new":`), newRow, "")
	b = object(append(b, `,"old":`...), oldRow, "old.")
	b = append(b, `,"changed":`...)
	b = appendStrings(b, c.changedColumns(ev, op))
	b = append(b, `,"unavailable":`...)
	if unavailable == nil {
		unavailable = []string{}
	}
	b = appendStrings(b, unavailable)
	return c.appendActor(append(b, `,"actor":`...))
}

func (c *Change) appendActor(b []byte) []byte {
	if c.Actor == nil {
		return append(b, "null}"...)
	}
	return append(append(b, c.Actor...), '}')
}

// changedColumns is nil if it isn't known.
func (c *Change) changedColumns(ev *change.Event, op change.Op) []string {
	list := []string{}
	switch {
	case op != change.Update:
		return list
	case c.changed != nil && !c.edited:
		return c.changed
	case ev.Old.Empty() || ev.OldKeyOnly:
		return nil
	}
	for i, col := range c.Relation.Columns {
		_, masked := c.masked[i]
		switch {
		case slices.Contains(c.Table.Hidden, col.Name):
		case masked && slices.Contains(c.changed, col.Name),
			!masked && c.New[i].State != change.NotInWAL && !sameCell(c.Old[i], c.New[i]):
			list = append(list, col.Name)
		}
	}
	return list
}

func appendStrings(b []byte, list []string) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = change.AppendJSONString(b, s)
	}
	return append(b, ']')
}
