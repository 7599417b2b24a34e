// Package bench measures a worker against figures that are to be reached, on a
// throw-away PostgreSQL beside it, and against pg_recvlogical in the same run.
//
// A workload's WAL is written first, after the slot was made and its definitions were
// loaded. Each run then drains a fresh copy of that slot up to the same LSN: the
// worker as a process of its own, from its start until the workload's last row, which
// alone matches a workflow, is durably recorded; pg_recvlogical from its start to its
// end. Both decode the same WAL with the same publications. Runs are interleaved in
// random order; figures are medians, ratios are taken within one round.
//
// Reads are measured otherwise: Fill writes definitions and a log of any size into an empty
// database, and what pages read of it is timed for several readers with arguments that it
// has, on first pages and on later ones, without and with a worker that records. Their
// figures are of the calls of package store, without HTTP.
//
// Pages are measured on such a database too, in a browser: what a first visit takes over the
// wire, and when one can work with the page; and by HTTP alone, lists of runs.
package bench
