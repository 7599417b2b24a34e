package access

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
)

// TenantHeader is where somebody who may act in several tenants says in which. Who may act
// in all acts in that one then; for others it must be their own.
const TenantHeader = "Rowbell-Tenant"

// mostToken is how many bytes a key, link or token may have.
const mostToken = 12 << 10

// credentials is where keys, link keys and members are.
type credentials interface {
	APIKey(ctx context.Context, id string) (store.APIKey, error)
	LinkKey(ctx context.Context, id string) (store.LinkKey, error)
	Memberships(ctx context.Context, issuer, subject string) ([]store.Member, error)
	KeysUsed(ctx context.Context, used map[string]time.Time) error
}

// Config is how an Authenticator works.
type Config struct {
	// Instance names the installation that links must be for. Defaults to "rowbell".
	Instance string
	// OIDC is the provider whose tokens are taken. Defaults to none.
	OIDC *OIDC
	// TrustedProxies are whose X-Forwarded-For is believed. Defaults to none.
	TrustedProxies []netip.Prefix
	// Metrics counts. Defaults to none.
	Metrics *Metrics
	// Logger is told why something can't be found out. Defaults to none.
	Logger *slog.Logger
}

// Authenticator finds out who asks. Its methods may be called from any goroutine.
type Authenticator struct {
	cfg      Config
	db       credentials
	now      func() time.Time
	keys     *rows[store.APIKey]
	members  *rows[[]store.Member]
	links    *linkVerifier
	provider *provider // nil: there is none
	failures *failures

	mu          sync.Mutex
	used        map[string]time.Time // keys, since that was last written
	providerUse ProviderUse
}

// ProviderUse is when a token of the OpenID Connect provider was taken last, and when the
// provider could not be asked.
type ProviderUse struct {
	At, FailedAt time.Time // zero: never, since the process has begun
	Error        string    // of the last failure
}

// ProviderUse says when the provider was used last. a may be nil.
func (a *Authenticator) ProviderUse() ProviderUse {
	if a == nil {
		return ProviderUse{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.providerUse
}

// usedProvider notes what came of judging a token; what is wrong with the token itself says
// nothing of the provider.
func (a *Authenticator) usedProvider(err error) {
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Status != statusUnavailable) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.providerUse.At = a.now()
		return
	}
	a.providerUse.FailedAt, a.providerUse.Error = a.now(), e.Reason
}

// New makes an Authenticator. It asks nobody anything until the first request.
func New(cfg Config, db credentials) *Authenticator { return newAt(cfg, db, time.Now) }

func newAt(cfg Config, db credentials, now func() time.Time) *Authenticator {
	cfg.Instance = cmp.Or(cfg.Instance, "rowbell")
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{cfg: cfg, db: db, now: now, failures: newFailures(now), used: make(map[string]time.Time)}
	a.keys = newRows(now, db.APIKey)
	a.links = newLinkVerifier(cfg.Instance, now, newRows(now, db.LinkKey).get)
	if cfg.OIDC != nil {
		a.provider = newProvider(*cfg.OIDC, now)
		a.members = newRows(now, func(ctx context.Context, subject string) ([]store.Member, error) {
			return db.Memberships(ctx, cfg.OIDC.Issuer, subject)
		})
	}
	return a
}

// Authenticate says who asks: header Authorization has Bearer and a key, a link or a token of
// the provider. An error is an Error, and it is ErrUnauthenticated or ErrUnavailable.
func (a *Authenticator) Authenticate(ctx context.Context, r *http.Request) (*Principal, error) {
	text, err := bearer(r)
	kind := kindOf(text)
	from := ClientAddress(r, a.cfg.TrustedProxies)
	var p *Principal
	if err == nil {
		p, err = a.authenticate(ctx, kind, text, r.Header.Get(TenantHeader), from)
	}
	if err == nil {
		a.cfg.Metrics.count(kind, accepted)
		return p, nil
	}
	var e *Error
	if !errors.As(err, &e) {
		e = unavailable("who asks could not be found out; try again", err)
	}
	outcome := wasRefused
	switch e.Status {
	case statusUnavailable:
		outcome = wasAway
		if ctx.Err() == nil {
			a.cfg.Logger.WarnContext(ctx, "who asks for the API could not be found out", "kind", string(kind), "err", cmp.Or(e.Err, err))
		}
	case statusForbidden:
		outcome = wasForbidden
	case statusLimited:
		outcome = wasLimited
	default:
		if text != "" { // who shows nothing hasn't tried anything
			a.failures.add(from)
		}
	}
	a.cfg.Metrics.count(kind, outcome)
	return nil, e
}

