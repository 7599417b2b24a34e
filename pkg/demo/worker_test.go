package demo

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// The metrics that the status shows are ones that the worker has.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	w, err := startWorker(t.Context(), db.URL, slog.New(slog.DiscardHandler), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	var metrics map[string]float64
	pgtest.Eventually(t, 20*time.Second, "the worker to receive", func() bool {
		metrics, err = scrape(t.Context(), w.opsURL())
		return err == nil && metrics[receivedMetric] > 0
	})
	if _, ok := metrics[lagMetric]; !ok {
		t.Errorf("%s is not among the metrics", lagMetric)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}
