package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testSource = "postgres://rowbell:hunter2@db.example.com:5432/shop"

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rowbell.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadPrecedence(t *testing.T) {
	file := writeFile(t, `# settings of the shop
source_url: `+testSource+`
slot: from_file
publication: from_file
instance: 0123
tenant_column: org
egress_allow: [10.0.0.0/8, 192.168.1.7]
drain_timeout: 45s
retention_days: 7
no_migrate: true
`)
	c, err := Load(
		map[string]string{"config": file, "slot": "from_flag"},
		environment(map[string]string{
			"ROWBELL_SLOT":          "from_env",
			"ROWBELL_PUBLICATION":   "from_env",
			"ROWBELL_TENANT_COLUMN": "", // as a deployment leaves it that has no value
			"ROWBELL_LOG_LEVEL":     "debug",
		}))
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"flag over environment":    {c.Slot, "from_flag"},
		"environment over file":    {c.Publication, "from_env"},
		"file over default":        {c.TenantColumn, "org"},
		"text as it was written":   {c.Instance, "0123"},
		"default":                  {c.OpsListen, "127.0.0.1:8081"},
		"state defaults to source": {c.StateURL, testSource},
		"list":                     {fmt.Sprint(c.EgressAllow), "[10.0.0.0/8 192.168.1.7/32]"},
		"duration":                 {c.DrainTimeout, 45 * time.Second},
		"number":                   {c.RetentionDays, 7},
		"boolean":                  {c.NoMigrate, true},
		"level":                    {c.LogLevel, slog.LevelDebug},
		"capture":                  {c.Capture, CaptureAuto},
		"insert publication":       {c.InsertPublication(), "from_env_insert"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}

	c, err = Load(nil, environment(map[string]string{"ROWBELL_CONFIG": file}))
	if err != nil || c.Slot != "from_file" {
		t.Errorf("file named by the environment: slot %q, error %v", c.Slot, err)
	}
}

