// Package live is a feed of what happens: executions that are recorded and settled,
// deliveries that end, destinations and pauses that change, how the stream stands.
//
// It comes from the database, so that it is the same in each process, whichever of them
// recorded or delivered. One poller reads what is new each second, however many readers
// there are, and none while there are none; recording and delivering know nothing of it.
//
// What is settled is read in stretches of time, by settled_at. A stretch ends at a horizon
// that no transaction which is still open can write before (store's LiveHorizon), so that
// each execution comes once, in the order of that time. Its place, the time with the id, is
// the event's ID; who was away goes on behind it, from the database. Executions that are
// pending come from the events, whose ids grow with the record, and are not repeated: who was
// away hears of them when they are settled. What is only a state, as of the stream, has no
// place; a reader that comes hears it as it is.
//
// A reader that doesn't keep up misses events, is told how many, and goes on. So does a
// poller whose database doesn't keep up; then nobody has counted.
package live
