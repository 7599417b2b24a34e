package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/store"
)

// metrics are those of the worker as a whole.
type metrics struct {
	role            *prometheus.GaugeVec
	slotExists      prometheus.Gauge
	slotActive      prometheus.Gauge
	slotRetained    prometheus.Gauge
	slotLost        prometheus.Gauge
	withoutIdentity prometheus.Gauge
	queueDepth      *prometheus.GaugeVec
	queueOldest     prometheus.Gauge
	takeovers       prometheus.Counter
	unsealed        prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		role: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rowbell_role", Help: "1 for what this process does about the slot: starting, waiting, holding, retrying, stopped or must_mend.",
		}, []string{"role"}),
		slotExists:      gauge("rowbell_slot_exists", "Whether the replication slot exists."),
		slotActive:      gauge("rowbell_slot_active", "Whether a process holds the replication slot."),
		slotRetained:    gauge("rowbell_slot_retained_bytes", "WAL that the server keeps for the slot."),
		slotLost:        gauge("rowbell_slot_lost", "Whether the server has given up WAL that the slot needs."),
		withoutIdentity: gauge("rowbell_tables_without_replica_identity", "Published tables whose UPDATE and DELETE fail because they lost their replica identity."),
		queueDepth: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rowbell_queue_depth", Help: "Unfinished deliveries, by state.",
		}, []string{"state"}),
		queueOldest: gauge("rowbell_queue_oldest_age_seconds", "Age of the oldest unfinished delivery; 0 without one."),
		takeovers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rowbell_takeovers_total", Help: "Connections of silent holders that this process ended to take the slot.",
		}),
		unsealed: gauge("rowbell_secrets_unsealed", "Secrets that stand in rowbell.secret as they were written."),
	}
	reg.MustRegister(m.role, m.slotExists, m.slotActive, m.slotRetained, m.slotLost,
		m.withoutIdentity, m.queueDepth, m.queueOldest, m.takeovers, m.unsealed)
	m.setRole(phaseStarting)
	return m
}

func (m *metrics) setRole(now phase) {
	for _, p := range []phase{phaseStarting, phaseWaiting, phaseHolding, phaseRetrying, phaseStopped, phaseMustMend} {
		m.role.WithLabelValues(string(p)).Set(boolean01(p == now))
	}
}

func (m *metrics) slot(s cdc.Slot, err error) {
	if err != nil {
		return // what was last known stands; rowbell_role and /readyz tell that the source is away
	}
	m.slotExists.Set(boolean01(s.Exists))
	m.slotActive.Set(boolean01(s.ActivePID != 0))
	m.slotRetained.Set(float64(s.RetainedBytes))
	m.slotLost.Set(boolean01(s.Lost != ""))
}

func (m *metrics) queue(q store.QueueStats) {
	for state, n := range q.Depth {
		m.queueDepth.WithLabelValues(state).Set(float64(n))
	}
	m.queueOldest.Set(q.Oldest.Seconds())
}

func boolean01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
