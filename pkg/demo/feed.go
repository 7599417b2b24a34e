package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// feed reads workflow_log as it grows, and what becomes of its executions.
type feed struct {
	state  *store.State
	source *store.Source
	after  store.FeedCursor // the last execution that was read
	open   []*following     // oldest first
	// urls of actions, by workflow version: what a version says doesn't change.
	urls map[store.VersionRef][]string
}

// following is an execution that isn't over, or that was just read.
type following struct {
	row  store.FeedRow
	told map[string]told // by delivery
}

type told struct {
	attempt int16
	ended   bool
}

// news is something to show: an attempt at a delivery, or the end of a delivery that had
// no attempt, or the end of an execution that had no delivery.
type news struct {
	Execution      *store.FeedRow
	Status         workflow.ExecutionStatus // of the execution now
	ExecutionError string
	Delivery       store.DeliveryRow // DeliveryID is "" for the execution's end
	URL            string            // where the delivery goes; "" if its kind has no URL
}

const (
	// readAtOnce is how many executions are read at a time. More wait for the next time.
	readAtOnce = 2000
	// showAtOnce is how many of them are shown: more than that, nobody could read.
	showAtOnce = 6
	// mostOpen is how many are followed until they are over.
	mostOpen = 200
)

func newFeed(state *store.State, source *store.Source) *feed {
	return &feed{state: state, source: source, urls: make(map[store.VersionRef][]string)}
}

// next returns what happened since the last call. fresh is how many executions were
// recorded, of which leftOut will not be heard of again.
func (f *feed) next(ctx context.Context) (list []news, fresh, leftOut int, err error) {
	rows, err := f.state.Feed(ctx, f.after, readAtOnce)
	if err != nil {
		return nil, 0, 0, err
	}
	for i := range rows {
		f.after = rows[i].Cursor()
		if i < showAtOnce && len(f.open) < mostOpen {
			f.open = append(f.open, &following{row: rows[i], told: make(map[string]told)})
		} else {
			leftOut++
		}
	}
	if len(f.open) == 0 {
		return nil, len(rows), leftOut, nil
	}
	ids := make([]string, len(f.open))
	for i, x := range f.open {
		ids[i] = x.row.ExecutionID
	}
	deliveries, err := f.state.DeliveryFeed(ctx, ids)
	if err != nil {
		return nil, 0, 0, err
	}
	byID := make(map[string][]store.DeliveryRow, len(f.open))
	for _, d := range deliveries {
		byID[d.ExecutionID] = append(byID[d.ExecutionID], d)
	}
	var open []*following
	for _, x := range f.open {
		now := byID[x.row.ExecutionID]
		for i, d := range now {
			last := i+1 == len(now) || now[i+1].DeliveryID != d.DeliveryID
			for _, n := range x.tell(d, last) {
				if n.URL, err = f.url(ctx, &x.row, d); err != nil {
					return nil, 0, 0, err
				}
				list = append(list, n)
			}
		}
		if len(now) > 0 && now[0].ExecutionStatus == workflow.Pending {
			open = append(open, x)
		}
	}
	f.open = open
	return list, len(rows), leftOut, nil
}

// tell returns what of a row is news, and remembers that it was told. last says that it
// is the delivery's last row.
func (x *following) tell(d store.DeliveryRow, last bool) (list []news) {
	have := x.told[d.DeliveryID]
	if have.ended {
		return nil
	}
	n := news{Execution: &x.row, Status: d.ExecutionStatus, ExecutionError: d.ExecutionError, Delivery: d}
	if d.Attempt > have.attempt {
		have.attempt, have.ended = d.Attempt, d.Outcome != "retry"
		list = append(list, n)
	}
	over := slices.Contains([]string{"succeeded", "dead", "cancelled"}, d.State) ||
		d.DeliveryID == "" && d.ExecutionStatus != workflow.Pending
	if last && over && !have.ended { // without an attempt that ended it
		have.ended = true
		n.Delivery.Attempt, n.Delivery.Outcome, n.Delivery.Code, n.Delivery.Error = 0, d.State, 0, d.Reason
		list = append(list, n)
	}
	x.told[d.DeliveryID] = have
	return list
}

// url is where a delivery goes, as the workflow's version says.
func (f *feed) url(ctx context.Context, x *store.FeedRow, d store.DeliveryRow) (string, error) {
	if d.Kind != "webhook" {
		return "", nil
	}
	ref := store.VersionRef{ID: x.WorkflowID, Version: x.WorkflowVersion}
	urls, ok := f.urls[ref]
	if !ok {
		versions, err := f.source.Versions(ctx, []store.VersionRef{ref})
		if err != nil {
			return "", err
		}
		var w workflow.Workflow
		if err := json.Unmarshal(versions[0].Document, &w); err != nil {
			return "", fmt.Errorf("read version %d of workflow %s: %w", ref.Version, ref.ID, err)
		}
		for _, a := range w.Actions {
			var config struct{ URL string }
			_ = json.Unmarshal(a.Config, &config) // "" if it has none
			urls = append(urls, config.URL)
		}
		f.urls[ref] = urls
	}
	if int(d.Action) < len(urls) {
		return urls[d.Action], nil
	}
	return "", nil
}

// latency is from the change's commit to the end of the delivery, or to the record of an
// execution that had none: both by the server's clock.
func (n *news) latency() time.Duration {
	if n.Delivery.DeliveryID == "" {
		return n.Execution.ExecutedAt.Sub(n.Execution.CommittedAt)
	}
	return n.Delivery.At.Sub(n.Execution.CommittedAt)
}
