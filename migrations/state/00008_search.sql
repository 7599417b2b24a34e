-- +goose Up
-- What people look for in the log, and the counts that pages show.
--
-- Lists are read newest first and page by page, each from an index that has what is asked
-- for in that order. Of these only event_row_key grows with each match, by a commit time, the
-- table and the tenant: 45 bytes of WAL, of which the tenant is 30. Others were tried: of the
-- queue by workflow version, 70 bytes; of event by tenant, 200 bytes, since what comes in
-- between splits its pages. What a tenant has is found by its workflows' versions.

-- Of a row that changes often only the last changes are read, and of a key that rows of many
-- tables or tenants have only those that are asked for: index entries are passed over, not
-- rows, each of which is on a page of its own.
drop index rowbell.event_row_key;
create index event_row_key on rowbell.event (row_key, table_ref, committed_at, tenant_id);
-- All versions of a tenant are looked up without a visit to their rows.
drop index rowbell.surrogate_tenant;
create index surrogate_tenant on rowbell.surrogate (tenant_id, kind) include (ref);
-- What didn't succeed is little, and is what is looked for most.
create index execution_unwell on rowbell.execution (version_ref, committed_at) where status <> 'success';
create index execution_recipient on rowbell.execution (recipient, committed_at) where recipient <> '';
create index delivery_ended_unwell on rowbell.delivery_ended (version_ref, committed_at) where status <> 'succeeded';
create index delivery_ended_version on rowbell.delivery_ended (version_ref, committed_at);
create index delivery_ended_recipient on rowbell.delivery_ended (recipient, committed_at) where recipient <> '';

-- Counts of an hour are made from the log, now and then, for people to see: nothing decides
-- by them. Where a workflow's hour has no row its executions are few, and are counted when
-- somebody asks.

create table rowbell.statistic_hour (
	hour timestamptz primary key,
	counted_at timestamptz,
	next_at timestamptz
);
create index statistic_hour_next on rowbell.statistic_hour (next_at) where next_at is not null;
comment on table rowbell.statistic_hour is 'Which hours of commit time were counted into tenant_statistic and workflow_statistic, and when they will be again';
comment on column rowbell.statistic_hour.hour is 'When it began (UTC)';
comment on column rowbell.statistic_hour.counted_at is 'When it was last counted (state server''s clock); null: not yet';
comment on column rowbell.statistic_hour.next_at is 'When it is to be counted again: what was pending may have ended; -infinity: something of it that had ended was retried; null: it is over';

create table rowbell.tenant_statistic (
	hour timestamptz not null,
	success integer not null,
	failure integer not null,
	cancelled integer not null,
	tenant_id text not null,
	steps smallint[] not null,
	counts integer[] not null,
	primary key (tenant_id, hour)
);
create index tenant_statistic_hour on rowbell.tenant_statistic (hour);
comment on table rowbell.tenant_statistic is 'Settled executions of each tenant and hour of commit time, as they were when the hour was last counted';
comment on column rowbell.tenant_statistic.hour is 'When the hour began (UTC)';
comment on column rowbell.tenant_statistic.success is 'Executions that succeeded';
comment on column rowbell.tenant_statistic.failure is 'Executions that failed';
comment on column rowbell.tenant_statistic.cancelled is 'Executions that were cancelled';
comment on column rowbell.tenant_statistic.tenant_id is 'Tenant of the workflows; empty for operators'' ones, * for all together';
comment on column rowbell.tenant_statistic.steps is 'How long they took from their recording to their end, in steps of half a doubling: n stands for 2^(n/2) to 2^((n+1)/2) ms, less one';
comment on column rowbell.tenant_statistic.counts is 'How many executions took as long as each of the steps';

create table rowbell.workflow_statistic (
	hour timestamptz not null,
	version_ref integer not null,
	success integer not null,
	failure integer not null,
	cancelled integer not null,
	steps smallint[] not null,
	counts integer[] not null,
	primary key (version_ref, hour)
);
create index workflow_statistic_hour on rowbell.workflow_statistic (hour);
comment on table rowbell.workflow_statistic is 'The same of workflow versions that had many in an hour';
comment on column rowbell.workflow_statistic.hour is 'As in tenant_statistic';
comment on column rowbell.workflow_statistic.version_ref is 'Workflow version, in surrogate';
comment on column rowbell.workflow_statistic.success is 'As in tenant_statistic';
comment on column rowbell.workflow_statistic.failure is 'As in tenant_statistic';
comment on column rowbell.workflow_statistic.cancelled is 'As in tenant_statistic';
comment on column rowbell.workflow_statistic.steps is 'As in tenant_statistic';
comment on column rowbell.workflow_statistic.counts is 'As in tenant_statistic';
