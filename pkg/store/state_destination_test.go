package store_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Two processes that note failures at the same time open a breaker once, and lose none.
func TestNoteAttemptsTogether(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	breaker := workflow.Breaker{InARow: 1 << 30, Tries: 1 << 30}.WithDefaults()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 25 {
				list := []workflow.Attempts{
					{Lane: 1, TenantID: "acme", Kind: "webhook", Destination: "https://a.example/", Tries: 2, Failures: 2, Trailing: 2, Error: "a\x00b"},
					{Lane: 2, Kind: "webhook", Destination: "https://b.example/", Tries: 1, Delivered: true},
				}
				if i%2 == 0 {
					list[0], list[1] = list[1], list[0]
				}
				if _, err := state.NoteAttempts(t.Context(), list, breaker); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d, err := state.Destination(t.Context(), 1)
	if err != nil || d.Failures != 200 || d.TenantID != "acme" || d.State != workflow.Closed || d.LastError != "a\ufffdb" || !d.LastSuccessAt.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := state.Destination(t.Context(), 2); err != nil || d.Failures != 0 || d.TenantID != "" || d.LastSuccessAt.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.endpoint where tenant_id is null or last_error is not null`); n != 2 {
		t.Errorf("the view has %d of 2", n)
	}
}

func TestProbeIsOnes(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	breaker := workflow.Breaker{First: 300 * time.Millisecond}.WithDefaults()
	if ok, err := state.Probe(t.Context(), 1, "a", time.Minute); ok || err != nil {
		t.Errorf("of a destination that isn't known: %t, %v", ok, err)
	}
	failed := workflow.Attempts{Lane: 1, Kind: "webhook", Destination: "x", Tries: 10, Failures: 10, Trailing: 10, Error: "away"}
	states, err := state.NoteAttempts(t.Context(), []workflow.Attempts{failed}, breaker)
	if err != nil || len(states) != 1 || states[0].State != workflow.Open {
		t.Fatalf("%+v, %v", states, err)
	}
	if ok, _ := state.Probe(t.Context(), 1, "a", time.Minute); ok {
		t.Error("it may be tried before its time")
	}
	pgtest.Eventually(t, pgtest.Patience, "its time is over", func() bool {
		list, err := state.Barred(t.Context(), 10)
		return err == nil && len(list) == 1 && list[0].Due
	})
	together := func(lane int64, name string) (n int32) {
		var wg sync.WaitGroup
		var may atomic.Int32
		for i := range 8 {
			wg.Go(func() {
				ok, err := state.Probe(t.Context(), lane, fmt.Sprint(name, i), 5*time.Second)
				if err != nil {
					t.Error(err)
				}
				if ok {
					may.Add(1)
				}
			})
		}
		wg.Wait()
		return may.Load()
	}
	together(2, "unknown") // so that all have their connections
	n := together(1, "new")
	if n != 1 {
		t.Errorf("%d of 8 may try", n)
	}
	pgtest.Eventually(t, pgtest.Patience, "another one may", func() bool {
		ok, err := state.Probe(t.Context(), 1, "other", time.Minute)
		return ok && err == nil
	})
	// One that was killed has the right for no longer than it is heard of.
	if ok, err := state.Probe(t.Context(), 1, "third", time.Minute); ok || err != nil {
		t.Errorf("while the other tries: %v, %v", ok, err)
	}
	db.Exec(t, `update rowbell.executor set seen_at = clock_timestamp() - interval '11 s' where process = 'other'`)
	barred, err := state.Barred(t.Context(), 10)
	if err != nil || len(barred) != 1 || !barred[0].Due {
		t.Errorf("when it is gone: %+v, %v", barred, err)
	}
	if ok, err := state.Probe(t.Context(), 1, "third", time.Minute); !ok || err != nil {
		t.Errorf("when it is gone: %v, %v", ok, err)
	}
}

// However many ask, and however often, they get what the rate allows.
func TestTakeTokens(t *testing.T) {
	t.Parallel()
	_, state := alone(t)
	if grants, err := state.TakeTokens(t.Context(), []workflow.TokenRequest{{Lane: 1, PerSecond: 1, Most: 1}}); err != nil || len(grants) != 0 {
		t.Errorf("of a destination that isn't known: %v, %v", grants, err)
	}
	known := []workflow.Attempts{{Lane: 1, Kind: "webhook", Destination: "x"}, {Lane: 2, Kind: "webhook", Destination: "y"}}
	if _, err := state.NoteAttempts(t.Context(), known, workflow.Breaker{}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	const rate, ask = 100.0, 20
	var mu sync.Mutex
	total, slow, waits := 0, 0, 0
	var wg sync.WaitGroup
	begun := time.Now()
	for range 4 {
		wg.Go(func() {
			for time.Since(begun) < 2*time.Second {
				grants, err := state.TakeTokens(t.Context(), []workflow.TokenRequest{{Lane: 2, PerSecond: 0.1, Most: 5}, {Lane: 1, PerSecond: rate, Most: ask}})
				if err != nil || len(grants) != 2 {
					t.Errorf("%v, %v", grants, err)
					return
				}
				mu.Lock()
				for _, g := range grants {
					switch {
					case g.N > ask || g.N < 0 || g.N > 0 && g.Lane == 2 && g.N > 1:
						t.Errorf("granted %+v", g)
					case g.N == 0 && (g.Wait <= 0 || g.Wait > 10*time.Second):
						t.Errorf("nothing, and to wait %s", g.Wait)
					case g.Lane == 2:
						slow += g.N
					default:
						total += g.N
					}
					if g.N == 0 {
						waits++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(begun).Seconds()
	if most := rate*took + rate + 1; float64(total) > most || float64(total) < rate*2 {
		t.Errorf("%d in %.2f s, want at most %.0f", total, took, most)
	}
	if slow != 1 || waits == 0 {
		t.Errorf("%d at 6/m, %d waits", slow, waits)
	}
}

func TestExecutors(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	names := func(process string) string {
		list, err := state.Executors(t.Context(), process, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(list, " ")
	}
	if got := names("b"); got != "b" {
		t.Error(got)
	}
	if got := names("a"); got != "a b" {
		t.Error(got)
	}
	db.Exec(t, `update rowbell.executor set seen_at = now() - interval '2 minutes' where process = 'b'`)
	if got := names("a"); got != "a" {
		t.Error(got)
	}
	if got := names("b"); got != "a b" {
		t.Error(got)
	}
	if err := state.ExecutorLeft(t.Context(), "a"); err != nil || names("b") != "b" {
		t.Error(err, names("b"))
	}
	db.Exec(t, `insert into rowbell.executor values (now() - interval '2 hours', 'old')`)
	names("b")
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.executor where process = 'old'`); n != 0 {
		t.Error("what has gone stays")
	}
}