// Every setting's default in the table is what WithDefaults fills in: the help text
// is made from the one, the worker runs on the other.
func TestDefaultsAgree(t *testing.T) {
	filled := Config{SourceURL: testSource}.WithDefaults()
	flags := map[string]string{"source-url": testSource}
	for _, s := range Settings() {
		if s.Default != "" {
			flags[s.Flag] = s.Default
		}
	}
	written, err := Load(flags, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprintf("%+v", filled), fmt.Sprintf("%+v", written); a != b {
		t.Errorf("WithDefaults gives\n%s\nthe table\n%s", a, b)
	}
}

func TestLoadProblems(t *testing.T) {
	for name, c := range map[string]struct {
		flags map[string]string
		env   map[string]string
		file  string
		want  []string // each in the message
	}{
		"nothing given": {
			want: []string{"ROWBELL_SOURCE_URL (--source-url): not set. Give the URL"},
		},
		"all at once": {
			flags: map[string]string{"source-url": testSource, "slot": "My-Slot", "capture": "maybe", "ops-listen": "8081", "retention-days": "100"},
			want: []string{
				`ROWBELL_SLOT (--slot): "My-Slot" can't be a slot's name. Use 1 to 63 lower-case`,
				`ROWBELL_CAPTURE (--capture): "maybe" is not a mode. Use auto or manual`,
				`ROWBELL_OPS_LISTEN (--ops-listen): "8081" is not an address. Write host:port`,
				`ROWBELL_KEPT_DAYS (--kept-days): 90 is less than the 100 of ROWBELL_RETENTION_DAYS`,
			},
		},
		"where a text was read": {
			flags: map[string]string{"source-url": testSource, "drain-timeout": "20"},
			env:   map[string]string{"ROWBELL_LOG_LEVEL": "loud"},
			file:  "slot: a\nretention_days: soon\n",
			want: []string{
				`--drain-timeout: "20" is not a duration. Write a number with its unit`,
				`ROWBELL_LOG_LEVEL: "loud" is not a level`,
				`line 2, retention_days: "soon" is not a whole number`,
			},
		},
		"misspelt key": {
			file: "sorce_url: x\nfrobnicate: 1\n",
			want: []string{"line 1: sorce_url is not a setting. Did you mean source_url?", "line 2: frobnicate is not a setting. See rowbell --help"},
		},
		"not YAML":        {file: "slot: [a\n", want: []string{"is not YAML"}},
		"not a mapping":   {file: "- slot\n", want: []string{"line 1: not a list of settings"}},
		"nested":          {file: "slot: {a: b}\n", want: []string{"line 1: slot wants one value"}},
		"no such file":    {flags: map[string]string{"config": "/nowhere/rowbell.yaml"}, want: []string{"can't read /nowhere/rowbell.yaml: no such file"}},
		"same port twice": {flags: map[string]string{"source-url": testSource, "listen": ":1", "ops-listen": ":1"}, want: []string{"is taken by ROWBELL_LISTEN"}},
		"short key":       {flags: map[string]string{"source-url": testSource, "secret-key": "aHVudGVyMg=="}, want: []string{"7 bytes, not 32. Make one with: openssl"}},
		"key not base64":  {flags: map[string]string{"source-url": testSource, "secret-key": "hunter2!"}, want: []string{"--secret-key: not base64"}},
		"people": {flags: map[string]string{
			"source-url": testSource, "time-zone": "Mars/One", "critical-workflows": "mine", "alert-window": "200h", "inbox-days": "1",
			"public-url": "http://bell.example.com", "alerts": "ops@example.com, https://user:hunter2@, mailto:Ops <ops@example.com>",
		}, want: []string{
			`ROWBELL_TIME_ZONE (--time-zone): there is no time zone "Mars/One". Use a name of the IANA database, as Europe/Vienna`,
			`ROWBELL_CRITICAL_WORKFLOWS (--critical-workflows): "mine" is neither. Use all or operators`,
			`ROWBELL_PUBLIC_URL (--public-url): it begins with http: mail programs use https only. Write https://bell.example.com`,
			`ROWBELL_ALERTS (--alerts): the 1. of them: it is no way to tell somebody. Write mailto:ops@example.com`,
			`the 2. of them: it is no way to tell`, `the 3. of them: what follows mailto: is no address`,
			`ROWBELL_ALERT_WINDOW (--alert-window): 200h0m0s is out of range. Use 1s to 168h`,
		}},
		"claims of no provider": {flags: map[string]string{"source-url": testSource, "oidc-audience": "rowbell", "oidc-roles": "a=admin"}, want: []string{
			"ROWBELL_OIDC_AUDIENCE (--oidc-audience): there is no provider that it is for. Give its URL in ROWBELL_OIDC_ISSUER (--oidc-issuer)", "ROWBELL_OIDC_ROLES (--oidc-roles): there is no provider",
		}},
		"provider without audience": {flags: map[string]string{"source-url": testSource, "oidc-issuer": "http://login.example.com", "oidc-tenant-claim": "org"}, want: []string{
			"ROWBELL_OIDC_ISSUER (--oidc-issuer): it must be https", "ROWBELL_OIDC_AUDIENCE (--oidc-audience): not set. Without it a token",
			"ROWBELL_OIDC_ROLES_CLAIM (--oidc-roles-claim): not set, so that ROWBELL_OIDC_TENANT_CLAIM (--oidc-tenant-claim) means nothing",
		}},
		"claim without roles": {flags: map[string]string{"source-url": testSource, "oidc-issuer": "login.example.com", "oidc-audience": "rowbell", "oidc-roles-claim": "groups"}, want: []string{
			"ROWBELL_OIDC_ISSUER (--oidc-issuer): not a URL", "ROWBELL_OIDC_ROLES (--oidc-roles): not set, so that ROWBELL_OIDC_ROLES_CLAIM (--oidc-roles-claim) gives no role",
		}},
		"roles without claim":     {flags: map[string]string{"source-url": testSource, "oidc-issuer": "https://u@login.example.com?x=1", "oidc-audience": "rowbell", "oidc-roles": "a=admin"}, want: []string{"an issuer has no user, query or fragment", "ROWBELL_OIDC_ROLES_CLAIM (--oidc-roles-claim): not set, so that ROWBELL_OIDC_ROLES (--oidc-roles) gives no role"}},
		"roles that aren't":       {flags: map[string]string{"source-url": testSource, "oidc-roles": "bell=amdin"}, want: []string{`--oidc-roles: there is no role "amdin"; did you mean "admin"?`}},
		"roles without a value":   {flags: map[string]string{"source-url": testSource, "oidc-roles": "=admin"}, want: []string{`"=admin" gives no role. Write what the claim has, =, and the role`}},
		"two roles for one value": {flags: map[string]string{"source-url": testSource, "oidc-roles": "a=admin,a=viewer"}, want: []string{`"a" is given the roles admin and viewer. Write it once`}},
		"proxies":                 {flags: map[string]string{"source-url": testSource, "trusted-proxies": "proxy.example.com"}, want: []string{`--trusted-proxies: "proxy.example.com" is not an address range`}},

		"odd path":         {flags: map[string]string{"source-url": testSource, "public-url": "https://bell.example.com/a%20b/{x}"}, want: []string{"its path has more than letters"}},
		"no key":           {flags: map[string]string{"source-url": testSource, "public-url": "https://bell.example.com"}, want: []string{"it needs ROWBELL_SECRET_KEY (--secret-key), with which links are signed"}},
		"second key short": {flags: map[string]string{"source-url": testSource, "secret-key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=,aHVudGVyMg=="}, want: []string{"--secret-key: key 2 has 7 bytes, not 32"}},
		"key and comma":    {flags: map[string]string{"source-url": testSource, "secret-key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=,"}, want: []string{"--secret-key: key 2 has 0 bytes"}},
		"no storm limit":   {flags: map[string]string{"source-url": testSource, "storm-minute": "none"}, want: []string{"--storm-minute", "off"}},
		"deep":             {flags: map[string]string{"source-url": testSource, "max-depth": "101"}, want: []string{"max-depth", "Use 1 to 100"}},
		"bad URL":          {flags: map[string]string{"source-url": "postgres://u:hunter2@h:port/db"}, want: []string{"ROWBELL_SOURCE_URL (--source-url): not a PostgreSQL URL", "Write postgres://"}},
		"bad mail server":  {flags: map[string]string{"source-url": testSource, "smtp-url": "mail:hunter2"}, want: []string{"not the URL of a mail server"}},
		"no sender":        {flags: map[string]string{"source-url": testSource, "smtp-url": "smtp://u:hunter2@mail.example.com"}, want: []string{"ROWBELL_MAIL_FROM (--mail-from): the sender: there is none", "write Shop <shop@example.com>"}},
		"bad sender":       {flags: map[string]string{"source-url": testSource, "mail-from": "shop"}, want: []string{"ROWBELL_MAIL_FROM (--mail-from): the sender: it is no address"}},
		"bad mail setting": {flags: map[string]string{"source-url": testSource, "smtp-url": "smtp://u:hunter2@mail.example.com?tls=no&from=a@b.example"}, want: []string{`ROWBELL_SMTP_URL (--smtp-url): tls is "no": use require`}},
		"bad redirect":     {flags: map[string]string{"source-url": testSource, "delivery": "redirect:ftp://x"}, want: []string{"not an http or https URL"}},
		"bad delivery":     {flags: map[string]string{"source-url": testSource, "delivery": "off"}, want: []string{`"off" is not a mode. Use on, hold`}},
		"bad range":        {flags: map[string]string{"source-url": testSource, "egress-allow": "10.0.0.0/40"}, want: []string{`"10.0.0.0/40" is not an address range`}},
		"long publication": {flags: map[string]string{"source-url": testSource, "publication": strings.Repeat("p", 57)}, want: []string{"Use 1 to 56 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := map[string]string{}
			for k, v := range c.flags {
				flags[k] = v
			}
			if c.file != "" {
				flags["config"] = writeFile(t, c.file)
			}
			_, err := Load(flags, environment(c.env))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in\n%s", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in the message: %s", err)
			}
		})
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	c := Config{SecretKey: Secret("hunter2-hunter2-hunter2-hunter2-")}
	encoded, err := json.Marshal(c.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "key", c.SecretKey)
	for _, s := range []string{
		fmt.Sprint(c.SecretKey), fmt.Sprintf("%s %x %q %#v %d", c.SecretKey, c.SecretKey, c.SecretKey, c.SecretKey, c.SecretKey),
		string(encoded), logged.String(),
		Redact(testSource), Redact("cannot connect to " + testSource + "?x=1: refused"),
		Redact("host=db user=rowbell password=hunter2 dbname=shop"), Redact("password = 'hunter2 and more'"),
		Redact("postgres://h/db?user=u&password=hunter2&sslmode=disable"), Redact("smtp://u:hunter2@mail:25"),
		Target(testSource), Target("host=db password=hunter2"),
	} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74") {
			t.Errorf("the secret is in %s", s)
		}
	}
	if got, want := Redact("to "+testSource), "to postgres://rowbell:•••@db.example.com:5432/shop"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Target(testSource), "database shop at db.example.com:5432 as rowbell"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
