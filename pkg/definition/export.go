package definition

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Exported is a document as a file has it.
type Exported struct {
	File string // order-approved.yaml
	YAML []byte
}

// Export writes workflows as they are live, and the templates of the same owners: of the
// workflows of these ids those that they render, else all. operators names templates of the
// operators' that a tenant's workflows render, and that aren't exported with them. Returns
// workflow.ErrNotFound if there is no workflow of an id.
func (s *Service) Export(ctx context.Context, ids []string, f store.WorkflowFilter) (list []Exported, operators []string, err error) {
	var defs []store.Definition
	for _, id := range ids {
		d, err := s.Source.Definition(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if f.Tenant != nil && d.TenantID != *f.Tenant {
			return nil, nil, notFound("workflow %s is of %s", id, whose(d.TenantID))
		}
		defs = append(defs, d)
	}
	if len(ids) == 0 {
		if defs, err = s.Source.Definitions(ctx, f); err != nil {
			return nil, nil, err
		}
	}
	stored, err := s.Source.Templates(ctx, f.Tenant, "")
	if err != nil {
		return nil, nil, err
	}
	type named struct{ tenantID, name string }
	used := make(map[named]bool)
	for _, d := range defs {
		w, err := workflow.Parse(d.Document)
		if err != nil {
			return nil, nil, fmt.Errorf("workflow %s, version %d: %w", d.ID, d.Version, err)
		}
		text, err := YAML(w)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, Exported{fileName(d.ID) + ".yaml", text})
		for name := range w.Templates {
			own := named{d.TenantID, name}
			if slices.ContainsFunc(stored, func(t store.Template) bool { return t.TenantID == d.TenantID && t.Name == name }) {
				used[own] = true
			} else if d.TenantID != "" && (len(ids) > 0 || f.Tenant != nil) && !slices.Contains(operators, name) {
				operators = append(operators, name)
			}
		}
	}
	var docs []*TemplateDocument
	for _, t := range stored {
		if len(ids) > 0 && !used[named{t.TenantID, t.Name}] {
			continue
		}
		i := slices.IndexFunc(docs, func(d *TemplateDocument) bool { return d.TenantID == t.TenantID && d.Name == t.Name })
		if i < 0 {
			docs = append(docs, &TemplateDocument{Name: t.Name, TenantID: t.TenantID, Texts: make(map[string]string)})
			i = len(docs) - 1
		}
		docs[i].Texts[t.Locale] = t.Source
		if docs[i].Description == "" {
			docs[i].Description = t.Description
		}
	}
	for _, d := range docs {
		name := "template-" + fileName(d.Name)
		if d.TenantID != "" && f.Tenant == nil {
			name += "-of-" + fileName(d.TenantID)
		}
		list = append(list, Exported{name + ".yaml", d.YAML()})
	}
	slices.Sort(operators)
	return list, operators, nil
}

// fileName is an id as part of a file's name: what isn't a letter, a digit, - or _ is
// written as %2F.
func fileName(id string) string {
	var b strings.Builder
	for _, c := range []byte(id) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// WriteFiles writes documents into a directory, which is made if it isn't there. Unless
// overwrite, nothing is written if a file is there that holds something else. It returns the
// names of those that were written.
func WriteFiles(dir string, list []Exported, overwrite bool) ([]string, error) {
	var todo []Exported
	var taken []string
	for _, e := range list {
		data, err := os.ReadFile(filepath.Join(dir, e.File))
		switch {
		case err == nil && string(data) == string(e.YAML):
			continue
		case err == nil && !overwrite:
			taken = append(taken, e.File)
		case err != nil && !os.IsNotExist(err):
			return nil, cantRead(filepath.Join(dir, e.File), err)
		}
		todo = append(todo, e)
	}
	if len(taken) > 0 {
		return nil, conflict("%s holds other text under %s; --overwrite replaces it, comments too", dir, strings.Join(taken, ", "))
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("can't make directory %s: %w", dir, err)
	}
	var written []string
	for _, e := range todo {
		if err := os.WriteFile(filepath.Join(dir, e.File), e.YAML, 0o666); err != nil {
			return written, fmt.Errorf("can't write %s: %w", filepath.Join(dir, e.File), err)
		}
		written = append(written, e.File)
	}
	return written, nil
}
