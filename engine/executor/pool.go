package executor

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// task is a delivery that this process has leased and holds in memory.
type task struct {
	*workflow.Leased
	lane  *lane
	bytes int
	// until is when the lease runs out by this process's clock, which is read before the
	// server's: it never ends later here than there.
	until time.Time
	came  time.Time // when it was already recorded
	since time.Time // when its record began; zero if it was claimed
	began time.Time // when its attempt did
	// Guarded by pool.mu:
	lost    bool // another process has it
	leaving bool // an outcome is being written that lets others claim it
	shed    bool // it is given back for want of room
	charged bool // it has what it needs of its destination's rate
}

// again says that it was tried before.
func (t *task) again() bool { return t.Attempts > 0 }

type key struct {
	execution string
	action    int16
	recipient string
}

func keyOf(l *workflow.Leased) key { return key{l.ExecutionID, l.Action, l.Recipient} }

// limits bound what a pool holds and runs.
type limits struct {
	running, perLane, perTenant int
	held, bytes                 int
}

// How many deliveries of one lane are held: as many as it has lately finished in about
// two seconds, so that a destination which is slow doesn't fill the memory that others
// need. A lane that isn't known yet begins somewhere between. None may hold more than
// half of all, and an eighth at first, or as much as may run of it if that is more.
const (
	firstRoom  = 256
	mostRoom   = 16384
	rateWindow = 250 * time.Millisecond
)

// freshFirst is how long what is recorded may have all of a lane's room while older ones
// wait in the queue: so long a burst may last. What is handed over in memory needs no claim,
// and a claim costs as much of the database as the record did; so all of a burst is over
// sooner than if its first ones went first.
const freshFirst = 5 * time.Second

// pool decides which of the deliveries in memory runs next. Tenants take turns, and
// within a tenant its lanes; each has a limit. Those that may not run now are not in any
// ring, so that finding the next one takes no longer when many wait.
type pool struct {
	limits limits
	// firstRoom and mostRoom are those of a lane.
	firstRoom, mostRoom int

	mu       sync.Mutex
	runnable *sync.Cond    // on mu: a tenant has come to the ring, or the pool is closed
	claim    chan struct{} // a token: it may be worth while to claim
	closed   bool
	tokens   chan struct{} // a token: some lane wants what a rate allows
	calm     chan struct{} // closed when the pool is, and nothing is reserved
	held     map[key]*task
	lanes    map[int64]*lane
	tenants  map[string]*tenant
	ring     []*tenant // with a lane that may run, and running less than its limit
	count    int       // held and reserved
	reserved int
	bytes    int
	full     bool // nothing was claimed, for want of room
	waiting  int
	running  int

	bars            map[int64]bar  // of lanes that are not free, known or not
	weights         map[string]int // of tenants that have more than one turn, known or not
	wanting         []*lane        // that want tokens
	rank, processes int            // which of those that deliver this one is
	joined          time.Time      // when it came
	alike           bool           // the others know of it
	pace            pace
	lease           time.Duration // of what is recorded
	holding         int           // weights of the tenants that hold something
}

type tenant struct {
	id      string
	ring    []*lane // with a delivery that may run
	inRing  bool
	running int
	lanes   int // how many there are, so that a tenant without any can be forgotten
	held    int // as its lanes
	again   int // of these, how many were tried before
	shed    int // and how many are given back
	weight  int // how many turns it gets for one of others
	credit  int // how many are left of them
}

type lane struct {
	id      int64
	tenant  *tenant
	waiting line
	inRing  bool
	running int
	held    int // waiting, running, being settled, and reserved
	again   int // of these, how many were tried before
	shed    int // of these, how many are given back
	room    int // how many may be held
	// more says that the queue may have deliveries of it that there was no room for, and
	// behind since when.
	more   bool
	behind time.Time

	finished  int     // in the present window
	rate      float64 // deliveries a second
	since     time.Time
	took      time.Duration // by an attempt of late
	idleSince time.Time
	paused    time.Time // until when; the receiver has asked for less

	big   chan struct{} // a token for each big event that is in memory
	calls chan struct{} // a token for each function that is called

	bar     bar
	wants   bool     // it is in pool.wanting
	limited *limited // nil: nothing is
}

