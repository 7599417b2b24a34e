// Package preference decides whether somebody wants what a workflow tells them, and whether
// now: their opt-outs, and their quiet hours.
//
// # What counts
//
// Of somebody's preferences the most specific one counts: for this workflow and channel,
// else for this workflow, else for this channel, else for all. Without any, everything is
// wanted. A channel is an action kind: email, notification, chat.
//
// Quiet hours are a stretch of clock time that begins on some days of the week. Whether one
// holds is asked when something is about to be sent, in the person's zone as it is then, so
// that a move, or a government that changes its clocks, counts at once. Where clocks are put
// forward, a stretch that begins or ends at a time that there isn't begins or ends when they
// are; where they are put back, it begins the first time that the clock shows its beginning
// and ends the last time that it shows its end. So it is quiet whenever the clock on the
// wall is inside the stretch, and nobody is woken in between.
//
// # Where it is kept
//
// In state, beside the inbox. Asker reads it for the executor: what many deliveries ask for
// at the same time is one query, and an answer counts for some seconds.
package preference
