package definition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bundle is what files hold: workflows, and the templates that they render.
type Bundle struct {
	Workflows []*Document
	Templates []*TemplateDocument
	files     []File
}

// maxBundle is how long a file may be that holds several documents.
const maxBundle = 64 << 20

// mostFiles bounds what is read at once.
const mostFiles = 10_000

// ReadBundle reads files and directories; of a directory all files in it and below that end
// in .yaml, .yml or .json, by their names, but for .schema.json. A file may hold several documents; - is standard
// input, as YAML. The error joins a *Problem for each thing that is wrong, and two workflows
// of one id are.
func ReadBundle(paths []string) (*Bundle, error) {
	b := &Bundle{}
	var problems []error
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			problems = append(problems, err)
		}
		for _, file := range files {
			name, data, err := readBytes(file)
			if err == nil {
				err = b.read(name, data)
			}
			if err != nil {
				problems = append(problems, err)
			}
		}
	}
	problems = append(problems, b.twice()...)
	return b, joined(problems)
}

// joined joins errors; nil if there are none.
func joined(problems []error) error { return errors.Join(problems...) }

func (b *Bundle) read(name string, data []byte) error {
	if len(data) > maxBundle {
		return &Problem{File: name, Message: fmt.Sprintf("it has more than %d bytes, which is the most of a file", maxBundle)}
	}
	file := File{name, string(data)}
	b.files = append(b.files, file)
	var roots []*node
	var err error
	if strings.HasSuffix(name, ".json") {
		var root *node
		root, err = parseJSON(name, data)
		roots = []*node{root}
	} else {
		roots, err = parseAllYAML(name, data)
	}
	if err != nil {
		return err
	}
	var problems []error
	for _, root := range roots {
		if root.get(templateKey) != nil {
			t, err := readTemplate(name, root)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			b.Templates = append(b.Templates, t)
			continue
		}
		d, err := readTree(name, root, false)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		d.source = file
		b.Workflows = append(b.Workflows, d)
	}
	return joined(problems)
}

// twice finds what two documents are about.
func (b *Bundle) twice() []error {
	var problems []error
	workflows := make(map[string]*Document)
	for _, d := range b.Workflows {
		id := d.Workflow.ID
		if other := workflows[id]; id != "" && other != nil {
			at := d.places["id"]
			problems = append(problems, &Problem{File: d.file, Line: at.line, Column: at.column, Message: fmt.Sprintf("workflow %s stands in %s too", id, other.file)})
		}
		workflows[id] = d
	}
	type named struct{ tenantID, name string }
	templates := make(map[named]*TemplateDocument)
	for _, d := range b.Templates {
		key := named{d.TenantID, d.Name}
		if other := templates[key]; other != nil {
			problems = append(problems, &Problem{File: d.file, Line: d.at.line, Column: d.at.column, Message: fmt.Sprintf("template %s stands in %s too; all its languages belong in one document", d.Name, other.file)})
		}
		templates[key] = d
	}
	return problems
}

// filesOf lists what a path stands for.
func filesOf(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, cantRead(path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && name != path:
			return fs.SkipDir
		case strings.HasSuffix(name, ".schema.json"): // for editors
		case !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			files = append(files, name)
		}
		if len(files) > mostFiles {
			return fmt.Errorf("it has more than %d files", mostFiles)
		}
		return nil
	})
	if err != nil {
		return nil, cantRead(path, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no file that ends in .yaml, .yml or .json", path)
	}
	return files, nil
}

// readBytes reads a file, and returns the name that messages have of it.
func readBytes(name string) (string, []byte, error) {
	var data []byte
	var err error
	if name == "-" {
		name = "stdin"
		data, err = io.ReadAll(io.LimitReader(os.Stdin, maxBundle+1))
	} else {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return name, nil, cantRead(name, err)
	}
	return name, data, nil
}

func cantRead(name string, err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("can't read %s: %w", name, err)
}
