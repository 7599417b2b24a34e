-- +goose Up
-- How deliveries ended, beside how executions did: one execution may have very many.

alter table rowbell.tenant_statistic add column sent integer not null default 0;
alter table rowbell.tenant_statistic add column dead integer not null default 0;
alter table rowbell.tenant_statistic add column dropped integer not null default 0;
comment on column rowbell.tenant_statistic.sent is 'Deliveries that succeeded, also of executions that have not settled';
comment on column rowbell.tenant_statistic.dead is 'Deliveries that gave up';
comment on column rowbell.tenant_statistic.dropped is 'Deliveries that were cancelled, and recipients who were left out';

-- The days that people look at are counted anew.
update rowbell.statistic_hour set next_at = clock_timestamp() where hour > now() - interval '8 days' and counted_at is not null and next_at is distinct from '-infinity';
