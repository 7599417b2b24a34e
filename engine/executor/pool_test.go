package executor

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func delivery(n int, lane int64, tenantID string) *workflow.Leased {
	return &workflow.Leased{ExecutionID: fmt.Sprint(n), Lane: lane, TenantID: tenantID, VersionRef: int32(lane)}
}

// tryNext is next, unless it would wait.
func (p *pool) tryNext() *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ring) > 0 {
		if t := p.take(); t != nil {
			return t
		}
	}
	return nil
}

// A model of the pool that is as simple as can be.
type model struct {
	limits
	waiting  map[int64][]int // by lane
	running  map[int64][]*task
	settling []*task
	reserved map[int64]int
	paused   map[int64]time.Time
	lanes    map[int64]string // tenants
	started  map[int]bool
}

func (m *model) runs(tenantID string) (ofTenant, all int) {
	for lane, list := range m.running {
		all += len(list)
		if m.lanes[lane] == tenantID {
			ofTenant += len(list)
		}
	}
	return ofTenant, all
}

func (m *model) held(lane int64) int {
	n := len(m.waiting[lane]) + len(m.running[lane]) + m.reserved[lane]
	for _, t := range m.settling {
		if t.Lane == lane {
			n++
		}
	}
	return n
}

// may says that something of a lane may run.
func (m *model) may(lane int64) bool {
	ofTenant, all := m.runs(m.lanes[lane])
	_, paused := m.paused[lane]
	return len(m.waiting[lane]) > 0 && !paused && len(m.running[lane]) < m.perLane && ofTenant < m.perTenant && all < m.limits.running
}

