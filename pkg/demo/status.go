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
)

// status is the line below the feed: how far behind, and how much.
type status struct {
	opsURL string

	lagBytes   float64 // WAL that was written and not yet received
	lagSeconds float64 // age of the last commit when it was read
	executions int64
	latencies  []time.Duration // of the last executions, at most 200
	changes    int64
	samples    []sample // of the last 10 s, for rates
}

type sample struct {
	at                  time.Time
	changes, executions int64
}

func newStatus(opsURL string) *status { return &status{opsURL: opsURL} }

func (s *status) executed(latency time.Duration) {
	s.executions++
	s.latencies = append(s.latencies, latency)
	if len(s.latencies) > 200 {
		s.latencies = s.latencies[1:]
	}
}

// measure reads the worker's own metrics, as Prometheus would. written is where the
// server's WAL ended just before.
func (s *status) measure(ctx context.Context, now time.Time, changes int64, written float64) {
	s.changes = changes
	s.samples = append(s.samples, sample{now, changes, s.executions})
	for len(s.samples) > 1 && now.Sub(s.samples[0].at) > 10*time.Second {
		s.samples = s.samples[1:]
	}
	if metrics, err := scrape(ctx, s.opsURL); err == nil {
		s.lagBytes = max(0, written-metrics[receivedMetric])
		s.lagSeconds = metrics[lagMetric]
	}
}

// What of the worker's metrics is shown.
const (
	receivedMetric = "rowbell_stream_received_lsn_bytes"
	lagMetric      = "rowbell_replication_lag_seconds"
)

// scrape reads the metrics that have no labels.
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
		if name, text, ok := strings.Cut(lines.Text(), " "); ok && !strings.ContainsAny(name, "{#") {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				metrics[name] = v
			}
		}
	}
	return metrics, lines.Err()
}

func (s *status) String() string {
	changeRate, executionRate := s.rates()
	parts := []string{
		fmt.Sprintf("%d changes (%.1f/s)", s.changes, changeRate),
		fmt.Sprintf("%d executions (%.1f/s)", s.executions, executionRate),
	}
	if p50, p99, ok := s.percentiles(); ok {
		parts = append(parts, fmt.Sprintf("commit to record %s, p99 %s", since(p50), since(p99)))
	}
	parts = append(parts, fmt.Sprintf("lag %s, %s", size(s.lagBytes), since(time.Duration(s.lagSeconds*float64(time.Second)))))
	return strings.Join(parts, "   ")
}

func (s *status) rates() (changes, executions float64) {
	if len(s.samples) < 2 {
		return 0, 0
	}
	first, last := s.samples[0], s.samples[len(s.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	return float64(last.changes-first.changes) / seconds, float64(last.executions-first.executions) / seconds
}

func (s *status) percentiles() (p50, p99 time.Duration, ok bool) {
	if len(s.latencies) == 0 {
		return 0, 0, false
	}
	sorted := slices.Sorted(slices.Values(s.latencies))
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100], true
}
