package ui

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

var connectionRoutes = []route{
	{"GET /connections", access.StreamRead, showConnections},
	{"POST /connections/{name}/verify", access.DestinationWrite, verifyConnection},
	{"GET /connections/{name}/verify", access.StreamRead, func(*visit) (*page, error) { return redirect("/connections", ""), nil }}, // loaded again
	{"GET /settings", access.StreamRead, showSettings},
	{"POST /settings/pauses", access.PauseWrite, pauseInSettings},
	{"POST /settings/pauses/{id}/end", access.PauseWrite, endPauseInSettings},
	{"POST /settings/weight", access.PauseWrite, setWeight},
	{"GET /settings/{what}", "", func(*visit) (*page, error) { return redirect("/settings", ""), nil }},
}

// connectionsData are the services that Rowbell goes out to.
type connectionsData struct {
	Ready, Missing []connectionView
	AskAll         bool // the visitor acts for all tenants
}

type connectionView struct {
	api.ConnectionOut
	Title, Text, Icon string
	Status            choice
	Verified          *api.VerifiedOut // what was just tried
	Wrong             *api.Problem     // why it could not be
	ErrorIsNews       bool             // it failed after it worked last
}

// Untried says that the service could not be tried as things stand, which says nothing of it.
func (c connectionView) Untried() bool {
	return c.Verified != nil && !slices.ContainsFunc(c.Verified.Findings, func(f api.FindingOut) bool { return f.Level != "warning" })
}

// connectionTexts say what a service is for.
var connectionTexts = map[string]struct{ title, text, icon string }{
	api.ConnectionMail:      {"Mail server", "Sends e-mails to people.", "mail"},
	api.ConnectionChat:      {"Chat", "Posts into channels of Slack, Teams, Discord and others. Each workflow brings the address or token of its own channel.", "chat"},
	api.ConnectionNATS:      {"Message broker (NATS)", "Publishes messages for other systems of yours.", "flow"},
	api.ConnectionDirectory: {"Directory of people", "Knows who has which role, who is in which group, and everybody’s addresses.", "people"},
	api.ConnectionSignIn:    {"Company sign-in", "Lets people sign in here with their company’s account (OpenID Connect).", "key"},
	api.ConnectionFunctions: {"Functions of your database", "Runs an SQL function of the application, in one transaction with the record of it.", "pulse"},
}

var connectionStates = map[api.ConnectionState]choice{
	api.ConnectionReady: {"success", "Set up"}, api.ConnectionPartly: {"pending", "Partly set up"}, api.ConnectionMissing: {"", "Not set up"},
}

func (v *visit) connections() (*page, *connectionsData, error) {
	var list api.Page[api.ConnectionOut]
	if err := v.get("/connections", nil, &list); err != nil {
		return nil, nil, err
	}
	d := &connectionsData{AskAll: v.me.Tenant == nil}
	for _, c := range list.Items {
		texts := connectionTexts[c.Name]
		one := connectionView{ConnectionOut: c, Title: texts.title, Text: texts.text, Icon: texts.icon, Status: connectionStates[c.State]}
		if c.Name == api.ConnectionChat {
			one.About = "" // its text says it
		}
		one.ErrorIsNews = c.LastErrorAt != nil && (c.LastUsedAt == nil || c.LastErrorAt.After(*c.LastUsedAt))
		if c.State == api.ConnectionMissing {
			d.Missing = append(d.Missing, one)
		} else {
			d.Ready = append(d.Ready, one)
		}
	}
	return &page{template: "connections", title: "Connections", nav: "connections", data: d}, d, nil
}

func showConnections(v *visit) (*page, error) {
	p, _, err := v.connections()
	return p, err
}

// verifyConnection has a service tried, and shows at its place what came of it.
func verifyConnection(v *visit) (*page, error) {
	name := v.r.PathValue("name")
	var out api.VerifiedOut
	wrong := v.call("POST", at("/connections/%s/verify", name), nil, nil, &out)
	p, d, err := v.connections()
	if err != nil {
		return nil, cmp.Or(wrong, err)
	}
	for i := range d.Ready {
		if c := &d.Ready[i]; c.Name == name {
			if wrong == nil {
				c.Verified = &out
			} else {
				c.Wrong = problemOf(wrong)
				p.status = c.Wrong.Status
			}
			return p, nil
		}
	}
	if wrong == nil { // it was taken away meanwhile
		wrong = &api.Problem{Status: http.StatusConflict, Detail: "this service is not set up any more"}
	}
	return problemPage(p, wrong)
}

