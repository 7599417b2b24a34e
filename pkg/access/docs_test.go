package access

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the table in the manual")

const manual = "../../docs/security.md"

// rightsTable is what the manual has of roles and rights.
func rightsTable() string {
	var b strings.Builder
	b.WriteString("| Right | Lets one |")
	for _, role := range Roles() {
		fmt.Fprintf(&b, " %s |", role)
	}
	b.WriteString("\n|---|---|" + strings.Repeat(":-:|", len(Roles())) + "\n")
	for _, r := range Rights() {
		fmt.Fprintf(&b, "| `%s` | %s |", r, r.Text())
		for _, role := range Roles() {
			mark := " "
			if role.Can(r) {
				mark = " • "
			}
			b.WriteString(mark + "|")
		}
		b.WriteString("\n")
	}
	return b.String()
}

var inManual = regexp.MustCompile(`(?s)(<!-- roles × rights: [^>]* -->\n)(.*)(<!-- end of roles × rights -->)`)

// The manual's table is the one that counts.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	found := inManual.FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no table of roles and rights", manual)
	}
	if *update {
		text = inManual.ReplaceAll(text, []byte("${1}"+rightsTable()+"${3}"))
		if err := os.WriteFile(manual, text, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(found[2]) != rightsTable() {
		t.Errorf("the table in %s isn't that of the code (go test ./pkg/access -run TestManual -update rewrites it):\n%s", manual, rightsTable())
	}
	// The tests that it names are there, in whichever package.
	var code bytes.Buffer
	if err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == ".git" || e.Name() == "node_modules"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		code.Write(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(text, -1) {
		if !bytes.Contains(code.Bytes(), []byte("func "+string(name[1])+"(")) {
			t.Errorf("%s names %s, which is no test", manual, name[1])
		}
	}
}

// What the manual says that a link holds is one that counts, and its examples make one.
func TestManualLinks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, Config{})
	d.clock.began = time.Now()
	k, private, err := d.service.AddLinkKey(t.Context(), NewLinkKey{Roles: []Role{Author}}, "ann")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```json\n(.*?)\n```\n\n```json\n(.*?)\n```").FindSubmatch(text)
	if shown == nil {
		t.Fatal("the manual shows no header and claims")
	}
	h := d.hostOf(k, signer)
	h.claims = nil
	if err := json.Unmarshal(shown[2], &h.claims); err != nil {
		t.Fatal(err)
	}
	if lives := h.claims["exp"].(float64) - h.claims["nbf"].(float64); lives != 300 {
		t.Errorf("it lives %v seconds", lives)
	}
	now := d.now().Unix()
	if p := d.enters(t, h.link(t, map[string]any{"nbf": now, "exp": now + 300})); p.Tenant != "acme" || p.Name != "Ann Archer" {
		t.Errorf("it is %+v", p)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "link.pem"), private, 0o600); err != nil {
		t.Fatal(err)
	}
	example := func(language string) string {
		found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1)
		if len(found) != 1 {
			t.Fatalf("the manual has %d examples in %s", len(found), language)
		}
		return string(found[0][1])
	}
	const call = `import { readFileSync } from "node:fs";
console.log(link(readFileSync("link.pem"), process.env.KID, "acme", { id: "ann", name: "Ann Archer" }));
`
	for program, args := range map[string][]string{
		"openssl": {"sh", "-euc", example("sh")},
		"node":    {"node", "--input-type=module", "-e", example("js") + call},
	} {
		t.Run(program, func(t *testing.T) {
			need(t, program)
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "KID="+LinkKeyID(k.ID))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			link, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			if p := d.enters(t, strings.TrimSpace(string(link))); p.ID != "link:ann" || p.Tenant != "acme" || p.Name != "Ann Archer" {
				t.Errorf("it is %+v", p)
			}
		})
	}
}

// need says what to install if a program isn't there. Where the whole check runs, which
// installs it, that is a failure.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs %s, which is not on this machine", program)
		}
		t.Skipf("this test needs %s, which is not on this machine", program)
	}
}
