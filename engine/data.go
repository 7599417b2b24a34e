package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// mask stands wherever a redacted column's value would.
const mask = `"***"`

// layout says how the rows of one relation are stored for one captured table: which
// columns make the key, which one the tenant, which leave the decoder at all.
type layout struct {
	rel      *change.Relation
	names    [][]byte // each column's name as a JSON string with its colon, `"total":`
	tenant   int      // column index; -1 none
	key      []int
	hidden   []bool
	redacted []bool
}

func newLayout(rel *change.Relation, t *workflow.Table) *layout {
	l := &layout{
		rel:      rel,
		names:    make([][]byte, len(rel.Columns)),
		tenant:   -1,
		hidden:   make([]bool, len(rel.Columns)),
		redacted: make([]bool, len(rel.Columns)),
	}
	for i, c := range rel.Columns {
		l.names[i] = append(change.AppendJSON(nil, change.Type{Kind: change.Text}, []byte(c.Name)), ':')
		l.hidden[i] = slices.Contains(t.Hidden, c.Name)
		l.redacted[i] = slices.Contains(t.Redacted, c.Name)
	}
	if t.TenantColumn != "" {
		l.tenant = rel.Column(t.TenantColumn)
	}
	for _, k := range t.KeyColumns {
		if i := rel.Column(k); i >= 0 {
			l.key = append(l.key, i)
		}
	}
	return l
}

// tenantOf is the tenant that a row belongs to; "" without one.
func (l *layout) tenantOf(row change.Row) string {
	if l.tenant < 0 {
		return ""
	}
	text, _ := row.Column(l.tenant)
	return string(text)
}

// maxKey bounds what is kept of a row's key: an index takes no more than 2.7 kB.
const maxKey = 1000

