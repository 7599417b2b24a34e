package access

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"github.com/rowbell/rowbell/pkg/store"
)

// OIDC says whose tokens are taken (OpenID Connect Core 1.0), and what their claims mean.
type OIDC struct {
	// Issuer is the provider's URL, below which its /.well-known/openid-configuration is.
	Issuer string
	// Audience must be in a token's aud.
	Audience string
	// TenantClaim names the claim with the person's tenant, or a list of tenants. "": what the
	// claims give counts for all tenants.
	TenantClaim string
	// RolesClaim names the claim with a list of what Roles maps to roles. "": claims give none.
	// Both may be a path with dots into a nested claim, as realm_access.roles.
	RolesClaim string
	Roles      map[string]Role
	// Client reaches the provider. Defaults to one that waits 10 s.
	Client *http.Client
}

// provider checks tokens of the OpenID Connect provider. What it says of itself is fetched
// when the first token comes, and tried again with a later one if that fails.
type provider struct {
	cfg  OIDC
	now  func() time.Time
	once singleflight.Group

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil: not fetched yet
	failed   error                 // the last try
	again    time.Time             // when the next one may be
}

// discoverAgain is how long after a failure the provider is left alone.
const discoverAgain = 5 * time.Second

func newProvider(cfg OIDC, now func() time.Time) *provider {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 10 * time.Second}
	}
	return &provider{cfg: cfg, now: now}
}

// discovered returns what checks tokens, fetching it if need be.
func (p *provider) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	p.mu.Lock()
	verifier, failed, again := p.verifier, p.failed, p.again
	p.mu.Unlock()
	if verifier != nil {
		return verifier, nil
	}
	if failed != nil && p.now().Before(again) {
		return nil, failed
	}
	c := p.once.DoChan("", func() (any, error) {
		got, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.cfg.Client), p.cfg.Issuer)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.failed, p.again = err, p.now().Add(discoverAgain)
			return nil, err
		}
		var about struct {
			JWKS string   `json:"jwks_uri"`
			Algs []string `json:"id_token_signing_alg_values_supported"`
		}
		if err := got.Claims(&about); err != nil {
			return nil, err
		}
		client := *p.cfg.Client
		if client.Transport == nil {
			client.Transport = http.DefaultTransport
		}
		client.Transport = &sparing{RoundTripper: client.Transport, now: p.now}
		keys := &keySet{remote: oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), &client), about.JWKS)}
		p.verifier = oidc.NewVerifier(p.cfg.Issuer, keys, &oidc.Config{
			ClientID: p.cfg.Audience, SupportedSigningAlgs: asymmetric(about.Algs), Now: p.now,
		})
		return p.verifier, nil
	})
	select {
	case got := <-c:
		if got.Err != nil {
			return nil, got.Err
		}
		return got.Val.(*oidc.IDTokenVerifier), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// asymmetric keeps the algorithms whose keys a provider publishes. With none of them it is
// RS256, which every provider has (OpenID Connect Core 1.0, section 15.1).
func asymmetric(algs []string) []string {
	list := slices.DeleteFunc(slices.Clone(algs), func(alg string) bool {
		switch alg {
		case oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA:
			return false
		}
		return true
	})
	if len(list) == 0 {
		return []string{oidc.RS256}
	}
	return list
}

// keySet tells apart that the provider's keys can't be had from a signature that is wrong:
// it puts the first into the context's errKeys. (What it returns ends as text in an error.)
type keySet struct{ remote *oidc.RemoteKeySet }

type errKeys struct{}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.remote.VerifySignature(ctx, token)
	if away, ok := ctx.Value(errKeys{}).(*error); ok && err != nil && strings.HasPrefix(err.Error(), "fetching keys") {
		*away = err
	}
	return payload, err
}

// keysAgain is how often the provider's keys may be fetched. A signature by none of those
// that are known has the library fetch them, so that it finds new ones; and anybody can
// write a token that nobody has signed.
const keysAgain = 5 * time.Second

// mostKeys is how many bytes a provider's keys may have.
const mostKeys = 1 << 20

// sparing fetches what it is asked for, but answers from memory for a while after it did.
// It is for one URL.
type sparing struct {
	http.RoundTripper
	now func() time.Time

	mu    sync.Mutex // held while it fetches: others wait for the same
	until time.Time
	body  []byte
	err   error
}

