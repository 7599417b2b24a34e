package app

import (
	"strings"
	"testing"
)

func TestLoadServer(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "server: https://file.example.com\nkey: rbk_file\nsource_url: "+testSource+"\n")
	keys := writeFile(t, "rbk_fromfile\n")
	none := map[string]string{}
	with := func(more ...string) map[string]string {
		m := map[string]string{"ROWBELL_KEY": "rbk_env"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		flags, env map[string]string
		url, key   string
		from       string
		err        string // a part of it
	}{
		"neither":                         {none, none, "", "", "", ""},
		"the databases alone":             {none, with("ROWBELL_SOURCE_URL", testSource), "", "", "", ""},
		"both in the environment":         {none, with("ROWBELL_SOURCE_URL", testSource, "ROWBELL_SERVER", "https://bell.example.com/"), "https://bell.example.com", "rbk_env", "ROWBELL_KEY", ""},
		"the line over the environment":   {map[string]string{"server": "https://bell.example.com/bell/api/v1"}, with("ROWBELL_SOURCE_URL", testSource), "https://bell.example.com/bell", "rbk_env", "ROWBELL_KEY", ""},
		"the database's line likewise":    {map[string]string{"source-url": testSource}, with("ROWBELL_SERVER", "https://bell.example.com"), "", "", "", ""},
		"none on the line":                {map[string]string{"server": ""}, with("ROWBELL_SERVER", "https://bell.example.com"), "", "", "", ""},
		"both in the file":                {map[string]string{"config": file}, none, "https://file.example.com", "rbk_file", file + " line 2, key", ""},
		"the environment's database":      {map[string]string{"config": file}, with("ROWBELL_SOURCE_URL", testSource), "", "", "", ""},
		"both on the line":                {map[string]string{"server": "https://a.example.com", "source-url": testSource}, with(), "", "", "", "Give one of them"},
		"a key's file over the key":       {map[string]string{"server": "https://bell.example.com", "key-file": keys}, with(), "https://bell.example.com", "rbk_fromfile", keys, ""},
		"a key and a file in one place":   {map[string]string{"server": "https://bell.example.com"}, with("ROWBELL_KEY_FILE", keys), "", "", "", "ROWBELL_KEY and ROWBELL_KEY_FILE are both set"},
		"a key's file that isn't there":   {map[string]string{"server": "https://bell.example.com", "key-file": "nothing.txt"}, with(), "", "", "", "can't read nothing.txt"},
		"no key":                          {map[string]string{"server": "https://bell.example.com"}, none, "", "", "", "Set ROWBELL_KEY"},
		"a key of two words":              {map[string]string{"server": "https://bell.example.com"}, map[string]string{"ROWBELL_KEY": "Bearer rbk_hunter2"}, "", "", "", "ROWBELL_KEY holds no key"},
		"http on this machine":            {map[string]string{"server": "http://127.0.0.1:8080"}, with(), "http://127.0.0.1:8080", "rbk_env", "ROWBELL_KEY", ""},
		"http by its name":                {map[string]string{"server": "http://localhost:8080"}, with(), "http://localhost:8080", "rbk_env", "ROWBELL_KEY", ""},
		"http elsewhere":                  {map[string]string{"server": "http://bell.example.com"}, with(), "", "", "", "--server: everyone between here and bell.example.com could read the key"},
		"http elsewhere, and that's fine": {map[string]string{"server": "http://bell.example.com", "plain-http": "true"}, with(), "http://bell.example.com", "rbk_env", "ROWBELL_KEY", ""},
		"no URL":                          {map[string]string{"server": "bell.example.com"}, with(), "", "", "", "it is no http or https URL"},
		"a password":                      {map[string]string{"server": "https://ann:hunter2@bell.example.com"}, with(), "", "", "", "it has a user or a password"},
		"a query":                         {map[string]string{"server": "https://bell.example.com?key=hunter2"}, with(), "", "", "", "it has a query"},
		"a setting of workers is wrong":   {map[string]string{"server": "https://bell.example.com"}, with("ROWBELL_SLOT", "No Slot"), "https://bell.example.com", "rbk_env", "ROWBELL_KEY", ""},
	} {
		s, err := LoadServer(c.flags, environment(c.env))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: the error is %v, want %q", name, err, c.err)
			}
			continue
		}
		if s == nil {
			s = &Server{}
		}
		if err != nil || s.URL != c.url || string(s.Key) != c.key || s.KeyFrom != c.from {
			t.Errorf("%s: %q, key %q of %q, error %v", name, s.URL, string(s.Key), s.KeyFrom, err)
		}
	}
}
