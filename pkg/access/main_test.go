package access

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// clock stands still, but for what a test adds.
type clock struct {
	began time.Time
	ahead atomic.Int64
}

func (c *clock) now() time.Time          { return c.began.Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// door is an Authenticator on a database of its own, with what fills that.
type door struct {
	*Authenticator
	*clock
	db      *pgtest.Database
	pool    *pgxpool.Pool
	source  *store.Source
	service *Service
}

// migrate makes the tables of source and state.
func migrate(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) }

func open(t testing.TB, cfg Config) *door {
	t.Helper()
	d := &door{db: pgtest.Filled(t, "migrated", migrate), clock: &clock{began: time.Now()}}
	pool, err := pgxpool.New(t.Context(), d.db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	d.pool, d.source = pool, store.OpenSource(pool)
	d.service = NewService(d.source)
	d.Authenticator = newAt(cfg, d.source, d.now)
	return d
}

func (d *door) now() time.Time { return d.clock.now() }

// key makes one that may be used.
func (d *door) key(t testing.TB, n NewKey) (store.APIKey, string) {
	t.Helper()
	if n.Roles == nil && n.Rights == nil {
		n.Roles = []Role{Viewer}
	}
	k, text, err := d.service.CreateKey(t.Context(), n, "ann")
	if err != nil {
		t.Fatal(err)
	}
	return k, text
}

// request is one of somebody at 192.0.2.1, with this in header Authorization ("" = none), and
// headers besides.
func request(authorization string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/workflows", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// enters is who shows this and is let in.
func (d *door) enters(t testing.TB, token string, headers ...string) *Principal {
	t.Helper()
	p, err := d.Authenticate(t.Context(), request("Bearer "+token, headers...))
	if err != nil {
		t.Fatalf("not let in: %v (%v)", err, errors.Unwrap(err))
	}
	return p
}

// stays says that who shows this is not let in, and is told so.
func (d *door) stays(t testing.TB, status int, reason, token string, headers ...string) Error {
	t.Helper()
	return d.refuses(t, status, reason, request("Bearer "+token, headers...))
}

func (d *door) refuses(t testing.TB, status int, reason string, r *http.Request) Error {
	t.Helper()
	p, err := d.Authenticate(t.Context(), r)
	var e *Error
	if p != nil || !errors.As(err, &e) {
		t.Fatalf("let in as %+v (%v), want %q", p, err, reason)
	}
	if e.Status != status || !strings.Contains(e.Reason, reason) {
		t.Fatalf("refused with %d %q (%v), want %d %q", e.Status, e.Reason, e.Err, status, reason)
	}
	if want := status == http.StatusServiceUnavailable; errors.Is(err, ErrUnavailable) != want || errors.Is(err, ErrUnauthenticated) == want {
		t.Fatalf("%v is neither or both of unauthenticated and unavailable", err)
	}
	return *e
}

func ptr[T any](v T) *T { return &v }

// counted are queries for API keys.
type counted struct {
	credentials
	keys, links atomic.Int64
	broken      atomic.Bool
}

func (c *counted) APIKey(ctx context.Context, id string) (store.APIKey, error) {
	c.keys.Add(1)
	if c.broken.Load() {
		return store.APIKey{}, errors.New("the connection broke")
	}
	return c.credentials.APIKey(ctx, id)
}

func (c *counted) LinkKey(ctx context.Context, id string) (store.LinkKey, error) {
	c.links.Add(1)
	if c.broken.Load() {
		return store.LinkKey{}, errors.New("the connection broke")
	}
	return c.credentials.LinkKey(ctx, id)
}
