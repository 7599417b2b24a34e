package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
)

// describer looks captured tables up in the catalog, so that what is wrong with a
// workflow is shown before the first row of its table comes through the stream.
type describer struct {
	pool *pgxpool.Pool
	log  *slog.Logger
	wake chan struct{}
	out  chan *change.Relation

	mu     sync.Mutex
	wanted [][2]string // schema and name
}

func newDescriber(pool *pgxpool.Pool, log *slog.Logger) *describer {
	return &describer{pool: pool, log: log, wake: make(chan struct{}, 1), out: make(chan *change.Relation)}
}

// want asks for a table's description.
func (d *describer) want(schema, table string) {
	d.mu.Lock()
	d.wanted = append(d.wanted, [2]string{schema, table})
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // it is awake
	}
}

// run hands descriptions to the engine until ctx ends, which is before the engine does.
func (d *describer) run(ctx context.Context) error {
	for {
		select {
		case <-d.wake:
		case <-ctx.Done():
			return nil
		}
		d.mu.Lock()
		wanted := d.wanted
		d.wanted = nil
		d.mu.Unlock()
		for _, table := range wanted {
			rel, err := cdc.Describe(ctx, d.pool, table[0], table[1])
			if err != nil && ctx.Err() == nil {
				d.log.WarnContext(ctx, "a table could not be looked up; its workflows are judged at its first row", "table", change.TableLabel(table[0], table[1]), "err", err)
			}
			if rel == nil {
				continue
			}
			select {
			case d.out <- rel:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

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
	wanted map[string]try // by label
}

// try is what came of capturing a table that is wanted.
type try struct {
	done   bool   // the row of captured_table is on its way through the stream
	reason string // why it failed; "" not tried yet
}

func newCapturer(source *store.Source, cfg Config, log *slog.Logger) *capturer {
	return &capturer{
		source: source, publication: cfg.Publication, auto: cfg.Capture == CaptureAuto,
		log: log, wake: make(chan struct{}, 1), wanted: make(map[string]try),
	}
}

// want says which tables are to be captured, all of them each time.
func (c *capturer) want(labels []string) {
	if !c.auto {
		return
	}
	c.mu.Lock()
	wanted := make(map[string]try, len(labels))
	for _, label := range labels {
		wanted[label] = c.wanted[label]
	}
	c.wanted = wanted
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
	for label, t := range c.wanted {
		if t.reason != "" {
			failing[label] = t.reason
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
		for label, t := range c.wanted {
			if !t.done {
				labels = append(labels, label)
			}
		}
		c.mu.Unlock()
		slices.Sort(labels)
		for _, label := range labels {
			c.capture(ctx, label)
		}
	}
}

func (c *capturer) capture(ctx context.Context, label string) {
	// What people have released stays so, until they capture it again.
	released, err := c.source.Released(ctx, label)
	switch {
	case err != nil:
	case released:
		err = errors.New("it was released; to capture it again, run: CALL rowbell.capture('" + strings.ReplaceAll(label, "'", "''") + "')")
	default:
		err = c.source.Capture(ctx, c.publication, label, store.CaptureOptions{})
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last, still := c.wanted[label]
	if !still {
		return
	}
	if err == nil {
		c.wanted[label] = try{done: true}
		c.log.InfoContext(ctx, "captured a table that a workflow names", "table", label)
		return
	}
	if reason := err.Error(); last.reason != reason {
		c.wanted[label] = try{reason: reason}
		c.log.WarnContext(ctx, "a table that a workflow names could not be captured, will try again", "table", label, "err", err)
	}
}
