// Package receivers_test runs the example receivers as their users do: as programs, with
// a database, and a network that breaks.
package receivers_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	maxBody = 4 << 20 // of the receivers, in bytes
	// timeout is how long Rowbell waits for an answer.
	timeout = 15 * time.Second
	// waitLong is for what should happen soon, on a busy machine.
	waitLong = 60 * time.Second
)

var secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the receivers' secret for tests!"))

// program is a receiver, ready to be started.
type program struct {
	command []string
	prepare func(*testing.T) database
}

// database is what one receiver keeps its ids in.
type database struct {
	env   string // of the receiver
	away  func() // nobody answers
	hang  func() // it answers, but never
	back  func() // ends both
	count func() counts
	body  func(id string) string
}

// counts are the messages that a receiver keeps, and the effects that they had.
type counts struct{ messages, effects int }

func TestGo(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "receiver")
	readFile(t, "go/main.go") // what go build reads, go test must know, or it takes old results
	run(t, exec.Command("go", "build", "-o", binary, "./go"))
	testReceiver(t, program{[]string{binary}, postgres})
}

func TestPython(t *testing.T) {
	t.Parallel()
	python := need(t, "python3", "apt-get install python3")
	file := filepath.Join(t.TempDir(), "receiver.py")
	writeFile(t, file, readFile(t, "python/receiver.py"))
	testReceiver(t, program{[]string{python, file}, func(t *testing.T) database { return sqlite(t, python) }})
}

func TestJavaScript(t *testing.T) {
	t.Parallel()
	node := need(t, "node", "apt-get install nodejs npm")
	npm := need(t, "npm", "apt-get install nodejs npm")
	dir := t.TempDir()
	for _, name := range []string{"receiver.js", "package.json", "package-lock.json", ".npmrc"} {
		writeFile(t, filepath.Join(dir, name), readFile(t, "javascript/"+name))
	}
	install := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	run(t, install)
	testReceiver(t, program{[]string{node, filepath.Join(dir, "receiver.js")}, postgres})
}

func testReceiver(t *testing.T, p program) {
	t.Run("once", func(t *testing.T) { t.Parallel(); testOnce(t, p) })
	t.Run("refuses", func(t *testing.T) { t.Parallel(); testRefuses(t, p) })
	t.Run("size", func(t *testing.T) { t.Parallel(); testSize(t, p) })
	t.Run("database away", func(t *testing.T) { t.Parallel(); testAway(t, p) })
	t.Run("killed", func(t *testing.T) { t.Parallel(); testKilled(t, p) })
	t.Run("no secret", func(t *testing.T) { t.Parallel(); testNoSecret(t, p) })
}

// What is signed has its effect once, however often it comes, and the answer is always
// that it is done.
func testOnce(t *testing.T, p program) {
	db := p.prepare(t)
	r := start(t, p, db)
	const body = `{"type": "orders.create", "data": {"total": 90071992547409931200.50, "note": "é€😀"}}`
	first := sign(t, "once.0", time.Now(), body)
	r.want(t, first, http.StatusNoContent)
	wantCounts(t, db, counts{1, 1})
	if got := db.body("once.0"); got != body {
		t.Errorf("it keeps %s, which came as %s", got, body)
	}

	r.want(t, first, http.StatusNoContent)
	r.want(t, sign(t, "once.0", time.Now().Add(2*time.Second), body), http.StatusNoContent) // as a later attempt is signed
	wantCounts(t, db, counts{1, 1})

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if code, err := r.send(first.withID(t, "together.0")); code != http.StatusNoContent {
				t.Errorf("one of 20 at a time: %d %v", code, err)
			}
		})
	}
	wg.Wait()
	wantCounts(t, db, counts{2, 2})

	now := time.Now().Unix()
	byHand := request{id: "by-hand.0", timestamp: strconv.FormatInt(now, 10), body: body}
	byHand.signature = signByHand(t, secret, byHand.id, now, body)
	r.want(t, byHand, http.StatusNoContent)

	// Any one of the signatures is enough: they come in either order.
	other := signWith(t, otherSecret, "rotation.0", time.Now(), body).signature
	rotation := sign(t, "rotation.0", time.Now(), body)
	rotation.signature = other + " " + rotation.signature
	r.want(t, rotation, http.StatusNoContent)
	rotation = sign(t, "rotation.1", time.Now(), body)
	rotation.signature = "v1a,bm90IG91cnM= " + rotation.signature + " " + other
	r.want(t, rotation, http.StatusNoContent)
	wantCounts(t, db, counts{5, 5})
}

var otherSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("another secret, of nobody at all"))

func testRefuses(t *testing.T, p program) {
	db := p.prepare(t)
	r := start(t, p, db)
	const body = `{"type": "orders.create"}`
	now := time.Now()
	good := func() request { return sign(t, "refused.0", now, body) }
	changed := func(change func(*request)) request {
		req := good()
		change(&req)
		return req
	}
	for name, req := range map[string]request{
		"another secret":      signWith(t, otherSecret, "refused.0", now, body),
		"old":                 sign(t, "refused.0", now.Add(-6*time.Minute), body),
		"of the future":       sign(t, "refused.0", now.Add(6*time.Minute), body),
		"changed body":        changed(func(r *request) { r.body = `{"type": "orders.delete"}` }),
		"another id":          changed(func(r *request) { r.id = "refused.1" }),
		"another timestamp":   changed(func(r *request) { r.timestamp = strconv.FormatInt(now.Unix()-1, 10) }),
		"no id":               changed(func(r *request) { r.id = "" }),
		"no timestamp":        changed(func(r *request) { r.timestamp = "" }),
		"no signature":        changed(func(r *request) { r.signature = "" }),
		"no header":           {body: body},
		"odd timestamp":       changed(func(r *request) { r.timestamp = "soon" }),
		"endless timestamp":   changed(func(r *request) { r.timestamp = strings.Repeat("9", 5000) }),
		"odd signature":       changed(func(r *request) { r.signature = "v1 v1, ,v1 é," }),
		"no version":          changed(func(r *request) { r.signature = strings.TrimPrefix(r.signature, "v1,") }),
		"another version":     changed(func(r *request) { r.signature = "v1a" + strings.TrimPrefix(r.signature, "v1") }),
		"no JSON":             sign(t, "refused.0", now, "type=orders.create"),
		"nothing":             sign(t, "refused.0", now, ""),
		"two wrong ones":      changed(func(r *request) { r.signature = "v1,AAAA v1,BBBB" }),
		"signature of a part": changed(func(r *request) { r.signature = r.signature[:len(r.signature)-1] }),
	} {
		code, err := r.send(req)
		if code != http.StatusBadRequest {
			t.Errorf("%s: %d %v, want 400", name, code, err)
		}
	}
	wantCounts(t, db, counts{0, 0})
	r.want(t, good(), http.StatusNoContent) // nothing of that has harmed it
	wantCounts(t, db, counts{1, 1})
}

func testSize(t *testing.T, p program) {
	db := p.prepare(t)
	r := start(t, p, db)
	body := func(size int) string {
		const begin, end = `{"type": "orders.create", "data": "`, `"}`
		return begin + strings.Repeat("x", size-len(begin)-len(end)) + end
	}
	r.want(t, sign(t, "big.0", time.Now(), body(maxBody)), http.StatusNoContent)
	r.want(t, sign(t, "big.1", time.Now(), body(maxBody+1)), http.StatusRequestEntityTooLarge)
	wantCounts(t, db, counts{1, 1})
	r.want(t, sign(t, "big.2", time.Now(), body(100)), http.StatusNoContent)
}

