package template

import (
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-playground/locales"
	"github.com/go-playground/locales/cs"
	"github.com/go-playground/locales/da"
	"github.com/go-playground/locales/de"
	"github.com/go-playground/locales/de_AT"
	"github.com/go-playground/locales/en"
	"github.com/go-playground/locales/en_GB"
	"github.com/go-playground/locales/es"
	"github.com/go-playground/locales/fr"
	"github.com/go-playground/locales/fr_CA"
	"github.com/go-playground/locales/hu"
	"github.com/go-playground/locales/it"
	"github.com/go-playground/locales/ja"
	"github.com/go-playground/locales/nb"
	"github.com/go-playground/locales/nl"
	"github.com/go-playground/locales/pl"
	"github.com/go-playground/locales/pt"
	"github.com/go-playground/locales/pt_PT"
	"github.com/go-playground/locales/ro"
	"github.com/go-playground/locales/sk"
	"github.com/go-playground/locales/sv"
	"github.com/go-playground/locales/tr"
	"github.com/go-playground/locales/uk"
	"github.com/go-playground/locales/zh"
	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	xnumber "golang.org/x/text/number"
)

// Dates have the names and orders that CLDR gives for these locales.
//
// 2026-11-26: they come from go-playground/locales, since golang.org/x/text formats no
// dates. Of what that library has only dates are used, and of its locales only those
// whose output was read: it formats amounts as float64, puts wrong symbols to them in many
// locales, and leaves pattern letters in some dates (fi) and am and pm out of some (en_AU).
// Digits, separators and symbols of numbers are those of golang.org/x/text.
var calendars = map[string]locales.Translator{
	"cs": cs.New(), "da": da.New(), "de": de.New(), "de-at": de_AT.New(), "en": en.New(), "en-gb": en_GB.New(), "es": es.New(), "fr": fr.New(),
	"fr-ca": fr_CA.New(), "hu": hu.New(), "it": it.New(), "ja": ja.New(), "nb": nb.New(), "nl": nl.New(), "no": nb.New(), "pl": pl.New(),
	"pt": pt.New(), "pt-pt": pt_PT.New(), "ro": ro.New(), "sk": sk.New(), "sv": sv.New(), "tr": tr.New(), "uk": uk.New(), "zh": zh.New(),
}

// calendar finds how a locale writes dates; nil if that isn't known. Nothing is English.
func calendar(locale string) locales.Translator {
	tag := normalLocale(locale)
	if tag == "" {
		return calendars["en"]
	}
	for t := tag; t != ""; t = parentLocale(t) {
		if t == "en" && tag != "en" && tag != "en-us" && tag != "en-ca" && tag != "en-ph" {
			t = "en-gb" // day before month, and 24 hours
		}
		if c := calendars[t]; c != nil {
			return c
		}
	}
	return nil
}

// styles are the named formats of dates.
var styles = []string{"short", "medium", "long", "full"}

// styled formats a moment in a named format: short, or long time, or time. It returns
// false if there is none of that name.
func styled(locale string, t time.Time, format string) (string, bool) {
	style, withTime := strings.CutSuffix(format, " time")
	if format == "time" {
		style, withTime = "", true
	}
	c := calendar(locale)
	var text string
	switch {
	case style == "" && withTime:
	case style != "short" && style != "medium" && style != "long" && style != "full":
		return "", false
	case c == nil:
		text = t.Format(time.DateOnly) // which nobody misreads
	case style == "short":
		text = c.FmtDateShort(t)
	case style == "medium":
		text = c.FmtDateMedium(t)
	case style == "long":
		text = c.FmtDateLong(t)
	case style == "full":
		text = c.FmtDateFull(t)
	}
	if !withTime {
		return text, true
	}
	clock := t.Format("15:04")
	if c != nil {
		clock = c.FmtTimeShort(t)
	}
	switch {
	case text == "":
		return clock, true
	case c == nil || c.Locale() == "ja" || c.Locale() == "zh":
		return text + " " + clock, true
	}
	return text + ", " + clock, true
}

// notation is how a locale writes numbers.
type notation struct {
	zero               rune   // the digit 0; the others follow it
	decimal, group     string // "" for no groups
	primary, secondary int    // digits of the last group, and of the others
	minus              [2]string
	percent            [2]string // before and after
	printer            *message.Printer
	amount             amountStyle
}

// amountStyle is where the currency stands.
type amountStyle struct {
	before bool   // the number
	space  bool   // between them; always behind letters
	inner  bool   // the minus is next to the number also if the currency is before it
	group  string // instead of the notation's; "" for that
}

// amountStyles are those that differ from "1.234,50 €", by locale (CLDR, currencyFormats).
var amountStyles = map[string]amountStyle{
	"en": {before: true}, "ja": {before: true}, "zh": {before: true}, "ko": {before: true}, "tr": {before: true}, "hi": {before: true}, "th": {before: true},
	"es-mx": {before: true}, "es-us": {before: true}, "es-ar": {before: true, space: true}, "pt": {before: true, space: true},
	"pt-pt": {}, "nl": {before: true, space: true, inner: true}, "de-at": {before: true, space: true, group: "."},
	"de-ch": {before: true, space: true, inner: true}, "de-li": {before: true, space: true}, "it-ch": {before: true, space: true, inner: true}, "und": {before: true},
}

