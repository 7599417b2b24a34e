package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// preferenceCommand has the commands about what people want to be told.
func preferenceCommand() command {
	return command{
		name:  "preference",
		args:  "COMMAND",
		short: "List and set what people want to be told, and their quiet hours",
		long: `The application does the same by SQL: rowbell.set_preference and rowbell.set_quiet_hours.
People are named by their id in the application, and by --tenant.`,
		group: groupWorkflows,
		examples: []example{
			{"rowbell preference list --recipient ann", ""},
		},
		sub: []command{listPreferencesCommand, setPreferenceCommand, quietCommand},
	}
}

// preferences is what these commands need.
type preferences interface {
	ListPreferences(ctx context.Context, f store.PreferenceFilter) ([]store.StoredPreference, error)
	Wanted(ctx context.Context, who workflow.PersonKey) ([]workflow.Preference, error)
	SetPreference(ctx context.Context, who workflow.PersonKey, p workflow.Preference, wanted *bool, actor string) error
	AddQuietHours(ctx context.Context, who workflow.PersonKey, q workflow.QuietHours, actor string) error
	ClearQuietHours(ctx context.Context, who workflow.PersonKey, actor string) (int, error)
}

// preferences opens them for the length of f.
func (c *call) preferences(f func(preferences) error) error {
	return through(c, func(o *app.Operator) (preferences, error) { return o, nil }, func(s *client.Client) preferences { return s }, f)
}

var peopleOption = option{"tenant", "ID", "Whose people they are; without it those of no tenant"}

const mostListed = 1000 // of each

