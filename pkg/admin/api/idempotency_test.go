package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/store"
)

// keys keeps answers by principal and key.
type keys map[[2]string]*store.KnownRequest

func (k keys) BeginRequest(_ context.Context, r store.RequestKey, _ time.Duration) (*store.KnownRequest, error) {
	known := k[[2]string{r.Principal, r.Key}]
	if known == nil {
		k[[2]string{r.Principal, r.Key}] = &store.KnownRequest{Hash: r.Hash}
	}
	return known, nil
}

func (k keys) EndRequest(_ context.Context, r store.RequestKey, a store.RequestAnswer) error {
	k[[2]string{r.Principal, r.Key}].Answer = &a
	return nil
}

func (k keys) ForgetRequest(_ context.Context, r store.RequestKey) error {
	delete(k, [2]string{r.Principal, r.Key})
	return nil
}

// Who has the same id in two tenants is not answered what the other was; nor is who may not
// ask any more.
func TestIdempotencyKeysOfTenants(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(c *Config) {
		c.Keys = make(keys)
		c.Auth = tokens{
			"acme":   {Kind: access.KindLink, ID: "link:ann", Tenant: "acme", Roles: []access.Role{access.Admin}},
			"viewer": {Kind: access.KindLink, ID: "link:ann", Tenant: "acme", Roles: []access.Role{access.Viewer}},
			"globex": {Kind: access.KindLink, ID: "link:ann", Tenant: "globex", Roles: []access.Role{access.Admin}},
		}
	})
	for _, c := range []struct {
		token, replayed string
		status          int
	}{{"acme", "", 422}, {"acme", "true", 422}, {"globex", "", 422}, {"viewer", "", 422}} {
		w := a.ask(http.MethodPost, Prefix+"/pauses", c.token, `{"nuw": {}}`, "Idempotency-Key", "one")
		replayed := w.Header().Get("Idempotency-Replayed")
		if w.Code != c.status || replayed != c.replayed {
			t.Errorf("%s is answered by %d, replayed %q, want %q: %s", c.token, w.Code, replayed, c.replayed, w.Body)
		}
	}
}
