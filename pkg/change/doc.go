// Package change says what happened: row changes of committed transactions, in
// commit order, as they come out of a logical replication slot.
//
// It is vocabulary. It imports nothing else of Rowbell, and anyone may import it.
// Words are PostgreSQL's own (manual: Logical Replication Message Formats).
package change
