package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

// listedTogether is how many workflows a page of a list has.
const listedTogether = 50

// apiReads measures every GET of the API over HTTP on a filled database, with arguments that it
// has, by several readers at once: what reads leaves out of a request, and what it has no read
// for. It fails if the API's description has an operation that is neither asked for here nor
// among those that no figure is for.
func apiReads(ctx context.Context, o Options) (err error) {
	p, f, stop, err := openServed(ctx, o, o.Fill)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	a := &apiBench{pageBench: p, readers: o.Readers}
	if err := a.prepare(ctx, f.pool); err != nil {
		return err
	}
	list := a.list()
	if err := a.complete(ctx, list); err != nil {
		return err
	}
	var report strings.Builder
	fmt.Fprintf(&report, "Measured %s with `rowbell-bench -only api`: PostgreSQL %s, %s, %d CPUs, everything on loopback, %d executions of %d workflows, %d requests of each in each of %d rounds (medians), %d at once, load average %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), f.version, runtime.Version(), runtime.NumCPU(), f.rows, f.workflows, o.Pages, o.Runs, o.Readers, loadAverage())
	report.WriteString("| GET | p50, ms | p99, ms | longest, ms |\n|---|---|---|---|\n")
	fmt.Fprintf(o.Log, "%-60s %8s %8s %8s\n", "GET", "p50 ms", "p99 ms", "longest")
	var over error
	n := 0
	for i, ask := range list {
		if !strings.HasPrefix("api: "+ask.path, o.Only) {
			continue
		}
		n++
		var p50, p99, longest figure
		for round := range o.Runs {
			times, err := a.measure(ctx, ask, uint64(i), uint64(round))
			if err != nil {
				return err
			}
			p50.values, p99.values, longest.values = append(p50.values, share(times, 0.5)), append(p99.values, share(times, 0.99)), append(longest.values, share(times, 1))
		}
		fmt.Fprintf(o.Log, "%-60s %8.1f %8.1f %8.1f\n", ask.name(), p50.median(), p99.median(), longest.median())
		fmt.Fprintf(&report, "| %s | %.1f | %.1f | %.1f |\n", ask.name(), p50.median(), p99.median(), longest.median())
		if ms := p99.median(); ms > readGoal && workedOut[ask.path] == "" && ask.of != noList {
			over = errors.Join(over, fmt.Errorf("GET %s takes %.0f ms at p99, more than %d", ask.name(), ms, readGoal))
		}
	}
	if n == 0 {
		return fmt.Errorf("there is no %q; the whole of them is -only api", o.Only)
	}
	fmt.Fprint(o.Log, "\n"+report.String())
	if o.Report != "" {
		if err := os.WriteFile(o.Report, []byte(report.String()), 0o644); err != nil {
			return err
		}
	}
	return over
}

// apiBench has an API that is asked, and what it is asked for.
type apiBench struct {
	*pageBench
	readers int

	pagesOf [][]string // the first page of workflows of each tenant, by name, the fullest first
	busiest []string   // workflows
	// Ids of these, some.
	destinations, delivered, audited, replays, templates []string
}

func (a *apiBench) prepare(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, `select array_agg(id order by name, id) from (
	select tenant_id, id, name, row_number() over (partition by tenant_id order by name, id) as n from rowbell.workflow_definition
) d where n <= $1 group by tenant_id order by count(*) desc, tenant_id`, listedTogether)
	if err != nil {
		return err
	}
	if a.pagesOf, err = pgx.CollectRows(rows, pgx.RowTo[[]string]); err != nil {
		return err
	}
	count := make(map[string]int)
	for _, x := range a.executions {
		count[x.WorkflowID]++
	}
	a.busiest = slices.SortedFunc(maps.Keys(count), func(x, y string) int { return cmp.Or(count[y]-count[x], strings.Compare(x, y)) })
	a.busiest = a.busiest[:min(len(a.busiest), listedTogether)]
	// What a fill has none of.
	a.templates = []string{"bench"}
	if _, _, err := a.call(ctx, http.MethodPut, 0, "/templates/bench", `{"source": "Order {{ id }}"}`); err != nil {
		return err
	}
	state := store.OpenState(pool)
	if list, err := state.Replays(ctx, 1); err != nil {
		return err
	} else if len(list) == 0 {
		one := fmt.Sprintf(`{"since": %q, "workflow_ids": [%q], "statuses": ["success", "failure", "cancelled"], "limit": 1}`, time.Now().AddDate(0, 0, -30).Format(time.RFC3339), a.busiest[0])
		if _, _, err := a.call(ctx, http.MethodPost, 0, "/replays", one); err != nil {
			return err
		}
	}
	for path, ids := range map[string]*[]string{"/destinations": &a.destinations, "/deliveries": &a.delivered, "/audit": &a.audited, "/replays": &a.replays} {
		for cursor, n := "", 0; len(*ids) == 0 && (cursor != "" || n == 0) && n < deepPages; n++ { // a page may have none though there are more
			body, _, err := a.call(ctx, http.MethodGet, 0, path+map[bool]string{true: "?cursor=" + cursor}[cursor != ""], "")
			if err != nil {
				return err
			}
			var found struct {
				Items []struct{ ID any }
				Next  string
			}
			if err := json.Unmarshal(body, &found); err != nil {
				return fmt.Errorf("GET %s: %w", path, err)
			}
			for _, x := range found.Items {
				*ids = append(*ids, fmt.Sprint(x.ID))
			}
			cursor = found.Next
		}
		if len(*ids) == 0 {
			return fmt.Errorf("GET %s has nothing that could be asked for", path)
		}
	}
	return nil
}

