// Package engine turns the stream into recorded executions: parts of transactions
// come in, are matched against the active workflows, and what matched is written
// together with the checkpoint in one fenced statement.
//
// # What is authoritative
//
// The checkpoint row in state says up to where executions are recorded. The stream
// says which workflow version applies to which event: version rows and captured
// tables arrive in it as rows, at the place of their commit. Nothing else decides,
// in particular no clock and no table that is read while the stream runs; so every
// run over the same WAL decides the same.
//
// # States of a transaction
//
//	skipped     the first load's snapshot saw it, or its position is recorded
//	held        its parts are kept in memory, up to 16 MB of received bytes with 256
//	            more for each event, so that a context message anywhere in it applies
//	            to all of it
//	big         it went beyond that: what was held is taken, and the rest as it comes;
//	            executions carry the key of a row in big_transaction, opened by the
//	            first batch and released by the one with the Commit
//	taken       its Commit was seen: version and table rows in it take effect now
//
// # Order of writes
//
//  1. Events are matched and gathered in a batch; reading goes on meanwhile.
//  2. The batch closes when the writer is idle, or when it is full, always between
//     two events. A stream that is more than a second behind lets a small batch wait up
//     to 20 ms for more. Its Next checkpoint covers everything taken so far, matched or
//     not.
//  3. The writer records it: checkpoint, executions, deliveries, applied versions,
//     all or nothing, only if epoch and previous position are the ones it knows.
//  4. What the row then holds as ConfirmLSN may be told to the slot.
//
// Traffic that matches nothing causes no write of its own. Every 10 s, or 16 MB of
// received bytes, a batch without executions moves the checkpoint over it.
//
// # What happens on each failure
//
//   - The process dies before 3 has committed: nothing of the batch is there, the
//     slot still holds the WAL, and the next holder decides the same again.
//   - It dies between 3 and 4: the server sends again what is recorded; the position
//     says so, and it is skipped, with its seqs counted.
//   - Another worker has taken the slot: 3 changes no row and inserts nothing;
//     Run returns workflow.ErrFenced.
//   - State can't be reached: Run returns the error. Nothing is confirmed.
//   - A condition fails, or needs a value that is not in the WAL: its execution is
//     recorded as failure, at most 10 per workflow and hour of commit time; the rest
//     are counted only, so that a broken rule on a busy table doesn't fill the log.
//   - An execution would be one too many in a chain (rowbell.set_chain): it is recorded as
//     failure with the way it came, and delivers nothing.
//   - A row of workflow_version or captured_table that can't be read stops the
//     stream: going on would decide differently from what people wrote.
//
// # What is held
//
// Matches of a workflow beyond its limit in a transaction, or in a minute of commit time,
// are recorded and held by a row of big_transaction: the same mechanics as those of a big
// transaction, with the negated surrogate of the version for a stream.
//
// 2026-11-26: how many there were is not written down. It is the number of executions
// recorded, and whoever takes the slot counts them (0.6 s for 600,000 in the minute, on 2
// busy cores); a row of counts would be a write for each workflow in each batch. So only
// what is recorded counts, and of that what the two newest minutes have: a commit time that
// lies further back is neither counted nor held. That decides the same after a restart,
// whenever that is. What a storm is called may differ after one; what it holds does not.
package engine
