-- When acme gets a new customer: a mail to the customer, who has no account anywhere.
--
-- An attribute may hold an e-mail address instead of a person's id.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('customer-welcome', 'acme', 'Welcome', 'The first thing that a customer reads of us', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values
    ('customer-welcome', 'customers', 'create');

insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('customer-welcome', 'email',
     '{"subject": "Welcome, {{ new.name }}",
       "body": "Dear {{ new.name }},\n\nnice to have you. Until you tell us otherwise you can order for up to {{ new.credit_limit }} before you pay.",
       "retry": ["2s", "10s", "1m"]}');

insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values
    ('customer-welcome', 'attribute', 'email');

commit;