// call asks the API, and says how long that took, to the last byte.
func (a *apiBench) call(ctx context.Context, method string, visitor int, path, body string) ([]byte, time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.base+api.Prefix+path, strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+a.keys[visitor%len(a.keys)])
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, status, took, err := a.send(r)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%s %s answers %d: %.300s", method, path, status, answer)
	}
	return answer, took, err
}

// apiAsk is a GET that is asked for.
type apiAsk struct {
	path string // as the API's description has it
	of   string // what of it
	url  func(r *rand.Rand) string
}

func (a apiAsk) name() string { return strings.TrimSuffix(a.path+", "+a.of, ", ") }

// unmeasured are GETs that no figure is for.
var unmeasured = map[string]string{
	"/live":         "it goes on until one leaves",
	"/export":       "it is all of the workflows that are asked for, as files",
	"/export/files": "the same",
}

// workedOut are GETs whose answer is worked out rather than read: they are measured, and no figure
// is for them.
var workedOut = map[string]string{
	"/dependents":                   "each workflow on the table is planned",
	"/events/{id}/explain":          "each workflow on the table is judged",
	"/explain":                      "the same for the last changes of a row",
	"/tenants":                      "what each tenant has is counted",
	"/recipients/missing-addresses": "the application is asked for the recipients of up to 500 workflows",
}

// noList is the worst that can be asked for at once: no figure is for it either, since no list has
// these together.
const noList = "the 50 busiest of all, 7 days"

// fewWorkedOut is how many of these are asked for, of each reader and in each round.
const fewWorkedOut = 5

