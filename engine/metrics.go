package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Metrics outlive an Engine: one set serves all holdings of the slot in a process.
type Metrics struct {
	bigTransactions prometheus.Counter
	events          *prometheus.CounterVec
	storms          prometheus.Counter
	held            prometheus.Counter
	truncates       prometheus.Counter
	conditionErrors *prometheus.CounterVec
	executions      *prometheus.CounterVec
	batchSize       prometheus.Histogram
	batchSeconds    prometheus.Histogram
	recordBusy      prometheus.Counter
	definitions     *prometheus.GaugeVec
	lastCommit      prometheus.Gauge

	verdictOf map[string]workflow.Verdict
}

// NewMetrics registers the engine's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		bigTransactions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_big_transactions_total", Help: "Transactions too big to be held, recorded in parts.",
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_events_total", Help: "Changes of captured tables, and domain events (emit), taken from the stream, by operation.",
		}, []string{"operation"}),
		storms: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_storms_total", Help: "Storms: times that a workflow matched more than it may at once, and the rest was held for an operator.",
		}),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_storm_executions_total", Help: "Executions that were recorded as held by a storm.",
		}),
		truncates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_truncates_total", Help: "Captured tables that were truncated, which makes no event.",
		}),
		conditionErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_condition_errors_total", Help: "Conditions that failed, by reason: not_in_wal or error.",
		}, []string{"reason"}),
		executions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_executions_recorded_total", Help: "Executions recorded from the stream, by the status they were recorded with.",
		}, []string{"status"}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rowbell_batch_executions", Help: "Executions recorded by one statement.",
			Buckets: []float64{0, 1, 3, 10, 30, 100, 300, 1000, 3000},
		}),
		batchSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rowbell_batch_duration_seconds", Help: "Time that recording one batch took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		recordBusy: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_record_busy_seconds_total", Help: "Time during which a batch was being recorded; its rate is the writer's saturation.",
		}),
		definitions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rowbell_definitions", Help: "Active workflows, by what can be said of them: ok, broken, incomplete or not_captured.",
		}, []string{"verdict"}),
		lastCommit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rowbell_recorded_commit_timestamp_seconds", Help: "Commit time of the last event that was recorded, in seconds since the epoch.",
		}),
		verdictOf: make(map[string]workflow.Verdict),
	}
	reg.MustRegister(m.bigTransactions, m.storms, m.held, m.events, m.truncates, m.conditionErrors, m.executions,
		m.batchSize, m.batchSeconds, m.recordBusy, m.definitions, m.lastCommit)
	m.reset()
	for _, reason := range []string{reasonNotInWAL, reasonError} {
		m.conditionErrors.WithLabelValues(reason)
	}
	for _, op := range []change.Op{change.Create, change.Update, change.Delete, change.Emit} {
		m.events.WithLabelValues(op.String())
	}
	for _, s := range []workflow.ExecutionStatus{workflow.Pending, workflow.Success, workflow.Failure} {
		m.executions.WithLabelValues(string(s))
	}
	return m
}

// verdicts keeps the gauge of definitions current. Called by the goroutine that takes
// parts, and while no other does.
func (m *Metrics) verdicts(changed []workflow.Health) {
	for _, h := range changed {
		if old, ok := m.verdictOf[h.WorkflowID]; ok {
			m.definitions.WithLabelValues(string(old)).Dec()
		}
		if h.Verdict == "" {
			delete(m.verdictOf, h.WorkflowID)
			continue
		}
		m.verdictOf[h.WorkflowID] = h.Verdict
		m.definitions.WithLabelValues(string(h.Verdict)).Inc()
	}
}

// reset forgets the definitions of an earlier holding.
func (m *Metrics) reset() {
	clear(m.verdictOf)
	for _, v := range []workflow.Verdict{workflow.OK, workflow.Broken, workflow.Incomplete, workflow.NotCaptured} {
		m.definitions.WithLabelValues(string(v)).Set(0)
	}
}

func (m *Metrics) recorded(b *batch, took time.Duration) {
	m.batchSize.Observe(float64(len(b.Executions)))
	m.batchSeconds.Observe(took.Seconds())
	m.recordBusy.Add(took.Seconds())
	if n := len(b.Events); n > 0 {
		m.lastCommit.Set(float64(b.Events[n-1].CommittedAt.UnixMicro()) / 1e6)
	}
}

// Why a condition failed.
const (
	reasonNotInWAL = "not_in_wal"
	reasonError    = "error"
)

// counts are added to the metrics once per handover, not per event.
type counts struct {
	bigTransactions int
	storms, held    int
	truncates       int
	events          [change.Emit + 1]int
	executions      map[workflow.ExecutionStatus]int
}

func (c *counts) flush(m *Metrics) {
	if c.bigTransactions > 0 {
		m.bigTransactions.Add(float64(c.bigTransactions))
		c.bigTransactions = 0
	}
	if c.held > 0 {
		m.storms.Add(float64(c.storms))
		m.held.Add(float64(c.held))
		c.storms, c.held = 0, 0
	}
	if c.truncates > 0 {
		m.truncates.Add(float64(c.truncates))
		c.truncates = 0
	}
	for op, n := range c.events {
		if n > 0 {
			m.events.WithLabelValues(change.Op(op).String()).Add(float64(n))
			c.events[op] = 0
		}
	}
	for s, n := range c.executions {
		if n > 0 {
			m.executions.WithLabelValues(string(s)).Add(float64(n))
			c.executions[s] = 0
		}
	}
}
