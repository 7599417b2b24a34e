package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Options say how a template is read.
type Options struct {
	Channel Channel
	// Partials are the stored templates that render may name; nil for none. Each is
	// compiled once, for all texts that are given the same library.
	Partials *workflow.Library
	// Locale is for readers without one, and the translation for those who read none of
	// the others. Defaults to none.
	Locale string
	// Zone, of the IANA database, is for readers without one. Defaults to none: moments
	// have the offset that their texts have.
	Zone string
}

// Reader is who reads what a template gives.
type Reader struct {
	Locale string         // BCP 47: de-AT; "" if unknown
	Zone   *time.Location // nil if unknown
}

// ReaderOf is a person as a reader. A zone that isn't known counts as none; nil is nobody.
func ReaderOf(p *workflow.Person) Reader {
	if p == nil {
		return Reader{}
	}
	r := Reader{Locale: p.Locale}
	if p.Zone != "" {
		r.Zone, _ = loadZone(p.Zone)
	}
	return r
}

// Text is the source of a template: one text, or its translations by locale. One text has
// the locale "".
type Text map[string]string

// TextSchema is the JSON Schema of a Text. Kinds have it under $defs, and say by a title
// and a description of their own what each text is for.
const TextSchema = `{
	"type": ["string", "object"],
	"description": "A Liquid template, or its translations by locale.",
	"maxLength": 65536,
	"minProperties": 1,
	"maxProperties": 100,
	"additionalProperties": {"type": "string", "maxLength": 65536},
	"examples": ["Order {{ new.id }}", {"en": "Order {{ new.id }}", "de": "Auftrag {{ new.id }}"}]
}`

// UnmarshalJSON reads "text", or {"en": "text", "de": "Text"}.
func (t *Text) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = nil
		if one != "" {
			*t = Text{"": one}
		}
		return nil
	}
	var all map[string]string
	if err := json.Unmarshal(b, &all); err != nil {
		return errors.New(`it is neither a text nor translations of one, as {"en": "Paid", "de": "Bezahlt"}`)
	}
	*t = all
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (t Text) MarshalJSON() ([]byte, error) {
	if one, ok := t[""]; ok && len(t) == 1 || len(t) == 0 {
		return json.Marshal(one)
	}
	return json.Marshal(map[string]string(t))
}

// Blank says that no translation has more than white space.
func (t Text) Blank() bool {
	for _, s := range t {
		if strings.TrimSpace(s) != "" {
			return false
		}
	}
	return true
}

// Compile reads all translations. Errors name the translation and its line. No text at all
// is a template that gives "".
func (t Text) Compile(o Options) (*Template, error) {
	if len(t) == 0 {
		t = Text{"": ""}
	}
	if len(t) > maxTranslations {
		return nil, fmt.Errorf("there are %d translations; the most are %d", len(t), maxTranslations)
	}
	c := &compiler{options: o}
	tpl := &Template{options: o}
	var problems []error
	if o.Zone != "" {
		var err error
		if tpl.zone, err = loadZone(o.Zone); err != nil {
			problems = append(problems, err)
		}
	}
	for _, locale := range slices.Sorted(maps.Keys(t)) {
		v, err := c.variant(locale, t[locale])
		if err != nil {
			if locale != "" {
				err = fmt.Errorf("translation %s: %w", shorten(locale), err)
			}
			problems = append(problems, err)
			continue
		}
		tpl.variants = append(tpl.variants, v)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return tpl, nil
}

// maxTranslations bounds what one text is compiled into.
const maxTranslations = 100

// variant is one translation, compiled.
type variant struct {
	locale string // as its source is filed; "" for everybody
	static string // the whole output, if nodes is nil
	nodes  []node
}

// choose finds what a reader of the first locale gets: of de-AT, else of de, else the one for
// everybody, else the one of the next locales, else the first.
func choose(list []variant, locales ...string) *variant {
	if len(list) == 1 {
		return &list[0]
	}
	for i, locale := range locales {
		for tag := normalLocale(locale); tag != ""; tag = parentLocale(tag) {
			for j := range list {
				if normalLocale(list[j].locale) == tag {
					return &list[j]
				}
			}
		}
		if i == 0 && list[0].locale == "" { // they are sorted
			return &list[0]
		}
	}
	return &list[0]
}

// normalLocale is a locale as it is compared: de_AT.UTF-8 is de-at.
func normalLocale(s string) string {
	s, _, _ = strings.Cut(s, ".")
	s, _, _ = strings.Cut(s, "@")
	return strings.ToLower(strings.ReplaceAll(s, "_", "-"))
}

// parentLocale leaves the last part out; "" if there is no other.
func parentLocale(tag string) string {
	return tag[:max(0, strings.LastIndexByte(tag, '-'))]
}
