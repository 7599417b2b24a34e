package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/email"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// connection is a service that this process goes out to.
type connection struct {
	name     string
	kind     string   // of the actions that use it; "" of none
	settings []string // as flags
	// check is how the doctor looks at it; nil: it doesn't.
	check func(d *doctor, ctx context.Context)
	// stands says whether it is set up, where it is, and what sets up what is missing.
	stands func(ctx context.Context, a *App, tenant *string) (state api.ConnectionState, about, mend string, err error)
}

var connections = []connection{
	{
		name: api.ConnectionMail, kind: "email", settings: []string{"smtp-url", "mail-from"}, check: (*doctor).examineMail,
		stands: func(_ context.Context, a *App, _ *string) (api.ConnectionState, string, string, error) {
			if a.cfg.SMTPURL == "" {
				return api.ConnectionMissing, "", "set ROWBELL_SMTP_URL, as smtp://user:password@mail.example.com:587, and ROWBELL_MAIL_FROM, and start rowbell again", nil
			}
			s, err := email.ParseServer(a.cfg.SMTPURL, a.cfg.MailFrom)
			if err != nil {
				return api.ConnectionMissing, "", "mend ROWBELL_SMTP_URL and ROWBELL_MAIL_FROM", nil //nolint:nilerr // rowbell check says more, and a worker doesn't start
			}
			return api.ConnectionReady, s.String(), "", nil
		},
	},
	{
		name: api.ConnectionChat, kind: "chat", settings: []string{"egress-allow"},
		stands: func(context.Context, *App, *string) (api.ConnectionState, string, string, error) {
			return api.ConnectionReady, "Each workflow names its service and its secret: there is nothing to set up here", "", nil
		},
	},
	{
		name: api.ConnectionNATS, kind: "publish", settings: []string{"nats-url", "nats-creds", "nats-prefix"}, check: (*doctor).broker,
		stands: func(_ context.Context, a *App, _ *string) (api.ConnectionState, string, string, error) {
			if a.cfg.NATSURL == "" {
				return api.ConnectionMissing, "", "set ROWBELL_NATS_URL, as nats://nats.example.com:4222, and start rowbell again", nil
			}
			return api.ConnectionReady, hostsOf(a.cfg.NATSURL) + ", subjects below " + a.cfg.NATSPrefix, "", nil
		},
	},
	{
		name: api.ConnectionDirectory, settings: []string{"directory-users", "directory-role-members", "directory-group-members", "directory-roles"}, check: (*doctor).examineDirectory,
		stands: func(_ context.Context, a *App, _ *string) (api.ConnectionState, string, string, error) {
			var has, lacks, missing []string
			for _, q := range []struct{ sql, of, setting string }{
				{a.cfg.DirectoryUsers, "people's addresses", "directory-users"},
				{a.cfg.DirectoryRoleMembers, "who has a role", "directory-role-members"},
				{a.cfg.DirectoryGroupMembers, "who is in a group", "directory-group-members"},
				{a.cfg.DirectoryRoles, "an actor's roles", "directory-roles"},
			} {
				if q.sql != "" {
					has = append(has, q.of)
					continue
				}
				lacks, missing = append(lacks, q.of), append(missing, Setting{Flag: q.setting}.Env())
			}
			about, mend := "SQL for "+listed(has), "for "+listed(lacks)+" set "+listed(missing)+" to SQL, and start rowbell again"
			switch {
			case len(has) == 0:
				return api.ConnectionMissing, "", mend, nil
			case len(lacks) > 0:
				return api.ConnectionPartly, about, mend, nil
			}
			return api.ConnectionReady, about, "", nil
		},
	},
	{
		name: api.ConnectionSignIn, settings: []string{"oidc-issuer", "oidc-audience", "oidc-client-secret", "public-url"}, check: (*doctor).provider,
		stands: func(_ context.Context, a *App, _ *string) (api.ConnectionState, string, string, error) {
			switch {
			case a.cfg.OIDCIssuer == "":
				return api.ConnectionMissing, "", "people sign in with keys alone; set ROWBELL_OIDC_ISSUER, ROWBELL_OIDC_AUDIENCE and ROWBELL_PUBLIC_URL, and start rowbell again", nil
			case a.cfg.PublicURL == "":
				return api.ConnectionPartly, a.cfg.OIDCIssuer, "its tokens are taken by the API, and nobody can sign in to the pages; set ROWBELL_PUBLIC_URL too, and start rowbell again", nil
			}
			return api.ConnectionReady, a.cfg.OIDCIssuer, "", nil
		},
	},
	{
		name: api.ConnectionFunctions, kind: "function", settings: []string{"state-url"}, check: (*doctor).functions,
		stands: func(ctx context.Context, a *App, tenant *string) (api.ConnectionState, string, string, error) {
			if !a.cfg.stateInSource() {
				return api.ConnectionMissing, "", "state is in another database, so that a call and its record would not be one transaction; leave ROWBELL_STATE_URL out", nil
			}
			n, err := a.source.CountFunctions(ctx, tenant)
			switch {
			case err != nil:
				return "", "", "", err
			case n == 0:
				return api.ConnectionMissing, "", "register one: SELECT rowbell.register_function('name', 'schema.function(text,jsonb)')", nil
			}
			return api.ConnectionReady, counted(n, "function is registered", "functions are registered"), "", nil
		},
	},
}