func TestDestinationsListed(t *testing.T) {
	t.Parallel()
	_, state := alone(t)
	breaker := workflow.Breaker{}.WithDefaults()
	list := []workflow.Attempts{
		{Lane: math.MinInt64, TenantID: "acme", Kind: "webhook", Destination: "https://b.example/", Tries: 1, Delivered: true, Rate: "10/s", Concurrency: 4},
		{Lane: -1, TenantID: "acme", Kind: "webhook", Destination: "https://a.example/", Tries: 1, Delivered: true},
		{Lane: 7, Kind: "publish", Destination: "nats://c", Tries: 1, Failures: 1, Trailing: 1, Gone: true, Error: "gone"},
	}
	if _, err := state.NoteAttempts(t.Context(), list, breaker); err != nil {
		t.Fatal(err)
	}
	shown := func(f store.DestinationFilter) string {
		t.Helper()
		all, err := state.Destinations(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range all {
			names = append(names, d.Destination)
		}
		return strings.Join(names, " ")
	}
	operators, acme := "", "acme"
	for _, c := range []struct {
		f    store.DestinationFilter
		want string
	}{
		{store.DestinationFilter{}, "nats://c https://a.example/ https://b.example/"},
		{store.DestinationFilter{Limit: 1}, "nats://c"},
		{store.DestinationFilter{Tenant: &operators}, "nats://c"},
		{store.DestinationFilter{Tenant: &acme, Kind: "webhook"}, "https://a.example/ https://b.example/"},
		{store.DestinationFilter{State: workflow.Disabled}, "nats://c"},
		{store.DestinationFilter{Name: "https://b.example/"}, "https://b.example/"},
		{store.DestinationFilter{Name: "https://"}, ""},
	} {
		if got := shown(c.f); got != c.want {
			t.Errorf("%+v: %s, want %s", c.f, got, c.want)
		}
	}
	// Page by page it is the same, and a page that is just full is the last.
	for limit, want := range map[int]string{1: "nats://c | https://a.example/ | https://b.example/", 2: "nats://c https://a.example/ | https://b.example/", 3: "nats://c https://a.example/ https://b.example/"} {
		var pages []string
		for cursor := ""; ; {
			page, err := state.DestinationPage(t.Context(), store.DestinationFilter{Limit: limit, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, d := range page.Items {
				names = append(names, d.Destination)
			}
			pages = append(pages, strings.Join(names, " "))
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if got := strings.Join(pages, " | "); got != want {
			t.Errorf("in pages of %d: %s, want %s", limit, got, want)
		}
	}
	for _, cursor := range []string{"x", "e30", "eyJkIjoiXHUwMDAwIn0"} {
		if _, err := state.DestinationPage(t.Context(), store.DestinationFilter{Cursor: cursor}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("cursor %s: %v", cursor, err)
		}
	}
	for _, lane := range []int64{math.MinInt64, -1, 7} {
		id := workflow.LaneID(lane)
		if back, ok := workflow.ParseLaneID(id); !ok || back != lane {
			t.Errorf("%d is %s is %d", lane, id, back)
		}
	}
	if _, err := state.Destination(t.Context(), 99); !errors.Is(err, workflow.ErrNotFound) || !strings.Contains(err.Error(), "rowbell destination list") {
		t.Error(err)
	}
	if err := state.EnableDestination(t.Context(), 99); !errors.Is(err, workflow.ErrNotFound) {
		t.Error(err)
	}
	if err := state.DisableDestination(t.Context(), 99, "me", "why"); !errors.Is(err, workflow.ErrNotFound) {
		t.Error(err)
	}
	if err := state.DisableDestination(t.Context(), -1, "ann", "it is being moved"); err != nil {
		t.Fatal(err)
	}
	if untold, err := state.DisabledUntold(t.Context(), time.Minute, 10); err != nil || len(untold) != 1 || untold[0].Lane != 7 {
		t.Errorf("to be told: %v, %v; want only the one that nobody meant", untold, err)
	}
	barred, err := state.Barred(t.Context(), 10)
	if err != nil || len(barred) != 2 {
		t.Fatalf("%v, %v", barred, err)
	}
	for _, b := range barred {
		if b.Lane == -1 && !strings.Contains(b.Reason, "disabled by ann on ") {
			t.Errorf("%+v", b)
		}
	}
	if err := state.EnableDestination(t.Context(), -1); err != nil {
		t.Fatal(err)
	}
	if d, err := state.Destination(t.Context(), -1); err != nil || d.State != workflow.Closed || d.DisabledReason != "" || d.LastSuccessAt.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestTenantWeights(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	for tenant, weight := range map[string]int{"acme": 3, "": 2, "globex": 1} {
		if err := state.SetTenantWeight(t.Context(), tenant, weight); err != nil {
			t.Fatal(err)
		}
	}
	got, err := state.TenantWeights(t.Context())
	if err != nil || fmt.Sprint(got) != fmt.Sprint(map[string]int{"acme": 3, "": 2}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := state.SetTenantWeight(t.Context(), "acme", 101); err == nil {
		t.Error("a weight of 101 is taken")
	}
	db.Exec(t, `delete from rowbell.tenant_weight`)
	if got, err := state.TenantWeights(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
