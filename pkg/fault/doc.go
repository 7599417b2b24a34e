// Package fault plants mistakes in a worker, so that the fault tests can show that
// they would find them. Only binaries built with the tag "faults" have any; in all
// others On is false at compile time and costs nothing.
//
//	confirm_before_record  the slot is told an LSN before what lies below it is recorded
//	no_fence               batches are recorded without comparing epoch and position
//	no_skip                what is recorded already is not skipped when it is sent again
//	settle_without_lease   outcomes count though another process has the delivery's lease
//	key_per_attempt        each attempt at a delivery carries an idempotency key of its own
//	forget_retry           a delivery that is to be tried again leaves the queue, as cancelled
//
// ROWBELL_FAULT chooses one.
package fault
