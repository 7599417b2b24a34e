-- +goose Up
-- What the HTTP API keeps of its own.

create table rowbell.api_request (
	principal text not null,
	key text not null
		constraint key_must_have_1_to_255_characters check (char_length(key) between 1 and 255),
	hash bytea not null,
	created_at timestamptz not null default clock_timestamp(),
	lease_until timestamptz not null,
	status integer,
	headers jsonb not null default '{}',
	body bytea,
	once boolean not null default false,
	primary key (principal, key)
);
create index api_request_created_at on rowbell.api_request (created_at);
comment on table rowbell.api_request is 'Requests to the API that came with an idempotency key, and what they were answered; kept for a day. Nobody but Rowbell reads it';
comment on column rowbell.api_request.principal is 'Who sent it';
comment on column rowbell.api_request.key is 'The header Idempotency-Key';
comment on column rowbell.api_request.hash is 'SHA-256 of its path and body: another request may not have the same key';
comment on column rowbell.api_request.created_at is 'When it came';
comment on column rowbell.api_request.lease_until is 'While it has no answer: until when it is taken to be under way';
comment on column rowbell.api_request.status is 'The status that it was answered with; null while it is under way';
comment on column rowbell.api_request.headers is 'JSON object: headers of the answer';
comment on column rowbell.api_request.body is 'Body of the answer';
comment on column rowbell.api_request.once is 'True: the answer was shown once, and is not kept here';

