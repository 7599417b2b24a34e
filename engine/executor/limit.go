package executor

import (
	"math"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// bar says what of a lane may be tried.
type bar int

const (
	free  bar = iota // all
	probe            // one at a time, by whoever gets the right to
	shut             // nothing
)

// limited is what a lane has that is limited. Guarded by pool.mu.
type limited struct {
	actions.Limits // that hold; the lowest of those that came lately
	// since is when next began: the lowest of those that have come since then.
	since time.Time
	next  actions.Limits
	came  bool // one has come since then

	kind, tenantID, destination string
	share                       int // how many of Concurrency this process has
	tokens                      int // attempts that it may begin
	until                       time.Time
	ask                         time.Time // not to be asked for more before
}

// limitsFor is how long a limit holds that none of a lane's deliveries has any more.
const limitsFor = time.Minute

// perLane is how many of a lane may run.
func (p *pool) perLane(l *lane) int {
	n := p.limits.perLane
	if l.limited != nil && l.limited.Concurrency > 0 {
		n = min(n, l.limited.share)
	}
	if l.bar == probe {
		n = min(n, 1)
	}
	return n
}

// mayRun says that the first of a lane's waiting deliveries may run.
func (p *pool) mayRun(l *lane) bool {
	return l.waiting.some() && l.paused.IsZero() && l.bar != shut && l.running < p.perLane(l) && p.hasToken(l)
}

// hasToken says that the first of a lane's waiting deliveries may run as far as a rate is
// concerned. If not, somebody is to ask for more.
func (p *pool) hasToken(l *lane) bool {
	if l.limited == nil || l.limited.Rate.N == 0 {
		return true
	}
	if t := l.waiting.first(); t.charged || !t.Addressed {
		return true
	}
	if l.limited.tokens > 0 && time.Now().Before(l.limited.until) {
		return true
	}
	l.limited.tokens = 0
	if !l.wants {
		l.wants = true
		p.wanting = append(p.wanting, l)
		select {
		case p.tokens <- struct{}{}:
		default:
		}
	}
	return false
}

// charge takes a token for a delivery, unless it has one.
func (l *lane) charge(t *task) {
	if l.limited != nil && l.limited.Rate.N > 0 && !t.charged && t.Addressed && l.limited.tokens > 0 {
		l.limited.tokens--
		t.charged = true
	}
}

// uncharge gives back the token of a delivery that came to no attempt: its recipient wants
// none, or none now, or has no address.
func (p *pool) uncharge(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := t.lane.limited; t.charged && m != nil && m.Rate.N > 0 && time.Now().Before(m.until) {
		m.tokens++
		p.enter(t.lane)
	}
	t.charged = false
}

// admit says whether a delivery that was taken may be tried, now that it is known what
// its destination's limits are. If not it has to be put back.
func (p *pool) admit(t *task, d destination, limits actions.Limits) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := t.lane
	if l.limited == nil {
		if limits == (actions.Limits{}) {
			return true
		}
		l.limited = &limited{since: time.Now(), share: p.share(l.id, limits.Concurrency)}
	}
	m := l.limited
	m.kind, m.tenantID, m.destination = d.kind, d.tenantID, d.name
	if m.came {
		m.next = m.next.Lower(limits)
	} else {
		m.next, m.came = limits, true
	}
	p.setLimits(l, m.Lower(limits))
	if m.Rate.N > 0 && !t.charged {
		if m.tokens > 0 && time.Now().Before(m.until) {
			m.tokens--
			t.charged = true
		} else {
			return false
		}
	}
	return l.running <= p.perLane(l)
}

// setLimits changes the limits that hold for a lane.
func (p *pool) setLimits(l *lane, limits actions.Limits) {
	m := l.limited
	if m.Limits == limits {
		return
	}
	if m.Concurrency != limits.Concurrency {
		m.share = p.share(l.id, limits.Concurrency)
	}
	if m.Rate != limits.Rate {
		m.tokens = 0
	}
	m.Limits = limits
	l.room = p.roomOf(l)
	p.enter(l)
}

// roomOf is how many of a lane are held, by what its rate was lately.
func (p *pool) roomOf(l *lane) int {
	room := min(p.mostRoom, max(2*p.limits.perLane, int(2*l.rate)))
	if m := l.limited; m != nil {
		if m.Rate.N > 0 {
			room = min(room, max(2, int(2*m.Rate.PerSecond())))
		}
		if m.Concurrency > 0 {
			room = min(room, max(2*m.share, int(2*l.rate)))
		}
		if m.Concurrency > 0 && m.share == 0 {
			room = 0
		}
	}
	return room
}

// share is how many of a destination's attempts at once are this process's: it is shared
// out among those that deliver, what doesn't divide by turns of the lanes. Each process
// knows the same list of all, and so no share is given twice.
func (p *pool) share(lane int64, concurrency int) int {
	switch {
	case p.processes <= 1:
		return concurrency
	case time.Since(p.joined) < joinAfter:
		return 0 // the others don't know of this one yet
	}
	of := uint64(p.processes)
	turn := (uint64(p.rank)%of + uint64(lane)%of) % of
	n := concurrency / p.processes
	if turn < uint64(concurrency%p.processes) {
		n++
	}
	return n
}

// joinAfter is how long it takes until all others know of a process that has come.
const joinAfter = 2 * seenEach

