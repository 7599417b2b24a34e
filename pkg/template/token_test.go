package template_test

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/template"
)

// A value is one token of a subject, whatever is in it; the template's own text is not
// touched.
func TestToken(t *testing.T) {
	t.Parallel()
	c, err := template.CompileFor("a.{{ v }}.*{{ w | raw }}", template.Options{Channel: template.Token})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"x-1_Z": "x-1_Z", "a.b": "a%2Eb", "> *\r\n%": "%3E%20%2A%0D%0A%25", "ü": "%C3%BC", "": "",
	} {
		got, err := c.Render(map[string]any{"v": value, "w": "y.z"})
		if err != nil || got != "a."+want+".*y.z" {
			t.Errorf("%q gives %s, %v; want %s", value, got, err, want)
		}
		if got := template.Token.Escape(value); got != want {
			t.Errorf("Escape(%q) = %s, want %s", value, got, want)
		}
	}
	if template.Token.String() != "token" {
		t.Errorf("it is called %s", template.Token)
	}
}
