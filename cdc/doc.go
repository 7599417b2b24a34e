// Package cdc owns the replication connection: it makes, takes and drops the slot,
// receives and decodes what it sends, and tells it what is durable.
//
// # What is authoritative
//
// The checkpoint row in state says what is recorded; the slot's confirmed_flush_lsn
// says from where the server sends. Nothing here decides between the two: Connect
// reports System, with the slot's position, the system identifier and the timeline, and
// engine/checkpoint judges. What may be told to the slot comes from Confirm alone.
// Received ≥ Durable ≥ Confirmed holds at every status that is sent.
//
// # States of a Stream
//
//	taken      Connect has the slot and nothing was read; Run or Abort comes next
//	reading    Run receives, decodes, and hands over Parts
//	lingering  ctx has ended (or Finish was called): Parts is closed; what comes is not
//	           decoded, only its positions are noted; statuses keep the slot
//	ended      after Finish the last status is sent, CopyDone is exchanged, the
//	           connection closes; or an error, or Abort, closed it before
//
// # One goroutine
//
// Run alone reads, decodes, and writes statuses. Others leave it messages: Confirm adds
// to a short queue under a mutex, Finish and the end of ctx break off its read through
// the read deadline, Abort closes the connection. Deadlines are set once for each
// status, never for a message: a context for each would cost more than the decoding.
//
// While nobody takes the Parts, Run waits in a select with the status timer, so a slow
// reader never costs the slot, and the kernel's buffers hold the server back.
//
// # Memory
//
// The network is read into blocks of 256 KiB, and rows point there: a byte is copied
// when a message is cut by the end of a block, and never again. Events are slices of a
// fixed array that belongs to the block. Neither grows, so nothing moves under a reader.
// A block is counted by the batches in it and comes back when the last is released;
// several small Parts share one, so that holding many costs what they hold. A message
// that is bigger than a block gets one of its own, for that once. In steady state
// nothing is allocated per event; a test counts.
//
// Transactions are handed over when nothing more was read, but not more often than each
// millisecond; a big one in parts, as blocks fill.
//
// # Order of writes when confirming
//
//  1. The engine records a checkpoint, and calls Confirm(lsn, recordedAt).
//  2. The next status after the stream's WAL end has passed both lsn and recordedAt says
//     lsn as flushed and applied. recordedAt is where the checkpoint's own commit stands
//     when state is in the source: a standby that was promoted must never have the slot
//     without the checkpoint. It is 0 when state is elsewhere.
//  3. Before the first Confirm, statuses repeat what the slot says itself: 0 would leave
//     it to the server what is meant.
//
// Statuses go out each second, at once when the server asks, and at the end. Confirmable
// are the end of a Commit, or a keepalive's WAL end that came with no transaction open
// (Parts.Idle): the server sends it after everything before it.
//
// # What happens on each failure
//
//   - The consumer blocks: statuses go on; the slot is kept for as long as it takes.
//   - The network is cut: the read fails, Run returns. Swallowed packets: after two quiet
//     seconds each status asks for an answer; after SenderTimeout without a byte Run
//     returns ErrSilent. The server gives the slot free in the same time, because the
//     connection has set its own wal_sender_timeout.
//   - The process is paused: the server ends the connection; the next worker has the slot.
//   - A message can't be decoded, comes out of place, or the decoder panics: Run returns
//     a *DecodeError with the LSN. Nothing is skipped, and the same error comes again
//     until an operator decides.
//   - A publication is dropped: the server fails at the first row after it, for ever
//     (14 to 17), or leaves the rows out with a warning (18). Both are ErrNoPublication,
//     and Connect looks that both exist before it reads.
//   - The slot is invalidated: the server ends the connection; the next Connect returns
//     a *LostError with the slot's positions. Message texts differ by version, so the
//     slot itself is asked (wal_status, invalidation_reason); texts are the fallback.
//   - The server shuts down in fast mode: it ends ordinary connections at once, but waits
//     for the one that replicates until everything is confirmed, which may be never.
//     Heartbeat listens on an ordinary connection, tries a second one to tell a shutdown
//     from a pg_terminate_backend, and calls onShutdown: Abort.
//   - An orderly stop in the middle of a big transaction: the server does not look up
//     before its end; after a second the connection is closed. The status was sent.
//   - CreateSlot is cancelled while the server waits for old transactions: the command
//     is cancelled on the server too, or it would leave a slot that nobody reads.
//
// # What is in the stream
//
// pgoutput, protocol 1: whole transactions after their commit. Both publications are
// read. Logical messages with the prefix rowbell. come in order with the rows; others,
// and those that are not transactional, are dropped and counted nowhere. Origin messages
// are ignored: rows that were replicated into the source are changes like any other.
// TRUNCATE is one event for each table. Session settings (DateStyle, TimeZone,
// extra_float_digits and others) are set by the connection, so that values have the same
// text for every worker and at every decode, whatever ALTER ROLE or ALTER DATABASE say.
//
// # Decisions
//
// 2026-11: own frames instead of pgconn's ReceiveMessage. The connection is opened by
// pgconn (addresses, TLS, authentication) and hijacked before START_REPLICATION. pgconn
// reads 8 kB at a time and would need every row copied once more.
//
// 2026-11: coalesced reads. The walsender sends each message by itself; whoever reads
// eagerly is woken for each, which costs the server's send as much as the reader. Under
// a backlog the socket pauses between reads until the window closes; then the server's
// kernel merges what waits. Two things were found to matter on Linux. Go's runtime polls
// the network in a thread that is woken by every packet, whether or not a goroutine
// reads: SO_RCVLOWAT keeps it asleep during the pause (client CPU for 100,000 one-row
// transactions fell from 1.2 s to 0.07 s). And the pause must be a little too long
// rather than too short: once the reader has emptied the server's queue, messages are
// sent one by one again (walsender CPU for the same 1.4 s instead of 0.8 s). So the pause
// shrinks only while a full window is there again right after a read. It is on for
// loopback only unless told otherwise: over a network a small receive buffer bounds the
// rate by the round trip. A connection that does not coalesce naps for about 0.1 ms
// between reads of a backlog, with the kernel's own buffers, which costs no rate anywhere.
// Drains on 2 cores, as ratio to pg_recvlogical, coalesced / not: one-row transactions
// 2.1 / 1.2, 1000-row ones 1.9 / 1.1, FULL updates 1.5 / 1.1 (docs/benchmarks.md).
//
// 2026-11: what counts as a backlog. Each pause is a delay for what is alone on its way:
// with a reader that paused all the time, for 4 ms, 500 one-row transactions a second had
// a median of 4.2 ms from commit to webhook, 3.9 of them between the commit and the
// statement that records it; with one that doesn't pause it is 0.6 and 0.4. That is where
// the 7 ms of an early prototype came from: it took three messages a transaction for a
// backlog, and left that state only after four small reads, each of which a pause had
// made bigger. So 128 reads in 5 ms are one, which is more than 8,000 transactions a
// second, two small reads end it, and the pause begins at its shortest.
//
// 2026-11: the slot is always made with failover on 17 and later. It costs nothing until
// an operator sets up slot synchronization, and can't be set afterwards without giving
// the slot up for a moment.
package cdc