// Whatever happens, in whatever order: limits are kept, each delivery runs once, and
// whatever may run does.
func TestPoolAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits{
			running: rapid.IntRange(1, 6).Draw(t, "running"), perLane: rapid.IntRange(1, 3).Draw(t, "per lane"),
			perTenant: rapid.IntRange(1, 4).Draw(t, "per tenant"), held: rapid.IntRange(1, 40).Draw(t, "held"), bytes: 1 << 20,
		}
		p := newPool(l)
		m := &model{
			limits: l, waiting: map[int64][]int{}, running: map[int64][]*task{}, reserved: map[int64]int{}, paused: map[int64]time.Time{},
			lanes: map[int64]string{1: "a", 2: "a", 3: "b", 4: "b", 5: "c"}, started: map[int]bool{},
		}
		now := time.Now()
		n := 0
		lane := func(t *rapid.T) int64 { return rapid.Int64Range(1, 5).Draw(t, "lane") }
		started := func(t *rapid.T, got *task) {
			var id int
			_, _ = fmt.Sscan(got.ExecutionID, &id)
			w := m.waiting[got.Lane]
			switch {
			case m.started[id]:
				t.Fatalf("%d runs twice", id)
			case !m.may(got.Lane):
				t.Fatalf("%d runs, of lane %d, which may not", id, got.Lane)
			case w[0] != id:
				t.Fatalf("%d runs before %d", id, w[0])
			}
			m.started[id] = true
			m.waiting[got.Lane] = w[1:]
			m.running[got.Lane] = append(m.running[got.Lane], got)
		}
		pick := func(t *rapid.T, list []*task) int { return rapid.IntRange(0, len(list)-1).Draw(t, "which") }
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				l := lane(t)
				n++
				m.waiting[l] = append(m.waiting[l], n)
				p.add([]*workflow.Leased{delivery(n, l, m.lanes[l])}, now.Add(time.Hour), false)
			},
			"reserve": func(t *rapid.T) {
				l := lane(t)
				if p.reserve(l, m.lanes[l], 1024) {
					m.reserved[l]++
				}
			},
			"recorded": func(t *rapid.T) {
				l := lane(t)
				if m.reserved[l] == 0 {
					t.Skip()
				}
				m.reserved[l]--
				if rapid.Bool().Draw(t, "failed") {
					p.unreserve(l, 1024)
					return
				}
				n++
				m.waiting[l] = append(m.waiting[l], n)
				p.add([]*workflow.Leased{delivery(n, l, m.lanes[l])}, now.Add(time.Hour), true)
			},
			"next": func(t *rapid.T) {
				if _, all := m.runs(""); all >= l.running {
					t.Skip() // all workers are busy
				}
				got := p.tryNext()
				if got != nil {
					started(t, got)
					return
				}
				for l := range m.lanes {
					if m.may(l) {
						t.Fatalf("nothing runs, though lane %d may", l)
					}
				}
			},
			"ran": func(t *rapid.T) {
				l := lane(t)
				if len(m.running[l]) == 0 {
					t.Skip()
				}
				i := pick(t, m.running[l])
				task := m.running[l][i]
				m.running[l] = slices.Delete(m.running[l], i, i+1)
				m.settling = append(m.settling, task)
				p.ran(task)
			},
			"settled": func(t *rapid.T) {
				if len(m.settling) == 0 {
					t.Skip()
				}
				p.settled(m.settling)
				m.settling = nil
			},
			"pull": func(t *rapid.T) {
				l := lane(t)
				out := p.pull(func(t *task) bool { return t.VersionRef == int32(l) })
				if len(out) != len(m.waiting[l]) {
					t.Fatalf("pulled %d of lane %d, where %d wait", len(out), l, len(m.waiting[l]))
				}
				m.settling = append(m.settling, out...)
				m.waiting[l] = nil
			},
			"surplus": func(t *rapid.T) {
				for _, s := range p.surplus() {
					w := m.waiting[s.Lane]
					i := slices.IndexFunc(w, func(id int) bool { return fmt.Sprint(id) == s.ExecutionID })
					if i < 0 {
						t.Fatalf("%s is given back and does not wait", s.ExecutionID)
					}
					m.waiting[s.Lane] = slices.Delete(w, i, i+1)
					m.settling = append(m.settling, s)
				}
			},
			"pause": func(t *rapid.T) {
				l := lane(t)
				if p.lanes[l] == nil {
					t.Skip()
				}
				p.pauseLane(l, 500*time.Millisecond)
				m.paused[l] = p.lanes[l].paused
			},
			"tick": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
				p.tick(now)
				for l, until := range m.paused {
					if !now.Before(until) {
						delete(m.paused, l)
					}
				}
			},
			"room": func(t *rapid.T) {
				c := p.room(0)
				if held, _, _ := p.state(); c.Most > 0 && held+c.Most > l.held {
					t.Fatalf("%d are held of %d, and %d more may be claimed", held, l.held, c.Most)
				}
				for lane, room := range c.Room {
					if room < 0 || room > 0 && m.held(lane)+room > p.mostRoom {
						t.Fatalf("lane %d holds %d, and may claim %d", lane, m.held(lane), room)
					}
				}
			},
			"": func(t *rapid.T) {
				all, waits, runs := 0, 0, 0
				for l := range m.lanes {
					waits += len(m.waiting[l])
					runs += len(m.running[l])
					all += m.held(l)
					if have := p.lanes[l]; have == nil && m.held(l) > 0 || have != nil && (have.held != m.held(l) || have.running != len(m.running[l])) {
						t.Fatalf("lane %d is %+v, want %d held and %d running", l, have, m.held(l), len(m.running[l]))
					}
				}
				if held, waiting, running := p.state(); held != all || waiting != waits || running != runs || p.bytes != 1024*all {
					t.Fatalf("%d held, %d waiting, %d running, %d bytes; want %d, %d, %d, %d", held, waiting, running, p.bytes, all, waits, runs, 1024*all)
				}
			},
		})
		// The end.
		left := p.close()
		waits := 0
		for _, w := range m.waiting {
			waits += len(w)
		}
		if len(left) != waits {
			t.Fatalf("closed with %d left, want %d", len(left), waits)
		}
		if p.next() != nil || p.reserve(1, "a", 1) {
			t.Fatal("a closed pool hands something out")
		}
		for l, n := range m.reserved {
			for range n {
				p.unreserve(l, 1024)
			}
		}
		<-p.calm
		for _, list := range m.running {
			for _, task := range list {
				p.ran(task)
				m.settling = append(m.settling, task)
			}
		}
		p.settled(append(m.settling, left...))
		if held, waiting, running := p.state(); held != 0 || waiting != 0 || running != 0 || p.bytes != 0 || len(p.held) != 0 || p.reserved != 0 {
			t.Fatalf("at the end: %d held, %d waiting, %d running, %d bytes, %d known, %d reserved", held, waiting, running, p.bytes, len(p.held), p.reserved)
		}
		p.tick(now.Add(time.Hour))
		p.tick(now.Add(2 * time.Hour))
		for l, is := range p.lanes {
			if !is.inRing {
				t.Fatalf("lane %d is remembered", l)
			}
		}
	})
}