// setProcesses says how many processes deliver, and which of them this is.
func (p *pool) setProcesses(rank, processes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.joined.IsZero() {
		p.joined = time.Now()
	}
	settled := time.Since(p.joined) >= joinAfter
	if p.rank == rank && p.processes == processes && p.alike == settled {
		return
	}
	p.rank, p.processes, p.alike = rank, processes, settled
	for _, l := range p.lanes {
		if l.limited != nil && l.limited.Concurrency > 0 {
			l.limited.share = p.share(l.id, l.limited.Concurrency)
			l.room = p.roomOf(l)
			p.enter(l)
		}
	}
	p.wake()
}

// putBack lets a delivery wait again that was taken and not tried.
func (p *pool) putBack(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := t.lane
	l.running--
	l.tenant.running--
	p.running--
	l.waiting.putBack(t)
	p.waiting++
	p.enter(l)
}

// wanted are the tokens that lanes want, and may ask for now.
func (p *pool) wanted(now time.Time) []workflow.TokenRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []workflow.TokenRequest
	var done []*lane
	kept := p.wanting[:0]
	for _, l := range p.wanting {
		m := l.limited
		if l.waiting.len() == 0 || m.Rate.N == 0 || m.tokens > 0 && now.Before(m.until) || l.bar == shut {
			l.wants = false
			done = append(done, l)
			continue
		}
		kept = append(kept, l)
		if now.Before(m.ask) {
			continue
		}
		perSecond := m.Rate.PerSecond()
		list = append(list, workflow.TokenRequest{Lane: l.id, PerSecond: perSecond, Most: min(l.waiting.len(), int(math.Ceil(perSecond/4)))})
	}
	clear(p.wanting[len(kept):])
	p.wanting = kept
	for _, l := range done {
		p.enter(l)
	}
	return list
}

// tokenLife is how long tokens may be used.
const tokenLife = time.Second

// granted takes the tokens that were asked for before now.
func (p *pool) granted(list []workflow.TokenGrant, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []*lane
	for _, g := range list {
		l := p.lanes[g.Lane]
		if l == nil || l.limited == nil {
			continue
		}
		if g.N == 0 {
			l.limited.ask = now.Add(min(max(g.Wait, tokenEach), time.Minute))
			continue
		}
		l.limited.tokens, l.limited.until = g.N, time.Now().Add(tokenLife)
		l.wants = false
		got = append(got, l)
	}
	kept := p.wanting[:0]
	for _, l := range p.wanting {
		if l.wants {
			kept = append(kept, l)
		}
	}
	clear(p.wanting[len(kept):])
	p.wanting = kept
	for _, l := range got {
		p.enter(l)
	}
}

// setBars says which lanes are not free, and returns the deliveries in memory that are to
// be given back.
func (p *pool) setBars(bars map[int64]bar) []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var back []*task
	for id := range p.bars {
		if _, ok := bars[id]; !ok {
			back = append(back, p.setBar(id, free)...)
		}
	}
	for id, b := range bars {
		if p.bars[id] != b {
			back = append(back, p.setBar(id, b)...)
			continue
		}
		// What was claimed just before, or recorded.
		if l := p.lanes[id]; l != nil && l.waiting.len() > 0 && (b == shut || l.waiting.len()+l.running > 1) {
			back = append(back, p.pullAll(l)...)
		}
	}
	return back
}

// barOf is what of a lane may be tried.
func (p *pool) barOf(id int64) bar {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bars[id]
}

// barLane is setBars for one lane.
func (p *pool) barLane(id int64, b bar) []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.setBar(id, b)
}

func (p *pool) setBar(id int64, b bar) []*task {
	if b == free {
		delete(p.bars, id)
	} else {
		p.bars[id] = b
	}
	l := p.lanes[id]
	if l == nil || l.bar == b {
		return nil
	}
	l.bar = b
	p.enter(l)
	if b == free {
		l.setMore(true)
		p.wake()
		return nil
	}
	p.wake()
	return p.pullAll(l)
}

// pullAll takes out all that waits of a lane.
func (p *pool) pullAll(l *lane) []*task {
	back := l.waiting.last(l.waiting.len())
	p.waiting -= len(back)
	l.setMore(true)
	return back
}

// setWeights says which tenants get more turns than one.
func (p *pool) setWeights(weights map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weights, p.holding = weights, 0
	for id, t := range p.tenants {
		t.weight = max(1, weights[id])
		t.credit = min(t.credit, t.weight)
		if t.held > 0 {
			p.holding += t.weight
		}
	}
}

// fewRoom is how much of a lane any tenant may have in a crowded pool.
const fewRoom = 8

// crowded says that tenants are held to their shares of the pool.
func (p *pool) crowded() bool { return p.count > p.limits.held/2 }

// tenantRoom is how many deliveries of a tenant are held while the pool is crowded: its
// share by weight, if there were one tenant more than there are. So there is always room
// for one who comes.
func (p *pool) tenantRoom(t *tenant) int {
	sum := p.holding + 1
	if t.held == 0 {
		sum += t.weight
	}
	return p.limits.held * t.weight / sum
}

// hold counts what a lane, and its tenant, hold.
func (p *pool) hold(l *lane, n int) {
	l.held += n
	before := l.tenant.held
	l.tenant.held += n
	switch {
	case before == 0 && n > 0:
		p.holding += l.tenant.weight
	case before > 0 && l.tenant.held == 0:
		p.holding -= l.tenant.weight
	}
}
