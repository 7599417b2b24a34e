package demo

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// The metrics that the status shows are ones that the worker has.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	w, err := startWorker(t.Context(), db.URL, "", slog.New(slog.DiscardHandler), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	var metrics map[string]float64
	pgtest.Eventually(t, pgtest.Patience, "the worker to receive", func() bool {
		metrics, err = scrape(t.Context(), w.opsURL())
		return err == nil && metrics[receivedMetric] > 0
	})
	for _, name := range []string{
		lagMetric, deliveriesMetric + `{kind="webhook",outcome="succeeded"}`, deliveriesMetric + `{kind="notification",outcome="dead"}`,
	} {
		if _, ok := metrics[name]; !ok {
			t.Errorf("%s is not among the metrics", name)
		}
	}
	if n := sum(map[string]float64{`a{x="1",y="2"}`: 3, `a{x="2",y="2"}`: 4, `a{x="1",y="3"}`: 8, `b{y="2"}`: 16}, "a", `y="2"`); n != 7 {
		t.Errorf("the sum is %v", n)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}