// settingsData are the limits in force.
type settingsData struct {
	api.SettingsOut
	Groups  []limitGroup
	Pauses  []api.PauseOut
	Kinds   []string
	AskAll  bool
	Masked  int // columns that are masked or hidden
	Tenants []tenantChoice
}

type limitGroup struct {
	ID, Title, Text string
	Limits          []limitView
}

type limitView struct {
	api.LimitOut
	Title, Help, Shown string
	Changed            bool // it isn't as it is by default
}

// limitGroups are the parts of the page, in order.
var limitGroups = []limitGroup{
	{ID: "sending", Title: "Sending", Text: "How much goes out at once, so that no tenant and no receiver waits for another."},
	{ID: "guard", Title: "Guards", Text: "When a workflow suddenly does far more than usual, the rest is held until somebody decides. Each workflow can have a limit of its own."},
	{ID: "keeping", Title: "How long things are kept", Text: "What is older is deleted."},
	{ID: "people", Title: "People", Text: "What counts for people who have said nothing themselves."},
	{ID: "installation", Title: "This installation", Text: ""},
}

// limitTexts are limits in words: what each is, more about it, and its unit.
var limitTexts = map[string]struct{ title, help, unit string }{
	"delivery":                {"Delivery", "Whether messages are sent at all: hold records them and sends nothing, redirect sends all of them to one receiver.", ""},
	"delivery_concurrency":    {"Messages at once", "All tenants together, in each worker.", ""},
	"tenant_concurrency":      {"Messages of one tenant at once", "More wait their turn.", ""},
	"destination_concurrency": {"Messages to one receiver at once", "A webhook can have a lower limit of its own.", ""},
	"destination_rate":        {"Messages to one receiver in a time", "All workers together.", ""},
	"disable_after":           {"A receiver is turned off after", "So long of nothing but failures. It can be turned on again on the page Destinations.", ""},
	"storm_transaction":       {"Matches of one workflow in one transaction", "An import of a thousand rows is one transaction.", ""},
	"storm_minute":            {"Matches of one workflow in one minute", "", ""},
	"max_depth":               {"Workflows that set one another off", "After so many in a row the next is stopped, and its owner told: it may be a loop.", ""},
	"retention_days":          {"Runs and changes", "", " days"},
	"kept_days":               {"Failed and cancelled runs", "", " days"},
	"inbox_days":              {"Notifications in people’s inboxes", "", " days"},
	"audit_retention":         {"Activity: who did what", "", " days"},
	"time_zone":               {"Clock for quiet hours", "Nobody has quiet hours until they set them, or somebody sets them for them. They go by the person’s own zone; this one counts where nobody knows it.", ""},
	"critical_workflows":      {"Who may pass quiet hours and opt-outs", "A workflow that says it is critical reaches people all the same.", ""},
	"alert_window":            {"Owners are told again after", "Of one workflow’s failures, the first time at once.", ""},
	"instance":                {"Instance", "A copy of the database is another installation, and needs another name.", ""},
	"environment":             {"Environment", "The name in the header, and its colour.", ""},
	"capture":                 {"Tables", "auto: a table is captured when a workflow names it. manual: an operator captures it.", ""},
	"tenant_column":           {"Tenant column", "The column that says whose a row is, unless the table was captured with another.", ""},
}

var limitValues = map[string]string{
	"delivery on": "on", "delivery hold": "held: nothing is sent", "delivery redirect": "redirected to one receiver",
	"critical_workflows all": "every workflow", "critical_workflows operators": "operators’ workflows only", "audit_retention forever": "for ever",
	"storm_transaction off": "no limit", "storm_minute off": "no limit",
}

