package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	sealEach = time.Second // how often plain secrets are looked for
	sealMost = 100         // and how many are sealed at a time
	// resealEach is how often secrets of older keys are looked for.
	resealEach = 10 * time.Second
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

// sealSecrets seals plain secrets as they come, and those of older keys with the one that
// seals now.
func (a *App) sealSecrets(ctx context.Context) error {
	if a.key == nil {
		return nil
	}
	tick := time.NewTicker(sealEach)
	defer tick.Stop()
	reseal := time.NewTimer(0)
	defer reseal.Stop()
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
		case <-reseal.C:
			a.resealSecrets(ctx)
			reseal.Reset(resealEach)
		case <-ctx.Done():
			return nil
		}
	}
}

// resealSecrets seals with the present key what older ones have sealed.
func (a *App) resealSecrets(ctx context.Context) {
	done, err := a.reseal(ctx, func(int) {})
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "secrets of an older key could not be sealed with the present one, will try again", "err", err)
	}
	if done > 0 {
		a.log.InfoContext(ctx, "sealed secrets of older keys with the present one", "count", done)
	}
}

// reseal tells how many are done after each lot.
func (a *App) reseal(ctx context.Context, tell func(done int)) (done int, err error) {
	if a.key == nil || len(a.key.OlderIDs()) == 0 {
		return 0, nil
	}
	for last := ""; ; {
		var n int
		last, n, err = a.source.ResealSecrets(ctx, last, sealMost, a.key.ID(), a.key.OlderIDs(), func(s store.StoredSecret) []byte {
			plain, err := a.key.Open(s.Sealed, s.KeyID, s.TenantID, s.Name)
			if err != nil {
				return nil // damaged: whoever needs it is told so
			}
			done++
			return a.key.Seal(plain, s.TenantID, s.Name)
		})
		if err != nil || n < sealMost {
			return done, err
		}
		tell(done)
	}
}

// KeyStatus says what is sealed with which key.
type KeyStatus struct {
	Present string     `json:"present"` // id of the key that seals; "" there is none here
	Keys    []KeyCount `json:"keys"`
	Plain   int        `json:"plain"` // secrets that are not sealed yet
}

// KeyCount is one key.
type KeyCount struct {
	ID      string `json:"id"`
	Use     string `json:"use"` // seals, opens or unknown: not among those of ROWBELL_SECRET_KEY
	Secrets int    `json:"secrets"`
}

// Older are the secrets that are sealed with another key than the present one.
func (k *KeyStatus) Older() int {
	n := 0
	for _, c := range k.Keys {
		if c.ID != k.Present {
			n += c.Secrets
		}
	}
	return n
}

// SecretStatus says what is sealed with which key.
func (o *Operator) SecretStatus(ctx context.Context) (KeyStatus, error) {
	var k KeyStatus
	if err := o.app.prepareJudging(); err != nil {
		return k, err
	}
	counts, err := o.app.source.SecretKeys(ctx)
	if err != nil {
		return k, err
	}
	k.Plain = counts[""]
	delete(counts, "")
	if key := o.app.key; key != nil {
		k.Present = key.ID()
		k.Keys = append(k.Keys, KeyCount{key.ID(), "seals", counts[key.ID()]})
		for _, id := range key.OlderIDs() {
			k.Keys = append(k.Keys, KeyCount{id, "opens", counts[id]})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		if !slices.ContainsFunc(k.Keys, func(c KeyCount) bool { return c.ID == id }) {
			k.Keys = append(k.Keys, KeyCount{id, "unknown", counts[id]})
		}
	}
	return k, nil
}

// RotateSecrets seals with the present key what older ones of ROWBELL_SECRET_KEY have
// sealed, as workers do by themselves, and returns how many those were. Meanwhile it tells
// how many are done.
func (o *Operator) RotateSecrets(ctx context.Context, tell func(done int)) (int, error) {
	if err := o.app.prepareJudging(); err != nil {
		return 0, err
	}
	if o.app.key == nil {
		return 0, errors.New("there is no ROWBELL_SECRET_KEY here; give the new key, a comma, and the old one")
	}
	n, err := o.app.reseal(ctx, tell)
	if err != nil {
		return n, err
	}
	return n, o.audit(ctx, "", "", "secret.reseal", "key", o.app.key.ID(), map[string]any{"secrets": n})
}