func (a *Authenticator) authenticate(ctx context.Context, kind Kind, text, wanted string, from netip.Addr) (*Principal, error) {
	if wait := a.failures.wait(from); wait > 0 && !(kind == KindKey && a.isKnown(text)) {
		return nil, &Error{
			Status: statusLimited, RetryAfter: wait,
			Reason: fmt.Sprintf("too many failures from your address; try again in %d s", int(math.Ceil(wait.Seconds()))),
		}
	}
	if wanted != "" && !isTenant(wanted) {
		return nil, &Error{Status: statusForbidden, Reason: "header " + TenantHeader + " names no tenant"}
	}
	var p *Principal
	var err error
	switch kind {
	case KindKey:
		p, err = a.key(ctx, text)
	case KindLink:
		p, err = a.links.verify(ctx, text)
	case KindPerson:
		return a.person(ctx, text, wanted)
	default:
		err = refused("this is neither an API key (rbk_…) nor a link or a token; see docs/security.md")
	}
	switch {
	case err != nil:
		return nil, err
	case wanted != "" && !p.Sees(wanted):
		return nil, notThere(wanted)
	}
	return p.within(wanted), nil
}

// errKey is what is said of every key that isn't one, whichever part of it is wrong.
var errKey = refused("the API key is not valid here; make one by rowbell key create, or ask who administers this installation")

// noHash is what the hash of a key that isn't there is compared with, so that it takes as
// long as of one that is.
var noHash = make([]byte, 32)

// key finds out whose key it is.
func (a *Authenticator) key(ctx context.Context, text string) (*Principal, error) {
	id, err := parseKey(text)
	if err != nil {
		return nil, refused(err.Error())
	}
	k, found, err := a.keys.get(ctx, id)
	if err != nil {
		return nil, unavailable("the API key can't be checked just now: the database does not answer", err)
	}
	if !found {
		k.Hash = noHash
	}
	if !matchesKey(text, k.Hash) || !found {
		return nil, errKey
	}
	now := a.now()
	switch {
	case k.RevokedAt != nil:
		return nil, refused("the API key was revoked, " + k.RevokedAt.UTC().Format(time.RFC3339))
	case ended(k.ExpiresAt, now):
		return nil, refused("the API key has expired, " + k.ExpiresAt.UTC().Format(time.RFC3339))
	}
	a.mu.Lock()
	a.used[id] = now
	a.mu.Unlock()
	p := &Principal{Kind: KindKey, ID: "key:" + id, Name: k.Name, All: k.TenantID == nil}
	p.Roles, p.Extra = known(k.Roles, k.Rights)
	if k.TenantID != nil {
		p.Tenant = *k.TenantID
	}
	if k.ExpiresAt != nil {
		p.Expires = *k.ExpiresAt
	}
	return p, nil
}

// isKnown says that a key was right a moment ago: whoever has it is let in, however many
// others have failed from the same address.
func (a *Authenticator) isKnown(text string) bool {
	id, err := parseKey(text)
	if err != nil {
		return false
	}
	k, ok := a.keys.known(id)
	return ok && k.found && matchesKey(text, k.value.Hash)
}

// person finds out whose token it is, and what they may do in the tenant that they want.
func (a *Authenticator) person(ctx context.Context, text, wanted string) (*Principal, error) {
	if a.provider == nil {
		return nil, refused("this looks like a token of an identity provider, and there is none here (ROWBELL_OIDC_ISSUER)")
	}
	who, err := a.provider.verify(ctx, text)
	a.usedProvider(err)
	if err != nil {
		return nil, err
	}
	members, _, err := a.members.get(ctx, who.subject)
	if err != nil {
		return nil, unavailable("what you may do can't be looked up just now: the database does not answer", err)
	}
	return who.principal(members, wanted)
}

// bearer reads header Authorization.
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", refused("say who you are: header Authorization must have Bearer and an API key, a link or a token")
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	text = strings.TrimSpace(text)
	switch {
	case len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || text == "":
		return "", refused("header Authorization must be there once, as: Authorization: Bearer rbk_…")
	case len(text) > mostToken:
		return "", refused("what header Authorization has is too long")
	}
	return text, nil
}

// kindOf tells by its looks what a text could be.
func kindOf(text string) Kind {
	if strings.HasPrefix(text, keyPrefix) {
		return KindKey
	}
	head, rest, _ := strings.Cut(text, ".")
	if strings.Count(rest, ".") != 1 {
		return kindNone
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return kindNone
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(raw, &header) != nil {
		return kindNone
	}
	if strings.HasPrefix(header.KeyID, linkKeyPrefix) {
		return KindLink
	}
	return KindPerson
}

// useEach is how often it is written when keys were used.
const useEach = 15 * time.Second

// Run writes when keys were used, until ctx ends. It always returns nil.
func (a *Authenticator) Run(ctx context.Context) error {
	tick := time.NewTicker(useEach)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.writeUsed(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			a.writeUsed(last)
			return nil
		}
	}
}

// writeUsed writes when keys were used since it was last called. What can't be written is
// lost: the keys that count are used again.
func (a *Authenticator) writeUsed(ctx context.Context) {
	a.mu.Lock()
	used := a.used
	a.used = make(map[string]time.Time)
	a.mu.Unlock()
	if len(used) == 0 {
		return
	}
	if err := a.db.KeysUsed(ctx, used); err != nil && ctx.Err() == nil {
		a.cfg.Logger.WarnContext(ctx, "when API keys were used could not be written", "err", err)
	}
}