func shownLimit(l *api.LimitOut) limitView {
	t := limitTexts[l.Name]
	one := limitView{LimitOut: *l, Title: t.title, Help: t.help, Changed: l.Value != l.Default}
	if one.Title == "" { // a newer API's
		one.Title = upperFirst(l.Name)
		one.Help = l.Text
	}
	switch text, special := limitValues[l.Name+" "+l.Value]; {
	case special:
		one.Shown = text
	case l.Value == "":
		one.Shown = "none"
	default:
		one.Shown = l.Value
		if n, err := strconv.ParseInt(l.Value, 10, 64); err == nil {
			one.Shown = number(n) + t.unit
		} else if long, err := time.ParseDuration(l.Value); err == nil {
			one.Shown = longText(long)
		}
	}
	return one
}

// longText is a time in words: 5 days, 1 hour, 90 minutes.
func longText(d time.Duration) string {
	for _, u := range []struct {
		of        time.Duration
		one, many string
	}{{24 * time.Hour, "day", "days"}, {time.Hour, "hour", "hours"}, {time.Minute, "minute", "minutes"}} {
		if d >= u.of && d%u.of == 0 {
			return plural(int64(d/u.of), u.one, u.many)
		}
	}
	return d.String()
}

func (v *visit) settings() (*page, *settingsData, error) {
	d := &settingsData{AskAll: v.me.Tenant == nil}
	if err := v.get("/settings", nil, &d.SettingsOut); err != nil {
		return nil, nil, err
	}
	d.Groups = make([]limitGroup, len(limitGroups))
	for i, g := range limitGroups {
		for j := range d.Limits {
			if l := &d.Limits[j]; l.Group == g.ID {
				g.Limits = append(g.Limits, shownLimit(l))
			}
		}
		d.Groups[i] = g
	}
	for _, t := range d.Tables {
		d.Masked += len(t.Redacted) + len(t.Hidden)
	}
	var pauses api.Page[api.PauseOut]
	if err := v.get("/pauses", nil, &pauses); err != nil {
		return nil, nil, err
	}
	d.Pauses = pauses.Items
	if v.can(access.PauseWrite) {
		if v.can(access.CatalogueRead) {
			var kinds api.Page[api.KindOut]
			if err := v.get("/action-kinds", nil, &kinds); err != nil {
				return nil, nil, err
			}
			for _, k := range kinds.Items {
				d.Kinds = append(d.Kinds, k.Name)
			}
		}
		if d.AskAll && v.can(access.WorkflowRead) {
			var tenants api.Page[api.TenantListed]
			if err := v.get("/tenants", nil, &tenants); err != nil {
				return nil, nil, err
			}
			for i := range tenants.Items[:min(len(tenants.Items), 500)] {
				d.Tenants = append(d.Tenants, tenantChoice{ID: tenants.Items[i].TenantID})
			}
		}
	}
	return &page{template: "settings", title: "Settings", nav: "settings", data: d}, d, nil
}

func showSettings(v *visit) (*page, error) {
	p, _, err := v.settings()
	return p, err
}

// inSettings goes back to the page after a form, or shows there what is wrong.
func (v *visit) inSettings(wrong error, done string) (*page, error) {
	if wrong == nil {
		return redirect("/settings", done), nil
	}
	p, _, err := v.settings()
	if err != nil {
		return nil, err
	}
	return problemPage(p, wrong)
}

func pauseInSettings(v *visit) (*page, error) {
	return v.inSettings(v.call("POST", "/pauses", nil, v.pause(), nil), "paused")
}

func endPauseInSettings(v *visit) (*page, error) {
	return v.inSettings(v.call("DELETE", at("/pauses/%s", v.r.PathValue("id")), nil, nil, nil), "resumed")
}

func setWeight(v *visit) (*page, error) {
	n, err := strconv.Atoi(strings.TrimSpace(v.form("weight")))
	if err != nil {
		n = 0 // which the API refuses, and says what it takes
	}
	in := map[string]any{"tenant_id": v.form("tenant_id"), "weight": n}
	return v.inSettings(v.call("PUT", "/settings/weight", url.Values{}, in, nil), "saved")
}
