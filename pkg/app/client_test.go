package app_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"
	_ "github.com/oapi-codegen/runtime" // generated code imports it

	"github.com/rowbell/rowbell/pkg/access"
)

// A client that is generated from the document compiles, and goes the main path:
// testdata/client is what its user writes.
func TestAPIGeneratedClient(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	c := w.as(t, "acme", access.Admin)
	doc, err := openapi3.NewLoader().LoadFromData(c.want(200, c.ask("GET", "/openapi-3.0.json", nil), nil).body)
	if err != nil {
		t.Fatal(err)
	}
	code, err := codegen.Generate(doc, codegen.Configuration{PackageName: "main", Generate: codegen.GenerateOptions{Client: true, Models: true}}.UpdateDefaults())
	if err != nil {
		t.Fatal(err)
	}
	// The generated file is big, and nobody's to edit: the compiler alone sees it, beside
	// main.go.
	dir := t.TempDir()
	generated := filepath.Join(dir, "client.gen.go")
	if err := os.WriteFile(generated, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("testdata/client")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(source, "client.gen.go"): generated}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "client")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./testdata/client")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the client doesn't compile: %v\n%s", err, out)
	}

	run := func(do string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, do)
		cmd.Env = append(os.Environ(), "ROWBELL_API="+w.base, "ROWBELL_KEY="+c.key)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", do, err, out)
		}
	}
	run("write")
	captured(t, w.db)
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1500), ('acme', 5), ('globex', 9000)`)
	settled(t, w.db, "success 1")
	run("read")
}