var listPreferencesCommand = command{
	name:   "list",
	server: true,
	short:  "List preferences and quiet hours",
	long: `Of somebody's preferences the most specific one counts: workflow and channel, else
workflow, else channel, else all. At most 1000 of each are listed.`,
	examples: []example{
		{"rowbell preference list --tenant acme --recipient ann", ""},
	},
	options: []option{
		{"tenant", "ID", "Only people of this tenant; none for those of no tenant"},
		{"recipient", "ID", "Only this person's"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		f := store.PreferenceFilter{Limit: mostListed}
		if tenant, given := c.own["tenant"]; given {
			if tenant == "none" {
				tenant = ""
			}
			f.TenantID = &tenant
		}
		if id, given := c.own["recipient"]; given {
			f.RecipientID = &id
		}
		return c.preferences(func(o preferences) error {
			list, err := o.ListPreferences(ctx, f)
			if err != nil {
				return err
			}
			if c.asData() {
				out := make([]listedPreference, len(list))
				for i, p := range list {
					out[i] = listed(p)
				}
				return c.writeData(out)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "Nobody has said anything: everything is wanted, at any time.")
				return nil
			}
			rows := [][]string{{"TENANT", "RECIPIENT", "WHAT", "WANTED", "WRITTEN", "BY"}}
			for _, p := range list {
				what, wanted := "", "no"
				switch {
				case p.Quiet != nil:
					what = "quiet " + hours(*p.Quiet)
				default:
					what = about(*p.Preference)
					if p.Preference.Wanted {
						wanted = "yes"
					}
				}
				rows = append(rows, []string{dash(p.TenantID), p.RecipientID, what, wanted, when(p.UpdatedAt), p.UpdatedBy})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

// listedPreference is a row for programs. Either Wanted or Starts is there.
type listedPreference struct {
	TenantID    string    `json:"tenant_id"`
	RecipientID string    `json:"recipient_id"`
	WorkflowID  string    `json:"workflow_id,omitempty"`
	Channel     string    `json:"channel,omitempty"`
	Wanted      *bool     `json:"wanted,omitempty"`
	Starts      string    `json:"quiet_starts,omitempty"`
	Ends        string    `json:"quiet_ends,omitempty"`
	Days        []string  `json:"quiet_days,omitempty"`
	Zone        string    `json:"quiet_zone,omitempty"`
	UpdatedAt   time.Time `json:"updated_at"`
	UpdatedBy   string    `json:"updated_by"`
}

func listed(p store.StoredPreference) listedPreference {
	out := listedPreference{TenantID: p.TenantID, RecipientID: p.RecipientID, UpdatedAt: p.UpdatedAt, UpdatedBy: p.UpdatedBy}
	if p.Quiet != nil {
		out.Starts, out.Ends, out.Days, out.Zone = clock(p.Quiet.From), clock(p.Quiet.To), p.Quiet.Days.Names(), p.Quiet.Zone
		return out
	}
	out.WorkflowID, out.Channel, out.Wanted = p.Preference.WorkflowID, p.Preference.Channel, &p.Preference.Wanted
	return out
}

// about says what a preference is about.
func about(p workflow.Preference) string {
	switch {
	case p.WorkflowID != "" && p.Channel != "":
		return "workflow " + p.WorkflowID + " by " + p.Channel
	case p.WorkflowID != "":
		return "workflow " + p.WorkflowID
	case p.Channel != "":
		return "all by " + p.Channel
	}
	return "all"
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// hours says when quiet hours are: 22:00-07:00 mon tue (Europe/Vienna).
func hours(q workflow.QuietHours) string {
	text := clock(q.From) + "-" + clock(q.To)
	if q.Days != workflow.EveryDay {
		text += " " + strings.Join(q.Days.Names(), " ")
	}
	if q.Zone != "" {
		text += " (" + q.Zone + ")"
	}
	return text
}

var setPreferenceCommand = command{
	name:   "set",
	server: true,
	args:   "RECIPIENT on|off|default",
	short:  "Say in somebody's name whether they want something",
	long: `Without --workflow and --channel it is about all. default takes back what was said. Critical
workflows reach people all the same.`,
	examples: []example{
		{"rowbell preference set ann off --channel email --tenant acme", ""},
		{"rowbell preference set ann default", "takes that back"},
	},
	values: map[string][]string{"channel": {"email", "notification"}},
	options: []option{
		peopleOption,
		{"workflow", "ID", "Only what this workflow tells"},
		{"channel", "KIND", "Only what comes by this kind of action: email or notification"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		var wanted *bool
		switch c.args[1] {
		case "on", "off":
			on := c.args[1] == "on"
			wanted = &on
		case "default":
		default:
			return usage{fmt.Sprintf("%q is no answer; write on, off or default", c.args[1]), "rowbell preference set --help"}
		}
		p := workflow.Preference{WorkflowID: c.own["workflow"], Channel: c.own["channel"]}
		who := workflow.PersonKey{TenantID: c.own["tenant"], ID: c.args[0]}
		return c.preferences(func(o preferences) error {
			if err := o.SetPreference(ctx, who, p, wanted, c.actor()); err != nil {
				return err
			}
			list, err := o.Wanted(ctx, who)
			if err != nil {
				return err
			}
			says := "wants"
			if is, _ := preference.Wanted(list, p.WorkflowID, p.Channel); !is {
				says = "doesn't want"
			}
			fmt.Fprintf(c.stdout, "%s %s: %s.\n", who.ID, says, about(p))
			return nil
		})
	},
}

var quietCommand = command{
	name:   "quiet",
	server: true,
	args:   "RECIPIENT FROM-TO|none",
	short:  "Add quiet hours, or take all of them away",
	long: `What comes in quiet hours waits for their end. They end the next day if TO isn't later than
FROM: rowbell preference quiet ann 22:00-07:00. A whole day is 00:00-24:00.`,
	examples: []example{
		{"rowbell preference quiet ann 22:00-07:00 --zone Europe/Vienna", ""},
		{"rowbell preference quiet ann none", ""},
	},
	options: []option{
		peopleOption,
		{"days", "DAYS", "Days on which they begin, comma-separated: mon to sun; all if not given"},
		{"zone", "ZONE", "Zone of the clock, as Europe/Vienna; the person's own if not given"},
		actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		who := workflow.PersonKey{TenantID: c.own["tenant"], ID: c.args[0]}
		if c.args[1] == "none" {
			return c.preferences(func(o preferences) error {
				n, err := o.ClearQuietHours(ctx, who, c.actor())
				if err == nil {
					fmt.Fprintf(c.stdout, "%s has no quiet hours any more; there were %d.\n", who.ID, n)
				}
				return err
			})
		}
		q, err := readHours(c.args[1], c.own["days"], c.own["zone"])
		if err != nil {
			return usage{err.Error(), "rowbell preference quiet --help"}
		}
		return c.preferences(func(o preferences) error {
			if err := o.AddQuietHours(ctx, who, q, c.actor()); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s has quiet hours: %s.\n", who.ID, hours(q))
			return nil
		})
	},
}

// readHours reads 22:00-07:00, with days as mon,tue ("" = all) and a zone.
func readHours(text, days, zone string) (workflow.QuietHours, error) {
	q := workflow.QuietHours{Days: workflow.EveryDay, Zone: zone}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return q, fmt.Errorf("%.40q are no hours; write 22:00-07:00, or none", text)
	}
	var err error
	if q.From, err = readClock(from); err == nil {
		q.To, err = readClock(to)
	}
	if err == nil && q.From == 24*time.Hour {
		err = errors.New("hours can't begin at 24:00; write 00:00")
	}
	if err == nil && days != "" {
		q.Days, err = workflow.ParseWeekdays(strings.Split(days, ","))
	}
	if _, ok := preference.LoadZone(zone); err == nil && zone != "" && !ok {
		err = fmt.Errorf("there is no time zone %.64q; write a name of the IANA database, as Europe/Vienna", zone)
	}
	return q, err
}

func readClock(text string) (time.Duration, error) {
	if text == "24:00" {
		return 24 * time.Hour, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no time; write 22:00, from 00:00 to 24:00", text)
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, nil
}
