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
package store
