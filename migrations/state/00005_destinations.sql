-- +goose Up
-- Where deliveries go: what is known of each destination by all processes, and their breakers.

create table rowbell.destination (
	opened_at timestamptz,
	closed_at timestamptz,
	probe_at timestamptz,
	probe_until timestamptz,
	first_failure_at timestamptz,
	window_at timestamptz,
	disabled_at timestamptz,
	alert_until timestamptz,
	alerted_at timestamptz,
	last_error_at timestamptz,
	last_success_at timestamptz,
	rate_at timestamptz,
	created_at timestamptz not null default clock_timestamp(),
	lane bigint primary key,
	failures integer not null default 0,
	window_tries integer not null default 0,
	window_failures integer not null default 0,
	opens integer not null default 0,
	concurrency integer,
	state text not null default 'closed' check (state in ('closed', 'open', 'half_open', 'disabled')),
	tenant_id text,
	kind text not null,
	destination text not null,
	workflow_id text,
	probe_by text,
	disabled_by text,
	disabled_reason text,
	last_error text,
	rate text
) with (fillfactor = 50);
create index destination_not_closed on rowbell.destination (lane) where state <> 'closed';
create index destination_name on rowbell.destination (destination);
comment on table rowbell.destination is 'Where deliveries of one tenant go, and whether anything is sent there. Read the view endpoint';
comment on column rowbell.destination.opened_at is 'When the breaker opened last';
comment on column rowbell.destination.closed_at is 'When it closed last; null if it never opened';
comment on column rowbell.destination.probe_at is 'While it is open: when one delivery may be tried';
comment on column rowbell.destination.probe_until is 'While it is half open: until when the process that tries one has to say what came of it';
comment on column rowbell.destination.first_failure_at is 'Since when every attempt has failed; null if the last one did not';
comment on column rowbell.destination.window_at is 'Since when window_tries are counted';
comment on column rowbell.destination.disabled_at is 'When it was disabled';
comment on column rowbell.destination.alert_until is 'Until when a process has to tell the owner that it was disabled';
comment on column rowbell.destination.alerted_at is 'When the owner was told that it was disabled';
comment on column rowbell.destination.last_error_at is 'When an attempt last failed by the destination''s doing';
comment on column rowbell.destination.last_success_at is 'When an attempt last succeeded, to the minute';
comment on column rowbell.destination.rate_at is 'Up to when its rate is used up: attempts that processes have taken for themselves';
comment on column rowbell.destination.created_at is 'When something was first sent there';
comment on column rowbell.destination.lane is 'As queue.lane';
comment on column rowbell.destination.failures is 'Attempts that failed since the last one that did not';
comment on column rowbell.destination.window_tries is 'Attempts since window_at';
comment on column rowbell.destination.window_failures is 'Of these, those that failed';
comment on column rowbell.destination.opens is 'How often the breaker opened without a quiet time between: each time it stays open for longer';
comment on column rowbell.destination.concurrency is 'How many attempts may run at once; null: as many as the operator allows';
comment on column rowbell.destination.state is 'closed: deliveries are tried; open: none is; half_open: one is, to see; disabled: none is, and they are cancelled';
comment on column rowbell.destination.tenant_id is 'Whose deliveries; null for operators'' ones';
comment on column rowbell.destination.kind is 'Action kind';
comment on column rowbell.destination.destination is 'Where they go: a URL without its query';
comment on column rowbell.destination.workflow_id is 'Workflow of the last attempt that is noted here';
comment on column rowbell.destination.probe_by is 'Process that tries the one, while it is half open';
comment on column rowbell.destination.disabled_by is 'Who disabled it; null: Rowbell';
comment on column rowbell.destination.disabled_reason is 'Why it was disabled';
comment on column rowbell.destination.last_error is 'Why an attempt last failed by the destination''s doing';
comment on column rowbell.destination.rate is 'How many attempts there may be: 10/s; null: as many as come';

create view rowbell.endpoint as
select lpad(to_hex(lane), 16, '0') as id, tenant_id, kind, destination, state, failures, first_failure_at, opened_at, probe_at,
	disabled_at, disabled_by, disabled_reason, last_error, last_error_at, last_success_at, rate, concurrency, created_at
from rowbell.destination;
comment on view rowbell.endpoint is 'Where deliveries go, and whether anything is sent there';
comment on column rowbell.endpoint.id is 'Names it: 16 hexadecimal digits';
comment on column rowbell.endpoint.tenant_id is 'Whose deliveries; null for operators'' ones';
comment on column rowbell.endpoint.kind is 'Action kind';
comment on column rowbell.endpoint.destination is 'Where they go: a URL without its query';
comment on column rowbell.endpoint.state is 'closed: deliveries are tried; open: none is, since attempts failed; half_open: one is, to see; disabled: none is, and they are cancelled';
comment on column rowbell.endpoint.failures is 'Attempts that failed since the last one that did not';
comment on column rowbell.endpoint.first_failure_at is 'Since when every attempt has failed; null if the last one did not';
comment on column rowbell.endpoint.opened_at is 'When the breaker opened last';
comment on column rowbell.endpoint.probe_at is 'While it is open: when one delivery is tried again';
comment on column rowbell.endpoint.disabled_at is 'When it was disabled';
comment on column rowbell.endpoint.disabled_by is 'Who disabled it; null: Rowbell';
comment on column rowbell.endpoint.disabled_reason is 'Why it was disabled';
comment on column rowbell.endpoint.last_error is 'Why an attempt last failed by the destination''s doing';
comment on column rowbell.endpoint.last_error_at is 'When that was';
comment on column rowbell.endpoint.last_success_at is 'When an attempt last succeeded, to the minute';
comment on column rowbell.endpoint.rate is 'How many attempts there may be: 10/s; null: as many as come';
comment on column rowbell.endpoint.concurrency is 'How many attempts may run at once; null: as many as the operator allows';
comment on column rowbell.endpoint.created_at is 'When something was first sent there';

-- Who delivers: a destination that takes few attempts at once is shared out among them.
create table rowbell.executor (
	seen_at timestamptz not null,
	process text primary key
) with (fillfactor = 50);
comment on table rowbell.executor is 'Processes that deliver';
comment on column rowbell.executor.seen_at is 'When it was last heard of';
comment on column rowbell.executor.process is 'As queue.lease_by';

create table rowbell.tenant_weight (
	updated_at timestamptz not null default clock_timestamp(),
	weight integer not null check (weight between 1 and 100),
	tenant_id text primary key
);
comment on table rowbell.tenant_weight is 'Tenants that get more turns than others when much is to be delivered; the operator writes it';
comment on column rowbell.tenant_weight.updated_at is 'When it was written';
comment on column rowbell.tenant_weight.weight is 'How many turns it gets while one that is not in this table gets one';
comment on column rowbell.tenant_weight.tenant_id is 'The tenant; empty for operators'' workflows';
