// Package pgoutput turns the bytes of PostgreSQL's pgoutput plugin, protocol
// version 1 with logical messages, into messages. It does no I/O, looks at no
// clock, never panics, and allocates nothing for a message of the hot path
// (begin, insert, update, delete, commit).
//
// Rows stay as they came: the decoder checks the shape of a tuple once, and
// change.Row reads columns out of it when somebody asks. What a column's type is
// comes from the stream too (Relations); the catalog is never asked, since it may
// be ahead of the WAL.
//
// (PostgreSQL manual: Logical Replication Message Formats.)
package pgoutput
