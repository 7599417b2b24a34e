package executor

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// turn takes the next delivery and finishes it.
func (p *pool) turn() *task {
	t := p.next()
	p.ran(t)
	p.settled([]*task{t})
	return t
}

// A tenant of weight 3 gets three turns for one of the others; whoever comes late waits
// for one round.
func TestPoolWeights(t *testing.T) {
	p := newPool(limits{running: 1, perLane: 16, perTenant: 16, held: 100000, bytes: 1 << 30})
	p.setWeights(map[string]int{"heavy": 3, "elsewhere": 9})
	n := 0
	add := func(lane int64, tenantID string, count int) {
		for range count {
			n++
			p.add([]*workflow.Leased{delivery(n, lane, tenantID)}, time.Now().Add(time.Hour), false)
		}
	}
	add(1, "heavy", 600)
	add(2, "heavy", 600)
	add(3, "b", 1000)
	add(4, "c", 1000)
	got := make(map[string]int)
	for range 500 {
		got[p.turn().TenantID]++
	}
	if want := map[string]int{"heavy": 300, "b": 100, "c": 100}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("of 500: %v, want %v", got, want)
	}
	add(5, "late", 1)
	for i := 1; p.turn().TenantID != "late"; i++ {
		if i > 5 {
			t.Fatal("the late one waits for more than a round")
		}
	}
	// A weight that changes counts from then on.
	p.setWeights(map[string]int{"b": 2})
	clear(got)
	for range 400 {
		got[p.turn().TenantID]++
	}
	if got["b"] < 196 || got["b"] > 204 || got["heavy"] < 98 || got["heavy"] > 104 {
		t.Errorf("of 400 with other weights: %v", got)
	}
}

// A tenant that is kept by its limit from its turns doesn't keep the others from theirs.
func TestPoolWeightAndLimit(t *testing.T) {
	p := newPool(limits{running: 8, perLane: 2, perTenant: 2, held: 1000, bytes: 1 << 30})
	p.setWeights(map[string]int{"heavy": 100})
	for i := range 20 {
		p.add([]*workflow.Leased{delivery(i, 1, "heavy"), delivery(100+i, 2, "b")}, time.Now().Add(time.Hour), false)
	}
	got := make(map[string]int)
	for range 4 {
		got[p.tryNext().TenantID]++
	}
	if got["heavy"] != 2 || got["b"] != 2 || p.tryNext() != nil {
		t.Errorf("of 4: %v", got)
	}
}

// A tenant with very many slow destinations fills no more than its share of memory, and
// whoever comes finds room.
func TestPoolTenantShare(t *testing.T) {
	const held = 1600
	p := newPool(limits{running: 8, perLane: 2, perTenant: 4, held: held, bytes: 1 << 30})
	n := 0
	claim := func(lanes int, tenantID string) {
		for round := range 20 {
			c := p.room(0)
			if c.Most == 0 {
				return
			}
			var list []*workflow.Leased
			for lane := range lanes {
				id := int64(1 + round*lanes + lane)
				room, known := c.Room[id]
				if !known {
					room = c.PerLane
				}
				for range min(room, c.Most-len(list)) {
					n++
					list = append(list, delivery(n, id, tenantID))
				}
			}
			p.add(list, time.Now().Add(time.Hour), false)
			p.settled(p.surplus())
		}
	}
	claim(200, "noisy")
	if count, _, _ := p.state(); count > held/2+200 {
		t.Errorf("the noisy one holds %d of %d", count, held)
	}
	for i := range 100 {
		if !p.reserve(1_000_000+int64(i), "quiet", 1024) {
			t.Fatalf("there is no room for the quiet one's %d. destination", i+1)
		}
	}
	if p.reserve(1_000_000, "quiet", 1024); p.holding != 2 {
		t.Errorf("the weights that hold something are %d", p.holding)
	}
	p.settled(p.close())
}

