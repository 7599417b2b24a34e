package ui

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
)

// Config is what the pages work with.
type Config struct {
	Version string
	// Environment is shown in the header, so that installations are told apart.
	Environment Environment
	// API is asked for everything; it serves paths below api.Prefix.
	API http.Handler
	// Base is the path below which the pages stand for who reaches them, as "/rowbell"; "" is
	// the root. The handler itself gets paths without it.
	Base string
	// Frames are the origins whose pages may show these in a frame, as
	// "https://shop.example.com". None: nobody's.
	Frames []string
	// Secure says that the pages are reached by https, so that cookies go by it alone. What a
	// request has come by counts besides.
	Secure bool
	// TrustedProxies are whose X-Forwarded-Proto is believed.
	TrustedProxies []netip.Prefix
	// Provider is where people of the company sign in; nil: nowhere.
	Provider *Provider
	Logger   *slog.Logger
}

// Environment is how an installation is called, and its colour: a class of the style sheet.
type Environment struct{ Name, Colour string }

// UI serves the pages. It is an http.Handler for all paths but the API's.
type UI struct {
	cfg       Config
	handler   http.Handler
	templates templates
	assets    *assets
	policy    string // Content-Security-Policy
	provider  *provider
}

// New makes the pages. Templates that can't be read are a mistake in the program: it panics.
func New(cfg Config) *UI {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	u := &UI{cfg: cfg, assets: newAssets(cfg.Base)}
	if cfg.Provider != nil {
		u.provider = &provider{cfg: *cfg.Provider}
	}
	u.templates = parseTemplates(u)
	u.policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors " +
		cmp.Or(strings.Join(cfg.Frames, " "), "'none'")

	mux := http.NewServeMux()
	mux.Handle("GET /assets/{hash}/{name}", u.assets)
	mux.HandleFunc("GET /signin", u.showSignIn)
	mux.HandleFunc("POST /signin", u.signIn)
	mux.HandleFunc("POST /signout", u.signOut)
	mux.HandleFunc("GET /enter", u.showEnter)
	mux.HandleFunc("POST /enter", u.enter)
	mux.HandleFunc("POST /tenant", u.chooseTenant)
	mux.HandleFunc("GET /tenants", u.showTenants)
	mux.HandleFunc("GET /signin/provider", u.toProvider)
	mux.HandleFunc("GET /signin/back", u.fromProvider)
	mux.HandleFunc("GET /live", u.live)
	mux.HandleFunc("GET /inbox/unread", u.countStream)
	mux.HandleFunc("GET /rowbell-inbox.js", u.element)
	for _, r := range concat(routes, listRoutes) {
		mux.Handle(r.pattern, u.visited(r))
	}
	mux.Handle("/", u.visited(route{show: func(v *visit) (*page, error) { return nil, notFound("There is no such page.") }}))
	u.handler = u.guarded(http.NewCrossOriginProtection().Handler(mux))
	return u
}

// route is a page, or what a form of one does.
type route struct {
	pattern string       // of http.ServeMux
	right   access.Right // that its visitor must have; "": whoever has signed in
	show    func(v *visit) (*page, error)
}

// routes are all pages, by what they are about.
var routes = concat(homeRoutes, workflowRoutes, runRoutes, designerRoutes, galleryRoutes, inboxRoutes, connectionRoutes)

func concat(lists ...[]route) []route {
	var all []route
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// ServeHTTP serves a page.
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) { u.handler.ServeHTTP(w, r) }

// guarded sets what all answers have.
func (u *UI) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", u.policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
		if len(u.cfg.Frames) > 0 {
			h.Del("X-Frame-Options") // frame-ancestors says it, with the origins
		}
		next.ServeHTTP(w, r)
	})
}

// url is the path of a page for its visitor.
func (u *UI) url(path string) string { return u.cfg.Base + path }
