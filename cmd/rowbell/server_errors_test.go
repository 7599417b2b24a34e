package main

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Which of server and databases counts, and what is said where the other would be needed.
func TestServerOrDatabase(t *testing.T) {
	t.Parallel()
	const (
		server = "ROWBELL_SERVER=http://127.0.0.1:1"
		key    = "ROWBELL_KEY=rbk_01M8BBN2R3B0RD0R44H8914CVH_HUNTER2"
		source = "ROWBELL_SOURCE_URL=postgres://rowbell:hunter2@127.0.0.1:2/shop"
	)
	asServer, asDatabase := "nothing answers at http://127.0.0.1:1", "nothing answers at 127.0.0.1:2"
	for _, c := range []struct {
		env  []string
		line string
		code int
		says string
	}{
		{[]string{server, key}, "workflow list", exitError, asServer},
		{[]string{server, key, source}, "workflow list", exitError, asServer},
		{[]string{source, key}, "workflow list", exitError, asDatabase},
		{[]string{source, key}, "workflow list --server http://127.0.0.1:1", exitError, asServer},
		{[]string{server, key}, "workflow list --source-url postgres://rowbell@127.0.0.1:2/shop", exitError, asDatabase},
		{[]string{server, key, source}, "workflow list --server=", exitError, asDatabase},
		{[]string{server, key, source}, "migrate", exitError, asDatabase},
		{[]string{server, key}, "migrate", exitUsage, "rowbell migrate works on the database itself, and not by a server: name the database by ROWBELL_SOURCE_URL or --source-url"},
		{[]string{key, source}, "erase row orders 42 --yes --server http://127.0.0.1:1", exitUsage, "rowbell erase row works on the database itself, and not by a server: leave --server out"},
		{[]string{server, key}, "tenant delete acme --yes", exitUsage, "works on the database itself"},
		{[]string{server, key}, "secret status", exitUsage, "works on the database itself"},
		{[]string{server, key}, "check", exitUsage, "works on the database itself"},
		{[]string{server, key}, "run", exitUsage, "works on the database itself"},
		{[]string{server, key}, "workflow deactivate big --actor ann", exitUsage, "--actor goes with the databases: by a server it is done in the name of the key"},
		{[]string{server, key}, "workflow list --server http://127.0.0.1:1 --source-url postgres://127.0.0.1:2/shop", exitUsage, "Give one of them"},
		{[]string{server}, "workflow list", exitUsage, "there is no key to show to http://127.0.0.1:1. Set ROWBELL_KEY to an API key"},
		{[]string{key}, "workflow list --server http://bell.example.com", exitUsage, "everyone between here and bell.example.com could read the key"},
		{[]string{server}, "workflow list --key rbk_HUNTER2", exitUsage, "a key on a command line is seen by everyone on the machine. Give it in ROWBELL_KEY, or by --key-file FILE"},
		{[]string{server}, "workflow list --key-file nothing.txt", exitUsage, "--key-file: can't read nothing.txt"},
		{nil, "workflow list", exitUsage, "ROWBELL_SOURCE_URL (--source-url): not set"},
	} {
		r := rowbell(t, c.env, strings.Fields(c.line)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("rowbell %s with %v exits with %d: %s", c.line, c.env, r.code, r.stderr)
		}
		if strings.Contains(strings.ToLower(r.stdout+r.stderr), "hunter2") {
			t.Errorf("rowbell %s shows what is secret: %s", c.line, r.stderr)
		}
	}
}

