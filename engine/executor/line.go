package executor

import "slices"

// freshTurns is how many fresh deliveries of a lane go for one that was tried before,
// while there are both: a destination that comes back gets what is new soon, and what has
// gathered as well.
const freshTurns = 3

// line is what waits of a lane, in two queues that take turns.
type line struct {
	fresh, again []*task
	turn         int // fresh ones since one of the others
	pace         *pace
}

func (q *line) len() int { return len(q.fresh) + len(q.again) }

// queue is where the next one is.
func (q *line) queue() *[]*task {
	if len(q.fresh) > 0 && (len(q.again) == 0 || q.turn < freshTurns || !q.pace.mayRetry()) {
		return &q.fresh
	}
	return &q.again
}

// some says that there is one that may begin.
func (q *line) some() bool { return len(q.fresh) > 0 || len(q.again) > 0 && q.pace.mayRetry() }

// first is the next one; there must be one.
func (q *line) first() *task { return (*q.queue())[0] }

// next takes the next one out.
func (q *line) next() *task {
	from := q.queue()
	t := (*from)[0]
	(*from)[0] = nil
	*from = (*from)[1:]
	if t.again() {
		q.turn = 0
	} else if len(q.again) > 0 {
		q.turn++
	}
	return t
}

func (q *line) of(t *task) *[]*task {
	if t.again() {
		return &q.again
	}
	return &q.fresh
}

func (q *line) add(t *task) {
	to := q.of(t)
	*to = append(*to, t)
}

// putBack puts one to the front that next has taken.
func (q *line) putBack(t *task) {
	to := q.of(t)
	*to = slices.Insert(*to, 0, t)
}

// last takes out the last n, of those that were tried before first of all: they are the
// ones that the queue has in order.
func (q *line) last(n int) []*task {
	out := make([]*task, 0, n)
	for _, from := range []*[]*task{&q.again, &q.fresh} {
		k := len(*from) - min(len(*from), n-len(out))
		out = append(out, (*from)[k:]...)
		clear((*from)[k:])
		*from = (*from)[:k]
	}
	return out
}

// pull takes those out that f chooses, and adds them to out.
func (q *line) pull(out []*task, f func(*task) bool) []*task {
	for _, from := range []*[]*task{&q.fresh, &q.again} {
		*from = slices.DeleteFunc(*from, func(t *task) bool {
			if !f(t) {
				return false
			}
			out = append(out, t)
			return true
		})
	}
	return out
}

func (q *line) each(f func(*task)) {
	for _, list := range [][]*task{q.fresh, q.again} {
		for _, t := range list {
			f(t)
		}
	}
}
