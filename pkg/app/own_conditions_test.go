package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// catalog is an application's table orders, whose columns may change, and how often it was read.
type catalog struct {
	columns atomic.Pointer[[]string] // nil: it isn't captured
	down    atomic.Bool
	reads   atomic.Int32
}

func (c *catalog) table(context.Context, string) (*workflow.Table, *change.Relation, error) {
	c.reads.Add(1)
	columns, down := c.columns.Load(), c.down.Load()
	time.Sleep(5 * time.Millisecond)
	if down {
		return nil, nil, errors.New("the server is away")
	}
	if columns == nil {
		return nil, nil, fmt.Errorf("table orders: %w", workflow.ErrNotFound)
	}
	rel := &change.Relation{OID: 1, Schema: "public", Name: "orders", ReplicaIdentity: 'f', Fingerprint: uint64(len(*columns))}
	for _, name := range *columns {
		rel.Columns = append(rel.Columns, change.Column{Name: name, Type: change.Type{Kind: change.Text, Name: "text"}, Key: true})
	}
	return &workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders", KeyColumns: []string{"id"}}, rel, nil
}

// However many conditions can't be decided, the catalog is read a few times; and one that came to
// be decidable since the table was read is decided at once.
func TestOwnConditionsReadTablesSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c catalog
		o := &ownConditions{table: c.table, known: make(map[string]*knownTable)}
		column := func(name string) []workflow.Condition {
			return []workflow.Condition{{Type: "field_value", Config: json.RawMessage(`{"` + name + `": "x"}`)}}
		}
		event := &workflow.Event{ID: "e", Op: change.Create, Table: "orders", Data: []byte(`{"new": {"id": "1", "status": "x", "region": "x", "later": "x"}, "old": null}`)}
		failed := func(name string) string {
			d, err := o.decide(t.Context(), 0, "log", column(name), event)
			if err != nil || d.Failed == (d.Reason == "") {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
			return d.Reason
		}
		many := func(n int, name string, fails bool) {
			t.Helper()
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					if got := failed(name); (got != "") != fails {
						t.Errorf("%s: %q", name, got)
					}
				})
			}
			all.Wait()
		}
		read := func(what string, most int32) {
			t.Helper()
			if n := c.reads.Swap(0); n > most {
				t.Errorf("%s: the catalog was read %d times, want %d at most", what, n, most)
			}
		}
		c.columns.Store(&[]string{"id", "status"})
		many(100, "status", false)
		read("all at once", 1)
		time.Sleep(tablesFor)
		many(100, "status", false)
		read("and when what was kept is old", 1)

		c.columns.Store(&[]string{"id", "status", "region"})
		many(1, "region", false)
		read("a column that came", 1)
		for range 50 {
			many(20, "later", true)
		}
		read("one that never can be decided", 1)
		time.Sleep(againAfter)
		c.columns.Store(&[]string{"id", "status", "region", "later"})
		many(20, "later", false)
		read("until it can", 1)

		c.down.Store(true)
		time.Sleep(tablesFor)
		many(20, "status", false) // by what is kept
		c.reads.Store(0)
		if _, err := o.decide(t.Context(), 0, "log", column("more"), event); err == nil {
			t.Error("while the catalog can't be read, it isn't known that it has no such column")
		}
		c.down.Store(false)
		c.columns.Store(nil)
		time.Sleep(againAfter)
		c.reads.Store(0)
		for range 50 {
			many(20, "status", true)
		}
		read("a table that isn't captured", 2)
		if got := failed("status"); !strings.HasPrefix(got, "its condition can't be decided: table orders: ") {
			t.Error(got)
		}
	})
}
