package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// issuer is an OpenID Connect provider with a storage of its own: it gives whoever asks by
// client credentials what the test says.
type issuer struct {
	*storage.Storage
	URL     string
	client  *http.Client
	away    atomic.Bool  // it answers nothing
	fetched atomic.Int64 // times that its keys were

	mu    sync.Mutex
	key   *signer
	old   []*signer // published yet
	token map[string]any
	lives time.Duration
}

// signer is a key that signs tokens, and its public half.
type signer struct {
	id  string
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB, id string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{id, key}
}

func (s *signer) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (s *signer) Key() any                                    { return s.key }
func (s *signer) ID() string                                  { return s.id }

type published struct{ *signer }

func (p published) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (p published) Use() string                        { return "sig" }
func (p published) Key() any                           { return p.key.Public() }

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{key: newSigner(t, "first"), lives: time.Hour}
	var provider http.Handler
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case i.away.Load():
			http.Error(w, "down for maintenance", http.StatusBadGateway)
			return
		case r.URL.Path == "/keys":
			i.fetched.Add(1)
		}
		provider.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	i.URL, i.client = server.URL, server.Client()
	i.Storage = storage.NewStorage(storage.NewUserStore(server.URL))
	p, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{7}}, i, op.StaticIssuer(server.URL), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	provider = p
	return i
}

// SigningKey implements op.Storage, as do those below it.
func (i *issuer) SigningKey(context.Context) (op.SigningKey, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key, nil
}

func (i *issuer) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (i *issuer) KeySet(context.Context) ([]op.Key, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := []op.Key{published{i.key}}
	for _, old := range i.old {
		keys = append(keys, published{old})
	}
	return keys, nil
}

// jwtClient has access tokens that are JWTs.
type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (i *issuer) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := i.Storage.ClientCredentials(ctx, id, secret)
	return jwtClient{c}, err
}

func (i *issuer) ClientCredentialsTokenRequest(context.Context, string, []string) (op.TokenRequest, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	sub, _ := i.token["sub"].(string)
	aud, _ := i.token["aud"].(string)
	return &oidc.JWTTokenRequest{Subject: sub, Audience: []string{aud}}, nil
}

func (i *issuer) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return "token", time.Now().Add(i.lives), nil
}

func (i *issuer) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	claims := maps.Clone(i.token)
	delete(claims, "sub")
	delete(claims, "aud")
	return claims, nil
}

// gives asks the provider for a token with these claims; it is for rowbell and of ann if
// they don't say otherwise.
func (i *issuer) gives(t testing.TB, claims map[string]any) string {
	t.Helper()
	i.mu.Lock()
	i.token = map[string]any{"sub": "ann", "aud": "rowbell"}
	maps.Copy(i.token, claims)
	i.mu.Unlock()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.URL+"/oauth/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("sid1", "verysecret") // as the library's storage has it
	res, err := i.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Token == "" {
		t.Fatalf("the provider answers %d %s", res.StatusCode, body)
	}
	return got.Token
}

// rotates signs with another key from now on; the present one stays published if it is kept.
func (i *issuer) rotates(t testing.TB, id string, keep bool) {
	t.Helper()
	next := newSigner(t, id)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.old = nil
	if keep {
		i.old = []*signer{i.key}
	}
	i.key = next
}

func (i *issuer) config() *OIDC {
	return &OIDC{
		Issuer: i.URL, Audience: "rowbell", TenantClaim: "org", RolesClaim: "realm_access.roles",
		Roles: map[string]Role{"bell-authors": Author, "bell-admins": Admin}, Client: i.client,
	}
}

func roles(names ...string) map[string]any { return map[string]any{"roles": names} }

func TestTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	d := open(t, Config{OIDC: i.config()})
	p := d.enters(t, i.gives(t, map[string]any{
		"org": "acme", "realm_access": roles("offline_access", "bell-authors"), "name": "Ann Archer", "email": "ann@shop.example", "email_verified": true,
	}))
	if p.Kind != KindPerson || p.ID != "user:ann" || p.Subject != "ann" || p.Name != "Ann Archer" || p.Email != "ann@shop.example" ||
		p.Tenant != "acme" || p.All || !slices.Equal(p.Roles, []Role{Author}) || p.Extra != nil || time.Until(p.Expires) < 50*time.Minute {
		t.Errorf("it is %+v", p)
	}
	if p := d.enters(t, i.gives(t, map[string]any{
		"org": "acme", "realm_access": roles("bell-admins"), "preferred_username": "archer", "email": "ann@shop.example", "email_verified": false,
	})); p.Name != "archer" || p.Email != "" || !slices.Equal(p.Roles, []Role{Admin}) {
		t.Errorf("it is %+v", p)
	}
	for value, want := range map[any]string{true: "ann@shop.example", "true": "ann@shop.example", false: "", "false": "", "no": "", 1: "", nil: ""} {
		claims := map[string]any{"org": "acme", "realm_access": roles("bell-authors"), "email": "ann@shop.example"}
		if value != nil {
			claims["email_verified"] = value
		}
		if p := d.enters(t, i.gives(t, claims)); p.Email != want {
			t.Errorf("with email_verified %#v the address is %q", value, p.Email)
		}
	}
	// Several tenants: they say in which.
	both := i.gives(t, map[string]any{"org": []string{"globex", "acme"}, "realm_access": roles("bell-authors")})
	d.stays(t, http.StatusForbidden, "say in header Rowbell-Tenant in which you act: acme, globex", both)
	if p := d.enters(t, both, TenantHeader, "globex"); p.Tenant != "globex" || !slices.Equal(p.Tenants, []string{"acme", "globex"}) {
		t.Errorf("it is %+v", p)
	}
	d.stays(t, http.StatusForbidden, `may not act in tenant "initech"`, both, TenantHeader, "initech")
	// What gives nothing doesn't give everything.
	for what, claims := range map[string]map[string]any{
		"all tenants":               {"org": "*", "realm_access": roles("bell-admins")},
		"no claims":                 {},
		"a tenant without a role":   {"org": "acme"},
		"a role without a tenant":   {"realm_access": roles("bell-admins")},
		"a role for no tenant":      {"org": "", "realm_access": roles("bell-admins")},
		"other roles":               {"org": "acme", "realm_access": roles("admin", "viewer")},
		"roles elsewhere":           {"org": "acme", "roles": []string{"bell-admins"}, "realm_access": "bell-admins"},
		"a tenant that is none":     {"org": "a\nb", "realm_access": roles("bell-admins")},
		"a tenant that is a number": {"org": 7, "realm_access": roles("bell-admins")},
	} {
		t.Run(what, func(t *testing.T) {
			d.stays(t, http.StatusForbidden, "nobody has given ann a role here; an administrator does so by rowbell member add ann", i.gives(t, claims))
		})
	}
}

func TestTokensRefused(t *testing.T) {
	t.Parallel()
	i, other := newIssuer(t), newIssuer(t)
	d := open(t, Config{OIDC: i.config()})
	right := map[string]any{"org": "acme", "realm_access": roles("bell-authors")}
	good := i.gives(t, right)
	d.enters(t, good)

	i.lives = -time.Minute
	expired := i.gives(t, right)
	i.lives = time.Hour
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	header := func(alg string) string { return b64([]byte(`{"alg":"` + alg + `","kid":"first"}`)) }
	forger := newSigner(t, "first")
	forge := func(alg jose.SignatureAlgorithm, key any, typ string, more map[string]any) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "first").WithType(jose.ContentType(typ)))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		maps.Copy(claims, more)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		if payload, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
		signed, err := s.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	d.enters(t, forge(jose.ES256, i.key.key, "at+jwt", nil)) // as the provider does
	// A provider that signs with our key's id what says that it is ours.
	other.key = i.key
	sameKey := other.gives(t, right)
	other.key = newSigner(t, "other")
	public, err := json.Marshal(jose.JSONWebKey{Key: crypto.PublicKey(i.key.key.Public())})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, text, want string }{
		{"expired", expired, "the token has expired; sign in again"},
		{"another audience", i.gives(t, map[string]any{"aud": "billing", "org": "acme", "realm_access": roles("bell-admins")}), `for another audience; its aud must have "rowbell"`},
		{"another issuer", other.gives(t, right), "is not valid: the identity provider has not signed it"},
		{"another issuer with the same key", sameKey, "is of another issuer; sign in at " + i.URL},
		{"unsigned", header("none") + "." + parts[1] + ".", "is not valid"},
		{"without signature", parts[0] + "." + parts[1] + ".", "is not valid"},
		{"changed", parts[0] + "." + b64([]byte(`{"iss":"`+i.URL+`","aud":"rowbell","sub":"boss","exp":9999999999}`)) + "." + parts[2], "is not valid"},
		{"signed by somebody else", forge(jose.ES256, forger.key, "JWT", nil), "is not valid"},
		{"HMAC with the public key", forge(jose.HS256, public, "JWT", nil), "is not valid"},
		{"for logging out", forge(jose.ES256, i.key.key, "logout+jwt", nil), "it must be an access token or an ID token"},
		{"of an event", forge(jose.ES256, i.key.key, "JWT", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}), "it must be an access token or an ID token"},
		{"not yet", forge(jose.ES256, i.key.key, "JWT", map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "is not valid"},
		{"without exp", forge(jose.ES256, i.key.key, "JWT", map[string]any{"exp": nil}), "the token has expired"},
		{"a sub with a line break", i.gives(t, map[string]any{"sub": "ann\nbea", "org": "acme", "realm_access": roles("bell-admins")}), "the token's sub must have"},
		{"a kid of ours", b64([]byte(`{"alg":"ES256","kid":"rbl_01JDA00000000000000000000A"}`)) + "." + parts[1] + "." + parts[2], "no link key that counts"},
	} {
		t.Run(c.what, func(t *testing.T) {
			d.failures = newFailures(d.now)
			d.stays(t, http.StatusUnauthorized, c.want, c.text)
		})
	}
	d.failures = newFailures(d.now)
	d.enters(t, good)
	d.forward(2 * time.Hour)
	d.stays(t, http.StatusUnauthorized, "has expired", good)
}

