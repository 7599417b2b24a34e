// Package examples carries the example workflows, and the shop that they are about,
// as the SQL that an administrator would run. The demo runs exactly these files.
package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Shop is the schema of the shop, with its first customers.
//
//go:embed shop.sql
var Shop string

//go:embed [0-9]*.sql
var files embed.FS

// Workflow is one example: a file that a psql session can run.
type Workflow struct {
	File  string // 01-order-approved.sql
	Title string // the first sentence of its comment
	SQL   string
}

// Workflows returns the examples, in the order of their files.
func Workflows() []Workflow {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(fmt.Sprintf("examples: %v", err)) // the pattern is a constant
	}
	list := make([]Workflow, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("examples: %v", err)) // Glob has just found it
		}
		first, _, _ := strings.Cut(string(text), "\n")
		list = append(list, Workflow{
			File:  path.Base(name),
			Title: strings.TrimSuffix(strings.TrimPrefix(first, "-- "), "."),
			SQL:   string(text),
		})
	}
	return list
}
