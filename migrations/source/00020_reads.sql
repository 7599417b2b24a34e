-- +goose Up
-- What the API reads of very many workflows, without going through all of them.

-- Versions in the order of the audit log: an import makes very many at one time. The old indexes
-- go first: who drops one waits for all that read the table, and must not hold a lock by then for
-- which an edit waits.
drop index rowbell.workflow_version_created_at, rowbell.workflow_version_tenant_id;
create index workflow_version_audited on rowbell.workflow_version (created_at, (workflow_id || '@' || version::text) collate "C");
create index workflow_version_tenant_audited on rowbell.workflow_version (tenant_id, created_at, (workflow_id || '@' || version::text) collate "C");
-- Those that have limits, owners or a weight of their own, which are few: the condition stands in
-- Source.Definitions as well.
create index workflow_definition_exceptional on rowbell.workflow_definition (coalesce(tenant_id, '') collate "C", id collate "C")
	where settings ?| array['storm', 'max_depth', 'critical', 'owners'];
-- Those whose texts render a template.
create index workflow_action_renders on rowbell.workflow_action (workflow_id) where action_config::text ~ 'render';
-- How many a tenant has, and when one changed last.
create index workflow_definition_tenant_status on rowbell.workflow_definition (tenant_id, status, updated_at);
