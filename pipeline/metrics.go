package pipeline

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen"
	"platen/feed"
	"platen/storage"
)

// metrics are the figures that operators watch: docs/operating.md explains each.
type metrics struct {
	renders        *prometheus.HistogramVec
	combines       *prometheus.HistogramVec
	deliveries     *prometheus.HistogramVec
	deliveryStates *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer, db *storage.DB, hub *feed.Hub) *metrics {
	m := &metrics{
		renders: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "platen_render_seconds", Help: "Time from the start of a document's work to its final state, by outcome (the failure's code, or PROCESSED).",
			Buckets: []float64{.02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120}}, []string{"outcome"}),
		combines: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "platen_combine_seconds", Help: "Time from the start of a merge to the combined document's final state, by outcome (the failure's code, or PROCESSED).",
			Buckets: []float64{.02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120}}, []string{"outcome"}),
		deliveries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "platen_delivery_seconds", Help: "Time of one delivery attempt, by outcome (the failure's code, or PROCESSED).",
			Buckets: []float64{.01, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300}}, []string{"outcome"}),
		deliveryStates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "platen_deliveries_total", Help: "Delivery attempts, by the state that they left their action in: PENDING ones are tried again."}, []string{"state"}),
	}
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "platen_feed_lag_seconds", Help: "For how long subscribers have been kept waiting by a transaction that is still open on the database server; 0: they are not."},
		func() float64 { return hub.Lag().Seconds() })
	registry.MustRegister(m.renders, m.combines, m.deliveries, m.deliveryStates, lag, &queueCollector{db})
	// A series that is not there until its first event is hard to watch.
	m.renders.WithLabelValues(outcomeLabel(nil))
	m.combines.WithLabelValues(outcomeLabel(nil))
	m.deliveries.WithLabelValues(outcomeLabel(nil))
	for _, state := range []platen.ActionState{platen.ActionPending, platen.ActionProcessed, platen.ActionFailed} {
		m.deliveryStates.WithLabelValues(string(state))
	}
	return m
}

func (m *metrics) delivered(state platen.ActionState, failure *platen.Failure, elapsed time.Duration) {
	m.deliveries.WithLabelValues(outcomeLabel(failure)).Observe(elapsed.Seconds())
	m.deliveryStates.WithLabelValues(string(state)).Inc()
}

func outcomeLabel(failure *platen.Failure) string {
	if failure == nil {
		return "PROCESSED"
	}
	return string(failure.Code)
}

// queueCollector asks the database for the depth of the queues whenever the figures
// are read: every node tells the same, that of the whole installation.
type queueCollector struct{ db *storage.DB }

var queueDepth = prometheus.NewDesc("platen_jobs", "Jobs in the database, by queue and state: available ones wait for a worker, scheduled ones for their time.", []string{"queue", "state"}, nil)

func (c *queueCollector) Describe(descs chan<- *prometheus.Desc) { descs <- queueDepth }

func (c *queueCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	depths, err := c.db.QueueDepths(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(queueDepth, err)
		return
	}
	for _, depth := range depths {
		metrics <- prometheus.MustNewConstMetric(queueDepth, prometheus.GaugeValue, float64(depth.Jobs), depth.Queue, depth.State)
	}
}