// list are all GETs, with what the database has for them.
func (a *apiBench) list() []apiAsk {
	with := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		return "?" + q.Encode()
	}
	fixed := func(path string) apiAsk { return apiAsk{path, "", func(*rand.Rand) string { return path }} }
	ofTenant := func(path, of string, pairs ...string) apiAsk {
		return apiAsk{path, of, func(r *rand.Rand) string { return path + with(append([]string{"tenant", *a.tenant(r)}, pairs...)...) }}
	}
	ofWorkflow := func(behind string) apiAsk {
		return apiAsk{"/workflows/{id}" + behind, "", func(r *rand.Rand) string { return "/workflows/" + a.workflow(r) + behind }}
	}
	week := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -6).Format(time.RFC3339)
	together := func(of string, ids func(r *rand.Rand) []string) apiAsk {
		return apiAsk{"/statistics/workflows", of, func(r *rand.Rand) string {
			pairs := []string{"by", "day", "since", week}
			for _, id := range ids(r) {
				pairs = append(pairs, "workflow_id", id)
			}
			return "/statistics/workflows" + with(pairs...)
		}}
	}
	return []apiAsk{
		fixed("/keys"),
		fixed("/link-keys"),
		fixed("/members"),
		fixed("/me"),
		fixed("/tables"),
		{"/tables/{table}", "with samples", func(r *rand.Rand) string { return "/tables/" + oneOf(a.tables, r) }},
		{"/tables/{table}/rows", "", func(r *rand.Rand) string { return "/tables/" + oneOf(a.tables, r) + "/rows" }},
		fixed("/action-kinds"),
		fixed("/connections"),
		fixed("/settings"),
		fixed("/destinations"),
		ofTenant("/destinations", "of a tenant"),
		{"/destinations", "that are off", func(*rand.Rand) string { return "/destinations?state=disabled" }},
		{"/destinations/{id}", "", func(r *rand.Rand) string { return "/destinations/" + oneOf(a.destinations, r) }},
		fixed("/workflows"),
		ofTenant("/workflows", "of a tenant"),
		ofTenant("/workflows", "of a tenant, with sentences", "outline", "true"),
		{"/workflows", "broken", func(*rand.Rand) string { return "/workflows?health=broken" }},
		ofWorkflow(""),
		ofWorkflow("/versions"),
		{"/workflows/{id}/versions/{version}", "", func(r *rand.Rand) string { return "/workflows/" + a.workflow(r) + "/versions/1" }},
		{"/workflows/{id}/diff", "", func(r *rand.Rand) string { return "/workflows/" + a.workflow(r) + "/diff?from=1&to=live" }},
		ofWorkflow("/statistics"),
		{"/dependents", "of a column", func(r *rand.Rand) string { return "/dependents?of=" + oneOf(a.tables, r) + ".status" }},
		fixed("/executions"),
		ofTenant("/executions", "of a tenant"),
		ofTenant("/executions", "of a tenant, failed", "status", "failure"),
		{"/executions", "of a row", func(r *rand.Rand) string {
			e := oneOf(a.events, r)
			return "/executions" + with("table", e.Table, "row_key", e.RowKey)
		}},
		{"/executions", "of a workflow", func(r *rand.Rand) string { return "/executions?workflow_id=" + a.workflow(r) }},
		{"/executions", "for a recipient", func(r *rand.Rand) string {
			x := a.person(r)
			return "/executions" + with("tenant", x.TenantID, "recipient", x.Recipient)
		}},
		{"/executions/{id}", "", func(r *rand.Rand) string { return "/executions/" + a.execution(r).ID }},
		fixed("/deliveries"),
		ofTenant("/deliveries", "of a tenant"),
		ofTenant("/deliveries", "of a tenant, given up", "status", "dead"),
		{"/deliveries/{id}", "", func(r *rand.Rand) string { return "/deliveries/" + url.PathEscape(oneOf(a.delivered, r)) }},
		fixed("/events"),
		ofTenant("/events", "of a tenant"),
		{"/events", "of a row, with their data", func(r *rand.Rand) string {
			e := oneOf(a.events, r)
			return "/events" + with("table", e.Table, "row_key", e.RowKey, "data", "true", "executions", "true")
		}},
		{"/events/{id}/explain", "", func(r *rand.Rand) string { return "/events/" + oneOf(a.events, r).ID + "/explain" }},
		{"/explain", "", func(r *rand.Rand) string {
			e := oneOf(a.events, r)
			return "/explain" + with("table", e.Table, "row_key", e.RowKey)
		}},
		fixed("/failures"),
		ofTenant("/failures", "of a tenant"),
		ofTenant("/failures", "of a tenant, dismissed", "dismissed", "true"),
		{"/failures", "dismissed", func(*rand.Rand) string { return "/failures?dismissed=true" }},
		{"/statistics", "30 days", func(*rand.Rand) string {
			return "/statistics" + with("by", "day", "since", time.Now().AddDate(0, 0, -30).Format(time.RFC3339))
		}},
		ofTenant("/statistics", "of a tenant, 24 hours, live", "live", "true"),
		together("50 of a tenant, 7 days", func(r *rand.Rand) []string { return oneOf(a.pagesOf, r) }),
		together("50 of a large tenant, 7 days", func(r *rand.Rand) []string { return oneOf(a.pagesOf[:min(len(a.pagesOf), 20)], r) }),
		together(noList, func(*rand.Rand) []string { return a.busiest }),
		fixed("/replays"),
		{"/replays/{id}", "", func(r *rand.Rand) string { return "/replays/" + oneOf(a.replays, r) }},
		fixed("/storms"),
		fixed("/audit"),
		ofTenant("/audit", "of a tenant"),
		{"/audit/{id}", "", func(r *rand.Rand) string { return "/audit/" + oneOf(a.audited, r) }},
		fixed("/tenants"),
		fixed("/pauses"),
		fixed("/health"),
		ofTenant("/recipients/missing-addresses", "of a tenant"),
		{"/people/{id}/inbox", "", func(r *rand.Rand) string {
			x := a.person(r)
			return "/people/" + url.PathEscape(x.Recipient) + "/inbox" + with("tenant", x.TenantID)
		}},
		{"/people/{id}/inbox/counts", "", func(r *rand.Rand) string {
			x := a.person(r)
			return "/people/" + url.PathEscape(x.Recipient) + "/inbox/counts" + with("tenant", x.TenantID)
		}},
		ofTenant("/preferences", "of a tenant"),
		{"/people/{id}/preferences", "", func(r *rand.Rand) string {
			x := a.person(r)
			return "/people/" + url.PathEscape(x.Recipient) + "/preferences" + with("tenant", x.TenantID)
		}},
		fixed("/templates"),
		{"/templates/{name}", "", func(r *rand.Rand) string { return "/templates/" + oneOf(a.templates, r) }},
		fixed("/views"),
	}
}

