package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
)

// retryCapture is how often a capture that failed is tried again.
const retryCapture = 5 * time.Second

// capturer captures the tables that workflows name, where the worker may. It only
// does what an operator would do with rowbell capture: what counts is the row of
// captured_table that comes back through the stream.
type capturer struct {
	source      *store.Source
	publication string
	auto        bool
	log         *slog.Logger
	wake        chan struct{}

	mu     sync.Mutex
	wanted map[string]string // label → why the last try failed; "" not tried yet
}

func newCapturer(source *store.Source, cfg Config, log *slog.Logger) *capturer {
	return &capturer{
		source: source, publication: cfg.Publication, auto: cfg.Capture == CaptureAuto,
		log: log, wake: make(chan struct{}, 1), wanted: make(map[string]string),
	}
}

// want asks for a table to be captured.
func (c *capturer) want(label string) {
	if !c.auto {
		return
	}
	c.mu.Lock()
	if _, known := c.wanted[label]; !known {
		c.wanted[label] = ""
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// failing are the tables that could not be captured, with the reason.
func (c *capturer) failing() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	failing := make(map[string]string)
	for label, reason := range c.wanted {
		if reason != "" {
			failing[label] = reason
		}
	}
	return failing
}

func (c *capturer) run(ctx context.Context) error {
	retry := time.NewTicker(retryCapture)
	defer retry.Stop()
	for {
		select {
		case <-c.wake:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
		c.mu.Lock()
		labels := make([]string, 0, len(c.wanted))
		for label := range c.wanted {
			labels = append(labels, label)
		}
		c.mu.Unlock()
		slices.Sort(labels)
		for _, label := range labels {
			c.capture(ctx, label)
		}
	}
}

func (c *capturer) capture(ctx context.Context, label string) {
	err := c.source.Capture(ctx, c.publication, label, store.CaptureOptions{})
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.wanted, label)
		c.log.InfoContext(ctx, "captured a table that a workflow names", "table", label)
		return
	}
	if reason := err.Error(); c.wanted[label] != reason {
		c.wanted[label] = reason
		c.log.WarnContext(ctx, "a table that a workflow names could not be captured, will try again", "table", label, "err", err)
	}
}
