-- When one of acme's orders becomes approved.
--
-- changed_to looks at both sides of an update: the status is approved now, and was
-- something else before. A second update of an approved order doesn't ring again.
-- It needs the old value, so orders has REPLICA IDENTITY FULL (see shop.sql).
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('order-approved', 'acme', 'Order approved', 'Tell the warehouse to pack', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
    ('order-approved', 'orders', 'update', '{"status": {"changed_to": "approved"}}');

-- The kind log needs no configuration: the execution itself is the record.
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('order-approved', 'log', '{}');

commit;
