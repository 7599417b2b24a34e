package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Question is whom one action of an execution is for.
type Question struct {
	TenantID   string // of the workflow; "" = an operators' one
	Recipients []workflow.Recipient
	Exclude    []workflow.Exclusion
	Actor      string // who made the change; "" if nobody said
	// Row is the changed row by column, as encoding/json reads it with UseNumber, and What
	// names it: "orders 7". Row is called only if it is needed.
	Row  func() (map[string]any, error)
	What string
	// XID and CommittedAt are those of the change: what is read of the directory is read
	// once it is visible. XID 0: at once.
	XID         uint64
	CommittedAt time.Time
}

// People is the answer: each person once, with all reasons.
type People struct {
	To   []workflow.Person
	Left []workflow.LeftOut // excluded
	Why  string             // why To is empty
}

// ErrNever says that asking again would give the same: the row has no such column, or
// there are too many.
var ErrNever = errors.New("no use to ask again")

// never is an error that is ErrNever, and doesn't say so.
type never struct{ error }

func (n never) Is(target error) bool { return target == ErrNever }
func (n never) Unwrap() error        { return n.error }

func neverf(format string, args ...any) error { return never{fmt.Errorf(format, args...)} }

// MostPeople is how many recipients an action may have where there is no directory.
const MostPeople = 10_000

// Resolve finds out who the recipients are. d may be nil: then there are only users, by
// their ids, and attributes. Errors that are not ErrNever may go away.
func (d *Directory) Resolve(ctx context.Context, q Question) (People, error) {
	r := &resolving{d: d, q: q, moment: moment{q.XID, q.CommittedAt}, most: MostPeople, index: make(map[string]int)}
	if d != nil {
		r.most = d.cfg.MostPeople
	}
	for _, rec := range q.Recipients {
		err := r.each(ctx, rec.Type, rec.Value, func(p workflow.Person, reason string) error { return r.add(p, reason) })
		if err != nil {
			return People{}, err
		}
	}
	if err := r.look(ctx); err != nil {
		return People{}, err
	}
	r.merge()
	if err := r.leave(ctx); err != nil {
		return People{}, err
	}
	answer := People{To: r.people, Left: r.left}
	if len(answer.To) == 0 {
		answer.Why = r.nobody()
	}
	return answer, nil
}

// resolving is one Resolve.
type resolving struct {
	d      *Directory
	q      Question
	moment moment
	most   int
	row    map[string]any
	people []workflow.Person
	index  map[string]int // by id
	left   []workflow.LeftOut
}

// each calls f for whom a recipient or an exclusion stands for.
func (r *resolving) each(ctx context.Context, of, value string, f func(p workflow.Person, reason string) error) error {
	switch of {
	case "user":
		if err := checkID(value); err != nil {
			return never{err}
		}
		return f(workflow.Person{ID: value, Stranger: true}, "user "+value)
	case "attribute":
		ids, err := r.column(value)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := f(workflow.Person{ID: id, Stranger: true}, "column "+value); err != nil {
				return err
			}
		}
		return nil
	case "role", "group":
		if r.d == nil || r.d.membersQuery(of).sql == "" {
			return NotConfigured(of)
		}
		people, err := r.d.members(ctx, list{of, value, r.q.TenantID}, r.moment)
		if err != nil {
			return err
		}
		for _, p := range people {
			if err := f(p, of+" "+value); err != nil {
				return err
			}
		}
		return nil
	}
	return neverf("%.60q is no type of recipient", of)
}

// NotConfigured says that a workflow has recipients by role or group, and nobody knows who
// they are.
func NotConfigured(of string) error {
	return fmt.Errorf("recipients of type %s need ROWBELL_DIRECTORY_%s_MEMBERS; ask an operator to set it to SQL that returns them and to start rowbell again", of, strings.ToUpper(of))
}

// add adds a person, or another reason for one.
func (r *resolving) add(p workflow.Person, reason string) error {
	if i, ok := r.index[p.ID]; ok {
		have := &r.people[i]
		if have.Stranger && !p.Stranger {
			p.Reasons = have.Reasons
			*have = p
		}
		if !slices.Contains(have.Reasons, reason) {
			have.Reasons = append(slices.Clip(have.Reasons), reason)
		}
		return nil
	}
	if len(r.people) == r.most {
		return neverf("there are more than %d recipients", r.most)
	}
	p.Reasons = []string{reason}
	r.index[p.ID] = len(r.people)
	r.people = append(r.people, p)
	return nil
}

// look asks the directory for those of whom there is only an id. Whom it doesn't know is
// reached by the id, if that is an address; the id of a mailbox is in lower case.
func (r *resolving) look(ctx context.Context) error {
	if r.d != nil && r.d.cfg.UsersSQL != "" {
		var ids []string
		for _, p := range r.people {
			if p.Stranger {
				ids = append(ids, p.ID)
			}
		}
		found, err := r.d.find(ctx, ids, r.q.TenantID, r.moment)
		if err != nil {
			return err
		}
		for i := range r.people {
			if p, ok := found[r.people[i].ID]; ok && r.people[i].Stranger {
				p.Reasons = r.people[i].Reasons
				r.people[i] = p
			}
		}
	}
	for i := range r.people {
		if p := &r.people[i]; p.Stranger {
			switch {
			case isEmail(p.ID):
				// However it is written, what they want is kept under one name.
				p.Email, p.ID = p.ID, strings.ToLower(p.ID)
			case isPhone(p.ID):
				p.Phone = p.ID
			}
		}
	}
	return nil
}