// What is fresh goes before what was tried before, but not alone; what has been tried
// before leaves the room for what is fresh.
func TestPoolFreshFirst(t *testing.T) {
	p := newPool(limits{running: 4, perLane: 4, perTenant: 4, held: 8000, bytes: 1 << 30})
	retry := func(n int) *workflow.Leased {
		d := delivery(n, 1, "a")
		d.Attempts = 3
		return d
	}
	var list []*workflow.Leased
	for i := range p.firstRoom {
		list = append(list, retry(i))
	}
	p.add(list, time.Now().Add(time.Hour), false)
	fresh := 0
	for p.reserve(1, "a", 1024) {
		fresh++
		p.add([]*workflow.Leased{delivery(1000+fresh, 1, "a")}, time.Now().Add(time.Hour), true)
	}
	if fresh != p.firstRoom {
		t.Errorf("room for %d fresh ones beside retries, want %d", fresh, p.firstRoom)
	}
	again := 0
	for range 40 {
		if p.turn().again() {
			again++
		}
	}
	if again != 10 {
		t.Errorf("%d of 40 are retries, want a quarter", again)
	}
	for range 2*p.firstRoom - 40 {
		p.turn()
	}
	if l := p.lanes[1]; l.held != 0 || l.again != 0 || l.tenant.held != 0 || l.tenant.again != 0 || p.holding != 0 {
		t.Errorf("at the end: %+v", l)
	}
}

// A line loses nothing, doubles nothing, and keeps the order of each sort.
func TestLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := line{pace: new(pace)}
		in := make(map[string]bool)
		lastOf := map[bool]int{}
		n := 0
		out := func(x *task) {
			if !in[x.ExecutionID] {
				t.Fatalf("%s comes out, and is not in", x.ExecutionID)
			}
			delete(in, x.ExecutionID)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				n++
				d := delivery(n, 1, "a")
				if rapid.Bool().Draw(t, "again") {
					d.Attempts = 1
				}
				in[d.ExecutionID] = true
				q.add(&task{Leased: d})
			},
			"next": func(t *rapid.T) {
				if q.len() == 0 {
					t.Skip()
				}
				first := q.first()
				x := q.next()
				if x != first {
					t.Fatal("the first is not the next")
				}
				if rapid.IntRange(0, 3).Draw(t, "back") == 0 {
					q.putBack(x)
					return
				}
				out(x)
				var id int
				_, _ = fmt.Sscan(x.ExecutionID, &id)
				if id < lastOf[x.again()] {
					t.Fatalf("%d comes after %d", id, lastOf[x.again()])
				}
				lastOf[x.again()] = id
			},
			"last": func(t *rapid.T) {
				for _, x := range q.last(rapid.IntRange(0, q.len()).Draw(t, "how many")) {
					out(x)
				}
			},
			"pull": func(t *rapid.T) {
				for _, x := range q.pull(nil, func(x *task) bool { return x.ExecutionID[0] == '3' }) {
					out(x)
				}
			},
			"": func(t *rapid.T) {
				seen := 0
				q.each(func(x *task) {
					seen++
					if !in[x.ExecutionID] {
						t.Fatalf("%s is there, and should not be", x.ExecutionID)
					}
				})
				if seen != len(in) || q.len() != seen {
					t.Fatalf("%d are there, want %d", seen, len(in))
				}
			},
		})
	})
}

// However many processes there are, all shares together are what a destination takes, and
// those who get the rest are not always the same.
func TestShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		processes := rapid.IntRange(1, 40).Draw(t, "processes")
		concurrency := rapid.IntRange(1, 100).Draw(t, "concurrency")
		lane := rapid.Int64().Draw(t, "lane")
		sum := 0
		for rank := range processes {
			p := newPool(limits{running: 1000, perLane: 1000, perTenant: 1000, held: 1000, bytes: 1 << 30})
			p.setProcesses(rank, processes)
			p.joined = time.Now().Add(-time.Hour)
			n := p.share(lane, concurrency)
			if n < concurrency/processes || n > concurrency/processes+1 {
				t.Fatalf("the share of %d is %d", rank, n)
			}
			sum += n
		}
		if sum != concurrency {
			t.Fatalf("the shares are %d together, want %d", sum, concurrency)
		}
	})
}

