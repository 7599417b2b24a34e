-- When acme raises a customer's credit limit.
--
-- What field_conditions can't say, an expression can. new and old are the row after
-- and before; changed("column") tells whether a column changed. The trigger and all
-- conditions must hold together.
--
-- Two actions, one after the other: accounting is told first, and the customer's account
-- manager when accounting has it. See 01-order-approved.sql on receiver and secret.
begin;

-- settings hold for all actions that don't say otherwise.
insert into rowbell.workflow_definition (id, tenant_id, name, description, status, settings) values
    ('credit-raised', 'acme', 'Credit raised', 'Accounting confirms it', 'active',
     '{"retry": {"webhook": ["2s", "5s", "30s", "5m", "1h"]}}');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values
    ('credit-raised', 'customers', 'update');

insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values
    ('credit-raised', 'expression',
     '{"expression": "changed(\"credit_limit\") && new.credit_limit > old.credit_limit"}');

-- A higher "order" waits for the lower ones; on_failure says whether it still begins if
-- one of them gave up.
insert into rowbell.workflow_action (workflow_id, "order", action_type, action_config) values
    ('credit-raised', 1, 'webhook',
     '{"url": "http://127.0.0.1:8000/webhook",
       "secret": "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=",
       "on_failure": "stop"}'),
    ('credit-raised', 2, 'notification',
     '{"title": "{{ new.name }} has credit of {{ new.credit_limit }}",
       "body": "It was {{ old.credit_limit }}. Accounting knows."}');

-- An attribute is a column of the row that holds the recipient's id.
insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values
    ('credit-raised', 'attribute', 'account_manager');

commit;
