package app

import (
	"context"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// preferences answers for the executor.
func (a *App) preferences() *preference.Asker {
	zone, ok := preference.LoadZone(a.cfg.TimeZone)
	if !ok {
		zone = time.UTC // Validate has seen to it
	}
	return preference.New(a.state, preference.Config{Zone: zone})
}

// judgeSettings says what is wrong with the settings of a workflow that are about people.
func (a *App) judgeSettings(w *workflow.Workflow) error {
	critical, err := w.Critical()
	if err != nil {
		return err
	}
	if critical && w.TenantID != nil && a.cfg.Critical == CriticalOperators {
		return fmt.Errorf("settings: critical is true, which only operators' workflows may be here (%s is operators); leave it out, or ask an operator", named("critical-workflows"))
	}
	_, err = w.Owners()
	return err
}

// mostAlertees is how many the setting alerts may name.
const mostAlertees = 20

// setAlerts reads the setting alerts; validatePeople judges it.
func setAlerts(c *Config, s string) error {
	c.Alerts = nil
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			c.Alerts = append(c.Alerts, part)
		}
	}
	return nil
}

// validatePeople judges the settings that are about people.
func (c Config) validatePeople(bad func(setting, format string, args ...any)) {
	if _, ok := preference.LoadZone(c.TimeZone); !ok {
		bad("time-zone", "there is no time zone %q. Use a name of the IANA database, as Europe/Vienna", c.TimeZone)
	}
	if c.Critical != CriticalAll && c.Critical != CriticalOperators {
		bad("critical-workflows", "%q is neither. Use all or operators", c.Critical)
	}
	if c.PublicURL != "" {
		if err := checkPublicURL(c.PublicURL); err != nil {
			bad("public-url", "%v", err)
		} else if len(c.SecretKey) == 0 {
			bad("public-url", "it needs %s, with which links are signed. Make one with: openssl rand -base64 32", named("secret-key"))
		}
	}
	if len(c.Alerts) > mostAlertees {
		bad("alerts", "%d are too many. Name at most %d", len(c.Alerts), mostAlertees)
	}
	for i, to := range c.Alerts {
		if err := checkAlertee(to); err != nil {
			bad("alerts", "the %d. of them: %v", i+1, err)
		}
	}
	if c.AlertWindow < time.Second || c.AlertWindow > 7*24*time.Hour {
		bad("alert-window", "%v is out of range. Use 1s to 168h", c.AlertWindow)
	}
	if c.InboxDays < 1 {
		bad("inbox-days", "%d is too few. Keep at least 1 day", c.InboxDays)
	}
}

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?$`)

// checkPublicURL judges the base of links. Mail programs post to https alone (RFC 8058).
func checkPublicURL(s string) error {
	const mend = ". Write https://bell.example.com, with a path behind it if a proxy has one"
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || len(s) > 500 {
		return fmt.Errorf("it is no URL%s", mend)
	}
	local := u.Hostname() == "localhost"
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		local = ip.IsLoopback()
	}
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && local):
		return fmt.Errorf("it begins with %s: mail programs use https only%s", u.Scheme, mend)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("it has a user, a query or a fragment%s", mend)
	case !plainPath.MatchString(u.EscapedPath()):
		return fmt.Errorf("its path has more than letters, digits, dots, dashes and underscores%s", mend)
	}
	return nil
}

// checkAlertee judges one of the setting alerts. It may hold a token, and isn't shown.
func checkAlertee(to string) error {
	const mend = "it is no way to tell somebody. Write mailto:ops@example.com, https://hooks.example.com/… or user:ann"
	scheme, rest, _ := strings.Cut(to, ":")
	switch scheme {
	case "mailto":
		if a, err := mail.ParseAddress(rest); err == nil && a.Address == rest {
			return nil
		}
		return fmt.Errorf("what follows mailto: is no address. Write mailto:ops@example.com")
	case "https", "http":
		if u, err := url.Parse(to); err == nil && u.Hostname() != "" {
			return nil
		}
	case "user":
		if rest != "" && len(rest) <= 200 {
			return nil
		}
	}
	return fmt.Errorf("%s", mend)
}

// checkChannel says what is wrong with a channel of preferences that is no kind of action
// with recipients: nothing would ever come by it.
func (o *Operator) checkChannel(channel string) error {
	if err := o.app.prepareJudging(); err != nil {
		return err
	}
	var names []string
	for _, k := range o.app.registry.Kinds() {
		if k.Recipients {
			names = append(names, k.Name)
		}
	}
	if slices.Contains(names, channel) {
		return nil
	}
	return fmt.Errorf("nothing reaches people by %q; there are: %s", channel, strings.Join(names, ", "))
}

// ListPreferences reads preferences and quiet hours.
func (o *Operator) ListPreferences(ctx context.Context, f store.PreferenceFilter) ([]store.StoredPreference, error) {
	return o.app.state.ListPreferences(ctx, f)
}

// Wanted is what somebody has said of what they want.
func (o *Operator) Wanted(ctx context.Context, who workflow.PersonKey) ([]workflow.Preference, error) {
	list, err := o.app.state.Preferences(ctx, []workflow.PersonKey{who})
	if err != nil {
		return nil, err
	}
	return list[0].Wanted, nil
}

// SetPreference says in somebody's name whether they want something; nil takes back what
// was said of it.
func (o *Operator) SetPreference(ctx context.Context, who workflow.PersonKey, p workflow.Preference, wanted *bool, actor string) error {
	if p.Channel != "" && wanted != nil { // what is there can be taken back
		if err := o.checkChannel(p.Channel); err != nil {
			return err
		}
	}
	if err := o.app.state.SetPreference(ctx, who, p, wanted, actor); err != nil {
		return err
	}
	return o.note(ctx, personAct(who, actor, "preference.set", map[string]any{"workflow_id": p.WorkflowID, "channel": p.Channel, "wanted": wanted}))
}

// AddQuietHours adds to the quiet hours that somebody has.
func (o *Operator) AddQuietHours(ctx context.Context, who workflow.PersonKey, q workflow.QuietHours, actor string) error {
	if err := o.app.state.AddQuietHours(ctx, who, q, actor); err != nil {
		return err
	}
	return o.note(ctx, personAct(who, actor, "quiet_hours.add", map[string]any{
		"from": clock(q.From), "to": clock(q.To), "days": q.Days.Names(), "zone": q.Zone,
	}))
}

// clock is a time of day: 22:00.
func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// ClearQuietHours takes away all quiet hours that somebody has, and returns how many.
func (o *Operator) ClearQuietHours(ctx context.Context, who workflow.PersonKey, actor string) (int, error) {
	n, err := o.app.state.ClearQuietHours(ctx, who)
	if err != nil {
		return 0, err
	}
	return n, o.note(ctx, personAct(who, actor, "quiet_hours.clear", map[string]any{"removed": n}))
}

// personAct is what audit_log has of what somebody wants.
func personAct(who workflow.PersonKey, actor, action string, detail map[string]any) store.Act {
	return store.Act{Actor: actor, TenantID: who.TenantID, Action: action, ObjectType: "person", ObjectID: who.ID, Detail: detail}
}
