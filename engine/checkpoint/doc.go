// Package checkpoint decides which LSN is safe to confirm, what a reconnected
// stream has to skip, and whether a slot can be gone on with at all. It is pure: no
// I/O, no clock, no goroutine. It is tested against a naive model.
//
// # Words
//
// Received is what was read from the slot, Durable what is recorded by us,
// Confirmed what the slot was told: Confirmed ≤ Durable ≤ Received.
//
// # What is authoritative
//
// The checkpoint row in state, and nothing else. The slot's confirmed_flush_lsn
// only says from where the server will send; it may be behind the checkpoint
// (what was confirmed last never reached the server, a promoted standby has an
// older copy), never ahead.
//
// # What a checkpoint says
//
// Position names the last event whose executions are recorded; Seq -1 says that
// its whole transaction is. EndLSN is the end of the last transaction that is
// recorded whole. ConfirmLSN is what may be told to the slot: that EndLSN, or the
// WAL end of a keepalive that came after it with no transaction open.
//
// A position is compared with commit LSNs alone, and never with ConfirmLSN: after
// a promotion, new commits may have LSNs below an old ConfirmLSN, and they count.
//
// # Resuming
//
// Transactions arrive in the order of their commit LSNs, so what a stream sends
// again is a prefix: transactions with a smaller commit LSN than Position's are
// skipped, the one with the same is skipped up to Seq, and everything later is new.
// On another timeline this holds as long as EndLSN is not beyond the point where
// the timelines part; otherwise what was recorded has not happened in the new
// history, and the worker stops. So it does if the server's WAL ends before EndLSN: it
// was set back to an older copy of its files, and would use those LSNs again.
package checkpoint