// The provider changes its keys, and may be away when Rowbell starts, and later.
func TestProviderRotatesAndIsAway(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	right := map[string]any{"org": "acme", "realm_access": roles("bell-authors")}
	first := i.gives(t, right)
	i.away.Store(true)
	d := open(t, Config{OIDC: i.config()})
	if e := d.stays(t, http.StatusServiceUnavailable, "the identity provider does not answer as it should", first); e.Err == nil || e.RetryAfter == 0 {
		t.Errorf("it is told as %+v", e)
	}
	i.away.Store(false)
	d.stays(t, http.StatusServiceUnavailable, "does not answer", first) // it is left alone for a while
	d.forward(discoverAgain)
	d.enters(t, first)
	d.enters(t, first)
	if n := i.fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}

	i.rotates(t, "second", true)
	second := i.gives(t, right)
	d.forward(keysAgain)
	d.enters(t, second)
	d.enters(t, first)
	i.rotates(t, "third", false)
	third := i.gives(t, right)
	i.away.Store(true)
	d.forward(keysAgain)
	d.stays(t, http.StatusServiceUnavailable, "the identity provider's keys can't be had", third)
	d.enters(t, second) // what is known counts
	i.away.Store(false)
	d.forward(keysAgain)
	d.enters(t, third)
	d.stays(t, http.StatusUnauthorized, "is not valid", first)

	// Tokens that nobody has signed don't have the keys fetched over and over.
	before := i.fetched.Load()
	forged := strings.Split(third, ".")
	for n := range 50 {
		d.failures = newFailures(d.now)
		kid := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"k` + strings.Repeat("x", n) + `"}`))
		d.stays(t, http.StatusUnauthorized, "is not valid", kid+"."+forged[1]+"."+forged[2])
	}
	if n := i.fetched.Load() - before; n > 1 {
		t.Errorf("50 forged tokens had the keys fetched %d times", n)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	cfg := i.config()
	cfg.RolesClaim, cfg.TenantClaim, cfg.Roles = "", "", nil
	d := open(t, Config{OIDC: cfg})
	token := i.gives(t, map[string]any{"org": "acme", "realm_access": roles("bell-admins")})
	d.stays(t, http.StatusForbidden, "nobody has given ann a role", token)
	add := func(tenant *string, subject string, rs []Role, rights ...Right) string {
		t.Helper()
		m, err := d.service.AddMember(t.Context(), NewMember{TenantID: tenant, Issuer: i.URL, Subject: subject, Name: "Ann Archer", Roles: rs, Rights: rights}, "bea")
		if err != nil {
			t.Fatal(err)
		}
		d.forward(fresh)
		return m.ID
	}
	id := add(ptr("acme"), "ann", []Role{Viewer})
	add(ptr("acme"), "eve", []Role{Admin})
	if p := d.enters(t, token); p.Tenant != "acme" || p.All || p.Name != "Ann Archer" || !slices.Equal(p.Roles, []Role{Viewer}) || !slices.Equal(p.Tenants, []string{"acme"}) {
		t.Errorf("it is %+v", p)
	}
	if again := add(ptr("acme"), "ann", []Role{Author}, RedactedRead); again != id {
		t.Error("a member who was there is another row")
	}
	if p := d.enters(t, token); !slices.Equal(p.Roles, []Role{Author}) || !p.Can(RedactedRead) {
		t.Errorf("it is %+v", p)
	}
	add(ptr("globex"), "ann", []Role{Operator})
	d.stays(t, http.StatusForbidden, "acme, globex", token)
	if p := d.enters(t, token, TenantHeader, "globex"); p.Can(RedactedRead) || p.Can(WorkflowWrite) || !p.Can(DeliveryWrite) {
		t.Errorf("what counts in one tenant counts in another: %+v", p)
	}
	everywhere := add(nil, "ann", []Role{Viewer})
	if p := d.enters(t, token); !p.All || p.Can(WorkflowWrite) || p.Can(RedactedRead) || !p.Can(WorkflowRead) {
		t.Errorf("what counts in one tenant counts in all: %+v", p)
	}
	if p := d.enters(t, token, TenantHeader, "acme"); p.All || !p.Can(WorkflowWrite) || p.Sees("globex") {
		t.Errorf("it is %+v", p)
	}
	if p := d.enters(t, token, TenantHeader, "initech"); p.Tenant != "initech" || p.Can(WorkflowWrite) || !p.Can(WorkflowRead) {
		t.Errorf("it is %+v", p)
	}

	list, err := d.service.Members(t.Context(), store.AccessFilter{TenantID: ptr("acme")})
	if err != nil || len(list) != 2 || list[0].Subject != "ann" || list[0].CreatedBy != "bea" {
		t.Errorf("acme's are %+v (%v)", list, err)
	}
	if _, err := d.service.RemoveMember(t.Context(), everywhere, ptr("acme"), "bea"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("a member for all tenants was removed as one of acme's: %v", err)
	}
	for _, id := range []string{everywhere, id} {
		if _, err := d.service.RemoveMember(t.Context(), id, nil, "bea"); err != nil {
			t.Fatal(err)
		}
	}
	d.forward(fresh)
	if p := d.enters(t, token); p.Tenant != "globex" {
		t.Errorf("it is %+v", p)
	}
	// Another provider's people of the same name are others.
	if _, err := d.service.AddMember(t.Context(), NewMember{Issuer: "https://elsewhere.example", Subject: "ann", Roles: []Role{Admin}}, "bea"); err != nil {
		t.Fatal(err)
	}
	d.forward(fresh)
	if p := d.enters(t, token); p.All {
		t.Errorf("it is %+v", p)
	}
	if got := pgtest.One[string](t, d.db, `select string_agg(action, ' ' order by at, id) from rowbell.audit_log`); got != "member.set member.set member.set member.set member.set member.remove member.remove member.set" {
		t.Errorf("the audit log has %s", got)
	}
}

// Another tenant's administrator, who makes somebody a member there, changes nothing for them
// where they are.
func TestMembersOfOthers(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	d := open(t, Config{OIDC: i.config()})
	add := func(tenant *string, name string) {
		t.Helper()
		if _, err := d.service.AddMember(t.Context(), NewMember{TenantID: tenant, Issuer: i.URL, Subject: "ann", Name: name, Roles: []Role{Viewer}}, "bea"); err != nil {
			t.Fatal(err)
		}
		d.forward(fresh)
	}
	is := func(what string, p *Principal, tenant, name string) {
		t.Helper()
		if p.Tenant != tenant || p.Name != name {
			t.Errorf("%s it is %q in tenant %q, want %q in %q", what, p.Name, p.Tenant, name, tenant)
		}
	}
	authors := roles("bell-authors")
	add(ptr("aaa"), "Eve of aaa")
	token := i.gives(t, map[string]any{"org": "acme", "realm_access": authors})
	is("by claims", d.enters(t, token), "acme", "")
	is("in the other", d.enters(t, token, TenantHeader, "aaa"), "aaa", "Eve of aaa")
	is("with a name", d.enters(t, i.gives(t, map[string]any{"org": "acme", "realm_access": authors, "name": "Ann Archer"}), TenantHeader, "aaa"), "aaa", "Ann Archer")
	d.stays(t, http.StatusForbidden, "aaa, acme, globex", i.gives(t, map[string]any{"org": []string{"acme", "globex"}, "realm_access": authors}))

	// The claim counts also where the roles are a member's.
	bare := i.gives(t, map[string]any{"org": "acme"})
	is("before it is a member", d.enters(t, bare), "aaa", "Eve of aaa")
	add(ptr("acme"), "Ann of acme")
	is("by a claim without roles", d.enters(t, bare), "acme", "Ann of acme")
	d.stays(t, http.StatusForbidden, "aaa, acme", i.gives(t, nil))
	d.stays(t, http.StatusForbidden, "aaa, acme", i.gives(t, map[string]any{"org": "initech", "realm_access": roles("customers")}))

	add(nil, "Ann of all")
	is("of all", d.enters(t, bare), "", "Ann of all")
	is("of all, in one", d.enters(t, bare, TenantHeader, "acme"), "acme", "Ann of acme")
	is("of all, in one that doesn't know them", d.enters(t, bare, TenantHeader, "initech"), "initech", "Ann of all")
}

// Without a tenant claim what claims give counts for all: there are no tenants, or all are one's.
func TestTokensWithoutTenantClaim(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	cfg := i.config()
	cfg.TenantClaim, cfg.RolesClaim = "", "https://rowbell.example/roles"
	d := open(t, Config{OIDC: cfg})
	// A claim's name may have dots itself, and roles may be the keys of an object.
	if p := d.enters(t, i.gives(t, map[string]any{"https://rowbell.example/roles": map[string]any{"bell-admins": map[string]any{"1": "x"}}})); !p.All || !slices.Equal(p.Roles, []Role{Admin}) {
		t.Errorf("it is %+v", p)
	}
	if p := d.enters(t, i.gives(t, map[string]any{"https://rowbell.example/roles": "bell-authors"}), TenantHeader, "acme"); p.All || p.Tenant != "acme" {
		t.Errorf("it is %+v", p)
	}
}

// Who is a member of several tenants is told which, to choose; who may act in any is known to,
// wherever they act. When the provider was used last is known too.
func TestChoosingTenant(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	d := open(t, Config{OIDC: i.config()})
	if u := d.ProviderUse(); u != (ProviderUse{}) {
		t.Errorf("nobody has come, and it is %+v", u)
	}
	for _, m := range []NewMember{{Subject: "ann", TenantID: ptr("globex")}, {Subject: "ann", TenantID: ptr("acme")}, {Subject: "root"}} {
		m.Issuer, m.Roles = i.URL, []Role{Viewer}
		if _, err := d.service.AddMember(t.Context(), m, "test"); err != nil {
			t.Fatal(err)
		}
	}
	token := i.gives(t, nil)
	if e := d.stays(t, 403, "you are a member of several tenants", token); !slices.Equal(e.Tenants, []string{"acme", "globex"}) {
		t.Errorf("those to choose among are %q", e.Tenants)
	}
	if p := d.enters(t, token, TenantHeader, "globex"); p.Tenant != "globex" || p.Any {
		t.Errorf("in globex: %+v", p)
	}
	if u := d.ProviderUse(); u.At.IsZero() || !u.FailedAt.IsZero() {
		t.Errorf("somebody has come, and it is %+v", u)
	}
	root := i.gives(t, map[string]any{"sub": "root"})
	if p := d.enters(t, root); !p.All || !p.Any {
		t.Errorf("who may act in all: %+v", p)
	}
	if p := d.enters(t, root, TenantHeader, "acme"); p.All || !p.Any || p.Tenant != "acme" {
		t.Errorf("who may act in all, in acme: %+v", p)
	}
	_, key := d.key(t, NewKey{})
	if p := d.enters(t, key, TenantHeader, "acme"); p.All || !p.Any {
		t.Errorf("a key for all tenants, in acme: %+v", p)
	}
	_, key = d.key(t, NewKey{TenantID: ptr("acme")})
	if p := d.enters(t, key, TenantHeader, "acme"); p.Any {
		t.Errorf("a key for acme: %+v", p)
	}

	away := newIssuer(t)
	away.away.Store(true)
	other := open(t, Config{OIDC: away.config()})
	other.stays(t, 503, "", token)
	if u := other.ProviderUse(); u.FailedAt.IsZero() || u.Error == "" || !u.At.IsZero() {
		t.Errorf("the provider is away, and it is %+v", u)
	}
}
