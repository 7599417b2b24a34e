package match

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// filled builds an index of n workflows on orders: each of one of n/10 tenants (at
// least one), asking for one of ten states, every tenth for an amount as well.
func filled(tb testing.TB, n int) (*Index, *change.Relation, *Table) {
	tb.Helper()
	ix := New()
	ix.Capture(capturedOrders())
	for i := range n {
		form := fmt.Sprintf(`{"status":"s%d"}`, i%10)
		if i%10 == 9 {
			form = fmt.Sprintf(`{"status":"s%d","total":{"gt":500}}`, i%10)
		}
		ix.Apply(simple(fmt.Sprintf("w%07d", i), fmt.Sprintf("tenant-%06d", i/10), "update", form))
	}
	rel := orders('f')
	table := ix.Bind(rel)
	for _, h := range ix.TakeVerdicts() {
		if h.Verdict != workflow.OK {
			tb.Fatal(h.Message)
		}
	}
	return ix, rel, table
}

// updates of random tenants; about half of them match one workflow.
func updates(rel *change.Relation, n, tenants int) []change.Event {
	r := rand.New(rand.NewPCG(1, 2))
	events := make([]change.Event, n)
	for i := range events {
		tenant := fmt.Sprintf("tenant-%06d", r.IntN(tenants))
		status := fmt.Sprintf("s%d", r.IntN(19))
		events[i] = change.Event{
			Op: change.Update, Relation: rel,
			New: row(strconv.Itoa(i), tenant, status, "100.00", "a note of some length"),
			Old: row(strconv.Itoa(i), tenant, "new", "100.00", "a note of some length"),
		}
	}
	return events
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			_, rel, table := filled(b, n)
			events := updates(rel, 1<<14, max(n/10, 1))
			dst := make([]Match, 0, 16)
			matched := 0
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				dst = table.Match(&events[i&(len(events)-1)], testContext, dst[:0])
				matched += len(dst)
				i++
			}
			b.ReportMetric(float64(matched)/float64(b.N), "matches/op")
		})
	}
}

// BenchmarkBind binds all workflows of a table to a relation that was altered.
func BenchmarkBind(b *testing.B) {
	ix, _, _ := filled(b, 100_000)
	i := uint64(0)
	for b.Loop() {
		rel := orders('f')
		i++
		rel.Fingerprint += i
		if ix.Bind(rel).Len() != 100_000 {
			b.Fatal("workflows are lost")
		}
	}
}

// kinds are the conditions of a mixed set, a quarter of each: equality (a third of them
// with several columns, a third with in), a range, a change, an expression.
func mixedForm(i int) (form, expression string) {
	k := i / 4
	switch i % 4 {
	case 0:
		switch k % 3 {
		case 0:
			return fmt.Sprintf(`{"status":"s%d"}`, k%10), ""
		case 1:
			return fmt.Sprintf(`{"status":{"in":["s%d","s%d"]}}`, k%10, (k+3)%10), ""
		}
		return fmt.Sprintf(`{"status":"s%d","note":"note %d"}`, k%10, k%7), ""
	case 1:
		if k%2 == 0 {
			return fmt.Sprintf(`{"total":{"gte":%d}}`, 500+k%10*50), ""
		}
		return fmt.Sprintf(`{"total":{"between":[%d,%d]}}`, k%10*100, k%10*100+50), ""
	case 2:
		if k%2 == 0 {
			return fmt.Sprintf(`{"note":{"changed":true},"status":{"starts_with":"s%d"}}`, k%10), ""
		}
		return fmt.Sprintf(`{"status":{"changed_to":"s%d"}}`, k%10), ""
	}
	return "", fmt.Sprintf(`new.total - old.total > %d || new.status != old.status && len(new.note) > %d`, 100+k%10*50, 20+k%10)
}

