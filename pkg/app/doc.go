// Package app puts the parts together: settings, connections, and one worker that
// waits for the slot, reads and records while it holds it, and tells how it is. It is
// the one package that imports everything; tests and the demo start it in-process.
//
// # What runs
//
//	ops          metrics, health and profiles, from the start
//	reader       waits for the slot, then: stream (cdc) → engine → state, lease, heartbeats
//	health       keeps workflow_health in the source current
//	capturer     captures the tables that workflows name, with ROWBELL_CAPTURE=auto
//	watch        slot, queue, replica identities, tables that were lost
//	maintenance  partitions and retention
//
// # Holding the slot
//
// The server lets one connection stream from a slot, so the slot itself is the lock.
// The order of taking it matters:
//
//  1. START_REPLICATION succeeds: nobody else streams.
//  2. The checkpoint's epoch grows by one in the statement that reads the position:
//     whatever an earlier holder still tries to record is refused.
//  3. The slot's confirmed_flush_lsn, system identifier and timeline are compared with
//     the checkpoint (engine/checkpoint, Resume), and the definitions are read in
//     exactly the versions that the checkpoint has applied.
//
// A holder renews its lease each second, by the state server's clock. Waiting workers
// look at the slot four times a second. Five seconds after a lease ran out, a waiting
// worker ends the connection that holds the slot, if it is the one that the lease
// names; a paused holder that comes back finds its connection gone and its epoch
// passed.
//
// # What stops, and what is tried again
//
// Before the first holding, what only an operator can mend ends the process with the
// reason: a supervisor shows it, and nothing has been promised yet. Later the process
// stays, since what is recorded is still to be delivered: /readyz fails and says why.
// Everything else is tried again, from 0.2 s to 2 s apart. A key that is recorded twice
// ends the process: it means that the fence is broken. A gap is written to stream_gap
// once; reading goes on by itself after rowbell resync.
//
// # Decided
//
// 2026-11-23: a gap stops reading and doesn't end the process. A process that exits is
// restarted by its supervisor into the same gap, and takes metrics, health and the
// delivery of what is recorded down with it.
//
// 2026-11-23: one installation has one slot. Positions are numbered by stream, not by
// slot, so a second slot on the same state would record everything twice; a worker with
// another slot refuses to start.
package app
