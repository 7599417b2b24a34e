package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	sealEach = time.Second // how often plain secrets are looked for
	sealMost = 100         // and how many are sealed at a time
	// secretFresh is for how long a secret is not read again: so long after it was
	// changed the old one may still be used. While the source can't be reached what was
	// known goes on being used.
	secretFresh = 5 * time.Second
	mostSecrets = 10000
)

// secrets opens tenants' secrets for the executor, and keeps those that it has opened
// lately.
type secrets struct {
	source *store.Source
	key    *secret.Key // nil: there is none

	mu    sync.Mutex
	known map[secretName]knownSecret
}

type secretName struct{ tenantID, name string }

type knownSecret struct {
	value string
	err   error // that it can't be opened; then there is no value
	read  time.Time
}

func newSecrets(source *store.Source, key *secret.Key) *secrets {
	return &secrets{source: source, key: key, known: make(map[secretName]knownSecret)}
}

// get returns a tenant's secret. The error says what to do, and may be shown.
func (s *secrets) get(ctx context.Context, tenantID, name string) (string, error) {
	n := secretName{tenantID, name}
	s.mu.Lock()
	k, ok := s.known[n]
	s.mu.Unlock()
	if ok && time.Since(k.read) < secretFresh {
		return k.value, k.err
	}
	row, err := s.source.Secret(ctx, tenantID, name)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		k.value, k.err = "", fmt.Errorf("there is no secret %q of this tenant in rowbell.secret; write it there, or write the secret itself into action_config", name)
	case err != nil && ok:
		return k.value, k.err
	case err != nil:
		return "", fmt.Errorf("secret %q could not be read, the database does not answer", name)
	default:
		k.value, k.err = s.open(row)
	}
	k.read = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= mostSecrets {
		clear(s.known)
	}
	s.known[n] = k
	return k.value, k.err
}

func (s *secrets) open(row store.StoredSecret) (string, error) {
	if row.Plain != nil {
		return *row.Plain, nil
	}
	if s.key == nil {
		return "", fmt.Errorf("secret %q is sealed, and this worker has no ROWBELL_SECRET_KEY to open it", row.Name)
	}
	value, err := s.key.Open(row.Sealed, row.KeyID, row.TenantID, row.Name)
	if err != nil {
		return "", fmt.Errorf("secret %q can't be opened: %w", row.Name, err)
	}
	return value, nil
}

// sealSecrets seals plain secrets as they come.
func (a *App) sealSecrets(ctx context.Context) error {
	if a.key == nil {
		return nil
	}
	tick := time.NewTicker(sealEach)
	defer tick.Stop()
	failed := false
	for {
		n, err := a.source.SealSecrets(ctx, sealMost, a.key.ID(), func(s store.StoredSecret) []byte {
			return a.key.Seal(*s.Plain, s.TenantID, s.Name)
		})
		if err != nil && !failed && ctx.Err() == nil {
			a.log.WarnContext(ctx, "secrets could not be sealed, will try again; until then they stand in rowbell.secret as they were written", "err", err)
		}
		failed = err != nil
		if n > 0 {
			a.log.InfoContext(ctx, "sealed secrets", "count", n)
		}
		if n == sealMost {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