func mixedWorkflow(i, number int, entity string) *Compiled {
	form, expression := mixedForm(i)
	tr := on("update", form)
	tr.EntityType = entity
	var conditions []workflow.Condition
	if expression != "" {
		conditions = []workflow.Condition{{Type: "expression", Config: []byte(fmt.Sprintf(`{"expression":%q}`, expression))}}
	}
	return Compile(version(fmt.Sprintf("w%07d", i), fmt.Sprintf("tenant-%06d", i/perTenant), int32(number), []workflow.Trigger{tr}, conditions), 1, nil)
}

// perTenant is how many workflows a tenant has in a mixed set.
const perTenant = 20

// mixed builds an index of a mixed set of n workflows on orders.
func mixed(tb testing.TB, n int) (*Index, *change.Relation, *Table) {
	tb.Helper()
	ix := New()
	ix.Capture(capturedOrders())
	for i := range n {
		ix.Apply(mixedWorkflow(i, 1, "orders"))
	}
	rel := orders('f')
	table := ix.Bind(rel)
	healthy(tb, ix)
	return ix, rel, table
}

func healthy(tb testing.TB, ix *Index) {
	tb.Helper()
	for _, h := range ix.TakeVerdicts() {
		if h.Verdict != workflow.OK {
			tb.Fatal(h.Message)
		}
	}
}

// edits of random tenants for a mixed set: any column may change, or none.
func edits(rel *change.Relation, n, tenants int) []change.Event {
	r := rand.New(rand.NewPCG(3, 4))
	events := make([]change.Event, n)
	for i := range events {
		id, tenant := strconv.Itoa(i), fmt.Sprintf("tenant-%06d", r.IntN(tenants))
		status, total, note := fmt.Sprintf("s%d", r.IntN(19)), fmt.Sprintf("%d.50", r.IntN(1000)), fmt.Sprintf("note %d", r.IntN(20))
		status2, total2, note2 := status, total, note
		if r.IntN(2) == 0 {
			status2 = fmt.Sprintf("s%d", r.IntN(19))
		}
		if r.IntN(2) == 0 {
			total2 = fmt.Sprintf("%d.50", r.IntN(1000))
		}
		if r.IntN(4) == 0 {
			note2 = fmt.Sprintf("note %d", r.IntN(20))
		}
		events[i] = change.Event{
			Op: change.Update, Relation: rel,
			Old: row(id, tenant, status, total, note), New: row(id, tenant, status2, total2, note2),
		}
	}
	return events
}

// bound is an event with the table that it is matched with.
type bound struct {
	table *Table
	ev    change.Event
}

func boundTo(table *Table, events []change.Event) []bound {
	list := make([]bound, len(events))
	for i, ev := range events {
		list[i] = bound{table, ev}
	}
	return list
}

// compare measures matching two sets of events by turns, so that what else the machine
// does concerns both. It reports medians of chunks, and the second by the first. A chunk
// should be shorter than the time that the system gives a thread at once.
func compare(b *testing.B, chunk int, sides [2][]bound, units [2]string) {
	var times [2][]float64
	dst := make([]Match, 0, 64)
	at, matched := 0, 0
	for b.Loop() {
		for i, list := range sides {
			start := time.Now()
			for j := range chunk {
				e := &list[(at+j)&(len(list)-1)]
				dst = e.table.Match(&e.ev, testContext, dst[:0])
				matched += len(dst)
			}
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/float64(chunk))
		}
		at += chunk
	}
	var median [2]float64
	for i := range times {
		slices.Sort(times[i])
		median[i] = times[i][len(times[i])/2]
		b.ReportMetric(median[i], units[i])
	}
	b.ReportMetric(median[1]/median[0], "ratio")
	b.ReportMetric(float64(matched)/float64(2*chunk*b.N), "matches/event")
}

// BenchmarkMatchRatio compares 100,000 workflows on one table with 100.
func BenchmarkMatchRatio(b *testing.B) {
	var sides [2][]bound
	for i, n := range []int{100, 100_000} {
		_, rel, table := filled(b, n)
		sides[i] = boundTo(table, updates(rel, 1<<14, n/10))
	}
	compare(b, 2000, sides, [2]string{"ns/100", "ns/100000"})
}

