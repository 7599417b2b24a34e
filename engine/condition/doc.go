// Package condition turns the conditions that people write into predicates over row
// changes: the JSON forms of field_conditions, field_value, time_based and role_based, and
// expressions. docs/conditions.md has an example of everything; a test runs them.
//
// # From text to predicate
//
// Parse judges shape and syntax without a table. The form is written out as an
// expression, so that there is one language underneath. Bind checks an expression
// against a table's columns for one operation, and takes it apart at its top-level
// "and": a part that compares one column with constants becomes a leaf, which looks
// at the column's bytes and allocates nothing; every other part becomes an
// expr-lang program, in which comparisons with constants are such leaves too.
// Programs are shared between workflows through a Cache, by text and table.
//
// A program's environment is the Env itself. A column is decoded when it is first
// read, and at most once for an event, so what && and || leave out costs nothing
// and can't be missing.
//
// # The form
//
//	{"status": "approved", "total": {"gt": 1000, "lte": 5000}}      both
//	{"any": [{"status": "paid"}, {"not": {"total": {"lt": 10}}}]}   groups
//	{"field": "any", "operator": "eq", "value": 1}                  one comparison, spelled out
//	[{…}, {…}]                                                      all of them
//
// Operators: eq ne gt gte lt lte in not_in contains starts_with matches is_null
// not_null between changed changed_from changed_to. Keys are ANDed. "any" and "all"
// take a list, "not" takes a condition. An object with "field" and "operator" and at
// most "value" besides is one comparison; that is how to name a column that is called
// any, all, not or any_changed, of which the last lists columns of which one must have
// changed. In the form a column is that of the new row, for a delete of the old one.
//
// FromExpression reads a form back from what it was written as, and nothing else.
//
// # Time and roles
//
// A time_based condition (timed.go) is written as comparisons of the commit time, as a
// calendar and a clock in one zone show it: weekday, clock, day, yearday; and of how far
// away a column is: daysUntil in days of the calendar, moment in exact hours. A column
// without zone is meant in the condition's. A role_based one (roles.go) is written as
// comparisons of the actor's id, roles and attributes; by directory it is no condition but
// the executor's gate.
//
// # Firing mode becomes_true
//
// A form that is bound for it reads one row, never old or changed, so that Bound.EvalBefore
// can evaluate it for the old row.
//
// # Domain events
//
// They are rows of DomainRelation, with operation emit. new.x is a part of the payload, of
// no known type.
//
// # Expressions
//
// new.col, old.col, and row.col (the new row; for a delete the old one); other
// columns by new["odd name"]; op ("create", "update", "delete"); changed("col");
// event.id, event.table, event.op, event.lsn, event.committed_at; actor, tenant;
// now(), which is the commit time; date("2026-01-31"), duration("36h"); weekday, clock, day,
// yearday, daysUntil, moment with a time and a zone; len, lower,
// upper, trim, abs, int, float, string, min, max; any, all, none, one, count, filter,
// map over lists; + - * / %, comparisons, in, contains, startsWith, endsWith,
// matches, ??, ?:, let. Indexing reaches into json: new.meta.customer.tier, nil where
// there is nothing. There is no clock and no database in it.
//
// # NULL, and values that are not there
//
// A value is present, NULL, or not in the WAL. The logic is two-valued, and the form
// and expressions agree:
//
//   - eq, gt, gte, lt, lte, in, contains, starts_with, matches, between of NULL are
//     false. Two columns that are both NULL are equal in an expression, as nil is.
//   - ne and not_in are the exact opposite of eq and in, so they match NULL: a row
//     without a status is not cancelled. In SQL: col IS DISTINCT FROM value. The same
//     holds for "not" around anything.
//   - {"col": null} is is_null; a null in a list is an error.
//   - Arithmetic with NULL gives NULL, and a NULL boolean is false.
//   - old in a create and new in a delete are rows of NULLs. changed() is false there.
//
// A value that is not in the WAL is never false: Eval returns a MissingError, unless
// another top-level condition is false anyway, whatever their order, or && and ||
// never got to it. What can never be there (old columns outside the replica identity)
// is an error of Bind.
//
// # How values compare
//
// Numbers compare by value, numeric exactly, with literals as they were written; a
// float column compares as float64 and, as in PostgreSQL, NaN equals NaN and is
// greater than all else. Text compares by bytes (collation C); char(n) without its
// padding. Types whose order is not that of their text (enums, inet, …) know only
// equality. Timestamps compare with "2026-01-31", "2026-01-31 10:00", or RFC 3339; a
// timestamptz without an offset is meant in UTC, an offset for a timestamp without
// zone is ignored, as PostgreSQL does. A text in the place of a number is accepted if
// it is one. contains looks for a text in a text, and for an element in a list.
//
// Package truthtest compares all this with what a server says of the same rows. Known to
// be otherwise than there: interval, timetz and inet are equal by their text, so 1 day is
// not 24:00:00; citext compares with case; changed of json is by text; contains finds no
// element in a list of lists.
//
// # Bounds
//
// 16 kB of text and 1000 nodes for an expression, 64 kB and 16 levels for a form, 1000
// bytes and 1000 steps for a pattern (RE2, linear time), 1 MB for a value that is decoded
// or matched (less by a pattern of more than 100 steps), 100,000 list elements looked at
// and 1 MB of text made in one evaluation.
package condition