// merge makes one of somebody who is there by their account and by their address too: the
// customer of an order may be a user.
func (r *resolving) merge() {
	byEmail := make(map[string]int)
	for i, p := range r.people {
		if p.Email != "" && !p.Stranger {
			if _, ok := byEmail[strings.ToLower(p.Email)]; !ok {
				byEmail[strings.ToLower(p.Email)] = i
			}
		}
	}
	gone := make(map[int]bool)
	for i, p := range r.people {
		if !p.Stranger || p.Email == "" {
			continue
		}
		at := strings.ToLower(p.Email)
		j, ok := byEmail[at]
		if !ok {
			byEmail[at] = i
			continue
		}
		have := &r.people[j]
		for _, reason := range p.Reasons {
			if !slices.Contains(have.Reasons, reason) {
				have.Reasons = append(slices.Clip(have.Reasons), reason)
			}
		}
		gone[i] = true
	}
	r.keep(func(i int) bool { return !gone[i] })
}

func (r *resolving) keep(f func(i int) bool) {
	var kept []workflow.Person
	r.index = make(map[string]int)
	for i, p := range r.people {
		if f(i) {
			r.index[p.ID] = len(kept)
			kept = append(kept, p)
		}
	}
	r.people = kept
}

// leave takes out whom the workflow excludes.
func (r *resolving) leave(ctx context.Context) error {
	why := make(map[int]string)
	for _, x := range r.q.Exclude {
		out := func(p workflow.Person, reason string) error {
			i, ok := r.index[p.ID]
			if !ok && isEmail(p.ID) {
				i = slices.IndexFunc(r.people, func(q workflow.Person) bool { return strings.EqualFold(q.Email, p.ID) })
				ok = i >= 0
			}
			if ok && why[i] == "" {
				why[i] = reason
			}
			return nil
		}
		if x.Type == "actor" {
			if r.q.Actor != "" {
				_ = out(workflow.Person{ID: r.q.Actor}, "made the change")
			}
			continue
		}
		if err := r.each(ctx, x.Type, x.Value, out); err != nil {
			return err
		}
	}
	if len(why) == 0 {
		return nil
	}
	for i, p := range r.people {
		if why[i] != "" {
			r.left = append(r.left, workflow.LeftOut{Person: p, Why: workflow.Why(workflow.WhyLeftOut, "the workflow excludes them: "+why[i])})
		}
	}
	r.keep(func(i int) bool { return why[i] == "" })
	return nil
}

// column are the ids or addresses that a column of the row holds: one, or a list of them.
func (r *resolving) column(name string) ([]string, error) {
	if r.row == nil {
		var err error
		if r.row, err = r.q.Row(); err != nil {
			return nil, never{err}
		}
	}
	v, ok := r.row[name]
	if !ok {
		return nil, neverf("the recipient is in column %s, which %s does not have, or which is not in the WAL", name, r.q.What)
	}
	if v == "***" {
		return nil, neverf("the recipient is in column %s, which is redacted", name)
	}
	values, isList := v.([]any)
	if !isList {
		values = []any{v}
	}
	var ids []string
	for _, v := range values {
		id := ""
		switch v := v.(type) {
		case nil:
		case string:
			id = v
		case json.Number:
			id = v.String()
		default:
			return nil, neverf("the recipient is in column %s: it holds no id but %.60s", name, fmt.Sprint(v))
		}
		if id == "" {
			continue
		}
		if err := checkID(id); err != nil {
			return nil, neverf("the recipient is in column %s: %w", name, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// longestID is how long an id may be, in bytes.
const longestID = 200

func checkID(id string) error {
	if id == "" || len(id) > longestID || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return fmt.Errorf("%.60q is no recipient: an id has at most %d bytes, and no control characters", id, longestID)
	}
	return nil
}

// isEmail says whether a text is the address of a mailbox, and nothing else.
func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s && strings.Contains(s, "@")
}

var phone = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`) // ITU-T E.164

func isPhone(s string) bool { return phone.MatchString(s) }

// nobody says why there is no recipient.
func (r *resolving) nobody() string {
	var empty []string
	for _, rec := range r.q.Recipients {
		switch rec.Type {
		case "attribute":
			empty = append(empty, "nothing stands in "+rec.Value)
		case "role":
			empty = append(empty, "nobody has the role "+rec.Value)
		case "group":
			empty = append(empty, "nobody is in the group "+rec.Value)
		}
	}
	switch n := len(r.left); {
	case n == 1:
		return fmt.Sprintf("there is no recipient: %s is left out (%s)", r.left[0].ID, strings.TrimPrefix(r.left[0].Why, workflow.WhyLeftOut+": "))
	case n > 1:
		return fmt.Sprintf("there is no recipient: all %d are left out", n)
	}
	return "there is no recipient: " + strings.Join(empty, ", ")
}
