package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const peopleTag = "People"

func peopleRoutes(a *API) {
	add(a, Route{
		Method: http.MethodPost, Path: "/recipients/resolve", ID: "resolveRecipients", Tag: peopleTag, Right: access.PersonRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Who recipients are now: people with their addresses and why they are among them",
	}, resolveRecipients)
	add(a, Route{
		Method: http.MethodGet, Path: "/recipients/missing-addresses", ID: "listMissingAddresses", Tag: peopleTag, Right: access.PersonRead,
		Summary: "People whom active workflows can't reach, for want of an address",
	}, listMissing)
	add(a, Route{
		Method: http.MethodGet, Path: "/people/{id}/inbox", ID: "listInbox", Tag: "Inbox", Right: Anyone,
		Summary: "Somebody's inbox, the newest first", Description: "One's own, as the subject of a link for the person's tenant, needs no right; another's needs inbox.read.",
	}, listInbox)
	add(a, Route{
		Method: http.MethodGet, Path: "/people/{id}/inbox/counts", ID: "countInbox", Tag: "Inbox", Right: Anyone,
		Summary: "What a bell shows", Description: "One's own needs no right; another's needs inbox.read.",
	}, countInbox)
	add(a, Route{
		Method: http.MethodPost, Path: "/people/{id}/inbox/mark", ID: "markInbox", Tag: "Inbox", Right: Anyone, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Mark notifications as seen, read, unread, archived or back in the inbox", Description: "One's own needs no right; another's needs inbox.write.",
	}, markInbox)
	add(a, Route{
		Method: http.MethodGet, Path: "/preferences", ID: "searchPreferences", Tag: "Preferences", Right: access.PreferenceRead,
		Summary: "What people want to be told, and their quiet hours, by tenant and person", Description: "At most 1000 of each.",
	}, searchPreferences)
	add(a, Route{
		Method: http.MethodGet, Path: "/people/{id}/preferences", ID: "listPreferences", Tag: "Preferences", Right: Anyone,
		Summary: "What somebody wants to be told, and their quiet hours", Description: "One's own needs no right; another's needs preference.read.",
	}, listPreferences)
	add(a, Route{
		Method: http.MethodPut, Path: "/people/{id}/preferences", ID: "setPreference", Tag: "Preferences", Right: Anyone, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Say whether somebody wants what a workflow tells them, through a channel", Description: "One's own needs no right; another's needs preference.write.",
	}, setPreference)
	add(a, Route{
		Method: http.MethodPost, Path: "/people/{id}/quiet-hours", ID: "addQuietHours", Tag: "Preferences", Right: Anyone, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Add quiet hours", Description: "One's own needs no right; another's needs preference.write.", Status: http.StatusNoContent,
	}, addQuietHours)
	add(a, Route{
		Method: http.MethodDelete, Path: "/people/{id}/quiet-hours", ID: "clearQuietHours", Tag: "Preferences", Right: Anyone,
		Summary: "Take all quiet hours away", Description: "One's own needs no right; another's needs preference.write.", Status: http.StatusNoContent,
	}, clearQuietHours)
}

// RecipientIn is a recipient as a workflow has it.
type RecipientIn struct {
	Type  string `json:"recipient_type" enum:"user,role,group" doc:"Attributes stand in a row: simulate a workflow for them"`
	Value string `json:"recipient_id" minLength:"1" maxLength:"500"`
}

// PersonOut is somebody who was found.
type PersonOut struct {
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"`
	Email    string   `json:"email,omitempty"`
	Phone    string   `json:"phone,omitempty"`
	Locale   string   `json:"locale,omitempty"`
	Zone     string   `json:"zone,omitempty"`
	Stranger bool     `json:"stranger,omitempty" doc:"The directory doesn't know them"`
	Reasons  []string `json:"reasons" doc:"Why they are a recipient"`
	Why      string   `json:"why,omitempty" doc:"Why they are left out"`
}

func personOut(p *workflow.Person, why string) PersonOut {
	out := PersonOut{p.ID, p.Name, p.Email, p.Phone, p.Locale, p.Zone, p.Stranger, p.Reasons, why}
	if out.Reasons == nil {
		out.Reasons = []string{}
	}
	return out
}

// ResolvedOut is who recipients are.
type ResolvedOut struct {
	People  []PersonOut `json:"people"`
	LeftOut []PersonOut `json:"left_out"`
}

