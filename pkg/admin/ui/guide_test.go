package ui

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The manual for people who use the pages calls what is there as the pages do: each text in
// bold stands in a template, in what fills one, or in a browser test that presses it.
func TestGuideSpeaksAsThePages(t *testing.T) {
	t.Parallel()
	actions, tags, spaces := regexp.MustCompile(`\{\{[^}]*\}\}`), regexp.MustCompile(`<[^>]*>`), regexp.MustCompile(`\s+`)
	plain := func(text, action string) string {
		return spaces.ReplaceAllString(tags.ReplaceAllString(actions.ReplaceAllString(text, action), ""), " ")
	}
	var pages strings.Builder
	for _, pattern := range []string{"templates/*.html", "*.go", "../../app/pagestest/*_test.go", "../../../examples/workflows/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			if file == "guide_test.go" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Where an action stands in a text there is something, or nothing. Some have texts.
			pages.WriteString(plain(string(text), "") + "\n" + plain(string(text), "…") + "\n" + string(text) + "\n")
		}
	}
	all := pages.String()
	bold := regexp.MustCompile(`(?s)\*\*(.+?)\*\*`)
	for _, file := range []string{"guide.md", "tour.md"} {
		text, err := os.ReadFile("../../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := bold.FindAllStringSubmatch(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s has %d texts in bold", file, len(found))
		}
		for _, m := range found {
			if label := spaces.ReplaceAllString(m[1], " "); !strings.Contains(all, strings.TrimSuffix(label, ".")) {
				t.Errorf("%s calls something %q, and no page does", file, label)
			}
		}
	}
}
