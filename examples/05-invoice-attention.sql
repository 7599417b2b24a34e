-- When an invoice needs somebody's eye, at either tenant.
--
-- A workflow without tenant_id is an operators' workflow: it sees the rows of all
-- tenants. It has two triggers, and fires once for a change even if both match;
-- the lower priority counts. Keys of one object are ANDed, any is OR.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('invoice-attention', null, 'Invoice needs attention', 'Overdue, or unusually large', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions, priority) values
    ('invoice-attention', 'invoices', 'update', '{"status": "overdue"}', 10),
    ('invoice-attention', 'invoices', 'create',
     '{"status": "open", "any": [{"amount": {"between": [2000, 100000]}}, {"amount": {"lte": 0}}]}', 20);

insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('invoice-attention', 'notification',
     '{"title": "Invoice {{ new.id }} of {{ new.tenant_id }} is {{ new.status }}",
       "body": "{{ new.amount }}, due on {{ new.due_on }}.", "link": "/invoices/{{ new.id }}"}');

-- An attribute is a column of the row that holds the recipient's id. Where it is empty
-- nobody is told, and the execution is cancelled with that reason.
insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values
    ('invoice-attention', 'attribute', 'account_manager');

commit;
