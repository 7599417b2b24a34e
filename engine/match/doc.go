// Package match finds the active workflows that an event concerns.
//
// # The index
//
// For each captured table and operation the workflows stand in shapes. A shape is a
// set of columns, with or without the tenant; all workflows whose conditions ask for
// equality on just these columns are in it, under the values they ask for. To match an
// event is to look once into each shape, and to evaluate what remains of the
// conditions of the few workflows found there. Workflows without such an equality are
// in the shape of no columns: one list for each tenant, and one for operators. So the
// cost of an event follows the workflows it concerns, and the number of shapes, which
// is bounded, not the number of workflows.
//
// A column that an indexed equality needs may be missing from the WAL. Then the shape
// is gone through one by one, since any of its workflows may have to fail for it.
//
// # What is decided where
//
// Whether a workflow of a table matches depends on the workflow's version, the captured
// table and its columns alone, never on what another table's relation looks like or
// whether the stream has shown it yet: so restarts decide the same. A workflow that
// can't be compiled matches nowhere; one whose trigger can't be bound to a table doesn't
// match on that table. Health tells the worst of it.
//
// An Index belongs to one goroutine.
package match
