package access

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/store"
)

// registry is where keys, link keys and members are kept.
type registry interface {
	CreateAPIKey(ctx context.Context, k store.APIKey, actor string) (store.APIKey, error)
	CreateFirstKey(ctx context.Context, k store.APIKey, actor string) (bool, error)
	APIKeys(ctx context.Context, f store.AccessFilter) ([]store.APIKey, error)
	RevokeAPIKey(ctx context.Context, id string, tenantID *string, actor string) (store.APIKey, error)
	CreateLinkKey(ctx context.Context, k store.LinkKey, actor string) (store.LinkKey, error)
	LinkKeys(ctx context.Context, f store.AccessFilter) ([]store.LinkKey, error)
	RevokeLinkKey(ctx context.Context, id string, tenantID *string, actor string) (store.LinkKey, error)
	SetMember(ctx context.Context, m store.Member, actor string) (store.Member, error)
	Members(ctx context.Context, f store.AccessFilter) ([]store.Member, error)
	RemoveMember(ctx context.Context, id string, tenantID *string, actor string) (store.Member, error)
}

// Service keeps keys, link keys and members, for the command line and the API. It doesn't
// ask whether who calls it may: see Principal.MayGive. by is who does it, for created_by and
// the audit log; "" is the database user.
type Service struct {
	db  registry
	now func() time.Time
}

// NewService works on db.
func NewService(db registry) *Service { return &Service{db: db, now: time.Now} }

// NewKey is a key to make.
type NewKey struct {
	TenantID *string // nil: all tenants, and the operators' own
	Name     string
	Roles    []Role
	Rights   []Right    // beside those of the roles
	Expires  *time.Time // nil: not by itself
}

// ErrInvalid is an error in what was asked for.
var ErrInvalid = errors.New("not valid")

// invalid says what is wrong with what was asked for.
type invalid struct{ text string }

func (e invalid) Error() string        { return e.text }
func (e invalid) Is(target error) bool { return target == ErrInvalid }

func badly(format string, args ...any) error { return invalid{fmt.Sprintf(format, args...)} }

// CreateKey makes a key and returns its text, which is nowhere else and can't be had again.
// Returns ErrInvalid, and says how to mend it.
func (s *Service) CreateKey(ctx context.Context, n NewKey, by string) (store.APIKey, string, error) {
	err := errors.Join(checkTenant(n.TenantID), checkName(n.Name), s.checkEnd(n.Expires))
	if len(n.Roles)+len(n.Rights) == 0 {
		err = errors.Join(err, badly("a key needs a role or a right; roles are viewer, operator, author, publisher and admin"))
	}
	if err != nil {
		return store.APIKey{}, "", err
	}
	id, text := newKey()
	k, err := s.db.CreateAPIKey(ctx, store.APIKey{
		ID: id, TenantID: n.TenantID, Name: n.Name, Hash: hashKey(text), ExpiresAt: n.Expires,
		Roles: names(n.Roles), Rights: names(n.Rights),
	}, by)
	if err != nil {
		return store.APIKey{}, "", err
	}
	return k, text, nil
}

// FirstKey makes a key for an administrator of all tenants if there is no key and never was,
// and returns its text; else "".
func (s *Service) FirstKey(ctx context.Context, by string) (id, text string, err error) {
	id, text = newKey()
	made, err := s.db.CreateFirstKey(ctx, store.APIKey{
		ID: id, Name: "first key", Hash: hashKey(text), Roles: names([]Role{Admin}), Rights: []string{},
	}, by)
	if err != nil || !made {
		return "", "", err
	}
	return id, text, nil
}

// Keys lists keys, the newest first.
func (s *Service) Keys(ctx context.Context, f store.AccessFilter) ([]store.APIKey, error) {
	return s.db.APIKeys(ctx, f)
}