// setMore says whether the queue may have more of the lane.
func (l *lane) setMore(more bool) {
	if more && !l.more {
		l.behind = time.Now()
	}
	l.more = more
}

func newPool(l limits) *pool {
	p := &pool{
		limits: l, firstRoom: min(firstRoom, max(l.perLane, l.held/8)), mostRoom: min(mostRoom, max(l.perLane, l.held/2)),
		claim: make(chan struct{}, 1), tokens: make(chan struct{}, 1), calm: make(chan struct{}), bars: make(map[int64]bar),
		held: make(map[key]*task), lanes: make(map[int64]*lane), tenants: make(map[string]*tenant),
	}
	p.runnable = sync.NewCond(&p.mu)
	return p
}

// wake lets the claims begin before their next time. Called with or without mu.
func (p *pool) wake() {
	select {
	case p.claim <- struct{}{}:
	default:
	}
}

func (p *pool) laneOf(id int64, tenantID string) *lane {
	if l := p.lanes[id]; l != nil {
		return l
	}
	t := p.tenants[tenantID]
	if t == nil {
		t = &tenant{id: tenantID, weight: max(1, p.weights[tenantID])}
		p.tenants[tenantID] = t
	}
	t.lanes++
	l := &lane{
		id: id, tenant: t, room: p.firstRoom, since: time.Now(), bar: p.bars[id], waiting: line{pace: &p.pace},
		big: make(chan struct{}, bigPerLane), calls: make(chan struct{}, callsPerLane),
	}
	p.lanes[id] = l
	return l
}

// reserve says whether there is room for a delivery that is about to be recorded, and
// keeps it.
func (p *pool) reserve(laneID int64, tenantID string, bytes int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	l := p.laneOf(laneID, tenantID)
	room := l.room
	if l.more && time.Since(l.behind) > freshFirst {
		// Older ones wait in the queue: half of the room is for them.
		room /= 2
	}
	// What was tried before doesn't keep fresh ones out of memory: in the queue they would
	// wait behind all that has been due for longer.
	if l.held-l.again >= room || p.count >= p.limits.held || p.bytes+bytes > p.limits.bytes || time.Now().Before(l.paused) ||
		l.bar != free || p.crowded() && l.tenant.held-l.tenant.again >= p.tenantRoom(l.tenant) {
		l.setMore(true)
		return false
	}
	p.hold(l, 1)
	p.count++
	p.reserved++
	p.bytes += bytes
	return true
}

// unreserve gives room back.
func (p *pool) unreserve(laneID int64, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[laneID]; l != nil {
		p.hold(l, -1)
	}
	p.count--
	p.bytes -= bytes
	p.came(1)
}

// came says that so many of the reserved ones are recorded, or will never be.
func (p *pool) came(n int) {
	p.reserved -= n
	if p.closed && p.reserved == 0 && n > 0 {
		close(p.calm)
	}
}

// add takes deliveries that this process has leased. Those that were reserved have
// their room already.
func (p *pool) add(list []*workflow.Leased, until time.Time, reserved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	came := time.Now()
	for _, d := range list {
		l := p.laneOf(d.Lane, d.TenantID)
		t := &task{Leased: d, lane: l, bytes: sizeOf(d), until: until, came: came}
		if reserved {
			t.since = until.Add(-p.lease)
		} else {
			p.hold(l, 1)
			p.count++
			p.bytes += t.bytes
		}
		if t.again() {
			l.again++
			l.tenant.again++
		}
		if old := p.held[keyOf(d)]; old != nil && !old.leaving {
			// Its lease ran out and was taken again, by this very process, which is at it.
			old.until, old.lost = until, false
			p.drop(t)
			continue
		}
		p.held[keyOf(d)] = t
		l.waiting.add(t)
		p.waiting++
		p.enter(l)
	}
	if reserved {
		p.came(len(list))
	}
}

