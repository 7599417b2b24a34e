package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
)

// Options says what is measured.
type Options struct {
	Runs   int         // of each figure. Defaults to 5
	Scale  float64     // of the workloads' sizes. Defaults to 1
	Seed   uint64      // of the order of runs; printed. Defaults to a random one
	Report string      // file that the table is written to as Markdown. Defaults to none
	Module string      // the module's folder, for its Go benchmarks. Defaults to "."
	Only   string      // measure only workloads whose name starts so. Defaults to all but reads, api and pages
	Fill   FillOptions // of reads, api and pages: what is read
	// Readers is how many read at once. Defaults to 4
	Readers int
	// Pages is how many first pages a round of each read has, and how many of each list of runs
	// pages asks for. Defaults to 400
	Pages int
	// Idle says that reads are measured only while no worker records.
	Idle bool
	Log  io.Writer
}

// figure is one row of the report.
type figure struct {
	name   string
	unit   string
	values []float64
	floor  float64 // 0: there is none, it is for information
	goal   float64
	less   bool   // smaller is better
	note   string // how it reads
}

func (f *figure) median() float64 {
	v := slices.Clone(f.values)
	slices.Sort(v)
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

func (f *figure) verdict() string {
	m := f.median()
	within := func(limit float64) bool { return f.less && m <= limit || !f.less && m >= limit }
	switch {
	case within(f.goal):
		return "goal"
	case within(f.floor):
		return "floor"
	}
	return "**below**"
}

// Run measures, prints as it goes, and returns an error if a figure is below its floor.
func Run(ctx context.Context, o Options) (err error) {
	o.Runs = cmp.Or(o.Runs, 5)
	o.Scale = cmp.Or(o.Scale, 1)
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	o.Module = cmp.Or(o.Module, ".")
	o.Readers, o.Pages = cmp.Or(o.Readers, 4), cmp.Or(o.Pages, 400)
	fmt.Fprintf(o.Log, "order of runs: seed %d\n", o.Seed)
	if o.Only == "reads" || strings.HasPrefix(o.Only, "reads: ") {
		return reads(ctx, o)
	}
	if o.Only == "pages" {
		return pages(ctx, o)
	}
	if o.Only == "api" || strings.HasPrefix(o.Only, "api: ") {
		return apiReads(ctx, o)
	}
	server, err := localpg.Start(ctx, localpg.Options{FSync: true, Settings: map[string]string{
		"synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "2GB", "max_wal_size": "16GB",
		"checkpoint_timeout": "1h", "autovacuum": "off", "logical_decoding_work_mem": "64MB",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := os.Stat(filepath.Join(server.BinDir(), "pg_recvlogical")); err != nil {
		return errors.New("pg_recvlogical, which the figures are measured against, is not beside the server; install it: apt-get install postgresql")
	}
	figures, err := drains(ctx, o, server)
	if err != nil {
		return err
	}
	more, err := deliveries(ctx, o, server)
	if err != nil {
		return err
	}
	figures = append(figures, more...)
	more, err = crowds(ctx, o, server)
	if err != nil {
		return err
	}
	figures = append(figures, more...)
	if strings.HasPrefix("match", o.Only) {
		more, err := benchmarks(ctx, o)
		if err != nil {
			return err
		}
		figures = append(figures, more...)
	}
	return conclude(figures, server.Binaries().Version, o)
}

// conclude reports the figures, and returns an error if one is below its floor.
func conclude(figures []*figure, postgres string, o Options) (err error) {
	table := report(figures, postgres, o)
	fmt.Fprint(o.Log, "\n"+table)
	if o.Report != "" {
		if err := os.WriteFile(o.Report, []byte(table), 0o644); err != nil {
			return err
		}
	}
	for _, f := range figures {
		if f.floor != 0 && strings.Contains(f.verdict(), "below") {
			err = errors.Join(err, fmt.Errorf("%s is %.3g %s, below its floor of %.3g", f.name, f.median(), f.unit, f.floor))
		}
	}
	return err
}

// drains are the figures of draining a backlog: F1 to F4, F9 and F10.
func drains(ctx context.Context, o Options, server *localpg.Server) ([]*figure, error) {
	size := func(n int) int { return int(float64(n)*o.Scale) / 1000 * 1000 }
	ratio := func(name string, floor, goal float64, note string) *figure {
		return &figure{name: name, unit: "× pg_recvlogical", floor: floor, goal: goal, note: note}
	}
	type row struct {
		spec
		plain, uncoalesced, rss, allocs *figure
	}
	rss := &figure{name: "F9 peak RSS, steady drain", unit: "MB", floor: 60, goal: 30, less: true, note: "1-row transactions, nothing matches"}
	rssBig := &figure{name: "F9 peak RSS, one transaction of 1,000,000 rows", unit: "MB", floor: 100, goal: 60, less: true, note: "every row matches"}
	allocs := &figure{name: "F10 allocations per unmatched event", unit: "objects", floor: 0.01, goal: 0.01, less: true, note: "1000-row transactions; the whole process from taking the slot on"}
	rows := []*row{
		{
			spec:        spec{name: "single", events: size(300_000), perTxn: 1},
			plain:       ratio("F1 drain, nothing matches, 1-row transactions", 2, 2.5, "inserts"),
			uncoalesced: ratio("F2 the same, read coalescing off", 0.9, 1, "inserts"), rss: rss,
		},
		{
			spec:        spec{name: "thousand", events: size(1_000_000), perTxn: 1000},
			plain:       ratio("F1 drain, nothing matches, 1000-row transactions", 1.5, 1.8, "inserts"),
			uncoalesced: ratio("F2 the same, read coalescing off", 0.9, 1, "inserts"), allocs: allocs,
		},
		{
			spec:        spec{name: "full", events: size(300_000), perTxn: 100, update: true},
			plain:       ratio("F1 drain, nothing matches, updates, REPLICA IDENTITY FULL", 1.2, 1.5, "100 rows a transaction"),
			uncoalesced: ratio("F2 the same, read coalescing off", 0.9, 1, "100 rows a transaction"),
		},
		{
			spec:  spec{name: "all", events: size(300_000), perTxn: 1, condition: "{}", action: "webhook", matches: 1},
			plain: ratio("F3 drain, every event matched by a webhook workflow", 0.7, 1, "1-row transactions; event, execution, delivery, checkpoint"),
		},
		{
			spec:  spec{name: "hundredth", events: size(300_000), perTxn: 1, condition: `{"status": "hit"}`, action: "webhook", matches: 100},
			plain: ratio("F4 the same, 1 % matching", 1.8, 2.2, "1-row transactions"),
		},
		{
			spec: spec{name: "big", events: size(1_000_000), perTxn: size(1_000_000), condition: "{}", action: "webhook", matches: 1},
			rss:  rssBig,
		},
	}
	var figures []*figure
	random := rand.New(rand.NewPCG(o.Seed, 0))
	for _, r := range rows {
		if !strings.HasPrefix(r.name, o.Only) {
			continue
		}
		fmt.Fprintf(o.Log, "%s: writing %d events\n", r.name, r.events)
		w, err := prepare(ctx, server, r.spec)
		if err != nil {
			return nil, fmt.Errorf("workload %s: %w", r.name, err)
		}
		for round := range o.Runs {
			var ref, plain, off run
			steps := []func() error{
				func() (err error) { plain, err = w.drain(ctx, app.CoalesceOn); return },
			}
			if r.plain != nil {
				steps = append(steps, func() (err error) { ref, err = w.reference(ctx, server.BinDir()); return })
			}
			if r.uncoalesced != nil {
				steps = append(steps, func() (err error) { off, err = w.drain(ctx, app.CoalesceOff); return })
			}
			random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			for _, step := range steps {
				if err := step(); err != nil {
					return nil, err
				}
			}
			rate := func(x run) float64 { return float64(w.events) / x.took.Seconds() / 1000 }
			fmt.Fprintf(o.Log, "  round %d: worker %.1fk/s, %d MB, %.2f cpu s, %.3f allocations an event", round+1,
				rate(plain), plain.rss>>20, plain.cpu.Seconds(), float64(plain.result.Mallocs)/float64(w.events))
			if r.plain != nil {
				fmt.Fprintf(o.Log, "; pg_recvlogical %.1fk/s", rate(ref))
				r.plain.values = append(r.plain.values, ref.took.Seconds()/plain.took.Seconds())
			}
			if r.uncoalesced != nil {
				fmt.Fprintf(o.Log, "; coalescing off %.1fk/s", rate(off))
				r.uncoalesced.values = append(r.uncoalesced.values, ref.took.Seconds()/off.took.Seconds())
			}
			fmt.Fprintln(o.Log)
			if r.rss != nil {
				r.rss.values = append(r.rss.values, float64(plain.rss)/(1<<20))
			}
			if r.allocs != nil {
				r.allocs.values = append(r.allocs.values, float64(plain.result.Mallocs)/float64(w.events))
			}
		}
		for _, f := range []*figure{r.plain, r.uncoalesced, r.rss, r.allocs} {
			if f != nil {
				figures = append(figures, f)
			}
		}
		if err := w.drop(ctx, server); err != nil {
			return nil, err
		}
	}
	return figures, nil
}

// drop frees the workload's WAL.
func (w *workload) drop(ctx context.Context, server *localpg.Server) error {
	for _, sql := range []string{
		"select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active",
		"drop database bench_" + strings.ReplaceAll(w.name, "-", "_") + " with (force)",
		"checkpoint",
	} {
		if err := execute(ctx, server.URL("postgres"), sql); err != nil {
			return err
		}
	}
	return nil
}

// benchLine is a line of a Go benchmark: its name, and values with their units.
var benchLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?[ \t]+\d+[ \t]+(.*)$`)

// benchmarks are the figures of Go benchmarks: F8, and what else is known of the index.
// Those that compare measure both sides by turns.
func benchmarks(ctx context.Context, o Options) ([]*figure, error) {
	const which = "^Benchmark(MatchRatio|MixedRatio|TablesRatio|Memory|Change)$"
	fmt.Fprintln(o.Log, "match: go test ./engine/match -bench "+which)
	out, err := exec.CommandContext(ctx, "go", "test", "-C", o.Module, "./engine/match", "-run", "^$", "-bench", which,
		"-count", strconv.Itoa(o.Runs)).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s: %w: %s", which, err, out)
	}
	values := make(map[string][]float64) // by "name unit"
	for _, m := range benchLine.FindAllStringSubmatch(string(out), -1) {
		words := strings.Fields(m[2])
		for i := 0; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark %s printed %q: %w", m[1], m[2], err)
			}
			name := m[1] + " " + words[i+1]
			values[name] = append(values[name], v)
		}
	}
	median := func(name string) float64 { return (&figure{values: values[name]}).median() }
	// slowest is the largest value of several benchmarks in each round.
	slowest := func(names ...string) []float64 {
		list := slices.Clone(values[names[0]])
		for _, name := range names[1:] {
			for i, v := range values[name] {
				list[i] = max(list[i], v)
			}
		}
		return list
	}
	for _, name := range []string{
		"MatchRatio ratio", "MixedRatio ratio", "TablesRatio ratio", "Memory/equality B/workflow", "Memory/mixed B/workflow",
		"Change/mixed median-ms", "Change/list median-ms", "Change/tree median-ms",
		"Change/mixed p99-ms", "Change/list p99-ms", "Change/tree p99-ms",
	} {
		if len(values[name]) != o.Runs {
			return nil, fmt.Errorf("the benchmarks of the index printed %d values of %s, want %d: %s", len(values[name]), name, o.Runs, out)
		}
	}
	ratio := func(name, what, unit, small, large string, floor, goal float64) *figure {
		return &figure{
			name: what, unit: unit, floor: floor, goal: goal, less: true, values: values[name+" ratio"],
			note: fmt.Sprintf("%.0f ns against %.0f ns an event, %.1f matches", median(name+" "+large), median(name+" "+small), median(name+" matches/event")),
		}
	}
	return []*figure{
		ratio("MatchRatio", "F8 match time at 100,000 workflows on one table", "× 100 workflows", "ns/100", "ns/100000", 3, 2),
		ratio("MixedRatio", "the same, a mixed set", "× 100 workflows", "ns/100", "ns/100000", 4, 4),
		ratio("TablesRatio", "match time at 1,000 tables of 100 workflows, a mixed set", "× one such table", "ns/1-table", "ns/1000-tables", 0, 0),
		{name: "memory of a workflow, equality", unit: "B", less: true, values: values["Memory/equality B/workflow"], note: "on the heap, its document included"},
		{name: "memory of a workflow, a mixed set", unit: "B", less: true, values: values["Memory/mixed B/workflow"], note: "the same"},
		{
			name: "one definition changed among 100,000 on one table, median", unit: "ms", floor: 5, goal: 5, less: true,
			values: slowest("Change/mixed median-ms", "Change/list median-ms", "Change/tree median-ms"), note: "the slowest of a mixed set, one list and one tree of ranges",
		},
		{
			name: "the same, p99", unit: "ms", floor: 5, goal: 5, less: true,
			values: slowest("Change/mixed p99-ms", "Change/list p99-ms", "Change/tree p99-ms"), note: "garbage collection included",
		},
	}, nil
}

func report(figures []*figure, postgres string, o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s with `make bench`: PostgreSQL %s, %s, %d CPUs, everything on loopback, %d rounds, seed %d.\n\n",
		time.Now().UTC().Format(time.DateOnly), postgres, runtime.Version(), runtime.NumCPU(), o.Runs, o.Seed)
	b.WriteString("| figure | median | min–max | unit | floor | goal | reached | |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range figures {
		floor, goal, verdict := fmt.Sprintf("%g", f.floor), fmt.Sprintf("%g", f.goal), f.verdict()
		if f.floor == 0 { // for information
			floor, goal, verdict = "–", "–", "–"
		}
		fmt.Fprintf(&b, "| %s | **%.3g** | %.3g–%.3g | %s | %s | %s | %s | %s |\n", f.name, f.median(),
			slices.Min(f.values), slices.Max(f.values), f.unit, floor, goal, verdict, f.note)
	}
	return b.String()
}