func resolveRecipients(ctx context.Context, q *Request, in *struct {
	Body struct {
		Tenant     *string       `json:"tenant_id,omitempty" doc:"Whose people; of a principal of one tenant, that one"`
		Recipients []RecipientIn `json:"recipients" minItems:"1" maxItems:"100"`
	}
},
) (*struct{ Body ResolvedOut }, error) {
	tenant, err := q.tenantIn(in.Body.Tenant, "/tenant_id")
	if err != nil {
		return nil, err
	}
	ask := directory.Question{TenantID: tenant, What: "a test of recipients"}
	for _, r := range in.Body.Recipients {
		ask.Recipients = append(ask.Recipients, workflow.Recipient{Type: r.Type, Value: r.Value})
	}
	people, err := q.Operations.Resolve(ctx, ask)
	if err != nil {
		return nil, &Problem{Status: http.StatusUnprocessableEntity, Detail: "recipients can't be found out: " + err.Error(), Mend: "rowbell check looks at the directory's settings"}
	}
	out := ResolvedOut{People: []PersonOut{}, LeftOut: []PersonOut{}}
	for i := range people.To {
		out.People = append(out.People, personOut(&people.To[i], ""))
	}
	for i := range people.Left {
		out.LeftOut = append(out.LeftOut, personOut(&people.Left[i].Person, people.Left[i].Why))
	}
	return &struct{ Body ResolvedOut }{out}, nil
}

// tenantIn is the tenant that a body names, or the principal's own.
func (q *Request) tenantIn(named *string, pointer string) (string, error) {
	if q.Principal.All {
		if named == nil {
			return "", nil
		}
		return *named, nil
	}
	if named != nil && *named != q.Principal.Tenant {
		return "", unprocessable(pointer, "leave it out", "you are of tenant %s", q.Principal.Tenant)
	}
	return q.Principal.Tenant, nil
}

func listMissing(ctx context.Context, q *Request, in *TenantFilter) (*struct{ Body MissingReport }, error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return &struct{ Body MissingReport }{MissingReport{People: []MissingPerson{}, Problems: []string{}}}, nil
	}
	r, err := q.Operations.MissingAddresses(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return &struct{ Body MissingReport }{r}, nil
}

// PersonPath names somebody of a tenant.
type PersonPath struct {
	ID     string       `path:"id" maxLength:"500" doc:"The application's id of the person; me for oneself"`
	Tenant OptionalText `query:"tenant" doc:"For principals of all tenants: whose person it is; none if not given"`
}

// who is the person, if the caller is they, or has the right.
func (q *Request) who(p *PersonPath, right access.Right) (workflow.PersonKey, error) {
	key := workflow.PersonKey{TenantID: q.Principal.Tenant, ID: p.ID}
	if q.Principal.All {
		key.TenantID = p.Tenant.Value
	} else if p.Tenant.Set && p.Tenant.Value != q.Principal.Tenant {
		return key, notFound("there is nobody of tenant %s here", p.Tenant.Value)
	}
	if p.ID == "me" {
		if key.ID = q.Principal.Subject; key.ID == "" {
			return key, &Problem{Status: http.StatusUnprocessableEntity, Detail: "a key is nobody", Mend: "name the person"}
		}
	}
	if !q.Principal.Is(key.TenantID, key.ID) && !q.Principal.Can(right) {
		return key, forbidden(right)
	}
	return key, nil
}

func listInbox(ctx context.Context, q *Request, in *struct {
	PersonPath
	Cursor   string `query:"cursor" maxLength:"100" doc:"next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items a page has at most"`
	Unread   bool   `query:"unread" doc:"Only those that are not read"`
	Archived bool   `query:"archived" doc:"Those that were put away, instead"`
},
) (*PageOf[store.InboxEntry], error) {
	who, err := q.who(&in.PersonPath, access.InboxRead)
	if err != nil {
		return nil, err
	}
	before := ""
	if in.Cursor != "" {
		if err := decodeCursor(in.Cursor, &before); err != nil {
			return nil, err
		}
	}
	list, err := q.State.Inbox(ctx, store.InboxQuery{RecipientID: who.ID, TenantID: &who.TenantID, Before: before, Limit: in.Limit + 1, Unread: in.Unread, Archived: in.Archived})
	if err != nil {
		return nil, err
	}
	next := ""
	if len(list) > in.Limit {
		list = list[:in.Limit]
		next = encodeCursor(list[in.Limit-1].ID)
	}
	return page(list, next), nil
}