// No wake-up is lost: workers that wait get whatever may run.
func TestPoolWakesWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 12
		p := newPool(limits{running: workers, perLane: 2, perTenant: 5, held: 10000, bytes: 1 << 30})
		done := make(chan *task, 10000)
		for range workers {
			go func() {
				for {
					got := p.next()
					if got == nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
					p.ran(got)
					done <- got
				}
			}()
		}
		synctest.Wait()
		var list []*workflow.Leased
		for i := range 600 { // 3 tenants with 4 lanes each
			list = append(list, delivery(i, int64(i%12), fmt.Sprint("t", i%3)))
		}
		begun := time.Now()
		for i := 0; i < len(list); i += 7 {
			p.add(list[i:min(i+7, len(list))], time.Now().Add(time.Hour), false)
		}
		for range list {
			<-done
		}
		// All workers had something to do all the time.
		if took := time.Since(begun); took > 10*time.Millisecond*600/workers+20*time.Millisecond {
			t.Errorf("600 took %s", took)
		}
		if left := p.close(); len(left) != 0 {
			t.Errorf("%d are left", len(left))
		}
	})
}

// Tenants take turns, and within a tenant its lanes, however much each has to do.
func TestPoolIsFair(t *testing.T) {
	p := newPool(limits{running: 1, perLane: 16, perTenant: 16, held: 100000, bytes: 1 << 30})
	n := 0
	add := func(lane int64, tenantID string, count int) {
		var list []*workflow.Leased
		for range count {
			n++
			list = append(list, delivery(n, lane, tenantID))
		}
		p.add(list, time.Now().Add(time.Hour), false)
	}
	add(1, "noisy", 5000)
	add(2, "noisy", 5000)
	add(3, "noisy", 30)
	add(4, "quiet", 30)
	add(5, "other", 60)
	got := make(map[int64]int)
	for range 90 {
		next := p.next()
		got[next.Lane]++
		p.ran(next)
		p.settled([]*task{next})
	}
	if want := map[int64]int{1: 10, 2: 10, 3: 10, 4: 30, 5: 30}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("of 90, by lane: %v, want %v", got, want)
	}
	// Who comes late waits for one round.
	add(6, "late", 1)
	for i := 0; ; i++ {
		next := p.next()
		p.ran(next)
		if next.Lane == 6 {
			break
		}
		if i > 3 {
			t.Fatal("the late one waits for more than one round")
		}
	}
}

