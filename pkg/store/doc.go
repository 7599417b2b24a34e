// Package store has every SQL statement on Rowbell's tables, each beside the function
// that scans its rows. (Statements on slots and replication connections are cdc's.)
//
// Source works on the application's database: definitions and their versions, what is
// captured, publications, health. State works on log, queue and checkpoint; of it comes
// the Recorder, which writes what the engine found. Migrate makes the tables of both.
//
// It alone knows SQL errors: a missing thing is workflow.ErrNotFound, something in the
// way is workflow.ErrConflict, wrapped with what was attempted. No error text holds a
// connection string.
//
// # In the application's database
//
// Every transaction that may wait for a lock there sets lock_timeout to 2 s, because a
// waiting lock request makes the application's own statements queue behind it. Nothing
// here takes a lock on a table of the application that conflicts with reading or writing
// rows: ALTER PUBLICATION … ADD TABLE takes SHARE UPDATE EXCLUSIVE.
//
// # Who did it
//
// (2026-11-26) Who asks, how and from where comes with the context (WithOrigin), since it is
// the same for all that a request does, and since no method can then be called without
// it. Whatever writes into the source tells its transaction (sayWho), and audit_log and
// created_by take it from there by their defaults. Templates, secrets, members and captured
// tables are noted by triggers: an edit by SQL leaves the same row, and none has two. Of a
// workflow the version trigger writes the edit; a row of audit_log of the same transaction
// says what it was meant as, and AuditLog reads the two as one by their time and database
// user. A column for the transaction's id was the alternative: it would be one more in a
// published table, to tell apart what begins in the same microsecond.
//
// # Erasing
//
// (2026-11-26) An Eraser works in small transactions, and is told nothing by a table of
// progress: what it has erased isn't found again, so that it may be repeated at any time.
// Executions stay in the log as facts. Versions of a tenant go once the checkpoint is behind
// their deletion, since until then a worker that starts reads them, and stops if one is
// missing. Surrogates go last, but for the greatest: the next one would be given out twice,
// and processes remember what they stand for.
//
// # For one tenant
//
// State.As and Source.As give what is done for a tenant to the database to watch over: row-level
// security hides others' rows (migrations/source/00014_isolation.sql). Where it does, the
// server lets an index serve only conditions that it knows to be silent about a row's
// values, which comparisons of columns with values and with other columns are, and functions
// of columns are not. So a statement that joins by left(id, 26) makes that a column of a
// subquery first, and one that joins two of the views, which are security barriers, asks the
// second in a lateral subquery with OFFSET 0.
package store
