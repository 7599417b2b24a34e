package sentence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is longer than this is cut, or counted.
const (
	maxName    = 63 // characters of a name; PostgreSQL's have no more
	maxValue   = 60
	maxQuoted  = 200 // of an expression
	maxListed  = 5   // values of a list
	fewListed  = 3   // how many are left where there are more
	maxClauses = 8   // parts of one "and" or "or"
)

// clean makes one line of a text that may hold anything, and cuts it.
func clean(s string, most int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range strings.TrimSpace(strings.ToValidUTF8(s, "�")) {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			space = true
			continue
		}
		if n >= most {
			return strings.TrimSpace(b.String()) + "…"
		}
		if space {
			b.WriteByte(' ')
			n++
		}
		space = false
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// quote puts a text between “quotes”; those that it holds itself become straight ones.
func quote(s string, most int) string {
	return "“" + strings.NewReplacer("“", `"`, "”", `"`).Replace(clean(s, most)) + "”"
}

// reserved are words that a value could not be told from.
var reserved = map[string]bool{
	"a": true, "an": true, "and": true, "at": true, "between": true, "both": true, "by": true, "either": true, "empty": true, "false": true, "for": true,
	"has": true, "in": true, "is": true, "it": true, "its": true, "least": true, "neither": true, "no": true, "nobody": true, "none": true,
	"nor": true, "not": true, "nothing": true, "null": true, "of": true, "on": true, "one": true, "or": true, "over": true, "role": true,
	"set": true, "someone": true, "than": true, "the": true, "then": true, "to": true, "true": true, "under": true, "when": true, "with": true,
}

var plainWord = regexp.MustCompile(`^\pL[\pL\pM\pN]*([_-][\pL\pM\pN]+)*$`)

// dateLike is a date or moment as ISO 8601 writes it, to which nothing else is added.
var dateLike = regexp.MustCompile(`^\d{4}-\d\d-\d\d([T ][0-9:.]+ ?(Z|[+-][0-9:]+)?)?$`)

// word shows a text as it is if it is a word or a date, else in quotes.
func word(s string) string {
	if len(s) <= maxValue && dateLike.MatchString(s) {
		return s
	}
	if plainWord.MatchString(s) && !reserved[strings.ToLower(s)] && utf8.RuneCountInString(s) <= maxValue {
		return s
	}
	if s == "" {
		return "the empty text"
	}
	return quote(s, maxValue)
}

// value shows a value as readJSON reads it.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		if v {
			return "true"
		}
		return "false"
	case json.Number:
		return clean(string(v), maxValue)
	case string:
		return word(v)
	}
	return quote(text(v), maxValue)
}