func countInbox(ctx context.Context, q *Request, in *PersonPath) (*struct{ Body store.InboxCounts }, error) {
	who, err := q.who(in, access.InboxRead)
	if err != nil {
		return nil, err
	}
	n, err := q.State.CountInbox(ctx, who.ID, &who.TenantID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.InboxCounts }{n}, nil
}

// MarkedOut says how many notifications were marked.
type MarkedOut struct {
	Marked int `json:"marked" doc:"How many were not so before"`
}

func markInbox(ctx context.Context, q *Request, in *struct {
	PersonPath
	Body struct {
		IDs  []string `json:"ids,omitempty" maxItems:"1000" doc:"Which; all in the inbox if not given"`
		Mark string   `json:"mark" enum:"seen,read,unread,archived,unarchived"`
	}
},
) (*struct{ Body MarkedOut }, error) {
	who, err := q.who(&in.PersonPath, access.InboxWrite)
	if err != nil {
		return nil, err
	}
	n, err := q.State.MarkInbox(ctx, who.ID, &who.TenantID, in.Body.IDs, store.InboxMark(in.Body.Mark))
	if err != nil {
		return nil, err
	}
	return &struct{ Body MarkedOut }{MarkedOut{n}}, nil
}

// PreferenceOut is one thing that somebody wants or doesn't.
type PreferenceOut struct {
	WorkflowID string    `json:"workflow_id,omitempty" doc:"Missing: all workflows"`
	Channel    string    `json:"channel,omitempty" doc:"Missing: all channels"`
	Wanted     bool      `json:"wanted"`
	UpdatedAt  time.Time `json:"updated_at"`
	UpdatedBy  string    `json:"updated_by"`
}

// QuietOut are quiet hours.
type QuietOut struct {
	From string   `json:"from" example:"22:00"`
	To   string   `json:"to" example:"07:00" doc:"On the next day if it isn't later than from"`
	Days []string `json:"days" doc:"On which they begin"`
	Zone string   `json:"zone,omitempty" doc:"Missing: the person's own"`
}

// PreferencesOut is all that somebody wants.
type PreferencesOut struct {
	Preferences []PreferenceOut `json:"preferences"`
	QuietHours  []QuietOut      `json:"quiet_hours"`
}

// mostPreferences of one person are shown.
const mostPreferences = 1000

func (q *Request) preferences(ctx context.Context, who workflow.PersonKey) (*struct{ Body PreferencesOut }, error) {
	list, err := q.State.ListPreferences(ctx, store.PreferenceFilter{TenantID: &who.TenantID, RecipientID: &who.ID, Limit: mostPreferences})
	if err != nil {
		return nil, err
	}
	out := PreferencesOut{Preferences: []PreferenceOut{}, QuietHours: []QuietOut{}}
	for _, p := range list {
		if p.Preference != nil {
			out.Preferences = append(out.Preferences, PreferenceOut{p.Preference.WorkflowID, p.Preference.Channel, p.Preference.Wanted, p.UpdatedAt.UTC(), p.UpdatedBy})
		}
		if p.Quiet != nil {
			out.QuietHours = append(out.QuietHours, QuietOut{clock(p.Quiet.From), clock(p.Quiet.To), p.Quiet.Days.Names(), p.Quiet.Zone})
		}
	}
	return &struct{ Body PreferencesOut }{out}, nil
}

// ListedPreference is one thing that somebody wants or doesn't, or quiet hours.
type ListedPreference struct {
	TenantID    string    `json:"tenant_id" doc:"Empty: a person of no tenant"`
	RecipientID string    `json:"recipient_id"`
	WorkflowID  string    `json:"workflow_id,omitempty" doc:"Missing: all workflows"`
	Channel     string    `json:"channel,omitempty" doc:"Missing: all channels"`
	Wanted      *bool     `json:"wanted,omitempty" doc:"Missing: it is quiet hours"`
	Quiet       *QuietOut `json:"quiet_hours,omitempty"`
	UpdatedAt   time.Time `json:"updated_at"`
	UpdatedBy   string    `json:"updated_by"`
}

