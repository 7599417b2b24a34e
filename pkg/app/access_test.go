package app_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// keyLog is a log that is read while it is written.
type keyLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *keyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *keyLog) keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return regexp.MustCompile(`rbk_[0-9A-Z]{26}_[A-Z2-7]{33}`).FindAllString(l.b.String(), -1)
}

// Workers that start at once show one first key between them, which lets an administrator
// in; and none is shown later.
func TestFirstKeyIsShownOnce(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	served := func(c *app.Config) {
		c.Listen, c.PublicURL, c.SecretKey = "127.0.0.1:0", "https://bell.example.com", app.Secret(bytes.Repeat([]byte{7}, 32))
	}
	run := func(n int) []string {
		log := &keyLog{}
		var workers []*worker
		for range n {
			workers = append(workers, startLogged(t, db, slog.New(slog.NewJSONHandler(log, nil)), served))
		}
		for _, w := range workers {
			w.ready(t)
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		}
		return log.keys()
	}
	keys := run(3)
	if len(keys) != 1 {
		t.Fatalf("the workers have shown %d keys", len(keys))
	}
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+keys[0])
	p, err := access.New(access.Config{}, store.OpenSource(pool)).Authenticate(t.Context(), r)
	if err != nil || !p.All || !slices.Equal(p.Roles, []access.Role{access.Admin}) {
		t.Errorf("with the first key one is %+v (%v)", p, err)
	}
	if keys := run(1); len(keys) > 0 {
		t.Errorf("later there are %d more", len(keys))
	}
}
