package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// InboxEntry is a notification as it stands in somebody's inbox. Times that haven't come
// are nil.
type InboxEntry struct {
	ID         string     `json:"id"` // ULID
	TenantID   string     `json:"tenant_id,omitempty"`
	Title      string     `json:"title"`
	Body       string     `json:"body"`
	Link       string     `json:"link,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	SeenAt     *time.Time `json:"seen_at"` // shown in a list
	ReadAt     *time.Time `json:"read_at"`
	ArchivedAt *time.Time `json:"archived_at"`
}

// InboxQuery asks for a page of somebody's inbox, the newest first.
type InboxQuery struct {
	RecipientID string
	TenantID    *string // nil = of all tenants
	Before      string  // id of the last entry of the page before; "" = the first page
	Limit       int     // at most 500
	Unread      bool    // only those that are not read
	Archived    bool    // those that were put away, instead
}

// inboxOf are the conditions for whose notifications n they are. What isn't asked doesn't
// stand there: with "or", the index would serve the recipient alone.
func inboxOf(recipientID string, tenantID *string, args *parameters) []string {
	where := []string{"n.recipient_id = " + args.add(recipientID)}
	if tenantID != nil {
		where = append(where, tenantIs("n.tenant_id", *tenantID, args))
	}
	return where
}

// Inbox reads a page.
func (s *State) Inbox(ctx context.Context, q InboxQuery) ([]InboxEntry, error) {
	const what = "read an inbox"
	var args parameters
	where := inboxOf(q.RecipientID, q.TenantID, &args)
	if q.Before != "" {
		where = append(where, "n.id < "+args.add(q.Before))
	}
	if q.Archived {
		where = append(where, "n.archived_at is not null")
	} else {
		where = append(where, "n.archived_at is null")
	}
	if q.Unread {
		where = append(where, "n.read_at is null")
	}
	rows, err := s.db.Query(ctx, `select n.id, coalesce(n.tenant_id, ''), n.title, n.body, coalesce(n.link, ''), n.created_at, n.seen_at, n.read_at, n.archived_at
from rowbell.notification n where `+strings.Join(where, " and ")+fmt.Sprintf(" order by n.id desc limit %d", min(max(q.Limit, 1), 500)), args...)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[InboxEntry])
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// InboxCounts are what a bell shows.
type InboxCounts struct {
	Unread int `json:"unread"` // in the inbox, and not read
	Unseen int `json:"unseen"` // of these, not even shown in a list
}

// CountInbox counts what somebody has not read. tenantID nil: of all tenants.
func (s *State) CountInbox(ctx context.Context, recipientID string, tenantID *string) (InboxCounts, error) {
	var c InboxCounts
	var args parameters
	where := inboxOf(recipientID, tenantID, &args)
	err := s.db.QueryRow(ctx, `select count(*)::int4, (count(*) filter (where n.seen_at is null))::int4 from rowbell.notification n
where `+strings.Join(where, " and ")+` and n.read_at is null and n.archived_at is null`, args...).Scan(&c.Unread, &c.Unseen)
	if err != nil {
		return c, stateError("count an inbox", err)
	}
	return c, nil
}

// InboxMark is what can be said of a notification.
type InboxMark string

const (
	MarkSeen       InboxMark = "seen"
	MarkRead       InboxMark = "read" // and seen
	MarkUnread     InboxMark = "unread"
	MarkArchived   InboxMark = "archived" // and seen
	MarkUnarchived InboxMark = "unarchived"
)

// MarkInbox marks notifications of somebody's; all that are in the inbox if ids is nil. It
// returns how many it changed: what is not theirs is left alone. Returns ErrRefused for a
// mark that there isn't, and for more than 1000 ids.
func (s *State) MarkInbox(ctx context.Context, recipientID string, tenantID *string, ids []string, mark InboxMark) (n int, err error) {
	if err := s.db.QueryRow(ctx, `select rowbell.inbox_mark($1, $2, $3, $4)`, recipientID, ids, string(mark), tenantID).Scan(&n); err != nil {
		return 0, stateError("mark notifications as "+string(mark), err)
	}
	return n, nil
}

// inboxAtOnce is how many notifications one statement deletes.
const inboxAtOnce = 5000

// TrimInbox deletes notifications that are older than so many days, and alerts that were
// told so long ago.
func (s *State) TrimInbox(ctx context.Context, days int) error {
	const what = "delete old notifications"
	before := time.Now().AddDate(0, 0, -days)
	if before.Unix() < 0 {
		return nil
	}
	// An id begins with its time.
	var id ulid.ULID
	if err := id.SetTime(ulid.Timestamp(before)); err != nil {
		return err
	}
	for {
		tag, err := s.db.Exec(ctx, `delete from rowbell.notification where id in (select id from rowbell.notification where id < $1 order by id limit $2)`,
			id.String(), inboxAtOnce)
		if err != nil {
			return stateError(what, err)
		}
		if tag.RowsAffected() < inboxAtOnce {
			break
		}
	}
	if _, err := s.db.Exec(ctx, `delete from rowbell.alert where raised_at < $1 and next_at is null`, before); err != nil {
		return stateError("delete old alerts", err)
	}
	return nil
}

// InboxChannel is where RingInbox notifies.
const InboxChannel = "rowbell_inbox"

// mostRings is how many people are named by one RingInbox; of more it says "*", somebody's.
const mostRings = 1000

// RingInbox notifies those who listen that something has come into these people's inboxes:
// channel rowbell_inbox, payload rowbell.inbox_topic. It is one transaction, since those that
// notify wait for each other when they commit.
func (s *State) RingInbox(ctx context.Context, people []workflow.PersonKey) error {
	const what = "notify those who listen to inboxes"
	if len(people) > mostRings {
		if _, err := s.db.Exec(ctx, `select pg_notify($1, '*')`, InboxChannel); err != nil {
			return stateError(what, err)
		}
		return nil
	}
	ids, tenants := make([]string, len(people)), make([]string, len(people))
	for i, p := range people {
		ids[i], tenants[i] = p.ID, p.TenantID
	}
	if _, err := s.db.Exec(ctx, `select pg_notify($1, rowbell.inbox_topic(id, tenant)) from unnest($2::text[], $3::text[]) p (id, tenant)`,
		InboxChannel, ids, tenants); err != nil {
		return stateError(what, err)
	}
	return nil
}
