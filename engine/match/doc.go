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
// Under one key there may be many that differ in what else they ask for. Those that ask
// the same column to lie in a range (gt, gte, lt, lte, between; eq of types that have no
// equality here), or one of the same columns to have changed, or both, stand there in a
// group. A group is a balanced tree of intervals: the event's value finds those that it
// lies in, and a group of which no column has changed is left out at once. What a column
// holds, as a number that orders as its values do, and whether it has changed, is worked
// out at most once for an event. Such numbers are rounded, and bounds included, so a few
// too many may be found; what remains of the condition decides.
//
// Shapes are bounded for each operation, groups for each key. When there are many shapes
// a new one is of one column, then rules go into the shape that has most of their
// columns. When there are many groups a rule goes into the one that fits best, a range
// before a change, or stands by itself. So equality counts before a range, and a range
// before a change. The first rules of a key stand by themselves anyway: a tree of two
// is slower than two rules.
//
// A column that an indexed equality needs may be missing from the WAL. Then the shape
// is gone through one by one, since any of its workflows may have to fail for it. So is
// a group whose column is missing; and a change that can't be known counts as one.
//
// To change one workflow takes a time that doesn't depend on how many stand beside it:
// rules know their places, lists are linked both ways.
//
// # Updates that change nothing
//
// An update whose full old row equals the new one in every column that isn't hidden
// matches nothing, whatever the conditions say; a large value that isn't sent again is
// equal. This is looked at only when something has matched. Values count, not how they
// are written: 1.0 for 1 is no change. A change of tenant always is one.
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
