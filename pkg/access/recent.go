package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// recent keeps what was put in or asked for lately, of two generations: when the young one
// has most entries, it becomes the old one, and what was old is forgotten.
type recent[K comparable, V any] struct {
	most int

	mu         sync.Mutex
	young, old map[K]V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{most: most, young: make(map[K]V)}
}

func (r *recent[K, V]) get(k K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.young[k]
	if !ok {
		if v, ok = r.old[k]; ok {
			r.putLocked(k, v)
		}
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.putLocked(k, v)
}

func (r *recent[K, V]) putLocked(k K, v V) {
	if _, there := r.young[k]; !there && len(r.young) >= r.most {
		r.old, r.young = r.young, make(map[K]V)
	}
	r.young[k] = v
}

func (r *recent[K, V]) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.young) + len(r.old)
}

const (
	fresh    = 3 * time.Second // for how long a row is not read again
	patience = 5 * time.Second // for how long one is waited for
	mostRows = 10_000          // of a kind that are kept, twice
)

// rows reads what the database has under an id, and keeps it for a moment; also that it has
// nothing. Those who ask for one id at a time share one query.
type rows[V any] struct {
	read func(ctx context.Context, id string) (V, error)
	now  func() time.Time
	kept *recent[string, row[V]]
	once singleflight.Group
}

type row[V any] struct {
	value V
	found bool
	at    time.Time // when it was begun to be read
}

func newRows[V any](now func() time.Time, read func(context.Context, string) (V, error)) *rows[V] {
	return &rows[V]{read: read, now: now, kept: newRecent[string, row[V]](mostRows)}
}

// known is what is kept under an id, if that is fresh.
func (r *rows[V]) known(id string) (v row[V], ok bool) {
	v, ok = r.kept.get(id)
	return v, ok && r.now().Sub(v.at) < fresh
}

// get returns what there is under an id. The error is only that this could not be found out.
func (r *rows[V]) get(ctx context.Context, id string) (v V, found bool, err error) {
	if k, ok := r.known(id); ok {
		return k.value, k.found, nil
	}
	c := r.once.DoChan(id, func() (any, error) {
		// Not the first one's context: others wait for the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		k := row[V]{at: r.now()}
		var err error
		k.value, err = r.read(ctx, id)
		switch {
		case errors.Is(err, workflow.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			k.found = true
		}
		r.kept.put(id, k)
		return k, nil
	})
	select {
	case got := <-c:
		if got.Err != nil {
			return v, false, got.Err
		}
		k := got.Val.(row[V])
		return k.value, k.found, nil
	case <-ctx.Done():
		return v, false, context.Cause(ctx)
	}
}
