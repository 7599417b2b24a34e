-- +goose Up
-- The list of workflows, in the orders in which pages show it.

create index workflow_definition_name on rowbell.workflow_definition (lower(name) collate "C", id collate "C");
create index workflow_definition_updated on rowbell.workflow_definition (updated_at, id collate "C");
drop index rowbell.workflow_definition_tenant_id;
create index workflow_definition_tenant_name on rowbell.workflow_definition (tenant_id, lower(name) collate "C", id collate "C");
create index workflow_definition_tenant_updated on rowbell.workflow_definition (tenant_id, updated_at, id collate "C");
create index workflow_trigger_entity on rowbell.workflow_trigger (entity_type, workflow_id);
create index workflow_definition_creator on rowbell.workflow_definition (created_by, lower(name) collate "C", id collate "C");
