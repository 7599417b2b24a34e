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

	lagBytes   float64
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

// measure reads the worker's own metrics, as Prometheus would.
func (s *status) measure(ctx context.Context, now time.Time, changes int64) {
	s.changes = changes
	s.samples = append(s.samples, sample{now, changes, s.executions})
	for len(s.samples) > 1 && now.Sub(s.samples[0].at) > 10*time.Second {
		s.samples = s.samples[1:]
	}
	if v, err := scrape(ctx, s.opsURL, "rowbell_replication_lag_bytes"); err == nil {
		s.lagBytes = v
	}
}

// scrape reads one metric without labels.
func scrape(ctx context.Context, opsURL, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, opsURL+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("%s is not among the metrics", name)
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
	parts = append(parts, "behind "+size(s.lagBytes))
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
	return sorted[len(sorted)/2], sorted[(len(sorted)-1)*99/100], true
}
