-- +goose Up
-- Pauses of an action kind, alone or of one tenant or workflow, and who is paused at all.

alter table rowbell.pause add column kind text
	constraint kind_must_not_be_empty check (kind <> '');
comment on column rowbell.pause.kind is 'The action kind whose deliveries wait, of the tenant, the workflow, or all; null for every kind';
comment on table rowbell.pause is 'Deliveries that wait, untried: those of a workflow, of a tenant, of an action kind, or, with none of these, all. Recording goes on. rowbell pause and rowbell resume write it, and so may SQL';
comment on column rowbell.pause.tenant_id is 'The tenant whose deliveries wait; null for one workflow''s, or any tenant''s';
comment on column rowbell.pause.workflow_id is 'The workflow whose deliveries wait; null for any of the tenant, or of all';

drop index rowbell.this_is_already_paused;
create unique index this_is_already_paused on rowbell.pause (coalesce(tenant_id, ''), coalesce(workflow_id, ''), coalesce(kind, ''));
