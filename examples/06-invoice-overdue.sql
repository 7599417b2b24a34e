-- When an invoice becomes overdue, of globex: a mail to those who have the role finance.
--
-- Who has the role the shop's own tables say, through a query that the operator has set
-- (ROWBELL_DIRECTORY_ROLE_MEMBERS, see docs/operations.md), as it is when the mail is sent.
-- Each gets a mail of their own; who has no address is left out, and the log says so.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('invoice-overdue', 'globex', 'Invoice overdue', 'Somebody calls the customer', 'active');

-- invoices has the default replica identity: the old status isn't in the WAL, and
-- changed_to can't be asked. Every update of an overdue invoice rings.
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
    ('invoice-overdue', 'invoices', 'update', '{"status": "overdue"}');

-- The body is Markdown with Liquid templates. What a row holds can't become Markdown or HTML.
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('invoice-overdue', 'email',
     '{"subject": "Invoice {{ new.id }} is overdue",
       "body": "Dear {{ recipient.name }},\n\n**{{ new.amount }}** were due on {{ new.due_on }}. The account manager is {{ new.account_manager | default: \"nobody\" }}.",
       "retry": ["2s", "10s", "1m"]}');

insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values
    ('invoice-overdue', 'role', 'finance');

commit;
