package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// RequestKey is an idempotency key of a principal, and the hash of the request that it stands
// for.
type RequestKey struct {
	Principal, Key string
	Hash           []byte
}

// KnownRequest is a request that came with a key before.
type KnownRequest struct {
	Hash   []byte
	Answer *RequestAnswer // nil: it is being done, or was cut off
	CutOff bool           // its time is over, and nobody has said what became of it
}

// RequestAnswer is what a request was answered. Once says that it was shown once and is not
// kept: there is no body.
type RequestAnswer struct {
	Status  int
	Headers map[string]string
	Body    []byte
	Once    bool
}

// requestsKept is how long answers are kept.
const requestsKept = "24 hours"

// BeginRequest claims a key for a request, which may take so long, and returns nil. Where it
// was claimed already, within a day, it returns what is known of that one.
func (s *Source) BeginRequest(ctx context.Context, k RequestKey, lease time.Duration) (*KnownRequest, error) {
	const what = "claim an idempotency key"
	tag, err := s.db.Exec(ctx, `insert into rowbell.api_request (principal, key, hash, lease_until) values ($1, $2, $3, clock_timestamp() + $4::interval)
on conflict (principal, key) do update set hash = excluded.hash, lease_until = excluded.lease_until, created_at = clock_timestamp(),
	status = null, headers = '{}', body = null, once = false
where api_request.created_at < clock_timestamp() - interval '`+requestsKept+`'`,
		k.Principal, k.Key, k.Hash, lease)
	if err != nil {
		return nil, sourceError(what, err)
	}
	if tag.RowsAffected() == 1 {
		return nil, nil
	}
	known := &KnownRequest{}
	answer := &RequestAnswer{}
	var status *int
	var over bool
	var headers []byte
	err = s.db.QueryRow(ctx, `select hash, status, headers, body, once, lease_until <= clock_timestamp() from rowbell.api_request where principal = $1 and key = $2`, k.Principal, k.Key).
		Scan(&known.Hash, &status, &headers, &answer.Body, &answer.Once, &over)
	if errors.Is(err, pgx.ErrNoRows) { // it has just been forgotten
		return &KnownRequest{Hash: k.Hash}, nil
	}
	known.CutOff = over && status == nil
	if err == nil && status != nil {
		answer.Status = *status
		err = json.Unmarshal(headers, &answer.Headers)
		known.Answer = answer
	}
	if err != nil {
		return nil, sourceError(what, err)
	}
	return known, nil
}

// EndRequest keeps the answer to a request that BeginRequest claimed.
func (s *Source) EndRequest(ctx context.Context, k RequestKey, a RequestAnswer) error {
	const what = "keep the answer to a request with an idempotency key"
	headers, err := json.Marshal(a.Headers)
	if err != nil {
		return sourceError(what, err)
	}
	_, err = s.db.Exec(ctx, `update rowbell.api_request set status = $4, headers = $5, body = $6, once = $7 where principal = $1 and key = $2 and hash = $3`,
		k.Principal, k.Key, k.Hash, a.Status, headers, a.Body, a.Once)
	if err != nil {
		return sourceError(what, err)
	}
	return nil
}

// ForgetRequest lets a key be used again whose request came to nothing.
func (s *Source) ForgetRequest(ctx context.Context, k RequestKey) error {
	_, err := s.db.Exec(ctx, `delete from rowbell.api_request where principal = $1 and key = $2 and hash = $3 and status is null`, k.Principal, k.Key, k.Hash)
	if err != nil {
		return sourceError("forget an idempotency key", err)
	}
	return nil
}

// ForgetOldRequests forgets the answers that are kept no longer, at most limit of them, and
// returns how many it forgot.
func (s *Source) ForgetOldRequests(ctx context.Context, limit int) (int, error) {
	tag, err := s.db.Exec(ctx, `delete from rowbell.api_request where ctid in (
	select ctid from rowbell.api_request where created_at < clock_timestamp() - interval '`+requestsKept+`' limit $1 for update skip locked)`, limit)
	if err != nil {
		return 0, sourceError("forget old idempotency keys", err)
	}
	return int(tag.RowsAffected()), nil
}