// BenchmarkMixedRatio is the same for a mixed set.
func BenchmarkMixedRatio(b *testing.B) {
	var sides [2][]bound
	for i, n := range []int{100, 100_000} {
		_, rel, table := mixed(b, n)
		sides[i] = boundTo(table, edits(rel, 1<<14, n/perTenant))
	}
	compare(b, 200, sides, [2]string{"ns/100", "ns/100000"})
}

// BenchmarkTablesRatio compares 1,000 tables that have a mixed set of 100 workflows each
// with one such table.
func BenchmarkTablesRatio(b *testing.B) {
	var sides [2][]bound
	for i, tables := range []int{1, 1000} {
		ix := New()
		var all []bound
		for k := range tables {
			name := fmt.Sprintf("orders%d", k)
			rel, captured := orders('f'), capturedOrders()
			rel.Name, rel.OID, rel.Fingerprint = name, uint32(k), uint64(k+1)
			captured.Name, captured.Label = name, name
			ix.Capture(captured)
			for i := range 100 {
				c := mixedWorkflow(i, 1, name)
				c.WorkflowID = fmt.Sprintf("w%d-%d", k, i)
				ix.Apply(c)
			}
			all = append(all, boundTo(ix.Bind(rel), edits(rel, 1<<14/tables, 100/perTenant))...)
		}
		healthy(b, ix)
		for len(all) < 1<<14 {
			all = append(all, all[:1<<14-len(all)]...)
		}
		r := rand.New(rand.NewPCG(5, 6))
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		sides[i] = all
	}
	compare(b, 200, sides, [2]string{"ns/1-table", "ns/1000-tables"})
}

// BenchmarkMemory reports what a workflow takes on the heap, document and all.
func BenchmarkMemory(b *testing.B) {
	for _, set := range []struct {
		name string
		fill func(testing.TB, int) (*Index, *change.Relation, *Table)
	}{{"equality", filled}, {"mixed", mixed}} {
		b.Run(set.name, func(b *testing.B) {
			const n = 50_000
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				ix, _, _ := set.fill(b, n)
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/workflow")
				runtime.KeepAlive(ix)
			}
		})
	}
}

// BenchmarkChange replaces the version of one workflow among 100,000 on one table: in a
// mixed set, in one list, in one tree of ranges. It reports the median and the 99th
// percentile, garbage collection included.
func BenchmarkChange(b *testing.B) {
	const n = 100_000
	operators := func(i, number int, form string) *Compiled {
		return Compile(version(fmt.Sprintf("w%07d", i), "", int32(number), []workflow.Trigger{on("update", form)}, nil), 1, nil)
	}
	for _, set := range []struct {
		name string
		make func(i, number int) *Compiled
	}{
		{"mixed", func(i, number int) *Compiled { return mixedWorkflow(i, number, "orders") }},
		{"list", func(i, number int) *Compiled {
			return operators(i, number, fmt.Sprintf(`{"note":{"contains":"%d"}}`, i%100))
		}},
		{"tree", func(i, number int) *Compiled {
			return operators(i, number, fmt.Sprintf(`{"total":{"gt":%d}}`, (i+number)%5000))
		}},
	} {
		b.Run(set.name, func(b *testing.B) {
			ix := New()
			ix.Capture(capturedOrders())
			for i := range n {
				ix.Apply(set.make(i, 1))
			}
			table := ix.Bind(orders('f'))
			healthy(b, ix)
			var times []float64
			for number := 2; b.Loop(); number++ {
				i := number * 7919 % n
				start := time.Now()
				ix.Apply(set.make(i, number))
				times = append(times, float64(time.Since(start).Nanoseconds())/1e6)
				if number%1000 == 0 {
					healthy(b, ix)
				}
			}
			if table.Len() != n {
				b.Fatalf("%d workflows, want %d", table.Len(), n)
			}
			slices.Sort(times)
			b.ReportMetric(times[len(times)/2], "median-ms")
			b.ReportMetric(times[len(times)*99/100], "p99-ms")
		})
	}
}
