-- +goose Up
-- Whom deliveries are for, and why.

alter table rowbell.queue add column xid bigint;
comment on column rowbell.queue.xid is 'Transaction of the event in the source (64 bits), of a delivery that is still to be addressed: who its recipients are is asked once that is visible to readers there. Null where that doesn''t matter any more';
comment on column rowbell.queue.address is 'The recipient as the directory knew them: id, name, email, phone, locale, zone; and reasons, why they are one';
comment on column rowbell.delivery_ended.address is 'The recipient as the directory knew them: id, name, email, phone, locale, zone; and reasons, why they are one';

alter table rowbell.execution add column address json;
comment on column rowbell.execution.address is 'The recipient of the only delivery as the directory knew them: id, name, email, phone, locale, zone; and reasons, why they are one';
comment on column rowbell.execution.duration_ms is 'Of the only delivery''s last attempt. This column to recipient, and address: the end of an execution''s only delivery, null if it had none or several (those are in delivery_ended)';

-- Partitions have comments of their own.
-- +goose StatementBegin
do $$
declare
	child regclass;
	col text;
begin
	for child, col in
		select i.inhrelid, c from pg_inherits i cross join unnest(case i.inhparent
			when 'rowbell.execution'::regclass then '{address,duration_ms}'::text[] else '{address}' end) c
		where i.inhparent in ('rowbell.execution'::regclass, 'rowbell.delivery_ended'::regclass)
	loop
		execute format('comment on column %s.%I is %L', child, col, (
			select col_description(i.inhparent, a.attnum) from pg_inherits i join pg_attribute a on a.attrelid = i.inhparent and a.attname = col
			where i.inhrelid = child));
	end loop;
end $$;
-- +goose StatementEnd

create or replace view rowbell.delivery_done as
select x.id || '_' || x.action || coalesce('_' || nullif(x.recipient, ''), '') as id,
	x.id as execution_id, x.action, x.kind, nullif(x.recipient, '') as recipient,
	case x.status when 'success' then 'succeeded' when 'failure' then 'dead' else 'cancelled' end as status,
	x.error as reason, x.attempts, x.code, x.duration_ms, x.settled_at as ended_at, x.committed_at, v.id as workflow_id, v.tenant_id,
	x.result ->> 'response' as response, x.address ->> 'name' as recipient_name, x.address -> 'reasons' as recipient_reasons
from rowbell.execution x
join rowbell.surrogate v on v.ref = x.version_ref
where x.action is not null
union all
select d.execution_id || '_' || d.action || case when d.recipient = '' then '' else '_' || d.recipient end,
	d.execution_id, d.action, d.kind, nullif(d.recipient, ''), d.status, d.reason, d.attempts, d.code, d.duration_ms, d.ended_at, d.committed_at, v.id, v.tenant_id,
	d.response, d.address ->> 'name', d.address -> 'reasons'
from rowbell.delivery_ended d
join rowbell.surrogate v on v.ref = d.version_ref;
comment on column rowbell.delivery_done.recipient is 'Whose share it was, by their id; null for the action as a whole';
comment on column rowbell.delivery_done.recipient_name is 'Their name, as the directory knew it';
comment on column rowbell.delivery_done.recipient_reasons is 'Why they are a recipient, as a JSON array of texts';
comment on column rowbell.delivery_done.reason is 'Why it gave up or was cancelled; of a gate, why it did not pass. no_address: and left_out: begin what concerns one person only';