// complete returns an error if the API's description has a GET that is not on the list.
func (a *apiBench) complete(ctx context.Context, list []apiAsk) error {
	text, _, err := a.call(ctx, http.MethodGet, 0, "/openapi.json", "")
	if err != nil {
		return err
	}
	var described struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &described); err != nil {
		return fmt.Errorf("read the API's description: %w", err)
	}
	asked := maps.Clone(unmeasured)
	for _, ask := range list {
		asked[ask.path] = "asked for"
	}
	n := 0
	for _, path := range slices.Sorted(maps.Keys(described.Paths)) {
		if _, ok := described.Paths[path]["get"]; !ok {
			continue
		}
		if n++; asked[strings.TrimPrefix(path, api.Prefix)] == "" {
			err = errors.Join(err, fmt.Errorf("GET %s isn't measured", path))
		}
	}
	if n == 0 {
		return errors.New("the API's description has no GET")
	}
	return err
}

// measure asks with several readers at once, and returns how long each took, sorted.
func (a *apiBench) measure(ctx context.Context, ask apiAsk, of, round uint64) ([]time.Duration, error) {
	var mu sync.Mutex
	var times []time.Duration
	g, ctx := errgroup.WithContext(ctx)
	pages := max(1, a.pages/a.readers)
	if workedOut[ask.path] != "" {
		pages = min(pages, fewWorkedOut)
	}
	for n := range a.readers {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(a.seed+of<<32+round, uint64(n)))
			for i := range pages {
				_, took, err := a.call(ctx, http.MethodGet, i*a.readers+n, ask.url(r), "")
				if err != nil {
					return err
				}
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
			return nil
		})
	}
	err := g.Wait()
	slices.Sort(times)
	return times, err
}
