package ui

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/rowbell/rowbell/pkg/admin/api"
)

// Provider is an OpenID Connect provider, with which people sign in by the authorization code
// flow (OpenID Connect Core 1.0, 3.1) with PKCE (RFC 7636). What they show from then on is
// their ID token, which the API judges as any that it gets.
type Provider struct {
	Issuer string
	// ClientID is the name under which Rowbell is registered there; Secret is "" for a public
	// client.
	ClientID, Secret string
	// Redirect is where the provider sends people back to: the pages' /signin/back, whole.
	Redirect string
	// Client reaches the provider. Defaults to one that waits 10 s.
	Client *http.Client
}

// provider finds out once where the provider has what.
type provider struct {
	cfg Provider

	mu    sync.Mutex
	found *oidc.Provider
}

// oauth is how codes are asked for and given for tokens.
func (p *provider) oauth(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		found, err := oidc.NewProvider(p.context(context.WithoutCancel(ctx)), p.cfg.Issuer)
		if err != nil {
			return nil, nil, err
		}
		p.found = found
	}
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.Secret, RedirectURL: p.cfg.Redirect,
		Endpoint: p.found.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}, p.found, nil
}

func (p *provider) context(ctx context.Context) context.Context {
	c := p.cfg.Client
	if c == nil {
		c = &http.Client{Timeout: 10 * time.Second}
	}
	return oidc.ClientContext(ctx, c)
}

// signInCookie holds what must be the same when the provider sends somebody back.
const signInCookie = "rowbell_signin"

// longestSignIn is how long somebody may take at the provider.
const longestSignIn = 15 * time.Minute

// begun is a sign-in that has been begun.
type begun struct {
	State, Nonce, Verifier, Next string
}

// toProvider sends somebody to sign in.
func (u *UI) toProvider(w http.ResponseWriter, r *http.Request) {
	if u.provider == nil {
		http.NotFound(w, r)
		return
	}
	b := begun{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: local(r.URL.Query().Get("next"))}
	oauth, _, err := u.provider.oauth(r.Context())
	if err != nil {
		u.cfg.Logger.WarnContext(r.Context(), "the OpenID Connect provider can't be reached, so nobody can sign in with it", "err", err)
		u.failed(w, r, b.Next, &api.Problem{Status: http.StatusServiceUnavailable, Detail: "your company's sign-in can't be reached", Mend: "try again in a while"})
		return
	}
	text, err := json.Marshal(b)
	if err != nil {
		u.failed(w, r, "/", problemOf(err))
		return
	}
	u.setCookie(w, r, signInCookie, base64.RawURLEncoding.EncodeToString(text), longestSignIn)
	http.Redirect(w, r, oauth.AuthCodeURL(b.State, oidc.Nonce(b.Nonce), oauth2.S256ChallengeOption(b.Verifier)), http.StatusSeeOther)
}

// fromProvider takes somebody back who has signed in.
func (u *UI) fromProvider(w http.ResponseWriter, r *http.Request) {
	if u.provider == nil {
		http.NotFound(w, r)
		return
	}
	token, next, err := u.redeem(r)
	u.setCookie(w, r, signInCookie, "", 0)
	if err != nil {
		var p *api.Problem
		if !errors.As(err, &p) {
			u.cfg.Logger.WarnContext(r.Context(), "somebody could not sign in with the OpenID Connect provider", "err", err)
			p = &api.Problem{Status: http.StatusUnauthorized, Detail: "signing in with your company didn't work", Mend: "try again"}
		}
		u.failed(w, r, next, p)
		return
	}
	if p := u.show(w, r, token); p != nil {
		u.failed(w, r, next, p)
		return
	}
	http.Redirect(w, r, u.url(next), http.StatusSeeOther)
}

func (u *UI) failed(w http.ResponseWriter, r *http.Request, next string, p *api.Problem) {
	u.render(w, r, "signin", "bare", p.Status, &layout{Title: "Sign in", Problem: p, Embeds: embedded(r), Data: signInData{Next: next, HasProvider: u.provider != nil}})
}

// redeem gives a code for an ID token, if it is the one of the sign-in that this browser began.
func (u *UI) redeem(r *http.Request) (token, next string, err error) {
	var b begun
	c, err := r.Cookie(signInCookie)
	if err == nil {
		var text []byte
		if text, err = base64.RawURLEncoding.DecodeString(c.Value); err == nil {
			err = json.Unmarshal(text, &b)
		}
	}
	q := r.URL.Query()
	if err != nil || b.State == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(b.State)) != 1 {
		return "", "/", &api.Problem{Status: http.StatusBadRequest, Detail: "this sign-in was not begun in this browser, or took too long", Mend: "begin it again"}
	}
	next = local(b.Next)
	if reason := q.Get("error"); reason != "" {
		return "", next, &api.Problem{Status: http.StatusUnauthorized, Detail: "your company's sign-in refuses: " + short(200, url.QueryEscape(reason))}
	}
	oauth, found, err := u.provider.oauth(r.Context())
	if err != nil {
		return "", next, err
	}
	ctx := u.provider.context(r.Context())
	got, err := oauth.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(b.Verifier))
	if err != nil {
		return "", next, fmt.Errorf("give the code for a token: %w", err)
	}
	token, _ = got.Extra("id_token").(string)
	if token == "" {
		return "", next, errors.New("the provider's answer has no id_token")
	}
	id, err := found.VerifierContext(ctx, &oidc.Config{ClientID: u.provider.cfg.ClientID}).Verify(ctx, token)
	if err != nil {
		return "", next, fmt.Errorf("judge the ID token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(b.Nonce)) != 1 {
		return "", next, errors.New("the ID token is of another sign-in: its nonce differs")
	}
	return token, next, nil
}
