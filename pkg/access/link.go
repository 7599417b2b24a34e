package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rowbell/rowbell/pkg/store"
)

const (
	// linkKeyPrefix begins the kid of links, and tells them from tokens of a provider.
	linkKeyPrefix = "rbl_"
	// MostLink is how long a link may live.
	MostLink = 15 * time.Minute
	// skew is how far the host's clock may be from ours.
	skew = 30 * time.Second
	// AllTenants is the tenant of a link that is for all of them. No tenant has this id.
	AllTenants = "*"
)

// Link is what a host application signs.
type Link struct {
	Tenant  string // AllTenants, or the only one; "" that of the key
	Subject string // the person's id in the application
	Name    string // may be ""
	Email   string // may be ""
	Roles   []Role
}

// linkClaims are a link's in JSON.
type linkClaims struct {
	jwt.RegisteredClaims
	Tenant string   `json:"tenant,omitempty"`
	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	Roles  []string `json:"roles"`
}

// SignLink makes a link as a host application does, with the private half of the link key
// with this id. It counts from now on, for installation instance.
func SignLink(private crypto.Signer, keyID, instance string, l Link, lives time.Duration) (string, error) {
	method, err := linkMethod(private.Public())
	if err != nil {
		return "", err
	}
	now := time.Now()
	c := linkClaims{Tenant: l.Tenant, Name: l.Name, Email: l.Email}
	c.Subject, c.Audience = l.Subject, jwt.ClaimStrings{instance}
	c.NotBefore, c.ExpiresAt = jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(lives))
	for _, r := range l.Roles {
		c.Roles = append(c.Roles, string(r))
	}
	t := jwt.NewWithClaims(method, c)
	t.Header["kid"] = linkKeyPrefix + keyID
	return t.SignedString(private)
}

// linkMethod is the one algorithm of a key.
func linkMethod(public crypto.PublicKey) (jwt.SigningMethod, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return jwt.SigningMethodEdDSA, nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jwt.SigningMethodES256, nil
		}
	}
	return nil, errors.New("links are signed with Ed25519 or ECDSA on P-256; make a key with: openssl genpkey -algorithm ed25519")
}

// parsePublicKey reads the public half of a link key, in PEM. A private one is refused:
// it is not to be here.
func parsePublicKey(text []byte) (der []byte, err error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("there is no key in PEM in it; write one with: openssl pkey -in private.pem -pubout")
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("this is the private key, which stays with the application; give the public one: openssl pkey -in private.pem -pubout")
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("it holds %.60q and no PUBLIC KEY; write one with: openssl pkey -in private.pem -pubout", block.Type)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the public key can't be read: %w", err)
	}
	if _, err := linkMethod(public); err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(public)
}

// ParsePrivateKey reads the private half of a link key, in PEM, as rowbell link add-key and
// openssl genpkey write it.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no key in PEM in it")
	}
	var key any
	var err error
	if block.Type == "EC PRIVATE KEY" {
		key, err = x509.ParseECPrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("the private key in it can't be read; it must be in PKCS #8 and not encrypted, as openssl genpkey writes it")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key in it can't sign")
	}
	if _, err := linkMethod(signer.Public()); err != nil {
		return nil, err
	}
	return signer, nil
}

// linkVerifier reads links of one installation.
type linkVerifier struct {
	keys     func(ctx context.Context, id string) (store.LinkKey, bool, error)
	instance string
	now      func() time.Time
	parser   *jwt.Parser
}

func newLinkVerifier(instance string, now func() time.Time, keys func(context.Context, string) (store.LinkKey, bool, error)) *linkVerifier {
	return &linkVerifier{keys: keys, instance: instance, now: now, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg(), jwt.SigningMethodES256.Alg()}),
		jwt.WithAudience(instance), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(skew), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	)}
}

// errNoLinkKey says that a link can't be believed, and not why: whether there is such a key
// is nobody's business.
var errNoLinkKey = errors.New("no link key that counts here has signed it")

// verify returns who a link is for.
func (v *linkVerifier) verify(ctx context.Context, text string) (*Principal, error) {
	var key store.LinkKey
	var c linkClaims
	var away error
	_, err := v.parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		id, ours := strings.CutPrefix(kid, linkKeyPrefix)
		// What must be understood isn't: there is no such header here. (RFC 7515, section 4.1.11)
		if _, critical := t.Header["crit"]; critical || !ours || len(id) != 26 {
			return nil, errNoLinkKey
		}
		var found bool
		if key, found, away = v.keys(ctx, id); away != nil {
			return nil, away
		}
		if !found || key.RevokedAt != nil || ended(key.ExpiresAt, v.now()) {
			return nil, errNoLinkKey
		}
		public, err := x509.ParsePKIXPublicKey(key.PublicKey)
		if err != nil {
			return nil, errNoLinkKey
		}
		method, err := linkMethod(public)
		if err != nil || method.Alg() != t.Method.Alg() {
			return nil, errNoLinkKey
		}
		return public, nil
	})
	switch {
	case away != nil:
		return nil, unavailable("the link can't be checked just now: the database does not answer", away)
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, refused("the link has expired; ask the application for a new one")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return nil, refused("the link does not count yet; are the clocks of the application and of Rowbell right?")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return nil, refused(fmt.Sprintf("the link is for another installation; its aud must be %q", v.instance))
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return nil, refused("the link has no exp or no aud; see docs/security.md for what it must hold")
	case err != nil:
		return nil, refused("the link is not valid: " + errNoLinkKey.Error())
	}
	if c.ExpiresAt.After(v.now().Add(MostLink + skew)) {
		return nil, refused("the link lives too long; its exp may be 15 minutes ahead at most")
	}
	return c.principal(&key)
}

// principal is who a link is for that was signed with key.
func (c *linkClaims) principal(key *store.LinkKey) (*Principal, error) {
	bad := func(format string, args ...any) (*Principal, error) {
		return nil, refused("the link is not valid: " + fmt.Sprintf(format, args...))
	}
	p := &Principal{Kind: KindLink, ID: "link:" + c.Subject, Subject: c.Subject, Name: c.Name, Email: c.Email, Expires: c.ExpiresAt.Time}
	if err := checkSubject(c.Subject); err != nil {
		return bad("its sub %v", err)
	}
	if !showable(c.Name, 200) || !showable(c.Email, 320) {
		return bad("its name or email is too long, or has control characters")
	}
	switch {
	case key.TenantID != nil && c.Tenant != "" && c.Tenant != *key.TenantID:
		return bad("its key is another tenant's")
	case key.TenantID != nil:
		p.Tenant = *key.TenantID
	case c.Tenant == AllTenants:
		p.All = true
	case c.Tenant == "":
		return bad("it has no tenant; an application without tenants writes %q there", AllTenants)
	case !isTenant(c.Tenant):
		return bad("its tenant is too long, or has control characters")
	default:
		p.Tenant = c.Tenant
	}
	p.home = p.Tenant
	if len(c.Roles) == 0 || len(c.Roles) > len(Roles()) {
		return bad("its roles must be a list with one role or more")
	}
	for _, name := range c.Roles {
		role, err := ParseRole(name)
		if err != nil {
			return bad("%v", err)
		}
		if !slices.Contains(key.Roles, name) {
			return bad("its key may not give the role %s", role)
		}
		p.Roles = append(p.Roles, role)
	}
	return p, nil
}

func ended(at *time.Time, now time.Time) bool { return at != nil && !now.Before(*at) }