// keyOf is what people search a row by: its key column values, joined by commas. A
// redacted one is masked. Two rows have the same only if their values are: of several
// columns a comma inside one is escaped, and what is longer than maxKey bytes is cut and
// followed by a hash of the whole.
func (l *layout) keyOf(row change.Row) string {
	var b strings.Builder
	for n, i := range l.key {
		if n > 0 {
			b.WriteByte(',')
		}
		text, s := row.Column(i)
		switch {
		case l.redacted[i] && s == change.Present:
			b.WriteString("***")
		case len(l.key) > 1 && bytes.ContainsAny(text, `,\`):
			_, _ = keyEscapes.WriteString(&b, string(text)) // never fails
		default:
			b.Write(text)
		}
	}
	if b.Len() <= maxKey {
		return b.String()
	}
	sum := sha256.Sum256([]byte(b.String()))
	return cut(b.String(), maxKey) + hex.EncodeToString(sum[:16])
}

var keyEscapes = strings.NewReplacer(`,`, `\,`, `\`, `\\`)

// checkKey says why a row can't be told from others by its key.
func (l *layout) checkKey(row change.Row, label string) error {
	for _, i := range l.key {
		name := l.rel.Columns[i].Name
		switch _, s := row.Column(i); s {
		case change.Null:
			return &condition.EvalError{Where: "settings: firing", Err: fmt.Errorf(`once_per_row tells rows apart by their keys, and key column %s is NULL; name other key columns: CALL rowbell.capture('%s', key_columns => '{…}')`, name, label)}
		case change.NotInWAL:
			return &condition.MissingError{
				Column: "key column " + name, Why: "firing once_per_row tells rows apart by their keys", Mend: "run ALTER TABLE " + label + " REPLICA IDENTITY FULL",
			}
		case change.Present:
		}
	}
	return nil
}

// cut shortens s to at most n bytes of whole characters, and says so by an ellipsis.
func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// appendData writes what is stored of an event, the webhook's data of the row:
//
//	{"new": {…}|null, "old": {…}|null, "changed": […]|null, "unavailable": […], "actor": {…}|null}
//
// "unavailable" names columns that the WAL doesn't hold: of the new row by name, of
// an old row that is there as "old.name". "changed" is null for an update whose old
// values are unknown, and empty for creates and deletes. actor is JSON or nil.
func (l *layout) appendData(dst []byte, op change.Op, ev *change.Event, actor []byte) []byte {
	newRow, oldRow := ev.New, ev.Old
	switch op {
	case change.Create:
		oldRow = change.Row{}
	case change.Delete:
		newRow = change.Row{}
	}
	var unavailable []byte
	missing := func(prefix string, i int) {
		if unavailable != nil {
			unavailable = append(unavailable, ',')
		}
		name := l.names[i]
		unavailable = append(unavailable, '"')
		unavailable = append(unavailable, prefix...)
		unavailable = append(unavailable, name[1:len(name)-1]...) // its closing quote, without the colon
	}
	full := !oldRow.Empty() && !ev.OldKeyOnly
	dst = append(dst, `{"new":`...)
	if newRow.Empty() {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '{')
		first := true
		newRow.Columns(func(i int, text []byte, s change.State) bool {
			if i >= len(l.hidden) || l.hidden[i] {
				return true
			}
			if s == change.NotInWAL && full {
				text, s = oldRow.Column(i) // unchanged, and the old row has it
			}
			if s == change.NotInWAL {
				missing("", i)
				return true
			}
			dst, first = l.appendColumn(dst, i, text, s, first)
			return true
		})
		dst = append(dst, '}')
	}
	dst = append(dst, `,"old":`...)
	if oldRow.Empty() {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '{')
		first := true
		oldRow.Columns(func(i int, text []byte, s change.State) bool {
			if i >= len(l.hidden) || l.hidden[i] {
				return true
			}
			if s == change.NotInWAL || ev.OldKeyOnly && !l.rel.Columns[i].Key {
				missing("old.", i)
				return true
			}
			dst, first = l.appendColumn(dst, i, text, s, first)
			return true
		})
		dst = append(dst, '}')
	}
	dst = append(dst, `,"changed":`...)
	switch {
	case op != change.Update:
		dst = append(dst, "[]"...)
	case !full:
		dst = append(dst, "null"...)
	default:
		dst = append(dst, '[')
		first := true
		for i := range l.rel.Columns {
			if l.hidden[i] || !changed(oldRow, newRow, i) {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, l.names[i][:len(l.names[i])-1]...)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"unavailable":[`...)
	dst = append(dst, unavailable...)
	dst = append(dst, `],"actor":`...)
	if actor == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, actor...)
	}
	return append(dst, '}')
}

func (l *layout) appendColumn(dst []byte, i int, text []byte, s change.State, first bool) ([]byte, bool) {
	if !first {
		dst = append(dst, ',')
	}
	dst = append(dst, l.names[i]...)
	switch {
	case s == change.Null:
		dst = append(dst, "null"...)
	case l.redacted[i]:
		dst = append(dst, mask...)
	default:
		dst = change.AppendJSON(dst, l.rel.Columns[i].Type, text)
	}
	return dst, false
}

// changed compares a column of two full rows. Unchanged TOAST is unchanged.
func changed(oldRow, newRow change.Row, i int) bool {
	newText, newState := newRow.Column(i)
	if newState == change.NotInWAL {
		return false
	}
	oldText, oldState := oldRow.Column(i)
	return oldState != newState || !bytes.Equal(oldText, newText)
}

// withhold takes the reason out of a condition's error if a value of a redacted column
// may stand in it: errors quote what they could not work with.
func (l *layout) withhold(err error, w *workflow.Workflow) error {
	var failed *condition.EvalError
	if !slices.Contains(l.redacted, true) || !errors.As(err, &failed) {
		return err
	}
	mentions := func(text []byte) bool {
		for i, name := range l.names {
			if l.redacted[i] && bytes.Contains(text, name[1:len(name)-2]) {
				return true
			}
		}
		return false
	}
	for _, t := range w.Triggers {
		if mentions(t.FieldConditions) {
			return withheld(failed)
		}
	}
	for _, c := range w.Conditions {
		if mentions(c.Config) {
			return withheld(failed)
		}
	}
	return err
}

func withheld(err *condition.EvalError) error {
	return &condition.EvalError{Where: err.Where, Err: errors.New("it can't be evaluated for this row; why is not shown, since it reads a redacted column")}
}

// rowError is an execution that failed before it ran, in the words people see.
func rowError(label, key string, err error) string {
	if key == "" {
		return err.Error()
	}
	return label + " " + strconv.Quote(key) + ": " + err.Error()
}