// A lane's room follows its rate.
func TestPoolRoom(t *testing.T) {
	const perLane = 4
	p := newPool(limits{running: 64, perLane: perLane, perTenant: 64, held: 8 * mostRoom, bytes: 1 << 30})
	n := 0
	now := time.Now()
	fill := func(count int) {
		for range count {
			n++
			p.add([]*workflow.Leased{delivery(n, 1, "a")}, now.Add(time.Hour), false)
		}
	}
	deliver := func(count int) {
		for range count {
			got := p.next()
			p.ran(got)
			p.settled([]*task{got})
		}
	}
	if fill(1); p.lanes[1].room != firstRoom {
		t.Errorf("an unknown lane has room for %d", p.lanes[1].room)
	}
	window := func(count int) int {
		fill(count)
		deliver(count)
		now = now.Add(rateWindow)
		p.tick(now)
		return p.lanes[1].room
	}
	now = now.Add(time.Second)
	p.tick(now)
	for range 3 {
		window(100)
	}
	if room := window(100); room != 800 { // 400/s for two seconds
		t.Errorf("at 400/s the room is %d, want 800", room)
	}
	if room := window(mostRoom); room != mostRoom { // four times as many a second
		t.Errorf("at its fastest the room is %d, want %d", room, mostRoom)
	}
	// It comes to hang: the one that is left of it hangs.
	for range 40 {
		now = now.Add(rateWindow)
		p.tick(now)
	}
	if room := p.lanes[1].room; room != 2*perLane {
		t.Errorf("when it hangs the room is %d, want %d", room, 2*perLane)
	}
	// Nobody needs what it holds beyond.
	fill(1000)
	if left := p.surplus(); len(left) != 0 {
		t.Errorf("%d are given back though there is room", len(left))
	}
	// Others do.
	for range 4 * mostRoom {
		n++
		p.add([]*workflow.Leased{delivery(n, int64(n), fmt.Sprint("b", n%50))}, now.Add(time.Hour), false)
	}
	left := p.surplus()
	if len(left) != 1001-2*perLane || left[0].Lane != 1 {
		t.Errorf("%d are given back, want %d", len(left), 1001-2*perLane)
	}
	if again := p.surplus(); len(again) != 0 {
		t.Errorf("%d more are given back", len(again))
	}
	p.settled(left)
	if l := p.lanes[1]; l.held != 2*perLane || l.shed != 0 {
		t.Errorf("it holds %d, %d of them shed", l.held, l.shed)
	}
}

// What waits in the queue gets half of the room of a lane that is full of fresh ones, once it
// has waited for longer than a burst.
func TestPoolLeavesRoomForTheQueue(t *testing.T) {
	p := newPool(limits{running: 4, perLane: 4, perTenant: 4, held: 800, bytes: 1 << 30})
	n := 0
	for p.reserve(1, "a", 1024) {
		n++
	}
	if n != 100 {
		t.Fatalf("%d are reserved, want the 100 of the lane's room", n)
	}
	p.unreserve(1, 1024)
	if !p.reserve(1, "a", 1024) {
		t.Error("in a burst, fresh ones don't have all of the room")
	}
	p.lanes[1].behind = time.Now().Add(-freshFirst - time.Second)
	for range 51 {
		p.unreserve(1, 1024)
	}
	if p.reserve(1, "a", 1024) == false {
		t.Error("at 49 of 100 nothing can be reserved")
	}
	if p.reserve(1, "a", 1024) {
		t.Error("at half of the room more is reserved, though others wait")
	}
	c := p.room(0)
	if c.Room[1] != 50 {
		t.Fatalf("%d may be claimed, want 50", c.Room[1])
	}
	p.claimed(c, workflow.Claimed{End: true}) // there was none
	for range 50 {
		if !p.reserve(1, "a", 1024) {
			t.Fatal("nothing waits, and yet not all of the room is reserved")
		}
	}
	// The next burst is one of its own.
	if p.reserve(1, "a", 1024) {
		t.Error("more is reserved than there is room for")
	}
	p.unreserve(1, 1024)
	if !p.reserve(1, "a", 1024) {
		t.Error("another burst begins, and fresh ones don't have all of the room")
	}
}

// A delivery may be claimed again before the process has noted that its outcome is
// written: it must not be taken for the one that is on its way out.
func TestPoolClaimsWhatIsLeaving(t *testing.T) {
	p := newPool(limits{running: 4, perLane: 4, perTenant: 4, held: 80, bytes: 1 << 20})
	add := func() { p.add([]*workflow.Leased{delivery(1, 1, "a")}, time.Now().Add(time.Hour), false) }
	add()
	first := p.next()
	p.ran(first)
	p.leave([]*task{first})
	add()
	p.settled([]*task{first})
	second := p.tryNext()
	if second == nil || second == first {
		t.Fatal("the second claim is lost")
	}
	// Its lease runs out while it runs, and it is claimed by this very process.
	second.lost = true
	add()
	if !p.holds(second, time.Minute) || p.tryNext() != nil {
		t.Error("claimed again while it runs, and not kept as it is")
	}
	p.ran(second)
	p.settled([]*task{second})
	if held, waiting, running := p.state(); held != 0 || waiting != 0 || running != 0 || len(p.held) != 0 || p.bytes != 0 {
		t.Errorf("%d held, %d waiting, %d running, %d known, %d bytes", held, waiting, running, len(p.held), p.bytes)
	}
}

