package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Files with secrets that everybody may read are told of, with the mend; others are not.
func TestOpenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "it's a key")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o400: "", 0o644: "can be read by everybody", 0o604: "can be read", 0o602: "can be changed by everybody", 0o601: "", 0o666: "can be read"} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		text, mend := openFile(path, "an API key")
		if (text == "") != (want == "") || !strings.Contains(text, want) {
			t.Errorf("mode %o: %q", mode, text)
		}
		if text != "" && (!strings.Contains(text, path+" holds an API key") || mend != "chmod o-rwx '"+strings.ReplaceAll(path, "'", `'\''`)+"'") {
			t.Errorf("mode %o: %q, %q", mode, text, mend)
		}
	}
	if text, _ := openFile(filepath.Join(t.TempDir(), "none"), "x"); text != "" {
		t.Errorf("a file that isn't there: %s", text)
	}
}

// The file of settings counts if a secret stands in it; those that settings name count anyway.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, full := file("plain.yaml", "slot: bell\n", 0o644), file("full.yaml", "secret_key: "+strings.Repeat("A", 43)+"=\nslot: bell\n", 0o644)
	key := file("key", "rbk_x", 0o644)
	env := environment(map[string]string{"ROWBELL_SOURCE_URL": "postgres://127.0.0.1:1/x"})
	for _, c := range []struct {
		flags map[string]string
		want  string
	}{
		{map[string]string{}, ""},
		{map[string]string{"config": plain}, ""},
		{map[string]string{"config": full}, full + " ROWBELL_SECRET_KEY"},
		{map[string]string{"config": plain, "key-file": key}, key + " an API key"},
	} {
		cfg, err := Load(c.flags, env)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range cfg.secretFiles {
			got = append(got, f.path+" "+f.holds)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%v: %q, want %q", c.flags, got, c.want)
		}
	}
	// The doctor says so, and a worker as it starts.
	cfg, err := Load(map[string]string{"config": full}, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Patience)
	defer cancel()
	found := false
	for _, c := range Doctor(ctx, cfg).Findings {
		found = found || c.Check == "files" && c.Level == LevelWarning && strings.Contains(c.Message, full) && strings.Join(c.Mend, "") == "chmod o-rwx "+full
	}
	if !found {
		t.Error("the doctor says nothing of it")
	}
	cfg.Listen, cfg.OpsListen = ListenOff, "127.0.0.1:0"
	var log bytes.Buffer
	a, err := New(cfg, slog.New(slog.NewTextHandler(&log, nil)), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_ = a.Run(stopped) // no database is there
	if !strings.Contains(log.String(), "can be read by everybody") || !strings.Contains(log.String(), "chmod o-rwx") {
		t.Errorf("as it starts it says\n%s", log.String())
	}
	// So does a command that shows the key to a server.
	s, err := LoadServer(map[string]string{"server": "https://bell.example.com", "key-file": key}, environment(nil))
	if err != nil || !strings.Contains(s.OpenKeyFile(), "chmod o-rwx "+key) {
		t.Errorf("%v, %v", s, err)
	}
}
