-- When globex receives an order of 1000.00 or more.
--
-- Numbers compare as decimals, digit by digit: 999.99 is less than 1000, and
-- 1000.00 equals 1000. An insert needs no replica identity at all.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('large-order', 'globex', 'Large order', 'A person looks at it before it ships', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
    ('large-order', 'orders', 'create', '{"total": {"gte": 1000.00}}');

insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('large-order', 'log', '{}');

commit;
