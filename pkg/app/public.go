package app

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/admin"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/admin/ui"
	"github.com/rowbell/rowbell/pkg/preference"
)

// prepareSigner makes what signs unsubscribe links, if there are any.
func (a *App) prepareSigner() error {
	if a.cfg.PublicURL == "" || len(a.cfg.SecretKey) == 0 {
		return nil
	}
	var err error
	a.signer, err = preference.NewSigner(a.cfg.SecretKeys()...)
	return err
}

// openPublic binds the listener for the API and for people.
func (a *App) openPublic(version string) error {
	// A proxy may leave the path of the public URL as it is, or take it off.
	below := ""
	if u, err := url.Parse(a.cfg.PublicURL); err == nil {
		below = strings.TrimRight(u.Path, "/")
	}
	routes := map[string]http.Handler{api.Prefix + "/": a.api}
	if below != "" {
		routes[below+api.Prefix+"/"] = http.StripPrefix(below, a.api)
	}
	environment, err := ParseEnvironment(a.cfg.Environment)
	if err != nil {
		return err // Validate has seen to it
	}
	pages := ui.New(ui.Config{
		Version: version, Environment: ui.Environment(environment), API: a.api, Base: below, Secure: strings.HasPrefix(a.cfg.PublicURL, "https:"), TrustedProxies: a.cfg.TrustedProxies,
		Frames: a.cfg.FrameOrigins, Provider: a.signInProvider(), Logger: a.log,
	})
	routes["/"] = pages
	if below != "" {
		routes[below+"/"] = http.StripPrefix(below, pages)
	}
	if a.signer != nil {
		page := admin.NewUnsubscribe(a.signer, a.state, a.log)
		routes[page.Path("{token}")] = page
		routes[below+page.Path("{token}")] = page
	}
	a.public, err = admin.NewPublic(admin.PublicConfig{Listen: a.cfg.Listen, Routes: routes, Logger: a.log})
	return err
}

// PublicAddr is where pages are served; nil if none are.
func (a *App) PublicAddr() net.Addr {
	if a.public == nil {
		return nil
	}
	return a.public.Addr()
}

// unsubscribeURL returns what gives the link with which a person stops what a delivery of
// this kind tells them: "" if there is no page, or nothing to stop since the workflow is
// critical.
func (a *App) unsubscribeURL(kind string) func(*actions.Delivery) string {
	return func(d *actions.Delivery) string {
		if a.signer == nil || d.Recipient == "" || d.Workflow.Critical {
			return ""
		}
		tenant := d.Workflow.TenantID
		if d.Event != nil {
			tenant = cmp.Or(tenant, d.Event.TenantID)
		}
		token := a.signer.Token(preference.Subscription{
			TenantID: tenant, RecipientID: d.Recipient, WorkflowID: d.Workflow.ID, Channel: kind,
		})
		return strings.TrimRight(a.cfg.PublicURL, "/") + "/unsubscribe/" + token
	}
}
