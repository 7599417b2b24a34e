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
//	call_in_own_transaction
//	                       a function is called in another transaction than its outcome
//
// In conditions and in the index (engine/condition/truthtest finds them):
//
//	ne_skips_null            ne, not_in and not of a comparison don't match NULL
//	numeric_as_float         numeric is put in order as float8
//	trailing_zeros_count     1.50 is another number than 1.5
//	char_padded              char(n) is compared with its padding
//	between_open             between leaves its upper bound out
//	text_order_ignores_case  text is ordered as many a locale does, not by bytes
//	nan_least                NaN is less than all numbers
//	changed_by_text          a number that is written another way has changed
//	in_drops_last            in doesn't look at the last value of its list
//	toast_as_null            a value that isn't sent again is NULL
//	before_reads_new         becomes_true looks at the new row in the place of the old one
//	key_without_length       the values of an index key run into each other
//	delete_reads_new         conditions of a delete look at a new row, which there isn't
//	tenant_out_of_key        workflows of one tenant are found for rows of another
//	priority_highest         of several matching triggers the highest priority counts
//
// ROWBELL_FAULT chooses one.
package fault