func sizeOf(d *workflow.Leased) int {
	const overhead = 1024
	if d.Event == nil {
		return overhead
	}
	return overhead + len(d.Event.Data)
}

// drop frees the room of a task.
func (p *pool) drop(t *task) {
	p.hold(t.lane, -1)
	if t.again() {
		t.lane.again--
		t.lane.tenant.again--
	}
	if t.shed {
		t.lane.shed--
		t.lane.tenant.shed--
	}
	p.count--
	p.bytes -= t.bytes
}

// enter puts a lane, and its tenant, into their rings if they may run.
func (p *pool) enter(l *lane) {
	if !l.inRing && p.mayRun(l) {
		l.inRing = true
		l.tenant.ring = append(l.tenant.ring, l)
	}
	p.enterTenant(l.tenant)
}

func (p *pool) enterTenant(t *tenant) {
	if !t.inRing && len(t.ring) > 0 && t.running < p.limits.perTenant {
		t.inRing = true
		p.ring = append(p.ring, t)
		p.runnable.Signal()
	}
}

// next waits for a delivery that may run, and takes it. It returns nil once the pool is
// closed.
func (p *pool) next() *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.ring) == 0 && !p.closed {
			p.runnable.Wait()
		}
		if p.closed {
			return nil
		}
		if t := p.take(); t != nil {
			return t
		}
	}
}

// take takes the next delivery of the ring's first tenant; nil if it has none. A tenant
// stays the first for as many turns as it has weight.
func (p *pool) take() *task {
	tn := p.ring[0]
	leave := func() {
		p.ring = p.ring[1:]
		tn.inRing = false
	}
	if len(tn.ring) == 0 {
		leave()
		return nil
	}
	l := tn.ring[0]
	tn.ring = tn.ring[1:]
	l.inRing = false
	if !p.mayRun(l) {
		leave()
		p.enterTenant(tn)
		return nil
	}
	t := l.waiting.next()
	l.charge(t)
	t.began = time.Now()
	if l.took > slowAttempt {
		t.since = time.Time{} // it waits for its destination, whatever else goes on
	}
	p.pace.began(t.again(), t.since, t.began)
	p.waiting--
	l.running++
	tn.running++
	p.running++
	p.enter(l) // its tenant is in the ring yet
	if tn.credit--; tn.credit < 0 {
		tn.credit = tn.weight - 1
	}
	if tn.credit > 0 && len(tn.ring) > 0 && tn.running < p.limits.perTenant {
		p.runnable.Signal()
		return t
	}
	leave()
	p.enterTenant(tn)
	return t
}

// ran says that a delivery runs no more. It is held until it is settled.
func (p *pool) ran(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.lane.running--
	t.lane.finished++
	t.lane.took += (time.Since(t.began) - t.lane.took) / 8
	t.lane.tenant.running--
	p.running--
	p.enter(t.lane)
}

// leave says whether an outcome of these is being written after which they may be
// claimed: they can come again before settled is called.
func (p *pool) leave(tasks []*task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range tasks {
		t.leaving = true
	}
}

// settled forgets deliveries whose outcome is written.
func (p *pool) settled(tasks []*task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hungry := false
	for _, t := range tasks {
		if p.held[keyOf(t.Leased)] == t {
			delete(p.held, keyOf(t.Leased))
		}
		p.drop(t)
		hungry = hungry || t.lane.more && t.lane.held <= t.lane.room/2 && t.lane.bar == free
	}
	if p.full && p.count <= p.limits.held-p.piece() && p.bytes < p.limits.bytes {
		p.full, hungry = false, true
	}
	if hungry {
		p.wake()
	}
}