// RoundTrip implements http.RoundTripper.
func (s *sparing) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.now().Before(s.until) {
		s.body, s.err = s.fetch(r)
		s.until = s.now().Add(keysAgain)
	}
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(s.body)), ContentLength: int64(len(s.body)),
	}, nil
}

func (s *sparing) fetch(r *http.Request) ([]byte, error) {
	res, err := s.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostKeys+1))
	if err == nil && len(body) > mostKeys {
		err = fmt.Errorf("it answers with more than %d bytes", mostKeys)
	}
	return body, err
}

// person is whom a token is of, and what its claims give.
type person struct {
	subject, name, email string
	expires              time.Time
	claimed              []string          // tenants that the token names, also if it gives nothing there
	given                map[string]*grant // by tenant; "" = all
}

// grant is what somebody may do in one tenant.
type grant struct {
	roles []Role
	extra []Right
}

func (g *grant) add(roles []Role, extra []Right) {
	for _, r := range roles {
		if !slices.Contains(g.roles, r) {
			g.roles = append(g.roles, r)
		}
	}
	for _, r := range extra {
		if !slices.Contains(g.extra, r) {
			g.extra = append(g.extra, r)
		}
	}
}

// verify reads a token of the provider.
func (p *provider) verify(ctx context.Context, text string) (*person, error) {
	verifier, err := p.discovered(ctx)
	if err != nil {
		return nil, unavailable("the token can't be checked just now: the identity provider does not answer as it should", err)
	}
	var away error
	token, err := verifier.Verify(context.WithValue(ctx, errKeys{}, &away), text)
	var expired *oidc.TokenExpiredError
	switch {
	case err == nil:
	case errors.As(err, &expired):
		return nil, refused("the token has expired; sign in again")
	case away != nil:
		return nil, unavailable("the token can't be checked just now: the identity provider's keys can't be had", away)
	case strings.Contains(err.Error(), "expected audience"):
		return nil, refused(fmt.Sprintf("the token is for another audience; its aud must have %q", p.cfg.Audience))
	case strings.Contains(err.Error(), "different provider"):
		return nil, refused("the token is of another issuer; sign in at " + p.cfg.Issuer)
	default:
		return nil, &Error{Status: statusUnauthorized, Reason: "the token is not valid: the identity provider has not signed it, or not so", Err: err}
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return nil, refused("the token's claims can't be read")
	}
	if _, event := claims["events"]; event || !forAccess(text) {
		return nil, refused("the token is not one by which somebody signs in: it must be an access token or an ID token")
	}
	who := &person{subject: token.Subject, expires: token.Expiry, given: make(map[string]*grant)}
	if err := checkSubject(token.Subject); err != nil {
		return nil, refused(fmt.Sprintf("the token's sub %v", err))
	}
	for _, name := range []string{"name", "preferred_username"} {
		if s, _ := claims[name].(string); who.name == "" && showable(s, 200) {
			who.name = s
		}
	}
	if s, _ := claims["email"].(string); showable(s, 320) && (claims["email_verified"] == true || claims["email_verified"] == "true") {
		who.email = s
	}
	p.readClaims(who, claims)
	return who, nil
}

// forAccess says that a token's header doesn't make it one of another kind, as a logout or a
// security event token, which a provider signs for the same audience. (RFC 8725, section 3.11)
func forAccess(token string) bool {
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	var header struct {
		Type string `json:"typ"`
	}
	if json.Unmarshal(raw, &header) != nil {
		return false
	}
	switch strings.TrimPrefix(strings.ToLower(header.Type), "application/") {
	case "", "jwt", "at+jwt":
		return true
	}
	return false
}

// readClaims adds whose the claims say somebody is, and what they give.
func (p *provider) readClaims(who *person, claims map[string]any) {
	for _, tenant := range texts(claims, p.cfg.TenantClaim) {
		if isTenant(tenant) {
			who.claimed = append(who.claimed, tenant)
		}
	}
	var roles []Role
	for _, value := range texts(claims, p.cfg.RolesClaim) {
		if r, ok := p.cfg.Roles[value]; ok {
			roles = append(roles, r)
		}
	}
	if len(roles) == 0 {
		return
	}
	tenants := who.claimed // a token without the claim gives nothing, rather than all
	if p.cfg.TenantClaim == "" {
		tenants = []string{""}
	}
	for _, tenant := range tenants {
		who.in(tenant).add(roles, nil)
	}
}