// listed joins a few words: a, b and c.
func listed(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// hostsOf are the servers of a list of URLs, without what is before an @.
func hostsOf(urls string) string {
	var list []string
	for one := range strings.SplitSeq(urls, ",") {
		one = strings.TrimSpace(one)
		if scheme, rest, ok := strings.Cut(one, "://"); ok {
			one = scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
		} else {
			one = one[strings.LastIndex(one, "@")+1:]
		}
		list = append(list, one)
	}
	return strings.Join(list, ", ")
}

// Connections are the services that this process goes out to, and what a tenant's deliveries
// came to there; nil: all tenants'.
func (o *Operator) Connections(ctx context.Context, tenant *string) ([]api.ConnectionOut, error) {
	a := o.app
	uses, err := a.state.KindUses(ctx, tenant)
	if err != nil {
		return nil, err
	}
	list := make([]api.ConnectionOut, 0, len(connections))
	for _, c := range connections {
		out := api.ConnectionOut{Name: c.name, Settings: make([]string, len(c.settings)), Verifiable: true}
		for i, s := range c.settings {
			out.Settings[i] = Setting{Flag: s}.Env()
		}
		if out.State, out.About, out.Mend, err = c.stands(ctx, a, tenant); err != nil {
			return nil, err
		}
		out.Verifiable = out.State != api.ConnectionMissing
		if c.kind != "" {
			u := uses[c.kind]
			out.Destinations, out.Barred, out.LastUsedAt = u.Destinations, u.Barred, u.LastSuccess
			out.LastErrorAt, out.LastError = u.LastErrorAt, u.LastError
		}
		switch c.name {
		case api.ConnectionDirectory:
			u := a.directory.LastUse()
			out.LastUsedAt, out.LastErrorAt, out.LastError = lastTime(u.At), lastTime(u.FailedAt), u.Error
		case api.ConnectionSignIn:
			u := a.access.ProviderUse()
			out.LastUsedAt, out.LastErrorAt, out.LastError = lastTime(u.At), lastTime(u.FailedAt), u.Error
		}
		for _, at := range []**time.Time{&out.LastUsedAt, &out.LastErrorAt} {
			if *at != nil {
				utc := (*at).UTC()
				*at = &utc
			}
		}
		list = append(list, out)
	}
	return list, nil
}

func lastTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// verifyTimeout bounds the trying of one connection.
const verifyTimeout = 25 * time.Second

// VerifyConnection tries one, and sends nothing to anybody. It returns ErrConflict if it is
// not set up, and ErrNotFound if there is none of this name.
func (o *Operator) VerifyConnection(ctx context.Context, name string, tenant *string, by string) (api.VerifiedOut, error) {
	a := o.app
	out := api.VerifiedOut{Name: name}
	i := slices.IndexFunc(connections, func(c connection) bool { return c.name == name })
	if i < 0 {
		return out, said{fmt.Sprintf("there is no connection %s; there are %s", name, listed(api.Connections)), workflow.ErrNotFound}
	}
	c := connections[i]
	state, _, mend, err := c.stands(ctx, a, tenant)
	switch {
	case err != nil:
		return out, err
	case state == api.ConnectionMissing:
		return out, said{"it is not set up; " + mend, workflow.ErrConflict}
	}
	began := time.Now()
	try, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	var findings []Finding
	if c.check == nil {
		findings, err = o.reachChats(try, tenant)
	} else {
		findings, err = a.examineOne(try, c)
	}
	if err != nil {
		return out, err
	}
	out.DurationMS, out.Works = time.Since(began).Milliseconds(), true
	for _, f := range findings {
		out.Works = out.Works && f.Level != LevelFailed
		out.Findings = append(out.Findings, api.FindingOut{Level: string(f.Level), Message: f.Message, Mend: append([]string{}, f.Mend...)})
	}
	of := ""
	if tenant != nil {
		of = *tenant
	}
	return out, o.note(ctx, store.Act{Actor: by, TenantID: of, Action: "connection.verify", ObjectType: "connection", ObjectID: name, Detail: map[string]any{"works": out.Works}})
}

// examineOne is what the doctor finds of one connection.
func (a *App) examineOne(ctx context.Context, c connection) ([]Finding, error) {
	d := &doctor{cfg: a.cfg, report: &Report{}, pool: a.sourcePool, source: a.source, state: a.state}
	if c.name == api.ConnectionDirectory || c.name == api.ConnectionFunctions { // whose mends name the role
		var err error
		if d.Prerequisites, err = a.source.Prerequisites(ctx); err != nil {
			return nil, err
		}
	}
	c.check(d, ctx)
	if len(d.report.Findings) == 0 {
		d.report.ok(c.name, "nothing uses it: there is nothing to try")
	}
	return d.report.Findings, nil
}

const (
	mostChats   = 20 // services that are tried at once, at most
	chatsAtOnce = 5
)

// reachChats tries the chat services that active workflows name, as their deliveries would
// reach them.
func (o *Operator) reachChats(ctx context.Context, tenant *string) ([]Finding, error) {
	a := o.app
	to := ""
	switch {
	case a.cfg.Delivery == DeliveryHold:
		to = "holds all deliveries"
	case a.cfg.Delivery.Redirect() != "": // of which not even this may go out
		to = "sends all deliveries to another address"
	}
	if to != "" {
		return []Finding{{
			Check: api.ConnectionChat, Level: LevelWarning, Message: "nothing was tried: this installation " + to + ", so that none goes to a chat",
			Mend: []string{"To have it deliver, an operator sets ROWBELL_DELIVERY to on and starts rowbell again."},
		}}, nil
	}
	if err := a.prepareJudging(); err != nil {
		return nil, err
	}
	list, err := a.source.Definitions(ctx, store.WorkflowFilter{Tenant: tenant, Status: workflow.Active, Kinds: []string{"chat"}})
	if err != nil {
		return nil, err
	}
	type service struct {
		tenantID string
		lane     int64
		reacher  actions.Reacher
	}
	var all []service
	more := 0
	for _, def := range list {
		w, err := workflow.Parse(def.Document)
		if err != nil {
			continue // a broken one sends nothing
		}
		plan, err := a.registry.Plan(w)
		if err != nil {
			continue
		}
		for _, s := range plan.Steps {
			r, ok := s.Runner.(actions.Reacher)
			if !ok || slices.ContainsFunc(all, func(x service) bool { return x.lane == s.Lane }) {
				continue
			}
			if len(all) == mostChats {
				more++
				continue
			}
			all = append(all, service{def.TenantID, s.Lane, r})
		}
	}
	secrets := newSecrets(a.source, a.key)
	findings := make([]Finding, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, chatsAtOnce)
	for i, s := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			name, err := s.reacher.Reach(ctx, func(ctx context.Context, name string) (string, error) { return secrets.get(ctx, s.tenantID, name) })
			findings[i] = Finding{Check: api.ConnectionChat, Level: LevelOK, Message: name + " answers"}
			if err != nil {
				findings[i] = Finding{Check: api.ConnectionChat, Level: LevelFailed, Message: name + ": " + Redact(err.Error())}
			}
		}()
	}
	wg.Wait()
	switch {
	case len(all) == 0:
		findings = append(findings, Finding{Check: api.ConnectionChat, Level: LevelOK, Message: "no active workflow posts into a chat: there is nothing to try"})
	case more > 0:
		findings = append(findings, Finding{Check: api.ConnectionChat, Level: LevelWarning, Message: fmt.Sprintf("%d more were not tried", more)})
	}
	return findings, nil
}

