-- +goose Up
-- Deliveries that are put back, replays, chains and storms.

-- An ended delivery may be put back. Its attempts go on counting, since they are told
-- apart by their number; its schedule begins anew.
alter table rowbell.queue add column base smallint not null default 0;
comment on column rowbell.queue.base is 'Attempts that were made before it was put back by hand: the waits of its schedule are counted from there';
comment on table rowbell.attempt is 'Attempts after which a delivery was to be tried again, or was put back. Its last one is on the row where it ended. Read the view delivery_attempt';

-- What has ended and did not succeed is listed, also of executions with several deliveries.
create index delivery_ended_status on rowbell.delivery_ended (status, committed_at) where status <> 'succeeded';

-- A replay names what it is about when it is asked for, and forgets each as it is worked
-- off: what fails meanwhile does not come into it, and a process that dies has done a
-- batch whole or not at all.
create table rowbell.replay (
	id integer generated always as identity primary key,
	created_at timestamptz not null default clock_timestamp(),
	paced_at timestamptz not null default clock_timestamp(),
	ended_at timestamptz,
	rate double precision not null check (rate > 0),
	total integer not null,
	done integer not null default 0,
	unmatched integer not null default 0,
	undecided integer not null default 0,
	gone integer not null default 0,
	changed integer not null default 0,
	refused integer not null default 0,
	current boolean not null,
	status text not null default 'running' check (status in ('running', 'done', 'cancelled')),
	filter jsonb not null,
	created_by text,
	error text
);
create index replay_running on rowbell.replay (paced_at) where status = 'running';
comment on table rowbell.replay is 'Replays: executions that are run again, at a rate. See rowbell replay list';
comment on column rowbell.replay.id is 'Number; the run of the executions that it makes, the last part of their ids';
comment on column rowbell.replay.created_at is 'When it was asked for (state server''s clock)';
comment on column rowbell.replay.paced_at is 'Up to when its rate is used up';
comment on column rowbell.replay.ended_at is 'When nothing was left, or it was cancelled; null while it runs';
comment on column rowbell.replay.rate is 'Executions per second';
comment on column rowbell.replay.total is 'How many executions it was asked to run again';
comment on column rowbell.replay.done is 'Executions that it has made';
comment on column rowbell.replay.unmatched is 'Left out: the current version does not match the change';
comment on column rowbell.replay.undecided is 'Left out: whether the current version matches can''t be told from what is recorded';
comment on column rowbell.replay.gone is 'Left out: the event is no longer in the log';
comment on column rowbell.replay.changed is 'Left out: it was retried or replayed since this replay was asked for';
comment on column rowbell.replay.refused is 'Left out: the version can''t run, or the workflow has none that is active';
comment on column rowbell.replay.current is 'True: with the current version, whose conditions are evaluated again; false: with the version that applied';
comment on column rowbell.replay.status is 'running, done or cancelled';
comment on column rowbell.replay.filter is 'What was asked for';
comment on column rowbell.replay.created_by is 'Who asked for it';
comment on column rowbell.replay.error is 'Why the last one was refused, or why it can''t go on just now';

create table rowbell.replay_item (
	committed_at timestamptz not null,
	replay integer not null references rowbell.replay (id) on delete cascade,
	version_ref integer not null,
	priority integer not null,
	id text collate "C" not null,
	primary key (replay, id)
);
comment on table rowbell.replay_item is 'What replays have still to run again';
comment on column rowbell.replay_item.committed_at is 'Commit time of the event';
comment on column rowbell.replay_item.replay is 'The replay';
comment on column rowbell.replay_item.version_ref is 'Workflow version of the execution, in surrogate';
comment on column rowbell.replay_item.priority is 'Of the execution';
comment on column rowbell.replay_item.id is 'The execution that is to be run again';

comment on column rowbell.execution.id is 'Event id, -, version surrogate; of a replay, with - and the replay''s number behind';
comment on column rowbell.workflow_log.id is 'Event id, -, number of the workflow version; of a replay, with - and the replay''s number behind';

-- Chains: which executions led to the change.
alter table rowbell.event add column chain json;
comment on column rowbell.event.chain is 'What the application said by rowbell.set_chain: id, depth and workflows of the chain of executions that led to the change, depth with this one counted; null: it said nothing';

create or replace view rowbell.workflow_event as
select e.event_id as id, e.stream, e.commit_lsn, e.seq, e.side, e.committed_at,
	coalesce(t.name, 'domain:' || e.domain) as table_name,
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else e.op::text end as operation,
	e.tenant_id, e.row_key, e.data, e.chain
from rowbell.event e
left join rowbell.surrogate t on t.ref = e.table_ref;
comment on column rowbell.workflow_event.chain is 'What led to the change, as the application said by rowbell.set_chain: id, depth and workflows; null: it said nothing';

-- Storms: the matches of one workflow beyond its limit wait for an operator. They are held
-- by a row of big_transaction, whose stream is the version's number with a minus before it.
alter table rowbell.big_transaction drop constraint big_transaction_status_check;
alter table rowbell.big_transaction add constraint big_transaction_status_check check (status in ('open', 'released', 'skipped', 'held', 'discarded'));
comment on column rowbell.big_transaction.stream is 'Stream of its position. Of a storm: the number of the workflow version, in surrogate, with a minus before it';
comment on column rowbell.big_transaction.commit_lsn is 'Where the commit record starts; of a storm, that of the transaction in which the first was held';
comment on column rowbell.big_transaction.status is 'open: parts are still to come; released: its deliveries may be claimed; skipped: marked by the application, nothing is delivered; held: waits for an operator (rowbell storm release, or discard); discarded: its deliveries are cancelled';
alter table rowbell.big_transaction add column decided_by text;
comment on column rowbell.big_transaction.decided_by is 'Of a storm: who released or discarded it';
comment on column rowbell.queue.big_lsn is 'commit_lsn of the row of big_transaction that it waits for: a transaction that is recorded in parts and not yet released, or a storm; else null';
comment on column rowbell.queue.big_stream is 'stream of that row';

create or replace view rowbell.delivery as
select q.execution_id || '_' || q.action || case when q.recipient = '' then '' else '_' || q.recipient end as id,
	q.execution_id, q.action, q.kind, q."order", nullif(q.recipient, '') as recipient,
	case when q.ready_at is null or q.ready_at = 'infinity' then 'waiting'
		when q.lease_until > clock_timestamp() then 'leased' else 'ready' end as state,
	q.attempts, q.ready_at, q.lease_until, q.lease_by, q.error, q.addressed, q.committed_at,
	v.id as workflow_id, v.tenant_id,
	case when q.big_stream < 0 then -q.big_stream || '-' || q.big_lsn end as storm
from rowbell.queue q
join rowbell.surrogate v on v.ref = q.version_ref;
comment on column rowbell.delivery.storm is 'The storm that holds it: rowbell storm list; null: none does';

-- Partitions have comments of their own.
-- +goose StatementBegin
do $$
declare
	child regclass;
begin
	for child in select inhrelid from pg_inherits where inhparent = 'rowbell.event'::regclass loop
		execute format('comment on column %s.chain is %L', child, (
			select col_description('rowbell.event'::regclass, attnum) from pg_attribute where attrelid = 'rowbell.event'::regclass and attname = 'chain'));
	end loop;
	for child in select inhrelid from pg_inherits where inhparent = 'rowbell.execution'::regclass loop
		execute format('comment on column %s.id is %L', child, (
			select col_description('rowbell.execution'::regclass, attnum) from pg_attribute where attrelid = 'rowbell.execution'::regclass and attname = 'id'));
	end loop;
end $$;
-- +goose StatementEnd
