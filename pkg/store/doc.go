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