// RevokeKey revokes a key of this tenant ("" = of all tenants; nil = any). It may work for some
// seconds more. Returns workflow.ErrNotFound, and ErrConflict if it was revoked before.
func (s *Service) RevokeKey(ctx context.Context, id string, tenantID *string, by string) (store.APIKey, error) {
	return s.db.RevokeAPIKey(ctx, id, tenantID, by)
}

// KeyID finds the id of a key, or of a link key, in what people have of it: the id, the key
// itself, even if it was cut, or a kid.
func KeyID(s string) string {
	if rest, ok := strings.CutPrefix(s, keyPrefix); ok {
		s, _, _ = strings.Cut(rest, "_")
	}
	return strings.TrimPrefix(s, linkKeyPrefix)
}

// LinkKeyID is how links name a link key, as kid in their header.
func LinkKeyID(id string) string { return linkKeyPrefix + id }

// NewLinkKey is a link key to add.
type NewLinkKey struct {
	TenantID *string // nil: each link says which
	Name     string
	// Roles are those that its links may give.
	Roles   []Role
	Expires *time.Time // nil: not by itself
	// Public is the public half in PEM, Ed25519 or ECDSA on P-256. Nil: a pair is made.
	Public []byte
}

// AddLinkKey adds a link key. If it makes the pair it returns the private half, in PEM, which
// is nowhere else and can't be had again. Returns ErrInvalid, and says how to mend it.
func (s *Service) AddLinkKey(ctx context.Context, n NewLinkKey, by string) (k store.LinkKey, private []byte, err error) {
	err = errors.Join(checkTenant(n.TenantID), checkName(n.Name), s.checkEnd(n.Expires))
	if len(n.Roles) == 0 {
		err = errors.Join(err, badly("a link key needs the roles that its links may give: viewer, operator, author, publisher, admin"))
	}
	if err != nil {
		return k, nil, err
	}
	var der []byte
	if n.Public != nil {
		if der, err = parsePublicKey(n.Public); err != nil {
			return k, nil, badly("%v", err)
		}
	} else if der, private, err = makePair(); err != nil {
		return k, nil, err
	}
	k, err = s.db.CreateLinkKey(ctx, store.LinkKey{
		ID: ulid.Make().String(), TenantID: n.TenantID, Name: n.Name, PublicKey: der, Roles: names(n.Roles), ExpiresAt: n.Expires,
	}, by)
	if err != nil {
		return store.LinkKey{}, nil, err
	}
	return k, private, nil
}

// LinkKeys lists link keys, the newest first.
func (s *Service) LinkKeys(ctx context.Context, f store.AccessFilter) ([]store.LinkKey, error) {
	return s.db.LinkKeys(ctx, f)
}

// RevokeLinkKey revokes a link key, as RevokeKey does a key, and with it all its links.
func (s *Service) RevokeLinkKey(ctx context.Context, id string, tenantID *string, by string) (store.LinkKey, error) {
	return s.db.RevokeLinkKey(ctx, id, tenantID, by)
}

// TryLink signs a link as an application does, with the private half of a link key, in PEM,
// and has it verified. The error is what whoever shows such a link is told.
func (s *Service) TryLink(ctx context.Context, private []byte, instance string, l Link, lives time.Duration) (string, error) {
	signer, err := ParsePrivateKey(private)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return "", err
	}
	keys, err := s.db.LinkKeys(ctx, store.AccessFilter{})
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(keys, func(k store.LinkKey) bool { return slices.Equal(k.PublicKey, der) })
	if i < 0 {
		return "", errors.New("its public half is no link key that counts here; rowbell link list has those that are, and rowbell link add-key adds one")
	}
	text, err := SignLink(signer, keys[i].ID, instance, l, lives)
	if err != nil {
		return "", err
	}
	known := func(context.Context, string) (store.LinkKey, bool, error) { return keys[i], true, nil }
	if _, err := newLinkVerifier(instance, s.now, known).verify(ctx, text); err != nil {
		return "", err
	}
	return text, nil
}

