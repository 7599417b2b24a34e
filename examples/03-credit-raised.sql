-- When acme raises a customer's credit limit.
--
-- What field_conditions can't say, an expression can. new and old are the row after
-- and before; changed("column") tells whether a column changed. The trigger and all
-- conditions must hold together.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('credit-raised', 'acme', 'Credit raised', 'The accountant confirms it', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values
    ('credit-raised', 'customers', 'update');

insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values
    ('credit-raised', 'expression',
     '{"expression": "changed(\"credit_limit\") && new.credit_limit > old.credit_limit"}');

insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('credit-raised', 'log', '{}');

commit;
