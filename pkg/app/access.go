package app

import (
	"context"
	"net"
	"net/url"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/store"
)

// validateOIDC judges the settings of the OpenID Connect provider.
func (c Config) validateOIDC(bad func(setting, format string, args ...any)) {
	if c.OIDCIssuer == "" {
		for setting, given := range map[string]bool{
			"oidc-audience": c.OIDCAudience != "", "oidc-tenant-claim": c.OIDCTenantClaim != "",
			"oidc-roles-claim": c.OIDCRolesClaim != "", "oidc-roles": len(c.OIDCRoles) > 0, "oidc-client-secret": len(c.OIDCClientSecret) > 0,
		} {
			if given {
				bad(setting, "there is no provider that it is for. Give its URL in %s", named("oidc-issuer"))
			}
		}
		return
	}
	u, err := url.Parse(c.OIDCIssuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		bad("oidc-issuer", "not a URL. Write what the provider calls its issuer, as https://login.example.com/realms/shop")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		bad("oidc-issuer", "an issuer has no user, query or fragment (OpenID Connect Discovery 1.0). Write it as the provider's /.well-known/openid-configuration has it")
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		bad("oidc-issuer", "it must be https: what comes by http could be anybody's keys")
	}
	if c.OIDCAudience == "" {
		bad("oidc-audience", "not set. Without it a token that the provider has made for any other program would be taken: give the name under which this one is registered there")
	}
	switch {
	case c.OIDCRolesClaim != "" && len(c.OIDCRoles) == 0:
		bad("oidc-roles", "not set, so that %s gives no role. Write what it has and the role for it, as bell-admins=admin,support=operator", named("oidc-roles-claim"))
	case c.OIDCRolesClaim == "" && len(c.OIDCRoles) > 0:
		bad("oidc-roles-claim", "not set, so that %s gives no role. Name the claim, as groups", named("oidc-roles"))
	case c.OIDCRolesClaim == "" && c.OIDCTenantClaim != "":
		bad("oidc-roles-claim", "not set, so that %s means nothing: a tenant without roles. Name the claim, as groups, or take that one away", named("oidc-tenant-claim"))
	}
}

// onThisMachine says that a host is a loopback address, or localhost.
func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// openAccess makes what finds out who asks.
func (a *App) openAccess(source *store.Source) {
	cfg := access.Config{
		Instance: a.cfg.Instance, TrustedProxies: a.cfg.TrustedProxies, Metrics: access.NewMetrics(a.reg), Logger: a.log,
	}
	if a.cfg.OIDCIssuer != "" {
		cfg.OIDC = &access.OIDC{
			Issuer: a.cfg.OIDCIssuer, Audience: a.cfg.OIDCAudience, TenantClaim: a.cfg.OIDCTenantClaim,
			RolesClaim: a.cfg.OIDCRolesClaim, Roles: a.cfg.OIDCRoles,
		}
	}
	a.access = access.New(cfg, source)
}

// firstKeyBy is who made the first key, in created_by.
const firstKeyBy = "rowbell run"

// showFirstKey makes the first key, if there never was one, and shows it this once. Without
// it nobody could use the API; what goes wrong is for others to mend.
func (a *App) showFirstKey(ctx context.Context) {
	id, text, err := access.NewService(a.source).FirstKey(ctx, firstKeyBy)
	switch {
	case err != nil && ctx.Err() == nil:
		a.log.WarnContext(ctx, "could not see whether there is an API key, so none was made; rowbell key create makes one", "err", Message(err))
	case text != "":
		a.log.WarnContext(ctx, "FIRST ADMIN KEY: there was no API key, so one was made, for all tenants. It is shown only here and only now; revoke it when you have made others with rowbell key create",
			"key", text, "revoke", "rowbell key revoke "+id)
	}
}

// Access keeps API keys, link keys and members.
func (o *Operator) Access() *access.Service { return access.NewService(o.app.source) }

// OIDCIssuer is the provider whose people members are, if not said otherwise; "" if there is none.
func (o *Operator) OIDCIssuer() string { return o.app.cfg.OIDCIssuer }

// Instance names the installation that links are for.
func (o *Operator) Instance() string { return o.app.cfg.Instance }