// piece is how much room in all is worth a claim.
func (p *pool) piece() int { return max(1, min(claimMost, p.limits.held/8)) }

// holds says that a delivery is still this process's, for at least so long.
func (p *pool) holds(t *task, least time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !t.lost && time.Until(t.until) >= least
}

// room is what may be claimed.
func (p *pool) room(after int64) workflow.Claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := workflow.Claim{After: after, Most: min(claimMost, p.limits.held-p.count), PerLane: p.firstRoom, Room: make(map[int64]int)}
	if p.full = c.Most < p.piece() || p.bytes >= p.limits.bytes; p.full || p.closed {
		c.Most = 0
		return c
	}
	if p.pace.active {
		c.Most = min(c.Most, claimPaced)
	}
	// What a claim brings above tenants' shares, surplus would give back at once, for the next
	// claim to bring it again: it ends where the pool is crowded, and from there on goes by
	// what is left of the shares.
	crowded := p.count+p.piece() > p.limits.held/2
	left := make(map[*tenant]int)
	if !crowded {
		c.Most = min(c.Most, p.limits.held/2-p.count)
	}
	for id, l := range p.lanes {
		n := l.room - l.held
		// In pieces that are worth the way.
		if l.held > l.room/2 || !l.paused.IsZero() {
			n = 0
		}
		switch {
		case l.bar == shut:
			n = 0
		case l.bar == probe:
			n = 1 - l.held
		}
		if n = max(0, n); crowded {
			share, known := left[l.tenant]
			if !known {
				room := p.tenantRoom(l.tenant)
				if share = room - l.tenant.held; share < max(1, room/8) {
					share = 0
				}
			}
			n = min(n, share)
			left[l.tenant] = share - n
		}
		c.Room[id] = n
	}
	if crowded {
		c.PerLane = min(c.PerLane, fewRoom) // it may be of a tenant that has its share
	}
	return c
}

// claimed notes which lanes may have more than was claimed.
func (p *pool) claimed(c workflow.Claim, got workflow.Claimed) {
	n := make(map[int64]int)
	for _, d := range got.Deliveries {
		n[d.Lane]++
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	whole := got.End && len(got.Deliveries) < c.Most
	for id, l := range p.lanes {
		if id <= c.After || !whole && id > got.Last {
			continue // it was not looked at
		}
		room, known := c.Room[id]
		if !known {
			room = c.PerLane
		}
		l.setMore(n[id] >= room)
	}
}

// beat lets some more retries begin while they are held back, and says whether they are.
func (p *pool) beat(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pace.active {
		return false
	}
	could := p.pace.mayRetry()
	if p.pace.fill(now); !could && p.pace.mayRetry() {
		for _, l := range p.lanes {
			p.enter(l)
		}
	}
	return true
}

// tick measures how fast lanes are, ends pauses that are over, and forgets lanes that
// have had nothing to do for a while.
func (p *pool) tick(now time.Time) {
	const forget = time.Minute
	p.mu.Lock()
	defer p.mu.Unlock()
	hungry := false
	more := p.pace.tick(now)
	for id, l := range p.lanes {
		if more {
			p.enter(l)
		}
		if !l.paused.IsZero() && !now.Before(l.paused) {
			l.paused = time.Time{}
			p.enter(l)
			l.setMore(true)
		}
		if d := now.Sub(l.since); d >= rateWindow && (l.finished > 0 || l.held > 0) {
			l.rate = max(float64(l.finished)/d.Seconds(), l.rate*0.7)
			l.room = p.roomOf(l)
			l.finished, l.since = 0, now
		}
		hungry = hungry || l.more && l.held <= l.room/2 && l.paused.IsZero() && l.bar == free
		if m := l.limited; m != nil && m.came && now.Sub(m.since) >= limitsFor {
			p.setLimits(l, m.next)
			m.since, m.came = now, false
		}
		switch {
		case l.held > 0:
			l.idleSince = time.Time{}
		case l.idleSince.IsZero():
			l.idleSince = now
		case now.Sub(l.idleSince) > forget && !l.inRing:
			delete(p.lanes, id)
			if l.tenant.lanes--; l.tenant.lanes == 0 && l.tenant.running == 0 && !l.tenant.inRing {
				delete(p.tenants, l.tenant.id)
			}
		}
	}
	if hungry {
		p.wake()
	}
}

// expiring are the deliveries whose leases run out before a time.
func (p *pool) expiring(before time.Time) []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*task
	for _, t := range p.held {
		if !t.lost && t.until.Before(before) {
			list = append(list, t)
		}
	}
	return list
}