func (who *person) in(tenant string) *grant {
	if who.given[tenant] == nil {
		who.given[tenant] = &grant{}
	}
	return who.given[tenant]
}

// texts reads a claim that is a text, a list of them, or an object with them for keys.
func texts(claims map[string]any, name string) []string {
	if name == "" {
		return nil
	}
	value, ok := claims[name] // names may have dots themselves: https://example.com/roles
	if !ok {
		value = claims
		for part := range strings.SplitSeq(name, ".") {
			object, _ := value.(map[string]any)
			value = object[part]
		}
	}
	var list []string
	switch v := value.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
	case map[string]any:
		for key := range v {
			list = append(list, key)
		}
		sort.Strings(list)
	}
	return list
}

// mostChoices of a person's tenants are named in a message.
const mostChoices = 20

// principal is the person with what members give them besides, in the tenant that they want
// to act in. "" leaves it open: it is the one that their token names then, if that is one,
// whichever others have made them a member.
func (who *person) principal(members []store.Member, wanted string) (*Principal, error) {
	p := &Principal{Kind: KindPerson, ID: "user:" + who.subject, Subject: who.subject, Name: who.name, Email: who.email, Expires: who.expires}
	names := make(map[string]string) // by tenant
	for _, m := range members {
		roles, extra := known(m.Roles, m.Rights)
		tenant := ""
		if m.TenantID != nil {
			tenant = *m.TenantID
		}
		if len(roles)+len(extra) > 0 {
			who.in(tenant).add(roles, extra)
		}
		names[tenant] = m.Name
	}
	everywhere := who.given[""]
	var tenants []string
	for tenant := range who.given {
		if tenant != "" {
			tenants = append(tenants, tenant)
		}
	}
	sort.Strings(tenants)
	p.Tenants, p.Any = tenants, everywhere != nil
	theirs := slices.DeleteFunc(slices.Clone(tenants), func(tenant string) bool { return !slices.Contains(who.claimed, tenant) })
	in := grant{}
	if everywhere != nil {
		in.add(everywhere.roles, everywhere.extra)
	}
	switch {
	case len(who.given) == 0:
		return nil, &Error{Status: statusForbidden, Reason: fmt.Sprintf("nobody has given %s a role here; an administrator does so by rowbell member add %s, or by the roles that the identity provider gives", who.subject, who.subject)}
	case wanted == "" && everywhere != nil:
		p.All = true
	case wanted == "" && len(theirs) == 1:
		wanted = theirs[0]
	case wanted == "" && len(tenants) > 1:
		choices := strings.Join(tenants[:min(len(tenants), mostChoices)], ", ")
		return nil, &Error{Status: statusForbidden, Tenants: tenants, Reason: fmt.Sprintf("you are a member of several tenants; say in header %s in which you act: %s", TenantHeader, choices)}
	case wanted == "":
		wanted = tenants[0]
	case everywhere == nil && who.given[wanted] == nil:
		return nil, notThere(wanted)
	}
	if !p.All {
		p.Tenant = wanted
		if there := who.given[wanted]; there != nil {
			in.add(there.roles, there.extra)
		}
	}
	p.Roles, p.Extra = in.roles, in.extra
	p.Name = cmp.Or(p.Name, names[p.Tenant], names[""]) // another tenant's word isn't taken
	return p, nil
}

func notThere(tenant string) *Error {
	return &Error{Status: statusForbidden, Reason: fmt.Sprintf("you may not act in tenant %q", tenant)}
}

// checkSubject says what is wrong with the id of a person.
func checkSubject(s string) error {
	if s == "" || !showable(s, 200) {
		return errors.New("must have 1 to 200 characters, none of them a control character")
	}
	return nil
}

// isTenant says that a text can be a tenant's id.
func isTenant(s string) bool { return s != "" && s != AllTenants && showable(s, 200) }

// showable says that a text can be stored, and written into a log.
func showable(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}