// Who has just come takes none of what others don't know yet to be theirs no more.
func TestShareOfANewcomer(t *testing.T) {
	t.Parallel()
	p := newPool(limits{running: 10, perLane: 10, perTenant: 10, held: 1000, bytes: 1 << 30})
	p.setProcesses(0, 2)
	if n := p.share(1, 10); n != 0 {
		t.Errorf("%d at once", n)
	}
}

// The lowest limit of a destination's actions counts, and no longer than they come.
func TestLimitsOfSeveralActions(t *testing.T) {
	p := newPool(limits{running: 10, perLane: 10, perTenant: 10, held: 1000, bytes: 1 << 30})
	for i := range 20 {
		p.add([]*workflow.Leased{delivery(i, 1, "a")}, time.Now().Add(time.Hour), false)
	}
	to := destination{1, "probe", "a", "x"}
	first := p.next()
	if !p.admit(first, to, actions.Limits{Concurrency: 4}) {
		t.Fatal("the first is refused")
	}
	second := p.next()
	if !p.admit(second, to, actions.Limits{Concurrency: 2}) {
		t.Fatal("the second is refused")
	}
	if p.tryNext() != nil {
		t.Error("three run, though one of the actions allows two")
	}
	now := time.Now().Add(limitsFor + time.Second)
	p.tick(now) // both were of this while
	p.ran(first)
	third := p.next()
	if !p.admit(third, to, actions.Limits{Concurrency: 4}) {
		t.Error("the third is refused")
	}
	p.tick(now.Add(limitsFor + time.Second))
	if fourth := p.tryNext(); fourth == nil || !p.admit(fourth, to, actions.Limits{Concurrency: 4}) {
		t.Error("the lower limit holds though nothing has it any more")
	}
}

// What is claimed in a pool that has become crowded stays there: nothing is claimed, given
// back and claimed again while receivers are slow.
func TestPoolKeepsWhatItClaims(t *testing.T) {
	t.Parallel()
	for _, held := range []int{32768, 2000, 64} {
		for _, tenants := range []int{1, 2, 5} {
			p := newPool(limits{running: 128, perLane: 16, perTenant: 96, held: held, bytes: 1 << 30})
			claimed, shed, late := 0, 0, 0
			n := 0
			for round := range 400 {
				back := p.surplus()
				shed += len(back)
				if round >= 100 { // until then the shares are found
					late += len(back)
				}
				p.leave(back)
				p.settled(back)
				c := p.room(-1)
				var got []*workflow.Leased
				for lane := range int64(held / 16) {
					room, known := c.Room[lane]
					if !known {
						room = c.PerLane
					}
					for range min(room, c.Most-len(got)) {
						n++
						got = append(got, delivery(n, lane, fmt.Sprint(lane%int64(tenants))))
					}
				}
				claimed += len(got)
				p.add(got, time.Now().Add(time.Hour), false)
			}
			if count, _, _ := p.state(); late > 0 || claimed-shed != count || count < held/4 {
				t.Errorf("%d tenants in %d: %d are held; %d were claimed and %d given back, %d of them late", tenants, held, count, claimed, shed, late)
			}
		}
	}
}

// What comes to no attempt takes nothing of a destination's rate.
func TestPoolUncharged(t *testing.T) {
	t.Parallel()
	p := newPool(limits{running: 8, perLane: 8, perTenant: 8, held: 100, bytes: 1 << 30})
	var list []*workflow.Leased
	for n := range 6 {
		d := delivery(n, 1, "acme")
		d.Addressed = true
		list = append(list, d)
	}
	p.add(list, time.Now().Add(time.Hour), false)
	limits := actions.Limits{Rate: actions.Rate{N: 2, Per: time.Minute}}
	first := p.tryNext()
	if p.admit(first, destination{lane: 1}, limits) {
		t.Fatal("one is admitted without a token")
	}
	p.putBack(first)
	p.granted([]workflow.TokenGrant{{Lane: 1, N: 2}}, time.Now())
	tried := 0
	for d := p.tryNext(); d != nil; d = p.tryNext() {
		if tried++; tried <= 3 { // opted out
			p.uncharge(d)
		}
		p.ran(d)
	}
	if tried != 5 {
		t.Errorf("%d ran, want three that came to nothing and two more", tried)
	}
}