// text writes a value as JSON again, in the order in which it was read.
func text(v any) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = text(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case object:
		parts := make([]string, len(v))
		for i, m := range v {
			parts[i] = text(m.key) + ": " + text(m.value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "null" // there is no value that readJSON returns and Encode refuses
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// join writes "a", "a or b", "a, b or c". Parts that hold a comma, an "and" or an "or"
// of their own are held apart by commas: "a or b, or c".
func join(parts []string, conjunction string) string {
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	last := " " + conjunction + " "
	if slices.ContainsFunc(parts, compound) {
		last = "," + last
	}
	return strings.Join(parts[:len(parts)-1], ", ") + last + parts[len(parts)-1]
}

var betweenTwo = regexp.MustCompile(`between (“[^”]*”|[^ ,]+) and (“[^”]*”|[^ ,]+)`)

// compound says that a part holds a comma or conjunction outside quotes and parentheses,
// but for that of "between 1 and 2".
func compound(s string) bool {
	s = betweenTwo.ReplaceAllString(s, "between")
	if strings.HasPrefix(s, "(") {
		return true
	}
	depth := 0
	for i, r := range s {
		switch r {
		case '(', '“':
			depth++
		case ')', '”':
			depth--
		case ',':
			if depth == 0 {
				return true
			}
		case ' ':
			if depth == 0 && (strings.HasPrefix(s[i:], " and ") || strings.HasPrefix(s[i:], " or ") || strings.HasPrefix(s[i:], " nor ")) {
				return true
			}
		}
	}
	return false
}

// some lists texts: all of a few, else the first ones and how many others there are.
func some(list []string, conjunction string) string {
	if len(list) > maxListed {
		rest := len(list) - fewListed
		list = append(slices.Clone(list[:fewListed]), fmt.Sprintf("%d others", rest))
	}
	return join(list, conjunction)
}

// count writes "1 day", "3 days".
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// initials are written large in a column's words.
var initials = map[string]bool{
	"api": true, "bic": true, "crm": true, "erp": true, "eu": true, "gdpr": true, "iban": true, "id": true, "ip": true, "isbn": true, "kyc": true, "os": true,
	"pdf": true, "pin": true, "sku": true, "sla": true, "sms": true, "ssn": true, "uk": true, "uri": true, "url": true, "us": true, "utc": true,
	"uuid": true, "vat": true, "vip": true,
}

var (
	snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	camelCase = regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)+$`)
	capitals  = regexp.MustCompile(`[A-Z]`)
)

// words takes a name apart into words; ok is false if it isn't made of any.
func words(name string) (list []string, ok bool) {
	if utf8.RuneCountInString(name) > maxName {
		return nil, false
	}
	if camelCase.MatchString(name) {
		name = strings.ToLower(capitals.ReplaceAllString(name, "_$0"))
	}
	if !snakeCase.MatchString(name) {
		return nil, false
	}
	list = strings.Split(name, "_")
	return list, true
}

func capitalInitials(list []string) []string {
	list = slices.Clone(list)
	for i, w := range list {
		if initials[w] && (w != "us" || len(list) == 1) {
			list[i] = strings.ToUpper(w)
		}
	}
	return list
}

// column says the name of a column, so that "its" can stand before it: "account manager",
// "customer ID", "shipped-at time".
func column(name string) string {
	list, ok := words(name)
	if !ok || reserved[name] {
		if name == "" {
			return "column without a name"
		}
		return quote(name, maxName)
	}
	list = capitalInitials(list)
	if n := len(list); n > 1 {
		switch list[n-1] {
		case "at":
			return strings.Join(list, "-") + " time"
		case "on":
			return strings.Join(list, "-") + " date"
		case "by", "to", "from", "in", "for", "of":
			return strings.Join(list, "-")
		}
		switch list[0] {
		case "is", "has", "can", "was", "should", "needs":
			return strings.Join(list, "-") + " flag"
		}
	}
	return strings.Join(list, " ")
}

// adjective says a boolean column so that "it is" can stand before it: is_paid, archived.
func adjective(name string) (string, bool) {
	list, ok := words(name)
	if !ok {
		return "", false
	}
	if list[0] == "is" && len(list) > 1 {
		return strings.Join(capitalInitials(list[1:]), " "), true
	}
	switch name {
	case "paid", "active", "urgent", "public", "private", "sold", "sent", "overdue", "late", "visible", "taxable", "confidential", "valid", "invalid":
		return name, true
	}
	if len(list) == 1 && len(name) > 4 && strings.HasSuffix(name, "ed") && !strings.HasSuffix(name, "eed") {
		return name, true
	}
	return "", false
}

// noun is what a row of a table is called: "order", "order (sales)", "row of kunden".
func noun(label string) string {
	schema, table, qualified := strings.Cut(label, ".")
	if !qualified {
		schema, table = "", label
	}
	one, ok := "", false
	if list, isName := words(table); isName {
		last := len(list) - 1
		if one, ok = singular(list[last]); ok {
			list = append(slices.Clone(list[:last]), one)
			one = strings.Join(capitalInitials(list), " ")
		}
	}
	switch {
	case label == "":
		return "row of a table without a name"
	case !ok && qualified:
		return "row of " + name(schema) + "." + name(table)
	case !ok:
		return "row of " + name(table)
	case qualified:
		return one + " (" + name(schema) + ")"
	}
	return one
}

var plainName = regexp.MustCompile(`^[\pL_][\pL\pM\pN_$]*$`)

// name shows a name as it is if it could stand so in SQL, else in quotes.
func name(s string) string {
	if plainName.MatchString(s) && utf8.RuneCountInString(s) <= maxName {
		return s
	}
	return quote(s, maxName)
}

// irregular plurals, and words on s that the rules below would spoil. "" is a word that
// has no singular.
var irregular = map[string]string{
	"people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse", "feet": "foot", "teeth": "tooth", "geese": "goose",
	"criteria": "criterion", "phenomena": "phenomenon", "indices": "index", "vertices": "vertex", "matrices": "matrix", "appendices": "appendix",
	"lives": "life", "knives": "knife", "wives": "wife", "halves": "half", "shelves": "shelf", "wolves": "wolf", "selves": "self", "loaves": "loaf", "thieves": "thief",
	"axes": "axis", "analyses": "analysis", "crises": "crisis", "diagnoses": "diagnosis", "hypotheses": "hypothesis", "theses": "thesis", "parentheses": "parenthesis", "synopses": "synopsis",
	"quizzes": "quiz", "gases": "gas", "lenses": "lens", "aliases": "alias", "canvases": "canvas", "atlases": "atlas", "biases": "bias", "irises": "iris",
	"uses": "use", "fuses": "fuse", "excuses": "excuse", "refuses": "refuse", "caches": "cache", "niches": "niche", "headaches": "headache",
	"shoes": "shoe", "toes": "toe", "canoes": "canoe", "foes": "foe", "buses": "bus",
	"movies": "movie", "cookies": "cookie", "ties": "tie", "pies": "pie", "lies": "lie", "calories": "calorie", "selfies": "selfie", "zombies": "zombie", "hoodies": "hoodie",
	"series": "series", "species": "species", "lens": "lens", "gas": "gas", "alias": "alias", "canvas": "canvas", "atlas": "atlas", "bias": "bias", "bus": "bus", "plus": "plus",
	"news": "", "goods": "", "means": "", "sms": "", "gps": "", "dns": "", "aws": "", "its": "", "this": "", "is": "", "has": "", "was": "", "us": "", "yes": "", "always": "", "as": "", "os": "",
	"topics": "topic", "metrics": "metric", "clinics": "clinic", "critics": "critic", "comics": "comic", "graphics": "graphic", "fabrics": "fabric", "lyrics": "lyric", "pics": "pic",
}

// singulars are words that name tables although they are not plural.
var singulars = map[string]bool{}

func init() {
	for w := range strings.FieldsSeq(`account activity address agreement alert answer appointment article asset assignment attachment
		audit author bank batch bill book booking branch brand budget campaign car card cart case category channel charge city claim class
		client comment company complaint contact contract conversation country coupon course credit currency customer deal delivery
		department deposit device discount document domain driver email employee entry event expense feature fee file form game goal
		grade group guest holder hotel image incident ingredient inspection installation invitation invoice issue item job journal key
		label lead leave lesson license licence line link list load loan location log machine manager meeting member membership message
		milestone movement node note notice notification offer office opportunity order organisation organization owner package page
		parcel participant partner party patient payment payout person phone photo plan player policy position post price process
		product profile project prescription purchase question queue quote quotation rating reading receipt record recipe refund region
		registration rental reply report request reservation resource response result return review reward role room route rule run
		sale schedule school score seat section segment sensor service session shift shipment shop site slot source staff stage state
		statement status step store student subject subscriber subscription supplier survey tag target task tax teacher team template
		tenant test thread ticket token topic transaction transfer trip truck unit update upload user vehicle vendor version visit
		visitor voucher wallet warehouse warranty webhook worker`) {
		singulars[w] = true
	}
}

// singular makes one of many. ok is false if the word is not taken for an English plural,
// nor for one of the words that are often used as they are.
func singular(w string) (string, bool) {
	if one, ok := irregular[w]; ok {
		return one, one != ""
	}
	if singulars[w] {
		return w, true
	}
	n := len(w)
	ends := func(suffixes ...string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return n > len(s) && strings.HasSuffix(w, s) })
	}
	switch {
	case n < 3 || !ends("s") || !strings.ContainsAny(w[:n-1], "aeiouy"):
		return "", false
	case ends("ss", "us", "is"):
		return w, ends("ness", "ress", "lass", "cess", "tus", "nus", "rus", "pus", "sis") // status, address; not haus
	case ends("ics"):
		return "", false // analytics
	case ends("ies"):
		return w[:n-3] + "y", true
	case ends("sses", "xes", "ches", "shes", "zzes"):
		return w[:n-2], true
	case ends("ouses", "auses", "euses"):
		return w[:n-1], true
	case ends("uses"):
		return w[:n-2], true
	case ends("oes"):
		return w[:n-2], true
	}
	return w[:n-1], true
}

var (
	youSound = regexp.MustCompile(`^(?i:uni[^mn]|unit|uniq|union|use|usa|usu|util|utop|ubiq|uri|url|uuid|uid|eu|ew|one$|once$|one-|uk$|us$)`)
	unSound  = regexp.MustCompile(`^(?i:unin|unim|unid)`)
	silentH  = regexp.MustCompile(`^(?i:hour|honest|honou?r|heir)`)
	spelled  = regexp.MustCompile(`^(?i:[fhlmnrsx][bcdfghjklmnpqrstvwxz0-9]{1,4}|[aefhilmnorsx])$`) // SMS, an X
)

// article puts "a" or "an" before a noun, by the sound of its first word.
func article(noun string) string {
	first := strings.TrimLeft(noun, "“(")
	if i := strings.IndexAny(first, " ”"); i >= 0 {
		first = first[:i]
	}
	switch {
	case unSound.MatchString(first) || silentH.MatchString(first) || spelled.MatchString(first):
		return "an " + noun
	case youSound.MatchString(first):
		return "a " + noun
	case first != "" && strings.ContainsRune("aeiouAEIOUàáâäåæèéêëìíîïòóôöøùúûü8", firstRune(first)):
		return "an " + noun
	}
	return "a " + noun
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// capital makes the first letter large.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}
