-- When one of acme's orders becomes approved.
--
-- changed_to looks at both sides of an update: the status is approved now, and was
-- something else before. A second update of an approved order doesn't ring again.
-- It needs the old value, so orders has REPLICA IDENTITY FULL (see shop.sql).
--
-- Two actions, side by side. The receiver of the webhook is examples/receivers on this
-- machine, and the secret the one of its manual: put in your own. To reach it, rowbell
-- needs ROWBELL_EGRESS_ALLOW=127.0.0.0/8, and to keep secrets ROWBELL_SECRET_KEY.
begin;

insert into rowbell.workflow_definition (id, tenant_id, name, description, status) values
    ('order-approved', 'acme', 'Order approved', 'The warehouse packs it', 'active');

insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
    ('order-approved', 'orders', 'update', '{"status": {"changed_to": "approved"}}');

-- retry: how long to wait after each failed attempt. Without it webhooks are tried for
-- three days.
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
    ('order-approved', 'webhook',
     '{"url": "http://127.0.0.1:8000/webhook",
       "secret": "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=",
       "retry": ["2s", "5s", "30s", "5m", "1h"]}'),
    ('order-approved', 'notification',
     '{"title": "Order {{ new.id }} is approved", "body": "{{ new.total }} in all. Is the warehouse packing?"}');

-- Whose inbox. A user's id is whatever the shop calls people by.
insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values
    ('order-approved', 'user', 'maria');

commit;
