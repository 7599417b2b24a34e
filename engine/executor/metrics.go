package executor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Metrics are those of a process's executor.
type Metrics struct {
	deliveries     *prometheus.CounterVec
	gates          *prometheus.CounterVec
	attempts       *prometheus.CounterVec
	attemptSeconds *prometheus.HistogramVec
	latency        prometheus.Histogram
	capacity       prometheus.Gauge
	running        prometheus.Gauge
	waiting        prometheus.Gauge
	held           prometheus.Gauge
	claimed        prometheus.Counter
	settleSeconds  prometheus.Histogram
	settleFailures prometheus.Counter
	leasesLost     prometheus.Counter
	quiet          prometheus.Counter
	breakersOpen   *prometheus.GaugeVec
	disabled       *prometheus.GaugeVec
	limited        prometheus.Counter
	paused         *prometheus.GaugeVec
	kinds          []string
}

// NewMetrics registers them. kinds are the names that label values are made of.
func NewMetrics(reg prometheus.Registerer, kinds []string) *Metrics {
	m := &Metrics{
		kinds: kinds,
		breakersOpen: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rowbell_breakers_open", Help: "Destinations whose breaker is open or half open, by kind: deliveries to them wait. All processes see the same.",
		}, []string{"kind"}),
		disabled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rowbell_destinations_disabled", Help: "Destinations that are disabled, by kind: deliveries to them are cancelled. All processes see the same.",
		}, []string{"kind"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_rate_limited_waits_total", Help: "Times that a destination with deliveries had to ask for more of its rate.",
		}),
		paused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rowbell_paused", Help: "Pauses that hold, by scope: all, tenant, workflow, kind, tenant_kind or workflow_kind. Deliveries that they cover wait. All processes see the same.",
		}, []string{"scope"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_deliveries_total", Help: "Deliveries that ended, by kind and outcome: succeeded, dead or cancelled.",
		}, []string{"kind", "outcome"}),
		gates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_gates_total", Help: "Gates that ended, by outcome: passed, refused, dead (it could not be decided) or cancelled (its workflow was turned off).",
		}, []string{"outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_attempts_total", Help: "Attempts, by kind and outcome: succeeded, retry (it will be tried again) or dead (it won't).",
		}, []string{"kind", "outcome"}),
		attemptSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rowbell_attempt_duration_seconds", Help: "Time that an attempt took, by kind.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"kind"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rowbell_delivery_latency_seconds", Help: "Time from a change's commit to the end of the attempt that delivered it. It compares two servers' clocks.",
			Buckets: []float64{0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600, 86400},
		}),
		capacity: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rowbell_executor_capacity", Help: "How many attempts may run at once.",
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rowbell_executor_running", Help: "Attempts that run; divided by rowbell_executor_capacity it is the executor's saturation.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rowbell_executor_waiting", Help: "Deliveries that are leased and wait in memory for their turn.",
		}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rowbell_executor_held", Help: "Deliveries that are leased and in memory.",
		}),
		claimed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_deliveries_claimed_total", Help: "Deliveries that came by a claim. The others were recorded by this process and came from memory.",
		}),
		settleSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rowbell_settle_duration_seconds", Help: "Time that writing a batch of outcomes took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		settleFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_settle_failures_total", Help: "Times that outcomes could not be written; they are written again.",
		}),
		leasesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_leases_lost_total", Help: "Outcomes that counted for nothing, because another process had the delivery by then.",
		}),
		quiet: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_deliveries_quieted_total", Help: "Times that a delivery was put off until the end of its recipient's quiet hours.",
		}),
	}
	reg.MustRegister(m.deliveries, m.gates, m.attempts, m.attemptSeconds, m.latency, m.capacity, m.running, m.waiting, m.held,
		m.claimed, m.settleSeconds, m.settleFailures, m.leasesLost, m.quiet, m.breakersOpen, m.disabled, m.limited, m.paused)
	m.barred(nil)
	m.pauses(nil)
	for _, outcome := range []string{gatePassed, gateRefused, gateDead, gateCancelled} {
		m.gates.WithLabelValues(outcome)
	}
	for _, kind := range kinds {
		for _, outcome := range []workflow.Verb{workflow.Succeeded, workflow.Dead, workflow.Cancel} {
			m.deliveries.WithLabelValues(kind, string(outcome))
		}
		for _, outcome := range []string{"succeeded", "retry", "dead"} {
			m.attempts.WithLabelValues(kind, outcome)
		}
		m.attemptSeconds.WithLabelValues(kind)
	}
	return m
}

// barred says how many destinations of a kind are in a state.
func (m *Metrics) barred(counts map[[2]string]int) {
	for _, kind := range m.kinds {
		of := func(s workflow.DestinationState) float64 { return float64(counts[[2]string{kind, string(s)}]) }
		m.breakersOpen.WithLabelValues(kind).Set(of(workflow.Open) + of(workflow.HalfOpen))
		m.disabled.WithLabelValues(kind).Set(of(workflow.Disabled))
	}
}

// pauses says which hold.
func (m *Metrics) pauses(list []workflow.Pause) {
	counts := make(map[string]int)
	for i := range list {
		counts[list[i].Scope()]++
	}
	for _, scope := range workflow.PauseScopes {
		m.paused.WithLabelValues(scope).Set(float64(counts[scope]))
	}
}

func (m *Metrics) tried(kind, outcome string, took time.Duration) {
	m.attempts.WithLabelValues(kind, outcome).Inc()
	m.attemptSeconds.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *Metrics) settled(outcomes []workflow.Outcome, lost int, took time.Duration) {
	m.settleSeconds.Observe(took.Seconds())
	m.leasesLost.Add(float64(lost))
	for i := range outcomes {
		o := &outcomes[i]
		if o.Gate() {
			if outcome := gateOutcome(o); outcome != "" {
				m.gates.WithLabelValues(outcome).Inc()
			}
			continue
		}
		switch o.Verb {
		case workflow.Succeeded, workflow.Dead, workflow.Cancel:
			m.deliveries.WithLabelValues(o.Kind, string(o.Verb)).Inc()
		case workflow.Retry, workflow.GiveBack, workflow.Written:
		}
	}
}

// How gates end.
const (
	gatePassed    = "passed"
	gateRefused   = "refused"
	gateDead      = "dead"
	gateCancelled = "cancelled"
)

// gateOutcome is how a gate has ended; "" if it hasn't.
func gateOutcome(o *workflow.Outcome) string {
	switch o.Verb {
	case workflow.Succeeded:
		return gatePassed
	case workflow.Dead:
		return gateDead
	case workflow.Cancel:
		if o.Tried {
			return gateRefused
		}
		return gateCancelled
	case workflow.Retry, workflow.GiveBack, workflow.Written:
	}
	return ""
}