func searchPreferences(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Recipient string `query:"recipient_id" maxLength:"500" doc:"Only this person's"`
},
) (*PageOf[ListedPreference], error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return page([]ListedPreference{}, ""), nil
	}
	f := store.PreferenceFilter{TenantID: tenant, Limit: mostPreferences}
	if in.Recipient != "" {
		f.RecipientID = &in.Recipient
	}
	found, err := q.State.ListPreferences(ctx, f)
	if err != nil {
		return nil, err
	}
	list := make([]ListedPreference, len(found))
	for i, p := range found {
		list[i] = ListedPreference{TenantID: p.TenantID, RecipientID: p.RecipientID, UpdatedAt: p.UpdatedAt.UTC(), UpdatedBy: p.UpdatedBy}
		if p.Preference != nil {
			list[i].WorkflowID, list[i].Channel, list[i].Wanted = p.Preference.WorkflowID, p.Preference.Channel, &p.Preference.Wanted
		}
		if p.Quiet != nil {
			list[i].Quiet = &QuietOut{clock(p.Quiet.From), clock(p.Quiet.To), p.Quiet.Days.Names(), p.Quiet.Zone}
		}
	}
	return page(list, ""), nil
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

func listPreferences(ctx context.Context, q *Request, in *PersonPath) (*struct{ Body PreferencesOut }, error) {
	who, err := q.who(in, access.PreferenceRead)
	if err != nil {
		return nil, err
	}
	return q.preferences(ctx, who)
}

func setPreference(ctx context.Context, q *Request, in *struct {
	PersonPath
	Body struct {
		WorkflowID string `json:"workflow_id,omitempty" maxLength:"64" doc:"Missing: all workflows"`
		Channel    string `json:"channel,omitempty" maxLength:"64" doc:"A kind of action with recipients, as email; missing: all"`
		Wanted     *bool  `json:"wanted" nullable:"true" doc:"Null takes back what was said"`
	}
},
) (*struct{ Body PreferencesOut }, error) {
	who, err := q.who(&in.PersonPath, access.PreferenceWrite)
	if err != nil {
		return nil, err
	}
	if c := in.Body.Channel; c != "" && in.Body.Wanted != nil { // what is there can be taken back
		var names []string
		for _, k := range q.Definitions.Registry.Kinds() {
			if k.Recipients {
				names = append(names, k.Name)
			}
		}
		if !slices.Contains(names, c) {
			return nil, unprocessable("/channel", "", "nothing reaches people by %q; there are: %s", c, strings.Join(names, ", "))
		}
	}
	if err := q.Operations.SetPreference(ctx, who, workflow.Preference{WorkflowID: in.Body.WorkflowID, Channel: in.Body.Channel}, in.Body.Wanted, q.Actor()); err != nil {
		return nil, err
	}
	return q.preferences(ctx, who)
}

func addQuietHours(ctx context.Context, q *Request, in *struct {
	PersonPath
	Body struct {
		From string   `json:"from" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" example:"22:00"`
		To   string   `json:"to" pattern:"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" example:"07:00" doc:"On the next day if it isn't later than from"`
		Days []string `json:"days,omitempty" maxItems:"7" doc:"On which they begin; every day if not given" example:"[\"sat\",\"sun\"]"`
		Zone string   `json:"zone,omitempty" maxLength:"64" doc:"IANA time zone; the person's own if not given"`
	}
},
) (*struct{}, error) {
	who, err := q.who(&in.PersonPath, access.PreferenceWrite)
	if err != nil {
		return nil, err
	}
	hours := workflow.QuietHours{Days: workflow.EveryDay, From: timeOfDay(in.Body.From), To: timeOfDay(in.Body.To), Zone: in.Body.Zone}
	if len(in.Body.Days) > 0 {
		if hours.Days, err = workflow.ParseWeekdays(in.Body.Days); err != nil {
			return nil, unprocessable("/days", "", "%s", err.Error())
		}
	}
	if _, err := time.LoadLocation(hours.Zone); err != nil || hours.Zone == "Local" {
		return nil, unprocessable("/zone", "write one as Europe/Vienna", "%q is no time zone", hours.Zone)
	}
	return nil, q.Operations.AddQuietHours(ctx, who, hours, q.Actor())
}

// timeOfDay reads 22:00, as the schema has seen to.
func timeOfDay(s string) time.Duration {
	var h, m int
	_, _ = fmt.Sscanf(s, "%d:%d", &h, &m)
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
}

func clearQuietHours(ctx context.Context, q *Request, in *PersonPath) (*struct{}, error) {
	who, err := q.who(in, access.PreferenceWrite)
	if err != nil {
		return nil, err
	}
	_, err = q.Operations.ClearQuietHours(ctx, who, q.Actor())
	return nil, err
}