// A lane that is paused waits, whether it is just taking its turn or not, and comes back.
func TestPoolPauses(t *testing.T) {
	p := newPool(limits{running: 4, perLane: 4, perTenant: 4, held: 80, bytes: 1 << 20})
	for i := range 4 {
		p.add([]*workflow.Leased{delivery(i, int64(i%2), "a")}, time.Now().Add(time.Hour), false)
	}
	p.pauseLane(0, time.Minute)
	p.pauseLane(0, time.Second) // shorter, and so no matter
	for i := range 3 {
		if got := p.tryNext(); (got != nil) != (i < 2) || got != nil && got.Lane != 1 {
			t.Fatalf("step %d takes %v", i, got)
		}
	}
	if p.reserve(0, "a", 1024) {
		t.Error("reserved for a lane that is paused")
	}
	if c := p.room(-1); c.Room[0] != 0 || c.Room[1] == 0 {
		t.Errorf("may be claimed: %v", c.Room)
	}
	p.tick(time.Now().Add(30 * time.Second))
	if p.tryNext() != nil {
		t.Error("back before its time")
	}
	p.tick(time.Now().Add(61 * time.Second))
	if got := p.tryNext(); got == nil || got.Lane != 0 {
		t.Error("it does not come back")
	}
	select {
	case <-p.claim:
	default:
		t.Error("what waits in the queue for it is not claimed")
	}
}

// Lanes and tenants that have nothing to do are forgotten.
func TestPoolForgets(t *testing.T) {
	p := newPool(limits{running: 4, perLane: 4, perTenant: 4, held: 20000, bytes: 1 << 30})
	for i := range 1000 {
		p.add([]*workflow.Leased{delivery(i, int64(i), fmt.Sprint(i%50))}, time.Now().Add(time.Hour), false)
	}
	for range 999 {
		got := p.next()
		p.ran(got)
		p.settled([]*task{got})
	}
	now := time.Now()
	p.tick(now)
	p.tick(now.Add(2 * time.Minute))
	if len(p.lanes) != 1 || len(p.tenants) != 1 {
		t.Errorf("%d lanes and %d tenants are remembered, want those of the one that waits", len(p.lanes), len(p.tenants))
	}
}

// A full pool says when there is room again.
func TestPoolWakesClaims(t *testing.T) {
	p := newPool(limits{running: 4, perLane: 4, perTenant: 4, held: 16, bytes: 1 << 20})
	for i := range 16 {
		p.add([]*workflow.Leased{delivery(i, int64(i), "a")}, time.Now().Add(time.Hour), false)
	}
	if c := p.room(0); c.Most != 0 {
		t.Fatalf("%d may be claimed", c.Most)
	}
	for i := range 2 { // an eighth
		got := p.next()
		p.ran(got)
		select {
		case <-p.claim:
			t.Errorf("woken for the room of %d", i)
		default:
		}
		p.settled([]*task{got})
	}
	select {
	case <-p.claim:
	default:
		t.Error("nobody is woken")
	}
	if c := p.room(0); c.Most != 2 {
		t.Errorf("%d may be claimed, want 2", c.Most)
	}
}

func BenchmarkPool(b *testing.B) {
	for _, lanes := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(lanes, " lanes"), func(b *testing.B) {
			p := newPool(limits{running: 128, perLane: 16, perTenant: 96, held: 1 << 30, bytes: 1 << 60})
			const ahead = 10000
			list := make([]*workflow.Leased, b.N+ahead)
			for i := range list {
				list[i] = delivery(i, int64(i%lanes), fmt.Sprint(i%lanes%100))
			}
			until := time.Now().Add(time.Hour)
			p.add(list[:ahead], until, false)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				t := p.next()
				p.ran(t)
				p.settled([]*task{t})
				p.add(list[ahead+i:ahead+i+1], until, false)
			}
		})
	}
}