// makePair makes an Ed25519 key.
func makePair() (public, private []byte, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if public, err = x509.MarshalPKIXPublicKey(pub); err != nil {
		return nil, nil, err
	}
	if private, err = x509.MarshalPKCS8PrivateKey(priv); err != nil {
		return nil, nil, err
	}
	return public, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}

// NewMember is a member to add, or to change.
type NewMember struct {
	TenantID *string // nil: all tenants, and the operators' own
	Issuer   string
	Subject  string
	Name     string
	Email    string
	Roles    []Role
	Rights   []Right // beside those of the roles
}

// AddMember says what somebody may do in a tenant, whatever they could there before. Returns
// ErrInvalid, and says how to mend it.
func (s *Service) AddMember(ctx context.Context, n NewMember, by string) (store.Member, error) {
	err := errors.Join(checkTenant(n.TenantID), checkName(n.Name))
	if n.Issuer == "" || !showable(n.Issuer, 500) {
		err = errors.Join(err, badly("a member needs the issuer of their tokens, as ROWBELL_OIDC_ISSUER has it"))
	}
	if problem := checkSubject(n.Subject); problem != nil {
		err = errors.Join(err, badly("the subject, which is sub in their tokens, %v", problem))
	}
	if !showable(n.Email, 320) {
		err = errors.Join(err, badly("the e-mail address has more than 320 characters, or control characters"))
	}
	if len(n.Roles)+len(n.Rights) == 0 {
		err = errors.Join(err, badly("a member needs a role or a right; roles are viewer, operator, author, publisher and admin"))
	}
	if err != nil {
		return store.Member{}, err
	}
	return s.db.SetMember(ctx, store.Member{
		TenantID: n.TenantID, Issuer: n.Issuer, Subject: n.Subject, Name: n.Name, Email: n.Email,
		Roles: names(n.Roles), Rights: names(n.Rights),
	}, by)
}

// Members lists members by tenant and subject.
func (s *Service) Members(ctx context.Context, f store.AccessFilter) ([]store.Member, error) {
	return s.db.Members(ctx, f)
}

// RemoveMember takes a member of this tenant ("" = of all tenants; nil = any) away, by id. It
// may count for some seconds more. Returns workflow.ErrNotFound.
func (s *Service) RemoveMember(ctx context.Context, id string, tenantID *string, by string) (store.Member, error) {
	return s.db.RemoveMember(ctx, id, tenantID, by)
}

// ParseGrant reads names of roles and of rights, and joins what is wrong with them, each
// ErrInvalid. What is there twice counts once.
func ParseGrant(roles, rights []string) (rs []Role, ts []Right, err error) {
	for _, name := range roles {
		r, problem := ParseRole(name)
		if problem != nil {
			err = errors.Join(err, badly("%v", problem))
		} else if !slices.Contains(rs, r) {
			rs = append(rs, r)
		}
	}
	for _, name := range rights {
		r, problem := ParseRight(name)
		if problem != nil {
			err = errors.Join(err, badly("%v", problem))
		} else if !slices.Contains(ts, r) {
			ts = append(ts, r)
		}
	}
	return rs, ts, err
}

func names[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, one := range list {
		out[i] = string(one)
	}
	return out
}

func checkTenant(id *string) error {
	if id != nil && !isTenant(*id) {
		return badly("a tenant's id has 1 to 200 characters, none of them a control character, and isn't %s; leave it out for all tenants", AllTenants)
	}
	return nil
}

func checkName(s string) error {
	if !showable(s, 200) {
		return badly("the name has more than 200 characters, or control characters")
	}
	return nil
}

func (s *Service) checkEnd(at *time.Time) error {
	if at != nil && !at.After(s.now()) {
		return badly("it would have expired already, %s; give a time that is to come", at.Format(time.RFC3339))
	}
	return nil
}
