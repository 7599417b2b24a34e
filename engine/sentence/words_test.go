package sentence

import (
	"strings"
	"testing"
)

func TestNoun(t *testing.T) {
	for _, c := range [][2]string{
		{"orders", "an order"},
		{"addresses", "an address"},
		{"companies", "a company"},
		{"statuses", "a status"},
		{"boxes", "a box"},
		{"people", "a person"},
		{"order_items", "an order item"},
		{"sales.orders", "an order (sales)"},
		{"OrderItems", "a row of OrderItems"},
		{"orderItems", "an order item"},
		{"users", "a user"},
		{"units", "a unit"},
		{"hours", "an hour"},
		{"uninstalls", "an uninstall"},
		{"unions", "a union"},
		{"api_keys", "an API key"},
		{"sms_messages", "an SMS message"},
		{"urls", "a URL"},
		{"employees", "an employee"},
		{"invoices", "an invoice"},
		{"movies", "a movie"},
		{"houses", "a house"},
		{"warehouses", "a warehouse"},
		{"bonuses", "a bonus"},
		{"expenses", "an expense"},
		{"databases", "a database"},
		{"classes", "a class"},
		{"branches", "a branch"},
		{"heroes", "a hero"},
		{"quizzes", "a quiz"},
		{"indices", "an index"},
		{"analyses", "an analysis"},
		{"taxes", "a tax"},
		{"series", "a series"},
		{"prizes", "a prize"},
		{"caches", "a cache"},
		{"days", "a day"},
		{"leaves", "a leave"},
		{"news", "a row of news"},
		{"data", "a row of data"},
		{"analytics", "a row of analytics"},
		{"stock", "a row of stock"},
		{"customer", "a customer"},
		{"status", "a status"},
		{"kunden", "a row of kunden"},
		{"haus", "a row of haus"},
		{"pedidos", "a pedido"},
		{"заказы", "a row of заказы"},
		{"my table", "a row of “my table”"},
		{"hr.Leute", "a row of hr.Leute"},
		{"", "a row of a table without a name"},
		{"orders_2024", "a row of orders_2024"},
	} {
		if got := article(noun(c[0])); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

func TestColumn(t *testing.T) {
	for _, c := range [][2]string{
		{"status", "status"},
		{"account_manager", "account manager"},
		{"accountManager", "account manager"},
		{"customer_id", "customer ID"},
		{"id", "ID"},
		{"shipped_at", "shipped-at time"},
		{"due_on", "due-on date"},
		{"created_by", "created-by"},
		{"is_paid", "is-paid flag"},
		{"vat_id", "VAT ID"},
		{"odd name", "“odd name”"},
		{"or", "“or”"},
		{"", "column without a name"},
		{"straße", "“straße”"},
		{strings.Repeat("x", 80), "“" + strings.Repeat("x", 63) + "…”"},
	} {
		if got := column(c[0]); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

func TestWord(t *testing.T) {
	for _, c := range [][2]string{
		{"approved", "approved"},
		{"in progress", "“in progress”"},
		{"1000", "“1000”"},
		{"true", "“true”"},
		{"Null", "“Null”"},
		{"or", "“or”"},
		{"", "the empty text"},
		{"robot-7", "robot-7"},
		{"Porto", "Porto"},
		{"São_Tomé", "São_Tomé"},
		{"a\nb\x00c\u202e", "“a b c”"},
		{"he said “no”", `“he said "no"”`},
		{"2026-01-31", "2026-01-31"},
		{"2026-01-31 and more", "“2026-01-31 and more”"},
		{"\xff", "“�”"},
		{strings.Repeat("long ", 40), "“" + strings.Repeat("long ", 11) + "long l…”"},
	} {
		if got := word(c[0]); got != c[1] {
			t.Errorf("%q: %s, want %s", c[0], got, c[1])
		}
	}
}

func TestDurationAndDate(t *testing.T) {
	for _, c := range [][2]string{{"3d", "3 days"}, {"1d", "1 day"}, {"90m", "90 minutes"}, {"1h30m", "1 hour 30 minutes"}, {"2w", "2 weeks"}, {"soon", "“soon”"}, {"", "“”"}, {"99999999999999999999d", "“99999999999999999999d”"}} {
		if got := duration(c[0]); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
	for _, c := range [][2]string{{"2026-04-03", "3 April 2026"}, {"12-25", "25 December"}, {"02-29", "29 February"}, {"2026-02-30", "“2026-02-30”"}, {"13-01", "“13-01”"}, {"Easter", "“Easter”"}} {
		if got := date(c[0]); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}
