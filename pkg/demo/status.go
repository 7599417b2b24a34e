package demo

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/store"
)

// status is the line below the feed: how much, how fast, and what waits.
type status struct {
	opsURL string

	changes    int64
	executions int64
	latencies  []time.Duration // of the last deliveries, at most 200
	samples    []sample        // of the last 10 s, for the rate
	queue      store.QueueStats
	succeeded  float64 // deliveries that ended so
	dead       float64
	breakers   int     // that are not closed
	lagBytes   float64 // WAL that was written and not yet received
	lagSeconds float64 // age of the last commit when it was read
}

type sample struct {
	at      time.Time
	changes int64
}

func newStatus(opsURL string) *status { return &status{opsURL: opsURL} }

// delivered notes how long a delivery took from the change's commit on.
func (s *status) delivered(latency time.Duration) {
	s.latencies = append(s.latencies, latency)
	if len(s.latencies) > 200 {
		s.latencies = s.latencies[1:]
	}
}

// measure reads the worker's own metrics, as Prometheus would. written is where the
// server's WAL ended just before.
func (s *status) measure(ctx context.Context, now time.Time, changes int64, written float64) {
	s.changes = changes
	s.samples = append(s.samples, sample{now, changes})
	for len(s.samples) > 1 && now.Sub(s.samples[0].at) > 10*time.Second {
		s.samples = s.samples[1:]
	}
	if metrics, err := scrape(ctx, s.opsURL); err == nil {
		s.lagBytes = max(0, written-metrics[receivedMetric])
		s.lagSeconds = metrics[lagMetric]
		s.succeeded = sum(metrics, deliveriesMetric, `outcome="succeeded"`)
		s.dead = sum(metrics, deliveriesMetric, `outcome="dead"`)
	}
}

// What of the worker's metrics is shown.
const (
	receivedMetric   = "rowbell_stream_received_lsn_bytes"
	lagMetric        = "rowbell_replication_lag_seconds"
	deliveriesMetric = "rowbell_deliveries_total"
)

// scrape reads the metrics by their names with labels.
func scrape(ctx context.Context, opsURL string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, opsURL+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	metrics := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
				metrics[line[:i]] = v
			}
		}
	}
	return metrics, lines.Err()
}

// sum adds up a metric over all its labels but one.
func sum(metrics map[string]float64, name, label string) (total float64) {
	for series, v := range metrics {
		if strings.HasPrefix(series, name+"{") && strings.Contains(series, label) {
			total += v
		}
	}
	return total
}

// line says it in so many columns, with as many words as there is room for.
func (s *status) line(width int) string {
	var depth int64
	for _, n := range s.queue.Depth {
		depth += n
	}
	changes := fmt.Sprintf("%.1f changes/s", s.rate())
	executions := fmt.Sprintf("%d executions", s.executions)
	marks := fmt.Sprintf("%s %.0f %s %d %s %.0f", delivered, s.succeeded, again, s.queue.Retrying, gaveUp, s.dead)
	queue := fmt.Sprintf("queue %d", depth)
	switch {
	case s.breakers == 1:
		queue += ", 1 breaker open"
	case s.breakers > 1:
		queue += fmt.Sprintf(", %d breakers open", s.breakers)
	}
	full, short := "", ""
	if p50, p99, ok := s.percentiles(); ok {
		full = fmt.Sprintf("commit → delivered %s, p99 %s", since(p50), since(p99))
		short = fmt.Sprintf("p50 %s p99 %s", since(p50), since(p99))
	}
	lag := "lag " + since(time.Duration(s.lagSeconds*float64(time.Second)))
	for _, parts := range [][]string{
		{
			changes, executions, fmt.Sprintf("%.0f delivered, %d retrying, %.0f dead", s.succeeded, s.queue.Retrying, s.dead),
			queue, full, lag + ", " + size(s.lagBytes),
		},
		{changes, executions, marks, queue, full, lag},
		{fmt.Sprintf("%.1f/s", s.rate()), executions, marks, queue, short, lag},
		{fmt.Sprintf("%.1f/s", s.rate()), marks, queue, short, lag},
		{marks, queue, short},
	} {
		parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
		if text := strings.Join(parts, " │ "); utf8.RuneCountInString(text) <= width {
			return text
		}
	}
	return marks
}

// rate is of the shop's changes, in a second.
func (s *status) rate() float64 {
	if len(s.samples) < 2 {
		return 0
	}
	first, last := s.samples[0], s.samples[len(s.samples)-1]
	return float64(last.changes-first.changes) / last.at.Sub(first.at).Seconds()
}

func (s *status) percentiles() (p50, p99 time.Duration, ok bool) {
	if len(s.latencies) == 0 {
		return 0, 0, false
	}
	sorted := slices.Sorted(slices.Values(s.latencies))
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100], true
}
