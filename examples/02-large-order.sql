-- When globex receives an order of 1000.00 or more.
--
-- Numbers compare as decimals, digit by digit: 999.99 is less than 1000, and
-- 1000.00 equals 1000. An insert needs no replica identity at all.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('large-order', 'globex', 'Large order', 'A person looks at it before it ships', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
    ('large-order', 'orders', 'create', '{"total": {"gte": 1000.00}}');

-- A notification goes into the inbox of each recipient: rowbell.notification. Its texts
-- are Liquid templates.
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('large-order', 'notification',
     '{"title": "Order {{ new.id }} over {{ new.total }}",
       "body": "Look at it before it ships.", "link": "/orders/{{ new.id }}"}');

insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values
    ('large-order', 'user', 'lena'),
    ('large-order', 'user', 'karl');

commit;
