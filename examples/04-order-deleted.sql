-- When globex deletes an order that nobody had cancelled.
--
-- A delete is matched by the row as it was. With the default replica identity only
-- the key would be there; orders has REPLICA IDENTITY FULL, so status is there too,
-- and so is tenant_id, without which nobody could say whose order it was.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('order-deleted', 'globex', 'Live order deleted', 'Somebody should ask why', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
    ('order-deleted', 'orders', 'delete', '{"status": {"not_in": ["cancelled", "delivered"]}}');

-- The kind log needs no configuration: the execution itself is the record.
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('order-deleted', 'log', '{}');

commit;
