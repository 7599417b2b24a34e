-- +goose Up
-- What delivering needs of the queue.
--
-- Claims go by lane, so that one destination's backlog stands in no other's way: whoever
-- claims steps from lane to lane through the index, and takes the first few that are due
-- of each that it has room for. By ready_at alone it would have to read past all that
-- waits for a destination that is slow or away.

alter table rowbell.queue add column lane bigint not null default 0;
comment on column rowbell.queue.lane is 'The same for all deliveries of one tenant to one destination';
drop index rowbell.queue_ready;
create index queue_lane on rowbell.queue (lane, ready_at);
comment on column rowbell.queue.lease_by is 'Process that holds or last held the lease: the last part of its connections'' application_name';

alter table rowbell.execution_open rename column tried to succeeded;
comment on column rowbell.execution_open.succeeded is 'A delivery succeeded: the execution will not be cancelled';
alter table rowbell.execution_open add column stop text;
comment on column rowbell.execution_open.stop is 'Why deliveries with a higher order will be cancelled: one gave up whose action says on_failure stop';

alter table rowbell.delivery_ended add column response text;
comment on column rowbell.delivery_ended.response is 'Start of what the receiver answered to the last attempt';
alter table rowbell.attempt add column response text;
comment on column rowbell.attempt.response is 'Start of what the receiver answered';

-- Partitions have comments of their own.
-- +goose StatementBegin
do $$
declare
	child regclass;
begin
	for child in select inhrelid from pg_inherits where inhparent in ('rowbell.delivery_ended'::regclass, 'rowbell.attempt'::regclass) loop
		execute format('comment on column %s.response is %L', child, 'Start of what the receiver answered');
	end loop;
end $$;
-- +goose StatementEnd

-- Ids of deliveries are joined by underscores from now on: they are the ids of webhooks,
-- in which the standard has no full stops.
create or replace view rowbell.delivery as
select q.execution_id || '_' || q.action || case when q.recipient = '' then '' else '_' || q.recipient end as id,
	q.execution_id, q.action, q.kind, q."order", nullif(q.recipient, '') as recipient,
	case when q.ready_at is null or q.ready_at = 'infinity' then 'waiting'
		when q.lease_until > clock_timestamp() then 'leased' else 'ready' end as state,
	q.attempts, q.ready_at, q.lease_until, q.lease_by, q.error, q.addressed, q.committed_at,
	v.id as workflow_id, v.tenant_id
from rowbell.queue q
join rowbell.surrogate v on v.ref = q.version_ref;
comment on column rowbell.delivery.id is 'Execution id, _, action; with _ and the recipient behind. It is the idempotency key of all its attempts';

create or replace view rowbell.delivery_done as
select x.id || '_' || x.action || coalesce('_' || nullif(x.recipient, ''), '') as id,
	x.id as execution_id, x.action, x.kind, nullif(x.recipient, '') as recipient,
	case x.status when 'success' then 'succeeded' when 'failure' then 'dead' else 'cancelled' end as status,
	x.error as reason, x.attempts, x.code, x.duration_ms, x.settled_at as ended_at, x.committed_at, v.id as workflow_id, v.tenant_id,
	x.result ->> 'response' as response
from rowbell.execution x
join rowbell.surrogate v on v.ref = x.version_ref
where x.action is not null
union all
select d.execution_id || '_' || d.action || case when d.recipient = '' then '' else '_' || d.recipient end,
	d.execution_id, d.action, d.kind, nullif(d.recipient, ''), d.status, d.reason, d.attempts, d.code, d.duration_ms, d.ended_at, d.committed_at, v.id, v.tenant_id,
	d.response
from rowbell.delivery_ended d
join rowbell.surrogate v on v.ref = d.version_ref;
comment on column rowbell.delivery_done.response is 'Start of what the receiver answered to the last attempt';

create or replace view rowbell.delivery_attempt as
select a.execution_id || '_' || a.action || case when a.recipient = '' then '' else '_' || a.recipient end as delivery_id,
	a.execution_id, a.attempt, 'retry' as outcome, a.started_at, a.duration_ms, a.code, a.error, a.response
from rowbell.attempt a
union all
select d.id, d.execution_id, d.attempts, d.status, d.ended_at - make_interval(secs => d.duration_ms / 1000.0), d.duration_ms, d.code, d.reason, d.response
from rowbell.delivery_done d
where d.attempts > 0 and d.duration_ms is not null;
comment on column rowbell.delivery_attempt.response is 'Start of what the receiver answered';
