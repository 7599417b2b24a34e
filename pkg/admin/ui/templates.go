package ui

import (
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// templates are those of each page, with those that all share.
type templates map[string]*template.Template

// shared are files that all pages have.
var shared = []string{"templates/layout.html", "templates/parts.html", "templates/listparts.html"}

// parseTemplates reads the templates. It panics for one that can't be read: they are a part
// of the program.
func parseTemplates(u *UI) templates {
	common := template.Must(template.New("").Funcs(u.functions()).Funcs(listFunctions).ParseFS(files, shared...))
	all := make(templates)
	entries, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err)
	}
	for _, file := range entries {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")
		if slices.Contains(shared, file) {
			continue
		}
		all[name] = template.Must(template.Must(common.Clone()).ParseFS(files, file))
	}
	return all
}

// has says whether a page has a part of this name.
func (t templates) has(file, name string) bool {
	return t[file] != nil && t[file].Lookup(name) != nil
}

func (t templates) execute(w io.Writer, file, name string, data any) error {
	page := t[file]
	if page == nil {
		return fmt.Errorf("there is no page %s", file)
	}
	return page.ExecuteTemplate(w, name, data)
}

// dict makes the data of a part: "name", value pairs.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: a name without a value")
	}
	d := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		d[name] = pairs[i+1]
	}
	return d, nil
}
