package ui

import (
	"cmp"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

var transferRoutes = []route{
	{"GET /transfer", access.WorkflowRead, showTransfer},
	{"GET /transfer/workflows.yaml", access.WorkflowRead, exportWorkflows},
	{"POST /transfer", access.WorkflowWrite, importWorkflows},
}

// transferData is what is taken out of these pages, and in.
type transferData struct {
	Workflows []store.ListedWorkflow // to choose from
	More      bool                   // there are more than these
	// What is taken in: its text, and what it would do, or has done.
	Text            string
	Replace, NewIDs bool
	Report          *api.ImportedOut
	Steps           []importStep
	Changes         int // steps that do something
	Blocked         bool
}

// importStep is what an import does with one document.
type importStep struct {
	definition.Step
	Did, Class string
	Lines      []diffLine
}

func (v *visit) transfer() (*page, *transferData, error) {
	d := &transferData{}
	var list api.LogPage[store.ListedWorkflow]
	if err := v.get("/workflows", url.Values{"limit": {"200"}}, &list); err != nil {
		return nil, nil, err
	}
	d.Workflows, d.More = list.Items, list.Next != ""
	return &page{template: "transfer", title: "Import and export", nav: "transfer", data: d}, d, nil
}

func showTransfer(v *visit) (*page, error) {
	p, _, err := v.transfer()
	return p, err
}

func exportWorkflows(v *visit) (*page, error) {
	q := url.Values{}
	name := "workflows.yaml"
	if ids := given(v.r.URL.Query(), "workflow_id"); len(ids) > 0 {
		q["workflow_id"] = ids
		if len(ids) == 1 {
			name = ids[0] + ".yaml"
		}
	}
	a, err := v.send(http.MethodGet, "/export", q, nil, nil)
	if err != nil {
		return nil, err
	}
	return &page{file: &file{name, "application/yaml; charset=utf-8", a.body.Bytes()}}, nil
}

// importText is what was uploaded, or else written into the form.
func (v *visit) importText() (string, error) {
	if err := v.r.ParseMultipartForm(mostForm); err != nil && v.r.MultipartForm == nil && v.r.PostForm == nil {
		return "", &api.Problem{Status: http.StatusRequestEntityTooLarge, Detail: "that can't be read, or is longer than 2 MiB", Mend: "import it in parts"}
	}
	if v.r.MultipartForm != nil {
		for _, h := range v.r.MultipartForm.File["file"] {
			if h.Size > 0 {
				return readPart(h)
			}
		}
	}
	return v.form("text"), nil
}

func readPart(h *multipart.FileHeader) (string, error) {
	f, err := h.Open()
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was read only
	raw, err := io.ReadAll(f)
	return string(raw), err
}

func importWorkflows(v *visit) (*page, error) {
	text, err := v.importText()
	if err != nil {
		return nil, err
	}
	p, d, err := v.transfer()
	if err != nil {
		return nil, err
	}
	d.Text, d.Replace, d.NewIDs = text, v.form("replace") != "", v.form("new_ids") != ""
	if strings.TrimSpace(d.Text) == "" {
		return problemPage(p, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "there is nothing to import", Mend: "choose a file, or paste its text"})
	}
	q := url.Values{}
	if d.Replace {
		q.Set("replace", "true")
	}
	if d.NewIDs {
		q.Set("new_ids", "true")
	}
	if v.form("do") == "" {
		q.Set("dry_run", "true")
	}
	a, err := v.send(http.MethodPost, "/import", q, []byte(d.Text), map[string]string{"Content-Type": "application/yaml"})
	if err != nil {
		return problemPage(p, err)
	}
	d.Report = &api.ImportedOut{}
	if err := json.Unmarshal(a.body.Bytes(), d.Report); err != nil {
		return nil, err
	}
	for _, s := range d.Report.Steps {
		step := importStep{Step: s, Lines: diffLines(s.YAML)}
		step.Name = cmp.Or(s.Name, s.ID)
		done := d.Report.Done
		switch s.Do {
		case definition.Creates:
			step.Did, step.Class = tense(done, "is new", "was made"), "success"
		case definition.Changes:
			step.Did, step.Class = tense(done, "is replaced", "was replaced"), "pending"
		case definition.Deletes:
			step.Did, step.Class = tense(done, "is deleted", "was deleted"), "failure"
		default:
			step.Did = "is just so already"
		}
		if s.Do != definition.Nothing {
			d.Changes++
		}
		d.Blocked = d.Blocked || s.Blocked
		d.Steps = append(d.Steps, step)
	}
	return p, nil
}

func tense(done bool, now, past string) string {
	if done {
		return past
	}
	return now
}
