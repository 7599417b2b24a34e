// Package executor delivers what is recorded. Any number of processes do so, each with
// one Executor.
//
// # What is authoritative
//
// The queue in state. A delivery is a row there until it has ended; what an executor has
// in memory is leased, and comes back to the others when the lease runs out. Nothing is
// known of a delivery but what stands in its row, its event, and its workflow's version.
//
// # The way of a delivery
//
//	recorded   with a lease of the process that records it, if that has room for it
//	           (Reserve, Recorded); otherwise free to claim
//	claimed    by whoever has room, lanes by turns; after a failed attempt too
//	waiting    in memory, for its turn
//	decided    if its action has conditions of its own: cancelled with the reason if they
//	           don't hold for the event as it was recorded, dead if they can't be decided
//	addressed  if its kind has recipients: replaced by one delivery for each
//	wanted     asked of the person whose share it is: cancelled if they have opted out, put
//	           off, untried, while their quiet hours last
//	running    one attempt
//	settled    its outcome is written: it has ended, is to be tried again at a time, or
//	           is given back untried
//
// A first attempt and the tenth go the same way from "waiting" on, but that conditions of an
// action's own are decided once: not for its recipients' shares, nor after an attempt. Only what a fresh
// delivery is, comes from memory instead of from a claim.
//
// A lane is one tenant's deliveries to one destination. Lanes, tenants and the whole have
// limits of what may run at once; tenants take turns, and in a tenant its lanes. How much
// of a lane is held in memory follows the rate at which it goes, so that a slow receiver
// holds little, and nothing of what others need.
//
// # Order of writes, and what happens on each failure
//
//  1. The lease is in the row before an attempt begins.
//
//  2. The attempt.
//
//  3. The outcome: the row goes or is put off, the log is written, what comes after in
//     the same execution may begin; all in one transaction, and only if the lease is
//     still this process's.
//
//     - The process dies between 1 and 3: the lease runs out, and another one tries again
//     with the same idempotency key. The attempt that nobody wrote down is not counted.
//     - The process stands still for longer than its lease: it begins nothing whose lease
//     has run out by its own clock. What it had begun is tried by another one too, and
//     its own outcome changes nothing if that one has the lease by then.
//     - State can't be reached: outcomes wait, and are written again and again; a full
//     list of them keeps further attempts from beginning.
//     - The source can't be reached: statuses and versions that are known still count.
//     Deliveries of others are put off for a second, untried.
//     - A version has come through the slot and can't be seen on the source yet, as a commit
//     waits for a standby: so it goes for its deliveries, until it can.
//     - An orderly stop: what waits is given back, what runs may end. What has not ended
//     when the time is over is given back too.
//
// # Kinds in transaction
//
// An attempt of theirs takes effect by Delivery.Call, in the transaction that writes 3: the
// row is locked and seen to be this process's, a function of the application's is called,
// and the row goes, all in one pipeline that waits for nobody. What fails, or is cut off,
// has not happened; if the answer to the commit is lost, the row is gone, and whatever is
// written of the attempt changes nothing. What a call that failed comes to is written like
// every other outcome. Calls use connections of their own, few of them.
//
// # Pauses
//
// Deliveries that are paused stay in the queue, free and untouched: a claim leaves them out
// in its statement, what waits in memory is given back, nothing that is recorded is kept for
// this process, and an attempt that would begin doesn't. What a pause covers is read from the
// source each second. While that can't be read, what was known holds, and a process that has
// never read it delivers nothing. What has become due in the meantime needs nobody to put it
// back: when the pause is over the next claim has it, the oldest first.
//
// Very many that are paused would be read past by each claim. So it is looked at now and then
// where in a lane the first stands that isn't paused, and claims begin there. What comes before
// it later, such as what another process gives back, waits for the next look, ten seconds or
// so; in lanes without a pause nothing does.
//
// # Turning a workflow off
//
// Its deliveries become cancelled. Before an attempt the workflow's present status is
// looked at, which is never older than a second or two; what waits in the queue is
// cancelled when the source says that a status has changed, and when a sweep finds it.
//
// What an operator has discarded of what the storm guard held is cancelled in the same way.
//
// That a workflow is off counts only for what was recorded before it was asked for: what
// comes later may be of the version that turned it on again, and is asked for anew. While a
// later version applies than can be seen on the source, it doesn't count either.
package executor
