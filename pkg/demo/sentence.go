package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
)

// rowData is what workflow_event.data holds of a row.
type rowData struct {
	New     map[string]any `json:"new"`
	Old     map[string]any `json:"old"`
	Changed []string       `json:"changed"` // nil when unknown
}

// telling are the columns that say most about a row that came or went.
var telling = map[string][]string{
	"orders":    {"total", "status"},
	"customers": {"name", "city"},
	"invoices":  {"amount", "status"},
}

// sayChange says a change so that people read it: "order 42 of acme: status new → approved".
func sayChange(r *store.FeedRow) string {
	subject := fmt.Sprintf("%s %s", strings.TrimSuffix(r.Table, "s"), r.RowKey)
	var d rowData
	dec := json.NewDecoder(bytes.NewReader(r.Data))
	dec.UseNumber() // 1000.00 stays 1000.00
	if err := dec.Decode(&d); err != nil {
		return subject + ": " + r.Operation
	}
	// Of the row, not of the workflow: an operators' workflow has none.
	for _, row := range []map[string]any{d.New, d.Old} {
		if tenant, ok := row["tenant_id"]; ok {
			subject += " of " + valueText(tenant)
			break
		}
	}
	switch r.Operation {
	case "create":
		return subject + ": created, " + describe(r.Table, d.New)
	case "delete":
		return subject + ": deleted, " + describe(r.Table, d.Old)
	}
	var parts []string
	for _, column := range d.changed() {
		before, known := d.Old[column]
		if !known {
			parts = append(parts, fmt.Sprintf("%s is now %s", word(column), valueText(d.New[column])))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s → %s", word(column), valueText(before), valueText(d.New[column])))
	}
	if len(parts) == 0 {
		return subject + ": updated, " + describe(r.Table, d.New)
	}
	return subject + ": " + strings.Join(parts, ", ")
}

// changed is which columns changed; by comparison where the event doesn't tell.
func (d rowData) changed() []string {
	list := slices.Clone(d.Changed)
	if list == nil {
		for column, before := range d.Old {
			if after, ok := d.New[column]; ok && valueText(before) != valueText(after) {
				list = append(list, column)
			}
		}
	}
	slices.Sort(list)
	return list
}

func describe(table string, row map[string]any) string {
	var parts []string
	for _, column := range telling[table] {
		if v, ok := row[column]; ok {
			parts = append(parts, word(column)+" "+valueText(v))
		}
	}
	if len(parts) == 0 {
		return "no details"
	}
	return strings.Join(parts, ", ")
}

func word(column string) string { return strings.ReplaceAll(column, "_", " ") }

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return cut(v, 40)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return cut(string(text), 40)
}

// since says a short duration with three digits at most: 4.1 ms, 12 ms, 1.3 s, 5 min.
func since(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// size says a number of bytes: 0 B, 512 B, 1.2 kB, 3.4 MB.
func size(n float64) string {
	for _, unit := range []string{"B", "kB", "MB"} {
		if n < 1000 {
			if unit == "B" || n >= 100 {
				return fmt.Sprintf("%.0f %s", n, unit)
			}
			return fmt.Sprintf("%.1f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f GB", n)
}
