package workflow

import (
	"fmt"
	"regexp"
	"unicode/utf8"
)

// templateName is as table rowbell.template checks it, but for its length of 64: in the
// expression that would take megabytes.
var templateName = regexp.MustCompile(`^[\pL\pN_/-]+$`)

// CheckTemplateName says what is wrong with the name of a stored template.
func CheckTemplateName(name string) error {
	if utf8.RuneCountInString(name) > 64 || !templateName.MatchString(name) {
		return fmt.Errorf("%q is no name of a template: it has 1 to 64 letters, digits, _, - and /", shorten(name))
	}
	return nil
}

// CheckTemplateLocale says what is wrong with the language of a stored template; "" is
// everybody's.
func CheckTemplateLocale(locale string) error {
	if !localeForm.MatchString(locale) {
		return fmt.Errorf("%q is no language; write it as de or de-AT, or leave it out for everybody", shorten(locale))
	}
	return nil
}