// renewed says until when these are this process's now; lost ones aren't any more.
func (p *pool) renewed(list []*task, until time.Time, lost map[*workflow.Leased]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range list {
		if lost[t.Leased] {
			t.lost = true
		} else {
			t.until = until
		}
	}
}

// pull takes those of the waiting deliveries out that f chooses.
func (p *pool) pull(f func(*task) bool) []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*task
	for _, l := range p.lanes {
		out = l.waiting.pull(out, f)
	}
	p.waiting -= len(out)
	return out
}

// surplus takes out what lanes hold beyond their room, the newest first, if others may
// need it: their receivers have become slower. Of a tenant that holds more than its share
// of a pool that is crowded, and of a lane whose limits say so, it takes that out as well.
// It is to be given back.
func (p *pool) surplus() []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*task
	shed := func(l *lane, n int) {
		n = min(n, l.waiting.len())
		if n <= 0 {
			return
		}
		list := l.waiting.last(n)
		for _, t := range list {
			t.shed = true
		}
		out = append(out, list...)
		l.shed += n
		l.tenant.shed += n
		l.setMore(true)
	}
	full := p.count > p.limits.held/2 || p.bytes > p.limits.bytes/2
	for _, l := range p.lanes {
		if full || l.limited != nil {
			shed(l, l.held-l.shed-l.room)
		}
	}
	// Of each lane a few stay, unless the tenant has so many lanes that these are too much.
	for _, few := range []int{fewRoom, 0} {
		if !p.crowded() {
			break
		}
		for _, l := range p.lanes {
			if over := l.tenant.held - l.tenant.shed - p.tenantRoom(l.tenant); over > 0 {
				shed(l, min(over, l.held-l.shed-few))
			}
		}
	}
	p.waiting -= len(out)
	return out
}

// versions are those of the waiting deliveries.
func (p *pool) versions() []int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[int32]bool)
	for _, l := range p.lanes {
		l.waiting.each(func(t *task) { seen[t.VersionRef] = true })
	}
	return slices.Collect(maps.Keys(seen))
}

// close ends every wait in next, and returns the deliveries that did not come to run.
// From then on nothing can be reserved, and calm ends when what was has come.
func (p *pool) close() []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.reserved == 0 {
		close(p.calm)
	}
	p.closed = true
	p.runnable.Broadcast()
	return p.empty()
}

// late returns, once the pool is closed, what has come since.
func (p *pool) late() []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		return nil
	}
	return p.empty()
}

// empty takes out all that waits.
func (p *pool) empty() []*task {
	var left []*task
	for _, l := range p.lanes {
		p.waiting -= l.waiting.len()
		left = append(left, l.waiting.last(l.waiting.len())...)
	}
	return left
}

// state is what the pool is doing, for metrics.
func (p *pool) state() (held, waiting, running int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count, p.waiting, p.running
}

// pauseLane lets a lane rest until its receiver wants more.
func (p *pool) pauseLane(id int64, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[id]; l != nil && d > 0 {
		if until := time.Now().Add(d); until.After(l.paused) {
			l.paused = until
		}
	}
}