// While the database is away nothing is said to be done, and the next attempt succeeds.
func testAway(t *testing.T, p program) {
	db := p.prepare(t)
	r := start(t, p, db)
	const body = `{"type": "orders.create"}`
	r.want(t, sign(t, "away.0", time.Now(), body), http.StatusNoContent)

	db.away()
	r.want(t, sign(t, "away.1", time.Now(), body), http.StatusServiceUnavailable)
	r.want(t, sign(t, "away.0", time.Now(), body), http.StatusServiceUnavailable) // known or not, it can't know
	db.back()
	r.want(t, sign(t, "away.1", time.Now(), body), http.StatusNoContent)
	wantCounts(t, db, counts{2, 2})

	db.hang()
	began := time.Now()
	r.want(t, sign(t, "away.2", time.Now(), body), http.StatusServiceUnavailable)
	if took := time.Since(began); took > timeout {
		t.Errorf("it answered after %v, when Rowbell had given up", took)
	}
	db.back()
	r.want(t, sign(t, "away.2", time.Now(), body), http.StatusNoContent)
	wantCounts(t, db, counts{3, 3})
}

// A receiver that is killed at work has said "done" only to what is there afterwards, and
// the rest gets its effect when it comes again.
func testKilled(t *testing.T, p program) {
	db := p.prepare(t)
	r := start(t, p, db)
	const messages, early = 40, 10
	id := func(i int) string { return "killed." + strconv.Itoa(i) }
	const body = `{"type": "orders.create"}`
	var done [messages]atomic.Bool
	var answers atomic.Int32
	enough := make(chan struct{})
	var wg sync.WaitGroup
	for i := range messages {
		req := sign(t, id(i), time.Now(), body)
		wg.Go(func() {
			if code, _ := r.send(req); code == http.StatusNoContent {
				done[i].Store(true)
				if answers.Add(1) == early {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(waitLong):
		t.Error("too few answers came")
	}
	r.kill()
	wg.Wait()

	r = start(t, p, db)
	for i := range messages {
		if done[i].Load() && db.body(id(i)) != body {
			t.Errorf("%s was said to be done, and isn't there", id(i))
		}
	}
	for i := range messages {
		r.want(t, sign(t, id(i), time.Now(), body), http.StatusNoContent)
	}
	wantCounts(t, db, counts{messages, messages})
}

// Without a secret everybody could sign.
func testNoSecret(t *testing.T, p program) {
	db := p.prepare(t)
	for _, s := range []string{"", "whsec_"} {
		cmd := p.cmd(t, db, s)
		out, err := cmd.CombinedOutput()
		if _, exited := errors.AsType[*exec.ExitError](err); !exited || !strings.Contains(string(out), "WEBHOOK_SECRET is missing") {
			t.Errorf("secret %q: %v\n%s", s, err, out)
		}
	}
}

// request is a webhook as it is sent; what is empty is left out.
type request struct{ id, timestamp, signature, body string }

func sign(t *testing.T, id string, at time.Time, body string) request {
	t.Helper()
	return signWith(t, secret, id, at, body)
}

func signWith(t *testing.T, secret, id string, at time.Time, body string) request {
	t.Helper()
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := webhook.Sign(id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return request{id, strconv.FormatInt(at.Unix(), 10), signature, body}
}

// signByHand signs without the reference library.
func signByHand(t *testing.T, secret, id string, seconds int64, body string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(seconds, 10) + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// withID is the same, for another id.
func (r request) withID(t *testing.T, id string) request {
	return sign(t, id, time.Now(), r.body)
}

// process is a receiver that runs.
type process struct {
	url    string
	client http.Client
	kill   func()
}

// cmd is ended with t, whatever it does.
func (p program) cmd(t *testing.T, db database, secret string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	cmd.Env = append(os.Environ(), "PORT=0", "WEBHOOK_SECRET="+secret, db.env)
	cmd.WaitDelay = waitLong
	return cmd
}

// start returns when the receiver listens. It is killed at the end of t.
func start(t *testing.T, p program, db database) *process {
	t.Helper()
	cmd := p.cmd(t, db, secret)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &process{client: http.Client{Timeout: waitLong, Transport: &http.Transport{MaxIdleConnsPerHost: 20}}}
	r.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // by that signal
		r.client.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the receiver said:\n%s", stderr)
		}
	})
	t.Cleanup(r.kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		r.kill()
		t.Fatalf("it doesn't listen: %v\n%s", err, stderr)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("it says %q", line)
	}
	r.url = url
	return r
}

// send returns the code of the answer. A 2xx with a body is an error.
func (r *process) send(q request) (code int, err error) {
	req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(q.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{
		standardwebhooks.HeaderWebhookID:        q.id,
		standardwebhooks.HeaderWebhookTimestamp: q.timestamp,
		standardwebhooks.HeaderWebhookSignature: q.signature,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode < 300 && len(text) > 0 {
		err = fmt.Errorf("its answer has a body: %q", text)
		return 0, err
	}
	return resp.StatusCode, err
}

func (r *process) want(t *testing.T, q request, code int) {
	t.Helper()
	got, err := r.send(q)
	if err != nil || got != code {
		t.Fatalf("%s: %d %v, want %d", q.id, got, err, code)
	}
}

func wantCounts(t *testing.T, db database, want counts) {
	t.Helper()
	if got := db.count(); got != want {
		t.Errorf("there are %d messages with %d effects, want %d with %d", got.messages, got.effects, want.messages, want.effects)
	}
}

// postgres is a database behind a proxy, which the receiver goes through.
func postgres(t *testing.T) database {
	d := pgtest.DB(t)
	proxy, url := pgtest.ProxyURL(t, d.URL)
	return database{
		env:  "DATABASE_URL=" + url,
		away: proxy.Refuse,
		hang: proxy.Pause,
		back: proxy.Resume,
		count: func() counts {
			return counts{
				pgtest.One[int](t, d, "select count(*) from webhook_message"),
				pgtest.One[int](t, d, "select coalesce(sum(count), 0)::int from message_count"),
			}
		},
		body: func(id string) string {
			return pgtest.One[string](t, d, "select coalesce(min(body), '') from webhook_message where id = $1", id)
		},
	}
}

// sqlite is a file. It is away when its directory is, and hangs while another process
// has it to itself.
func sqlite(t *testing.T, python string) database {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "webhooks.db")
	query := func(sql string, args ...string) string {
		const script = `import sqlite3, sys
print(*sqlite3.connect(sys.argv[1], timeout=30).execute(sys.argv[2], sys.argv[3:]).fetchone(), end="")`
		return run(t, exec.Command(python, append([]string{"-X", "utf8", "-c", script, file, sql}, args...)...))
	}
	var back []func()
	return database{
		env: "DATABASE=" + file,
		away: func() {
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
			back = append(back, func() {
				if err := os.Rename(dir+".away", dir); err != nil {
					t.Fatal(err)
				}
			})
		},
		hang: func() {
			const script = `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin exclusive")
print("locked", flush=True)
sys.stdin.read()`
			cmd := exec.Command(python, "-c", script, file)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			release := sync.OnceFunc(func() {
				if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
					t.Error(err)
				}
			})
			t.Cleanup(release)
			back = append(back, release)
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatalf("the lock: %q %v", line, err)
			}
		},
		back: func() {
			for _, f := range back {
				f()
			}
			back = nil
		},
		count: func() (c counts) {
			const sql = "select (select count(*) from webhook_message), (select coalesce(sum(count), 0) from message_count)"
			if _, err := fmt.Sscan(query(sql), &c.messages, &c.effects); err != nil {
				t.Fatal(err)
			}
			return c
		},
		body: func(id string) string {
			return query("select coalesce(min(body), '') from webhook_message where id = ?", id)
		},
	}
}

// need returns the path of a program of the machine.
func need(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test runs %s, and there is none. Install it: %s", name, install)
	}
	return path
}

// run returns the standard output of a command that must succeed.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &stderr)
	}
	return string(out)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