// provider asks the OpenID Connect provider for what it says of itself, and for its keys.
func (d *doctor) provider(ctx context.Context) {
	const check = "oidc"
	if d.cfg.OIDCIssuer == "" {
		return
	}
	ctx = oidc.ClientContext(ctx, &http.Client{Timeout: 10 * time.Second})
	bad := func(err error) {
		d.report.add(LevelFailed, check, fmt.Sprintf("%s can't be used, so that nobody can sign in with it: %s", d.cfg.OIDCIssuer, shortError(err)),
			"See that ROWBELL_OIDC_ISSUER is written as "+strings.TrimRight(d.cfg.OIDCIssuer, "/")+"/.well-known/openid-configuration has it, and that this machine reaches it.")
	}
	p, err := oidc.NewProvider(ctx, d.cfg.OIDCIssuer)
	if err != nil {
		bad(err)
		return
	}
	var says struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&says); err != nil {
		bad(err)
		return
	}
	n, err := countKeys(ctx, says.Keys)
	switch {
	case err != nil:
		bad(err)
	case n == 0:
		bad(errors.New("it has no keys, with which tokens could be signed"))
	default:
		d.report.ok(check, "%s answers, and has %s", d.cfg.OIDCIssuer, counted(n, "key", "keys"))
	}
}

// countKeys is how many keys a provider has (RFC 7517).
func countKeys(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, errors.New("its jwks_uri is no URL")
	}
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("its keys can't be had: %s", res.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&set); err != nil {
		return 0, errors.New("its keys can't be read: they are no JSON Web Key Set")
	}
	return len(set.Keys), nil
}

// shortError is the start of an error that quotes what a server said.
func shortError(err error) string {
	const most = 300
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