// notations are those that have been asked for. Locales come from a directory, and so may
// be anything.
var notations = cache[string, *notation]{most: 1000}

func notationOf(locale string) *notation {
	tag := normalLocale(locale)
	return notations.get(tag, func() *notation { return newNotation(tag) })
}

// newNotation learns how a locale writes numbers from numbers that it has written.
func newNotation(locale string) *notation {
	if len(locale) > 35 { // the longest that RFC 5646 wants to be stored
		locale = ""
	}
	tag, err := language.Parse(locale)
	if err != nil || locale == "" {
		tag, locale = language.English, "en"
	}
	n := &notation{printer: message.NewPrinter(tag)}
	for t := locale; t != ""; t = parentLocale(t) {
		if style, ok := amountStyles[t]; ok {
			n.amount = style
			break
		}
	}
	sample := n.printer.Sprint(xnumber.Decimal(1234567.5, xnumber.Scale(1)))
	var digits []rune
	seps := make([]string, 0, 4) // what stands behind each run of digits
	runs := make([]int, 0, 4)
	inRun := false
	for _, c := range sample {
		switch {
		case unicode.IsDigit(c) && inRun:
			runs[len(runs)-1]++
			digits = append(digits, c)
		case unicode.IsDigit(c):
			runs, seps, inRun = append(runs, 1), append(seps, ""), true
			digits = append(digits, c)
		case len(seps) > 0:
			seps[len(seps)-1] += string(c)
			inRun = false
		}
	}
	n.zero = digits[0] - 1
	n.decimal = seps[len(seps)-2]
	if whole := runs[:len(runs)-1]; len(whole) > 1 {
		n.group, n.primary, n.secondary = seps[0], whole[len(whole)-1], whole[len(whole)-1]
		if len(whole) > 2 {
			n.secondary = whole[len(whole)-2]
		}
	}
	n.minus = around(n.printer.Sprint(xnumber.Decimal(-1)))
	n.percent = around(n.printer.Sprint(xnumber.Percent(0.01)))
	return n
}

// around is what stands before and behind the one digit of a text.
func around(s string) [2]string {
	i := strings.IndexFunc(s, unicode.IsDigit)
	_, size := utf8.DecodeRuneInString(s[i:])
	return [2]string{s[:i], s[i+size:]}
}

// unsigned writes the digits of a number without its sign.
func (n *notation) unsigned(d decimal, group string) string {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(d.text(), "-"), ".")
	var b strings.Builder
	for i, c := range whole {
		if left := len(whole) - i; i > 0 && group != "" && (left == n.primary || left > n.primary && (left-n.primary)%n.secondary == 0) {
			b.WriteString(group)
		}
		b.WriteRune(n.zero + c - '0')
	}
	if fraction != "" {
		b.WriteString(n.decimal)
		for _, c := range fraction {
			b.WriteRune(n.zero + c - '0')
		}
	}
	return b.String()
}

func (n *notation) signed(d decimal, s string) string {
	if d.n.Sign() < 0 {
		return n.minus[0] + s + n.minus[1]
	}
	return s
}

// noBreak is a space that lines don't break at.
const noBreak = "\u00a0"

// money writes an amount, with the minor units of its currency.
func (n *notation) money(d decimal, unit unit) string {
	d = d.round(unit.places, nearest)
	if d.places < unit.places {
		d = decimal{d.with(unit.places), unit.places}
	}
	group := n.group
	if n.amount.group != "" {
		group = n.amount.group
	}
	s, symbol := n.unsigned(d, group), unit.symbol(n.printer)
	if !n.amount.before {
		return n.signed(d, s) + noBreak + symbol
	}
	if last, _ := utf8.DecodeLastRuneInString(symbol); n.amount.space || unicode.IsLetter(last) {
		symbol += noBreak
	}
	if n.amount.inner {
		return symbol + n.signed(d, s)
	}
	return n.signed(d, symbol+s)
}

// unit is a currency.
type unit struct {
	code   string // ISO 4217
	known  currency.Unit
	places int // of its minor unit
}

// youngUnits are currencies that golang.org/x/text doesn't know yet.
var youngUnits = map[string]int{"SLE": 2, "VED": 2, "XCG": 2, "ZWG": 2}

// parseUnit reads the code of a currency; upper and lower case are the same.
func parseUnit(code string) (unit, bool) {
	code = strings.ToUpper(code)
	if places, ok := youngUnits[code]; ok {
		return unit{code: code, places: places}, true
	}
	known, err := currency.ParseISO(code)
	if err != nil || len(code) != 3 {
		return unit{}, false
	}
	places, _ := currency.Standard.Rounding(known)
	return unit{code, known, places}, true
}

func (u unit) symbol(p *message.Printer) string {
	if u.known == (currency.Unit{}) {
		return u.code
	}
	return p.Sprint(currency.Symbol(u.known))
}

// cache keeps what is slow to make. One that is full starts anew.
type cache[K comparable, V any] struct {
	most int
	mu   sync.Mutex
	kept map[K]V
}

func (c *cache[K, V]) get(key K, create func() V) V {
	c.mu.Lock()
	v, ok := c.kept[key]
	c.mu.Unlock()
	if ok {
		return v
	}
	v = create()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= c.most {
		c.kept = make(map[K]V)
	}
	c.kept[key] = v
	return v
}
