package app

import (
	"context"
	"net/http"

	"github.com/rowbell/rowbell/pkg/access"
)

// WithoutRowSecurity makes an API whose requests see the databases as the worker does: what
// is left is what its code looks at.
func WithoutRowSecurity(c *Config) { c.apiTest.noRowSecurity = true }

// WithoutCode makes an API whose code takes every principal for one of all tenants: what is
// left is row-level security.
func WithoutCode(c *Config) { c.apiTest.noCode = true }

// WithoutRateLimit lets a principal send as much as it can.
func WithoutRateLimit(c *Config) { c.apiTest.rate = 1_000_000 }

// seesAll lets a principal of one tenant see all, as far as code looks.
type seesAll struct {
	of interface {
		Authenticate(ctx context.Context, r *http.Request) (*access.Principal, error)
	}
}

func (s seesAll) Authenticate(ctx context.Context, r *http.Request) (*access.Principal, error) {
	p, err := s.of.Authenticate(ctx, r)
	if err != nil {
		return nil, err
	}
	all := *p
	all.All = true // and yet of a tenant, which row-level security goes by
	return &all, nil
}

func init() { withoutCode = func(a authenticator) authenticator { return seesAll{a} } }
