package match

import (
	"errors"
	"fmt"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// mostDomainName is what rowbell.emit lets through, in characters.
const mostDomainName = 200

// domainTable stands in for what is captured of a table.
func domainTable(name string) *workflow.Table {
	return &workflow.Table{Schema: condition.DomainRelation(name).Schema, Name: name, Label: workflow.DomainPrefix + name, TenantColumn: "tenant"}
}

// Domain returns what to match domain events of a name with; nil if no active workflow
// has a trigger on them. It is good until the next Apply.
func (ix *Index) Domain(name string) *Table {
	if s := ix.tables[workflow.DomainPrefix+name]; s != nil {
		return s.bound
	}
	return nil
}

// Relation is what the table's rows were described by.
func (t *Table) Relation() *change.Relation { return t.rel }

// checkDomain judges a trigger on domain events.
func checkDomain(c *Compiled, t workflow.Trigger, name string) error {
	switch n := len([]rune(name)); {
	case n == 0:
		return errors.New("entity_type names no domain event; write domain:order.shipped for those of rowbell.emit('order.shipped')")
	case n > mostDomainName:
		return fmt.Errorf("the name of the domain event has %d characters, and rowbell.emit takes no more than %d", n, mostDomainName)
	case t.Operation != change.Create.String():
		return fmt.Errorf("a domain event is made, never changed; write create instead of %s", t.Operation)
	case c.OncePerRow:
		return errors.New(`settings: firing is "once_per_row", and a domain event is about no row; use "every"`)
	}
	return nil
}
