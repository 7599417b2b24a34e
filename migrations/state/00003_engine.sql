-- +goose Up
-- What the log needs of domain events, of versions' positions, and of gates.

alter table rowbell.event add column domain text;
comment on column rowbell.event.domain is 'Name of a domain event (rowbell.emit); null for a row of a table';
comment on column rowbell.event.tenant_id is 'Value of the row''s tenant column; the tenant of a domain event';
comment on column rowbell.event.row_key is 'Key column values joined by commas; if there are several, a comma or backslash inside one has a backslash before it. What is longer than 1000 bytes is cut, and followed by … and a hash of the whole. Null for a domain event';

-- Where a version began to apply: "which version counted for this event?" has an answer
-- as long as the event has.
alter table rowbell.surrogate add column stream integer;
alter table rowbell.surrogate add column commit_lsn pg_lsn;
comment on column rowbell.surrogate.stream is 'Stream of commit_lsn';
comment on column rowbell.surrogate.commit_lsn is 'Commit LSN of the transaction that wrote the version: it applied to those that committed after it, until the next one. 0/0 for what was found when the stream was started anew (rowbell resync). Null for what the first load of all found, and for what was recorded before this column was there';

-- Gates: what is decided after recording, and before the actions of an execution.
comment on column rowbell.queue.action is 'Index in the version''s actions; -1 for the gate';
comment on column rowbell.queue.kind is 'Action kind; gate for what is decided before the actions begin';
comment on column rowbell.delivery_ended.action is 'Index in the version''s actions; -1 for the gate';
comment on column rowbell.delivery_ended.kind is 'Action kind; gate for what was decided before the actions began';
comment on column rowbell.execution_open.succeeded is 'A delivery other than the gate succeeded: the execution will not be cancelled';
comment on column rowbell.execution_open.stop is 'Why deliveries with a higher order will be cancelled: one gave up whose action says on_failure stop, or the gate did not pass';
comment on table rowbell.fired is 'Rows for which a workflow with firing mode once_per_row has fired: its gate lets only that execution pass. Kept as long as the workflow is there, whatever becomes of the row or the log';
comment on column rowbell.fired.row_key is 'The row, as event.row_key';

-- Partitions have comments of their own.
-- +goose StatementBegin
do $$
declare
	child regclass;
	col text;
begin
	for child, col in
		select i.inhrelid, c from pg_inherits i cross join unnest(case i.inhparent
			when 'rowbell.event'::regclass then '{domain,tenant_id,row_key}'::text[] else '{action,kind}' end) c
		where i.inhparent in ('rowbell.event'::regclass, 'rowbell.delivery_ended'::regclass)
	loop
		execute format('comment on column %s.%I is %L', child, col, (
			select col_description(i.inhparent, a.attnum) from pg_inherits i join pg_attribute a on a.attrelid = i.inhparent and a.attname = col
			where i.inhrelid = child));
	end loop;
end $$;
-- +goose StatementEnd

create or replace view rowbell.workflow_event as
select e.event_id as id, e.stream, e.commit_lsn, e.seq, e.side, e.committed_at,
	coalesce(t.name, 'domain:' || e.domain) as table_name,
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else e.op::text end as operation,
	e.tenant_id, e.row_key, e.data
from rowbell.event e
left join rowbell.surrogate t on t.ref = e.table_ref;
comment on column rowbell.workflow_event.tenant_id is 'Value of the row''s tenant column; the tenant of a domain event';
comment on column rowbell.workflow_event.row_key is 'Key column values joined by commas; if there are several, a comma or backslash inside one has a backslash before it. Null for a domain event';

create or replace view rowbell.row_history as
select coalesce(t.name, 'domain:' || e.domain) as table_name, e.row_key,
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else e.op::text end as operation,
	e.committed_at, e.tenant_id, v.name as workflow_name, x.status, x.error, x.executed_at, x.settled_at,
	v.id as workflow_id, v.version as workflow_version, x.id as execution_id, e.event_id, e.data
from rowbell.event e
left join rowbell.surrogate t on t.ref = e.table_ref
cross join lateral (
	select s.id, s.version_ref, s.status, s.error, s.executed_at, s.settled_at from rowbell.execution s
	where s.id >= e.event_id || '-' and s.id < e.event_id || '.' and s.committed_at = e.committed_at
	union all
	select q.execution_id, q.version_ref, 'pending', q.error, q.executed_at, null from rowbell.queue q
	where q.execution_id >= e.event_id || '-' and q.execution_id < e.event_id || '.' and q.sole
	union all
	select o.id, o.version_ref, 'pending', o.error, o.executed_at, null from rowbell.execution_open o
	where o.id >= e.event_id || '-' and o.id < e.event_id || '.'
) x
join rowbell.surrogate v on v.ref = x.version_ref;
comment on column rowbell.row_history.table_name is 'The table as workflows call it, or domain:<name>';
comment on column rowbell.row_history.row_key is 'The row: key column values joined by commas; null for a domain event';

comment on column rowbell.delivery.action is 'Index in the version''s actions; -1 for the gate';
comment on column rowbell.delivery.kind is 'Action kind; gate for what is decided before the actions begin';
comment on column rowbell.delivery_done.action is 'Index in the version''s actions; -1 for the gate';
comment on column rowbell.delivery_done.kind is 'Action kind; gate for what was decided before the actions began';
comment on column rowbell.delivery_done.reason is 'Why it gave up or was cancelled; of a gate, why it did not pass';
