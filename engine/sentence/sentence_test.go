package sentence_test

import (
	"testing"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// orders is what most of the cases ask of an order that is updated; "record it" follows.
func orders(fields string) *workflow.Workflow { return of(on("orders", "update", fields), record()) }

func rule(expression string) *workflow.Workflow {
	return of(on("orders", "update"), expr(expression), record())
}

func timed(config string) *workflow.Workflow {
	return of(on("orders", "update"), cond("time_based", config), record())
}

func role(config string) *workflow.Workflow {
	return of(on("orders", "update"), cond("role_based", config), record())
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		w    *workflow.Workflow
		want string
	}{
		{
			of(on("orders", "update", `{"status": {"changed_to": "approved"}}`), webhook(), act(0, "notification", `{}`), to("user", "maria"), to("attribute", "account_manager")),
			`When an order is updated and its status becomes approved, send a webhook to hooks.example.com, and notify maria and the row's account manager.`,
		},
		// Triggers.
		{
			of(on("orders", "create"), record()),
			`When an order is created, record it.`,
		},
		{
			of(on("orders", "update"), on("orders", "create"), record()),
			`When an order is created or updated, record it.`,
		},
		{
			of(on("orders", "update"), on("orders", "create"), on("orders", "delete"), record()),
			`When an order is created, updated or deleted, record it.`,
		},
		{
			of(on("orders", "create"), on("sales.companies", "delete"), on("addresses", "update", `{"city": "Porto"}`), record()),
			`When an order is created, or when a company (sales) is deleted, or when an address is updated and its city is Porto, record it.`,
		},
		{
			of(on("orders", "create", `{"total": {"gt": 1000}}`), on("orders", "update", `{"total": {"changed": true}}`), expr(`new.status != "cancelled"`), record()),
			`When an order is created and its total is over 1000, or when one is updated and its total changes, and in either case only if its status is not cancelled, record it.`,
		},
		{
			of(on("orders", "create"), on("invoices", "create"), cond("field_value", `{"paid": true}`), cond("role_based", `{"roles": ["clerk"]}`), record()),
			`When an order is created, or when an invoice is created, in either case by someone with role clerk, and only if it is paid, record it.`,
		},
		{
			of(on("domain:order.paid", "create", `{"amount": {"gt": 100}}`), webhook(), act(0, "notification", `{}`), to("attribute", "customer_id")),
			`When the event order.paid is sent and its amount is over 100, send a webhook to hooks.example.com and notify the event's customer ID.`,
		},
		{
			of(on("kunden", "create"), on("domain:neue bestellung", "create"), record()),
			`When a row of kunden is created, or when the event “neue bestellung” is sent, record it.`,
		},
		{
			of(on("order_items", "create"), record()),
			`When an order item is created, record it.`,
		},
		{
			of(on("sales.orders", "create"), record()),
			`When an order (sales) is created, record it.`,
		},
		{
			of(on("hr.Mitarbeiter", "create"), record()),
			`When a row of hr.Mitarbeiter is created, record it.`,
		},
		{
			of(on("my table", "create"), record()),
			`When a row of “my table” is created, record it.`,
		},
		{
			of(on("users", "upsert"), record()),
			`When a user changes (operation “upsert”, which there isn't), record it.`,
		},
		{
			operatorsOf(on("invoices", "update", `{"status": "overdue"}`), record()),
			`For all tenants, when an invoice is updated and its status is overdue, record it.`,
		},
		{
			of(on("a", "create"), on("b", "create"), on("c", "create"), on("d", "create"), on("e", "create"), on("f", "create"), on("g", "create"), record()),
			`When a row of a is created, or when a row of b is created, or when a row of c is created, or when a row of d is created, or when one of 3 other things happens, record it.`,
		},
		// Operators.
		{
			orders(`{"status": "approved"}`),
			`When an order is updated and its status is approved, record it.`,
		},
		{
			orders(`{"status": {"eq": "in progress"}, "ref": ""}`),
			`When an order is updated and its status is “in progress” and its ref is the empty text, record it.`,
		},
		{
			orders(`{"status": {"ne": "draft"}, "count": {"ne": 3}}`),
			`When an order is updated and its status is not draft and its count is not 3, record it.`,
		},
		{
			orders(`{"total": {"gt": 1000}}`),
			`When an order is updated and its total is over 1000, record it.`,
		},
		{
			orders(`{"total": {"gte": 1000.00, "lt": 5000}, "weight": {"lte": 2.5}}`),
			`When an order is updated and its total is at least 1000.00 and under 5000, and its weight is at most 2.5, record it.`,
		},
		{
			orders(`{"total": {"between": [100, 200]}}`),
			`When an order is updated and its total is between 100 and 200, record it.`,
		},
		{
			orders(`{"status": {"in": ["new", "approved", "shipped"]}, "city": {"in": ["Porto"]}, "kind": {"in": ["a1", "b1"]}}`),
			`When an order is updated and its status is one of new, approved or shipped, its city is Porto, and its kind is a1 or b1, record it.`,
		},
		{
			orders(`{"status": {"not_in": ["cancelled", "delivered"]}}`),
			`When an order is updated and its status is neither cancelled nor delivered, record it.`,
		},
		{
			orders(`{"status": {"not_in": ["cancelled", "delivered", "lost"]}}`),
			`When an order is updated and its status is none of cancelled, delivered and lost, record it.`,
		},
		{
			orders(`{"zone": {"in": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}}`),
			`When an order is updated and its zone is one of 1, 2, 3 or 12 others, record it.`,
		},
		{
			orders(`{"note": {"contains": "urgent"}}`),
			`When an order is updated and its note contains “urgent”, record it.`,
		},
		{
			orders(`{"sku": {"starts_with": "EU-"}, "email": {"matches": "@example\\.(com|org)$"}}`),
			`When an order is updated and its SKU starts with “EU-” and its email matches the pattern “@example\.(com|org)$”, record it.`,
		},
		{
			orders(`{"note": null, "shipped_at": {"not_null": true}, "customer_id": {"is_null": false}}`),
			`When an order is updated and it has no note, has a shipped-at time and has a customer ID, record it.`,
		},
		{
			orders(`{"address": {"changed": true}, "note": {"changed": false}}`),
			`When an order is updated and its address changes and its note does not change, record it.`,
		},
		{
			orders(`{"status": {"changed_from": "new"}}`),
			`When an order is updated and its status changes from new, record it.`,
		},
		{
			orders(`{"status": {"changed_from": "new", "changed_to": ["approved", "shipped"]}}`),
			`When an order is updated and its status changes from new to approved or shipped, record it.`,
		},
		{
			orders(`{"manager": {"changed_to": null}}`),
			`When an order is updated and its manager becomes null, record it.`,
		},
		{
			orders(`{"any_changed": ["status", "total"]}`),
			`When an order is updated and its status or total changes, record it.`,
		},
		{
			orders(`{"any_changed": ["status", "total", "note", "city", "street", "zip"]}`),
			`When an order is updated and one of its status, total, note or 3 others changes, record it.`,
		},
		{
			orders(`{"not": {"any_changed": ["status", "total"]}}`),
			`When an order is updated and neither its status nor its total changes, record it.`,
		},
		{
			orders(`{"placed_at": {"gte": "2026-01-31"}, "due_on": {"lt": "2026-02-28"}}`),
			`When an order is updated and its placed-at time is not before 2026-01-31 and its due-on date is before 2026-02-28, record it.`,
		},
		{
			orders(`{"is_paid": true, "archived": false, "vip": true}`),
			`When an order is updated and it is paid and not archived, and its VIP is true, record it.`,
		},
		{
			orders(`{"is_paid": {"changed_to": true}}`),
			`When an order is updated and it becomes paid, record it.`,
		},
		{
			orders(`{"field": "any", "operator": "eq", "value": 1}`),
			`When an order is updated and its any is 1, record it.`,
		},
		{
			orders(`[{"status": "open"}, {"total": {"gt": 10}}]`),
			`When an order is updated and its status is open and its total is over 10, record it.`,
		},
		{
			orders(`{"tags": {"contains": "vip", "changed": true}, "notes": {"ne": "x"}, "address": "y"}`),
			`When an order is updated and its tags change, its tags contain “vip”, its notes are not x and its address is y, record it.`,
		},
		// Groups.
		{
			orders(`{"any": [{"status": "paid"}, {"total": {"lt": 10}}]}`),
			`When an order is updated and either its status is paid or its total is under 10, record it.`,
		},
		{
			orders(`{"any": [{"total": {"between": [2000, 100000]}}, {"total": {"lte": 0}}]}`),
			`When an order is updated and its total is either between 2000 and 100000 or at most 0, record it.`,
		},
		{
			orders(`{"status": "open", "any": [{"amount": {"gte": 2000}}, {"customer": {"starts_with": "VIP"}}], "not": {"note": {"contains": "test"}}}`),
			`When an order is updated and its status is open and its note does not contain “test”, and either its amount is at least 2000 or its customer starts with “VIP”, record it.`,
		},
		{
			orders(`{"any": [{"status": "open", "total": {"gt": 10}}, {"city": "Porto"}, {"all": [{"note": null}, {"any": [{"vip": true}, {"total": 0}]}]}]}`),
			`When an order is updated and either (its status is open and its total is over 10), its city is Porto, or (it has no note, and (its VIP is true or its total is 0)), record it.`,
		},
		{
			orders(`{"not": {"any": [{"status": "open"}, {"total": {"gt": 10}}]}}`),
			`When an order is updated and its status is not open and its total is not over 10, record it.`,
		},
		{
			orders(`{"not": {"status": "open", "total": {"gt": 10}}}`),
			`When an order is updated and either its status is not open or its total is not over 10, record it.`,
		},
		{
			orders(`{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "i": 9, "j": 10}`),
			`When an order is updated and its “a” is 1, its b is 2, its c is 3, its d is 4, its e is 5, its f is 6, its g is 7 and 3 other conditions hold, record it.`,
		},
		// Conditions.
		{
			of(on("orders", "update", `{"status": {"changed_to": "approved"}}`), cond("field_value", `{"total": {"gt": 1000}}`), record()),
			`When an order is updated and its status becomes approved and its total is over 1000, record it.`,
		},
		{
			rule(`new.total > 1000 && tenant != "test"`),
			`When an order is updated and its total is over 1000 and the tenant is not test, record it.`,
		},
		{
			rule(`changed("status") && old.status == "new" && new.status in ["approved", "shipped"]`),
			`When an order is updated and its status changes from new to approved or shipped, record it.`,
		},
		{
			rule(`changed("credit_limit") && new.credit_limit > old.credit_limit`),
			`When an order is updated and its credit limit increases, record it.`,
		},
		{
			rule(`changed("status") || changed("total")`),
			`When an order is updated and its status or total changes, record it.`,
		},
		{
			rule(`new.amount > old.amount * 1.2`),
			`When an order is updated and “new.amount > old.amount * 1.2” holds, record it.`,
		},
		{
			rule(`new.meta.customer.tier == "gold" and not (new.total <= -5.50)`),
			`When an order is updated and its meta.customer.tier is gold and its total is not at most -5.50, record it.`,
		},
		{
			rule(`lower(new.email) endsWith "@example.com"`),
			`When an order is updated and “lower(new.email) endsWith "@example.com"” holds, record it.`,
		},
		{
			rule(`new.email endsWith "@example.com" || new.shipped_on > new.due_on`),
			`When an order is updated and either its email ends with “@example.com” or its shipped-on date is after its due-on date, record it.`,
		},
		{
			rule(`"vip" in new.tags and new.due_at < now() && "admin" in actor.roles`),
			`When an order is updated and vip is in its tags, its due-at time is in the past and admin is in the actor's roles, record it.`,
		},
		{
			rule(`new.total >`),
			`When an order is updated and a condition holds that can't be read (“new.total >”), record it.`,
		},
		{
			rule(`new.a != old.a && new.total >= old.total && old.note != nil && !changed("city")`),
			`When an order is updated and its “a” is not what it was before, its total is at least what it was before, it had a note before and its city does not change, record it.`,
		},
		{
			rule(`new.total == 12345678901234567890.123 || new.small < 1e-9 || -3 > new.balance`),
			`When an order is updated and either its total is 12345678901234567890.123, its small is under 1e-9 or its balance is under -3, record it.`,
		},
		{
			rule(`not (new.status in ["open", "new"]) && new.paid && new["odd name"] matches "^a"`),
			`When an order is updated and its status is neither open nor new, it is paid, and its “odd name” matches the pattern “^a”, record it.`,
		},
		{
			rule(`op == "update" && new.total > 10`),
			`When an order is updated and the operation is update and its total is over 10, record it.`,
		},
		{
			rule(`new.placed_at >= date("2026-01-31") ? true : false`),
			`When an order is updated and “new.placed_at >= date("2026-01-31") ? true : false” holds, record it.`,
		},
		{
			rule(`new.title contains "a, b and “c”\n"`),
			`When an order is updated and its title contains “a, b and "c"”, record it.`,
		},
		// Times.
		{
			timed(`{"zone": "Europe/Berlin", "days": ["mon", "tue", "wed", "thu", "fri"], "hours": {"from": "09:00", "to": "17:30"}, "holidays": ["2026-04-03", "12-25", "12-26", "01-01"]}`),
			`On weekdays between 09:00 and 17:30 (Europe/Berlin), but not on holidays (3 April 2026, 25 December, 26 December and 1 January), when an order is updated, record it.`,
		},
		{
			timed(`{"days": ["sat", "sun"]}`),
			`At weekends (UTC), when an order is updated, record it.`,
		},
		{
			timed(`{"days": ["mon", "wed"], "hours": [{"from": "08:00", "to": "12:00"}, {"from": "22:00", "to": "06:00"}]}`),
			`On Mondays and Wednesdays either between 08:00 and 12:00 or between 22:00 and 06:00 overnight (UTC), when an order is updated, record it.`,
		},
		{
			timed(`{"dates": {"from": "2026-12-24", "to": "2027-01-06"}}`),
			`From 24 December 2026 to 6 January 2027 (UTC), when an order is updated, record it.`,
		},
		{
			timed(`{"dates": [{"from": "2026-12-24"}], "holidays": ["12-25"], "on_holidays": true}`),
			`From 24 December 2026 on, only on 25 December (UTC), when an order is updated, record it.`,
		},
		{
			timed(`{"holidays": ["12-25", "12-26"]}`),
			`Except on 25 December or 26 December (UTC), when an order is updated, record it.`,
		},
		{
			timed(`{"column": "due_date", "within": "3d"}`),
			`When an order is updated and its due date is within the next 3 days, record it.`,
		},
		{
			timed(`{"column": "placed_at", "older_than": "90m", "within_last": "2w", "zone": "Europe/Lisbon"}`),
			`When an order is updated and its placed-at time is more than 90 minutes ago and within the last 2 weeks (Europe/Lisbon), record it.`,
		},
		{
			timed(`{"column": "placed_at"}`),
			`At times that can't be read (“column”), when an order is updated, record it.`,
		},
		{
			timed(`{"hours": "9-17"}`),
			`At times that can't be read (“hours”), when an order is updated, record it.`,
		},
		{
			of(on("orders", "update"), cond("time_based", `{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "hours": {"from": "09:00", "to": "17:00"}}`), cond("time_based", `{"dates": {"to": "2027-01-06"}, "zone": "Europe/Berlin"}`), record()),
			`On any day between 09:00 and 17:00 (UTC) and until 6 January 2027 (Europe/Berlin), when an order is updated, record it.`,
		},
		// Roles.
		{
			role(`{"roles": ["approver", "admin"]}`),
			`When an order is updated by someone with role approver or admin, record it.`,
		},
		{
			role(`{"roles": ["approver"], "by": "directory"}`),
			`When an order is updated by someone with role approver (according to the directory), record it.`,
		},
		{
			role(`{"all_roles": ["staff", "finance"], "not_actors": ["robot-7"]}`),
			`When an order is updated by someone with both roles staff and finance, but not by robot-7, record it.`,
		},
		{
			role(`{"not_roles": ["robot"]}`),
			`When an order is updated, but not by someone with role robot, record it.`,
		},
		{
			role(`{"actors": ["ann", "bob"]}`),
			`When an order is updated by ann or bob, record it.`,
		},
		{
			role(`{"attributes": {"level": {"gte": 3}, "region": "eu"}}`),
			`When an order is updated by someone whose level is at least 3 and whose region is eu, record it.`,
		},
		{
			role(`{"roles": ["a1"], "all_roles": ["b1", "c1", "d1"], "not_roles": ["e1", "f1"], "not_actors": ["g1"], "attributes": {"any": [{"level": 3}, {"region": null}]}}`),
			`When an order is updated by someone with role a1 and with all of the roles b1, c1 and d1 and either whose level is 3 or who has no region, but not by g1, or someone with role e1 or f1, record it.`,
		},
		{
			role(`{"rolls": ["x"]}`),
			`When an order is updated by someone of whom a condition holds that can't be read, record it.`,
		},
		{
			of(on("orders", "update", `{"status": {"changed_to": "approved"}}`), cond("role_based", `{"roles": ["approver", "admin"]}`), cond("time_based", `{"days": ["mon", "tue", "wed", "thu", "fri"], "zone": "Europe/Berlin"}`), webhook()),
			`On weekdays (Europe/Berlin), when an order is updated by someone with role approver or admin and its status becomes approved, send a webhook to hooks.example.com.`,
		},
		// What people can't opt out of.
		{
			of(settings(`{"critical": true}`), on("orders", "create"), act(0, "notification", `{}`), to("user", "maria")),
			`When an order is created, notify maria, whatever people opted out of, and in quiet hours too.`,
		},
		{
			of(settings(`{"critical": "odd"}`), on("orders", "create"), act(0, "notification", `{}`), to("user", "maria")),
			`When an order is created, notify maria.`,
		},
		// Firing modes.
		{
			of(settings(`{"firing": "becomes_true"}`), on("orders", "create", `{"total": {"gt": 1000}}`), on("orders", "update", `{"total": {"gt": 1000}}`), expr(`new.status == "open"`), cond("role_based", `{"roles": ["clerk"]}`), record()),
			`When creating or updating an order (by someone with role clerk) makes it true that its total is over 1000 and its status is open, record it.`,
		},
		{
			of(settings(`{"firing": "becomes_true"}`), on("orders", "create"), record()),
			`When an order is created, record it.`,
		},
		{
			of(settings(`{"firing": "becomes_true"}`), on("orders", "update"), record()),
			`When updating an order makes it match (but nothing is asked of it), record it.`,
		},
		{
			of(settings(`{"firing": "once_per_row"}`), on("orders", "create", `{"total": {"gt": 1000}}`), on("orders", "update", `{"total": {"gt": 1000}}`), record()),
			`Once for each order, the first time it is created or updated and its total is over 1000, record it.`,
		},
		{
			of(settings(`{"firing": "once_per_row"}`), on("orders", "update"), on("invoices", "update"), record()),
			`Once for each row, the first time an order is updated, or an invoice is updated, record it.`,
		},
		{
			of(settings(`{"firing": "sometimes"}`), on("orders", "update"), record()),
			`When an order is updated (how often can't be read), record it.`,
		},
		{
			of(settings(`{"firing": "once_per_row"}`), on("orders", "update", `{"status": "approved"}`), on("orders", "create"), cond("role_based", `{"roles": ["clerk"]}`), webhook()),
			`Once for each order, the first time it is updated and its status is approved, or it is created, in either case by someone with role clerk, send a webhook to hooks.example.com.`,
		},
		{
			of(settings(`{"firing": "becomes_true"}`), on("orders", "update"), on("sales.customers", "update"), cond("field_value", `{"any": [{"limit": {"gt": 100}}, {"vip": true}]}`), webhook()),
			`When updating an order makes it true that either its limit is over 100 or its VIP is true, or when updating a customer (sales) makes it true that either its limit is over 100 or its VIP is true, send a webhook to hooks.example.com.`,
		},
		{
			of(settings(`{"firing": "becomes_true"}`), on("orders", "update"), cond("time_based", `{"column": "due_date", "within": "3d", "days": ["sat", "sun"]}`), webhook()),
			`At weekends (UTC), when updating an order makes it true that its due date is within the next 3 days, send a webhook to hooks.example.com.`,
		},
		// Actions.
		{
			of(on("orders", "create"), act(1, "webhook", `{"url": "https://u:p@a.example/x"}`), act(2, "notification", `{}`), to("role", "approver"), to("group", "night shift")),
			`When an order is created, send a webhook to a.example, then notify everyone with role approver and the group “night shift”.`,
		},
		{
			of(on("orders", "create"), settings(`{"exclude": ["actor"]}`), act(1, "notification", `{"exclude": [{"attribute": "owner"}, {"role": "intern"}, "me", {}]}`), to("role", "approver")),
			`When an order is created, notify everyone with role approver, but not the row's owner, everyone with role intern or whoever did it.`,
		},
		{
			of(on("orders", "create"), settings(`{"on_failure": "continue"}`), act(1, "webhook", `{"url": "https://a.example"}`), act(2, "log", `{}`)),
			`When an order is created, send a webhook to a.example, then, even if that fails, record it.`,
		},
		{
			of(on("orders", "create"), act(1, "webhook", `{"url": "https://a.example", "on_failure": "continue"}`), act(1, "email", `{}`), act(2, "log", `{}`), to("user", "ann")),
			`When an order is created, send a webhook to a.example and send an e-mail to ann, then, even if the webhook fails, record it.`,
		},
		{
			of(on("orders", "create"), act(0, "notification", `{}`), act(0, "email", `{}`), to("user", "ann", "a1"), to("user", "bob", "a2"), to("user", "cho")),
			`When an order is created, notify ann and cho, and send an e-mail to bob and cho.`,
		},
		{
			of(on("orders", "create"), act(0, "chat", `{"channel": "#orders"}`), act(1, "function", `{"function": "shop.recalc"}`), act(2, "publish", `{"topic": "orders.approved"}`), act(3, "fax", `{}`)),
			`When an order is created, post a chat message to #orders, then call the function shop.recalc, then publish a message to orders.approved, then run the action fax.`,
		},
		{
			of(on("orders", "create"), act(0, "publish", `{"subject": "orders.{{ event.operation }}.{{ new.id | default: old.id }}"}`)),
			`When an order is created, publish a message to “orders.….…”.`,
		},
		{
			of(on("orders", "create"), act(0, "chat", `{"service": "slack", "secret": {"ref": "x"}, "text": "a"}`), act(1, "chat", `{"service": "telegram", "channel": "-100123", "text": "a"}`)),
			`When an order is created, post a chat message in Slack, then post a chat message to “-100123” in Telegram.`,
		},
		// Actions with conditions of their own.
		{
			of(on("orders", "create"), act(0, "notification", only(`{"total": {"gt": 1000}}`)), to("user", "ann")),
			`When an order is created, if its total is over 1000, notify ann.`,
		},
		{
			of(on("orders", "create"), act(0, "notification", `{}`), act(0, "email", only(`{"total": {"gt": 1000}}`)), act(1, "webhook", only(`{"status": "paid"}`)), to("user", "ann")),
			`When an order is created, notify ann and, if its total is over 1000, also send an e-mail to ann, then, if its status is paid, send a webhook (it has no URL yet).`,
		},
		{
			of(on("orders", "create"), act(0, "log", only(`{"total": {"gt": 1000}}`)), act(0, "log", only(`{"status": "paid"}`)), act(0, "log", `{}`)),
			`When an order is created, if its total is over 1000, record it, if its status is paid, also record it and record it.`,
		},
		{
			of(on("orders", "update"), act(0, "log", `{"on_failure": "continue"}`), act(1, "log", `{"only_if": [{"condition_type": "time_based", "condition_config": {"days": ["sat", "sun"]}}, {"condition_type": "role_based", "condition_config": {"roles": ["clerk"]}}, {"condition_type": "expression", "condition_config": {"expression": "new.total > 10"}}]}`)),
			`When an order is updated, record it, then, even if that fails, if its total is over 10, it happens at weekends (UTC) and it is done by someone with role clerk, record it.`,
		},
		{
			of(on("orders", "create"), act(0, "log", `{"only_if": {"total": 1}}`)),
			`When an order is created, if something holds that can't be read, record it.`,
		},
		{
			of(act(0, "log", only(`{"total": {"gt": 1000}}`))),
			`Nothing sets it off yet; once something does, it will, if its total is over 1000, record it.`,
		},
		{ // a chat message is nobody's in particular
			of(on("orders", "create"), act(0, "chat", `{"service": "slack"}`), act(0, "notification", `{}`), to("user", "ann")),
			`When an order is created, post a chat message in Slack and notify ann.`,
		},
		{
			of(on("orders", "create"), act(0, "webhook", `{}`), act(0, "notification", `[`)),
			`When an order is created, send a webhook (it has no URL yet) and notify nobody yet (its configuration can't be read).`,
		},
		{
			of(on("orders", "create"), act(0, "webhook", `{"url": {"ref": "crm"}}`)),
			`When an order is created, send a webhook to a URL that is kept secret.`,
		},
		{
			of(on("orders", "create"), record(), webhook(), webhook(), record(), record(), record(), record(), record()),
			`When an order is created, record it, send a webhook to hooks.example.com, send a webhook to hooks.example.com once more, record it once more, record it once more, record it once more and do 2 more things.`,
		},
		// Incomplete and broken.
		{
			of(),
			`Nothing sets it off yet, and it does nothing yet.`,
		},
		{
			of(webhook()),
			`Nothing sets it off yet; once something does, it will send a webhook to hooks.example.com.`,
		},
		{
			of(webhook(), expr("new.total > 10"), cond("role_based", `{"roles": ["clerk"]}`)),
			`Nothing sets it off yet; once something does (by someone with role clerk) and its total is over 10, it will send a webhook to hooks.example.com.`,
		},
		{
			of(on("orders", "create")),
			`When an order is created, nothing is done yet.`,
		},
		{
			orders(`{"status": `),
			`When an order is updated and a condition holds that can't be read (field_conditions), record it.`,
		},
		{
			orders(`{"total": {"gtt": 5}, "a": 1}`),
			`When an order is updated and a condition holds that can't be read (“gtt” of its total) and its “a” is 1, record it.`,
		},
		{
			of(on("orders", "update"), cond("moon_based", `{}`), cond("field_value", `{}`), record()),
			`When an order is updated and a condition holds that can't be read (of kind “moon_based”) and a condition holds that can't be read (condition 2 is empty), record it.`,
		},
		{
			nil,
			`There is no workflow.`,
		},
	} {
		got := sentence.Of(c.w)
		if got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q is no UTF-8", got)
		}
	}
}

// only is an action's configuration with a condition of its own.
func only(form string) string {
	return `{"only_if": [{"condition_type": "field_value", "condition_config": ` + form + `}]}`
}

func operatorsOf(parts ...part) *workflow.Workflow { return of(append(parts, operators())...) }
