package cdc

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/pkg/change"
)

// Metrics counts what the stream reads. One lives as long as the process; streams and
// heartbeats come and go.
type Metrics struct {
	bytes        prometheus.Counter
	transactions prometheus.Counter
	events       [change.Emit + 1]prometheus.Counter // by Op
	blocked      prometheus.Counter
	connects     prometheus.Counter
	lagBytes     prometheus.Gauge
	lagSeconds   prometheus.Gauge
	received     prometheus.Gauge
	confirmed    prometheus.Gauge
	beats        *prometheus.CounterVec
	beatRound    prometheus.Gauge
}

// NewMetrics registers the stream's metrics. reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		bytes:        counter("rowbell_stream_received_bytes_total", "Bytes read from the replication slot."),
		transactions: counter("rowbell_stream_transactions_total", "Transactions read from the replication slot."),
		blocked:      counter("rowbell_stream_blocked_seconds_total", "Time in which reading waited for what was read to be taken; its rate is the saturation of the stage behind."),
		connects:     counter("rowbell_stream_connects_total", "Times that the replication slot was taken."),
		lagBytes:     gauge("rowbell_replication_lag_bytes", "WAL that was received and not yet confirmed to the slot."),
		lagSeconds:   gauge("rowbell_replication_lag_seconds", "Age of the commit read last when it was read; 0 when the end of the WAL is reached."),
		received:     gauge("rowbell_stream_received_lsn_bytes", "WAL position that was received, in bytes."),
		confirmed:    gauge("rowbell_stream_confirmed_lsn_bytes", "WAL position that was told to the slot, in bytes."),
		beats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowbell_heartbeats_total",
			Help: "Heartbeats by what became of them: sent, seen, failed.",
		}, []string{"outcome"}),
		beatRound: gauge("rowbell_heartbeat_round_trip_seconds", "How long the last heartbeat took to come back through the slot."),
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rowbell_stream_events_total",
		Help: "Events read from the replication slot, by operation.",
	}, []string{"operation"})
	for op := change.Create; op <= change.Emit; op++ {
		m.events[op] = events.WithLabelValues(op.String())
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.transactions, events, m.blocked, m.connects, m.lagBytes, m.lagSeconds, m.received, m.confirmed, m.beats, m.beatRound)
	}
	return m
}
