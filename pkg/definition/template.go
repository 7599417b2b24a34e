package definition

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// templateKey tells the document of a stored template from that of a workflow.
const templateKey = "template"

// templateKeys are the keys of a template's document, in the order in which they are
// written.
var templateKeys = []string{templateKey, "description", "tenant_id", "source", "locales"}

// TemplateDocument is a stored template, in all its languages, as a file has it. It is a
// document of its own, since many workflows may render it: in each of theirs it could say
// something else.
type TemplateDocument struct {
	Name        string
	Description string
	TenantID    string // "" = the operators'
	HasTenant   bool   // the file says whose it is
	// Texts are the sources by locale; "" is for everybody.
	Texts map[string]string

	file   string
	at     *node
	places map[string]*node // of the texts, by locale
}

// File is where it comes from.
func (d *TemplateDocument) File() string { return d.file }

// readTemplate makes a stored template of a tree.
func readTemplate(name string, root *node) (*TemplateDocument, error) {
	d := &TemplateDocument{file: name, at: root, Texts: make(map[string]string), places: make(map[string]*node)}
	r := &reader{doc: &Document{}, name: name}
	if r.keys(root, "a stored template", templateKeys) {
		d.Name = r.needed(root, templateKey, "the name of the template, as footer")
		if err := workflow.CheckTemplateName(d.Name); err != nil && d.Name != "" {
			at := root.get(templateKey)
			r.fail(at.line, at.column, "%v", err)
		}
		d.Description = r.text(root, "description", "")
		d.TenantID = r.text(root, "tenant_id", "")
		d.HasTenant = root.get("tenant_id") != nil
		if n := root.get("source"); n != nil && n.kind != null {
			d.Texts[""], d.places[""] = r.text(root, "source", ""), n
		}
		r.locales(root, d)
		if len(d.Texts) == 0 && len(r.problems) == 0 {
			r.fail(root.line, root.column, "it has no text: write source, which is for everybody, or locales with a text for each language")
		}
	}
	return d, r.err(root)
}

// locales reads the texts by language.
func (r *reader) locales(root *node, d *TemplateDocument) {
	of := root.get("locales")
	if of == nil || of.kind == null {
		return
	}
	if of.kind != mapping {
		r.fail(of.line, of.column, "locales is a mapping of languages to texts, not %s", of.kind)
		return
	}
	for _, m := range of.members {
		switch err := workflow.CheckTemplateLocale(m.key); {
		case m.key == "":
			r.fail(m.line, m.column, "the text for everybody stands under source")
		case err != nil:
			r.fail(m.line, m.column, "%v", err)
		}
		if m.value.kind == list || m.value.kind == mapping || m.value.kind == null {
			r.fail(m.value.line, m.value.column, "a text is missing, there is %s", m.value.kind)
		}
		if len(m.value.value) > template.MaxSource {
			r.fail(m.value.line, m.value.column, "it has %d bytes; the most of a template are %d", len(m.value.value), template.MaxSource)
		}
		d.Texts[m.key], d.places[m.key] = m.value.value, m.value
	}
}

// YAML writes a stored template for people: reading it gives the same again.
func (d *TemplateDocument) YAML() []byte {
	root := &node{kind: mapping}
	set := func(n *node, key, value string) {
		n.members = append(n.members, member{key: key, value: &node{kind: text, value: value}})
	}
	set(root, templateKey, d.Name)
	if d.Description != "" {
		set(root, "description", d.Description)
	}
	if d.TenantID != "" {
		set(root, "tenant_id", d.TenantID)
	}
	if source, ok := d.Texts[""]; ok {
		set(root, "source", source)
	}
	locales := &node{kind: mapping}
	for _, locale := range slices.Sorted(maps.Keys(d.Texts)) {
		if locale != "" {
			set(locales, locale, d.Texts[locale])
		}
	}
	if len(locales.members) > 0 {
		root.members = append(root.members, member{key: "locales", value: locales})
	}
	return writeTree(root)
}

// MarshalJSON writes the document as JSON.
func (d *TemplateDocument) MarshalJSON() ([]byte, error) {
	locales := maps.Clone(d.Texts)
	delete(locales, "")
	var source *string
	if text, ok := d.Texts[""]; ok {
		source = &text
	}
	return json.Marshal(struct {
		Template    string            `json:"template"`
		Description string            `json:"description,omitempty"`
		TenantID    string            `json:"tenant_id,omitempty"`
		Source      *string           `json:"source,omitempty"`
		Locales     map[string]string `json:"locales,omitempty"`
	}{d.Name, d.Description, d.TenantID, source, locales})
}

// compile says what is wrong with the texts, where library has all templates that they
// may render.
func (d *TemplateDocument) compile(library *workflow.Library) []error {
	var problems []error
	for _, locale := range slices.Sorted(maps.Keys(d.Texts)) {
		if _, err := template.CompileFor(d.Texts[locale], template.Options{Partials: library}); err != nil {
			at := d.places[locale]
			problems = append(problems, &Problem{File: d.file, Line: at.line, Column: at.column, Message: fmt.Sprintf("template %s: %v", d.Name, err)})
		}
	}
	return problems
}
