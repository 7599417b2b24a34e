package access

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts who was let in.
type Metrics struct{ total *prometheus.CounterVec }

// Outcomes of an authentication, for the metric.
const (
	accepted     = "accepted"
	wasRefused   = "refused"
	wasForbidden = "forbidden"
	wasLimited   = "limited"
	wasAway      = "unavailable"
)

// kindNone is of requests that show nothing that could be a key, link or token.
const kindNone Kind = "none"

// NewMetrics makes and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rowbell_auth_total", Help: "Requests by how they showed who asks (key, person, link, none) and the outcome (accepted, refused, forbidden, limited, unavailable).",
	}, []string{"kind", "outcome"})}
	for _, kind := range []Kind{KindKey, KindPerson, KindLink, kindNone} {
		for _, outcome := range []string{accepted, wasRefused, wasForbidden, wasLimited, wasAway} {
			m.total.WithLabelValues(string(kind), outcome)
		}
	}
	reg.MustRegister(m.total)
	return m
}

func (m *Metrics) count(kind Kind, outcome string) {
	if m != nil {
		m.total.WithLabelValues(string(kind), outcome).Inc()
	}
}