// A key that doesn't count, or may not, is named and never shown; a server is reached through
// a proxy with TLS, whose authority SSL_CERT_FILE names, and through a proxy on the way.
func TestServerReached(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	wants(t, rowbell(t, []string{"ROWBELL_SOURCE_URL=" + db.URL}, "migrate"), 0)
	address, key := startServer(t, db)
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	with := func(server string, more ...string) []string {
		return append([]string{"ROWBELL_SERVER=" + server, "ROWBELL_KEY=" + key}, more...)
	}
	list := []string{"workflow", "list", "--json"}
	wants(t, rowbell(t, with(address), list...), 0, "[]")
	wants(t, rowbell(t, with(address+"/api/v1/"), list...), 0, "[]")
	file := write(t, "key.txt", key+"\n")
	wants(t, rowbell(t, []string{"ROWBELL_SERVER=" + address}, append(list, "--key-file", file)...), 0, "[]")
	config := write(t, "rowbell.yaml", "server: "+address+"\nkey_file: "+file+"\n")
	wants(t, rowbell(t, nil, append(list, "--config", config)...), 0, "[]")
	verbose := rowbell(t, with(address, "ROWBELL_LOG_LEVEL=debug"), list...)
	wants(t, verbose, 0)

	secret := key[strings.LastIndexByte(key, '_')+1:]
	never := func(r result) {
		t.Helper()
		if strings.Contains(r.stdout+r.stderr, secret) {
			t.Errorf("the key is shown: %s%s", r.stdout, r.stderr)
		}
	}
	never(verbose)
	id := strings.Split(key, "_")[1]
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL}
	viewer := strings.TrimSpace(rowbell(t, env, "key", "create", "--role", "viewer", "--tenant", "acme").stdout)
	asViewer := []string{"ROWBELL_SERVER=" + address, "ROWBELL_KEY=" + viewer}
	r := rowbell(t, asViewer, "workflow", "deactivate", "big")
	wants(t, r, 1, "this needs the right workflow.publish (key "+strings.Split(viewer, "_")[1]+" of ROWBELL_KEY). Use a key with a role that has it")
	wants(t, rowbell(t, asViewer, "preference", "list", "--tenant", "globex"), 1, "globex")
	wants(t, rowbell(t, asViewer, "workflow", "list", "--json"), 0, "[]")
	bad := rowbell(t, []string{"ROWBELL_SERVER=" + address, "ROWBELL_KEY=" + key[:len(key)-2] + "AA"}, append(list, "--output", "yaml")[:2]...)
	wants(t, bad, 1, "doesn't know who asks", "(key "+id+" of ROWBELL_KEY)")
	never(bad)
	asJSON := rowbell(t, asViewer, "workflow", "show", "lost", "--json")
	wants(t, asJSON, 1, `"error": "there is no workflow lost`)

	tls := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(to))
	tls.StartTLS()
	t.Cleanup(tls.Close)
	strange := rowbell(t, with(tls.URL), list...)
	wants(t, strange, 1, "shows a certificate of an unknown authority", "SSL_CERT_FILE")
	never(strange)
	authority := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, tls).Raw})))
	wants(t, rowbell(t, with(tls.URL, "SSL_CERT_FILE="+authority), list...), 0, "[]")

	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }}).ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	wants(t, rowbell(t, with("http://bell.example.com", "HTTP_PROXY="+proxy.URL, "ROWBELL_PLAIN_HTTP=true"), list...), 0, "[]")
	if len(asked) != 1 || !strings.HasPrefix(asked[0], "http://bell.example.com/api/v1/workflows?") {
		t.Errorf("the proxy was asked for %v", asked)
	}
	wants(t, rowbell(t, with("http://bell.example.com", "HTTP_PROXY=http://127.0.0.1:1", "ROWBELL_PLAIN_HTTP=true"), list...), 1, "the proxy on the way to http://bell.example.com can't be reached")

	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>")
	}))
	t.Cleanup(page.Close)
	wants(t, rowbell(t, with(page.URL), list...), 1, "answers with a web page")

	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('big', 'acme', 'Big orders'), ('small', 'acme', 'Small orders')`)
	completed := rowbell(t, with(address), completeWord, "workflow", "show", "b")
	wants(t, completed, 0, "big\tBig orders")
	wants(t, rowbell(t, with("http://127.0.0.1:1"), completeWord, "workflow", "show", "b"), 0, ":")
	wants(t, rowbell(t, []string{"ROWBELL_SERVER=" + address}, completeWord, "workflow", "show", "b"), 0, ":")
}

func certificate(t *testing.T, s *httptest.Server) *x509.Certificate {
	t.Helper()
	if s.Certificate() == nil {
		t.Fatal("the server has no certificate")
	}
	return s.Certificate()
}

// Help says of each command whether it works by a server.
func TestServerHelp(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		for _, s := range append(c.sub, c) {
			if s.noSettings || s.sub != nil && s.run == nil {
				continue
			}
			var b strings.Builder
			s.writeHelp(&b)
			by, only := strings.Contains(b.String(), "or by a server:"), strings.Contains(b.String(), "not by a server.")
			if by == only || by != s.server {
				t.Errorf("rowbell %s %s: its help says by a server %t, on the databases only %t", c.name, s.name, by, only)
			}
		}
	}
}
