package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
)

// slowestAnswer is how long any request may take.
const slowestAnswer = 10 * time.Second

// Whatever a request has in it is answered, soon, as the document says, and not by an error of
// the server's. ROWBELL_FUZZ_API is for how long requests are made (5s), and ROWBELL_SEED the
// seed of an earlier run.
func TestAPIFuzz(t *testing.T) {
	t.Parallel()
	long, seed := 5*time.Second, rand.Uint64()
	if text := os.Getenv("ROWBELL_FUZZ_API"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("ROWBELL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ROWBELL_SEED=%d", seed)

	log := &mistakes{Handler: slog.DiscardHandler, requests: make(map[string]string)}
	w := newLoggedAPIWorld(t, slog.New(log), delivers, app.WithoutRateLimit)
	hook := refuses(t)
	acme, globex := w.fill(t, "acme", hook), w.fill(t, "globex", hook)
	keys := []string{w.as(t, "acme", access.Admin).key, w.as(t, "acme", access.Admin).key, w.as(t, "", access.Admin).key, w.as(t, "acme", access.Viewer).key}
	c := &client{t, w.base, ""}
	doc, err := openapi3.NewLoader().LoadFromData(c.want(200, c.ask("GET", "/openapi-3.0.json", nil), nil).body)
	if err != nil {
		t.Fatal(err)
	}
	f := &apiFuzz{base: w.base, log: log, keys: keys, contract: contractOf(t, w.base), calls: slices.Concat(calls(acme), calls(globex)), client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 3 * slowestAnswer,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(f.client.CloseIdleConnections)
	for _, at := range doc.Paths.InMatchingOrder() {
		item := doc.Paths.Value(at)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			f.ops = append(f.ops, fuzzedOp{method, at, item.Operations()[method]})
		}
	}
	for _, of := range []*tenantThings{acme, globex} {
		f.known = append(f.known, of.workflow, of.spare, of.event, of.execution, of.dead, of.waiting, of.template, of.destination,
			of.key, of.linkKey, of.member, of.pause, of.audit, of.row, of.replay, of.storm, of.dismissal, of.view, of.tenant, "orders", "ann")
	}

	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var wg sync.WaitGroup
	var found sync.Map // what is wrong is said once
	counts := make([]map[int]int, 4)
	for n := range counts {
		counts[n] = make(map[int]int)
		r := &fuzzing{apiFuzz: f, r: rand.New(rand.NewPCG(seed, uint64(n))), known: slices.Clone(f.known)}
		wg.Go(func() {
			for ctx.Err() == nil {
				what, status, err := r.once(t.Context())
				counts[n][status]++
				if _, again := found.LoadOrStore(fmt.Sprint(what, status, err != nil), true); err != nil && !again {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
	wg.Wait()
	all := make(map[int]int)
	for _, c := range counts {
		for status, n := range c {
			all[status] += n
		}
	}
	t.Logf("answers by status: %v", all)
	if all[401] > 0 {
		t.Error("a key counts no longer")
	}
	if all[200] == 0 || all[404] == 0 || all[422] == 0 {
		t.Error("requests of some kinds are missing")
	}
	if said := log.all(); len(said) > 0 {
		t.Errorf("the log has\n%s", strings.Join(said, "\n"))
	}
	w.worker.holds(t) // no workflow that came of it has stopped the stream
}

// mistakes keeps what a log says at level error, and of requests.
type mistakes struct {
	slog.Handler
	mu       sync.Mutex
	said     []string
	requests map[string]string // by id
}

func (m *mistakes) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (m *mistakes) Handle(_ context.Context, r slog.Record) error {
	text, id := r.Message, ""
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		if a.Key == "request_id" {
			id = a.Value.String()
		}
		return true
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if id != "" {
		m.requests[id] = text
	}
	if r.Level >= slog.LevelError {
		m.said = append(m.said, text)
	}
	return nil
}

// of is what was said of a request.
func (m *mistakes) of(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests[id]
}

func (m *mistakes) WithAttrs([]slog.Attr) slog.Handler { return m }
func (m *mistakes) WithGroup(string) slog.Handler      { return m }

func (m *mistakes) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.said)
}

type fuzzedOp struct {
	method, path string
	*openapi3.Operation
}

// apiFuzz is what all that make requests share, and only read.
type apiFuzz struct {
	base     string
	log      *mistakes
	keys     []string
	contract *contract
	client   *http.Client
	ops      []fuzzedOp
	calls    []call
	known    []string // ids
}

// fuzzing makes requests one after the other.
type fuzzing struct {
	*apiFuzz
	r       *rand.Rand
	known   []string
	cursors []string
}

// once sends one request, and returns what is wrong with its answer.
func (f *fuzzing) once(ctx context.Context) (operation string, status int, err error) {
	op := f.ops[f.r.IntN(len(f.ops))]
	status, err = f.of(ctx, op)
	return op.OperationID, status, err
}

func (f *fuzzing) of(ctx context.Context, op fuzzedOp) (int, error) {
	path, query, header := op.path, url.Values{}, http.Header{}
	var body any
	hasBody := op.RequestBody != nil
	if i := slices.IndexFunc(f.calls, func(c call) bool { return c.id == op.OperationID }); i >= 0 && f.r.IntN(2) == 0 {
		// One that is right, with something else in it.
		if f.r.IntN(8) == 0 {
			i = len(f.calls) - 1 - slices.IndexFunc(f.reversed(), func(c call) bool { return c.id == op.OperationID }) // the other tenant's
		}
		of := f.calls[i]
		at, rest, _ := strings.Cut(of.path, "?")
		path = at
		query, _ = url.ParseQuery(rest) // it is ours
		body, hasBody = f.mutated(of.body), of.body != nil
	} else {
		for _, p := range op.Parameters {
			if p.Value.In == openapi3.ParameterInPath {
				path = strings.Replace(path, "{"+p.Value.Name+"}", url.PathEscape(f.segment(p.Value.Schema.Value)), 1)
			}
		}
		if hasBody {
			body = f.value(op.RequestBody.Value.Content["application/json"].Schema.Value, 0)
		}
	}
	for _, p := range op.Parameters {
		switch {
		case p.Value.In == openapi3.ParameterInQuery && f.r.IntN(4) == 0:
			query.Del(p.Value.Name)
			for range 1 + f.r.IntN(2) {
				if p.Value.Name == "cursor" && f.r.IntN(3) > 0 {
					query.Add("cursor", f.cursor())
					continue
				}
				query.Add(p.Value.Name, asText(f.value(element(p.Value.Schema.Value), 3)))
			}
		case p.Value.In == openapi3.ParameterInHeader && f.r.IntN(6) == 0:
			header.Set(p.Value.Name, strings.Map(func(c rune) rune {
				if c < ' ' || c > '~' {
					return '?' // else it would not be sent
				}
				return c
			}, f.text()))
		}
	}
	var sent []byte
	if hasBody || f.r.IntN(50) == 0 {
		var kind string
		sent, kind = f.encoded(body)
		header.Set("Content-Type", kind)
	}
	raw := strings.ReplaceAll(query.Encode(), "%40%40FF%40%40", "%FF%FE")
	if len(raw) > 8000 {
		raw = "" // the server hangs up on headers that are too long
	}
	path = strings.ReplaceAll(path, "@@FF@@", "%FF%FE")
	req, err := http.NewRequestWithContext(ctx, op.method, f.base+path+"?"+raw, bytes.NewReader(sent))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	req.Header = header
	req.Header.Set("Authorization", "Bearer "+f.keys[f.r.IntN(len(f.keys))])
	begun := time.Now()
	a, err := f.send(req)
	if err != nil {
		if len(sent) > 1<<20 {
			return 0, nil // it has hung up before the end of what was too long
		}
		return 0, fmt.Errorf("%w\n%s", err, curl(req, sent))
	}
	var wrong error
	switch took := time.Since(begun); {
	case a.status >= 500 && (a.status != http.StatusServiceUnavailable || op.OperationID != "streamLive"):
		wrong = fmt.Errorf("it is answered by %d (%s)", a.status, f.log.of(a.header.Get("X-Request-Id")))
	case took > slowestAnswer:
		wrong = fmt.Errorf("it took %s", took)
	case a.status/100 == 3: // the path was cleaned
	default:
		wrong = f.contract.checkAnswer(req, a)
	}
	if wrong != nil {
		return a.status, fmt.Errorf("%w: %.2000s\n%s", wrong, a.body, curl(req, sent))
	}
	if a.status/100 == 2 {
		f.learn(a.body)
	}
	return a.status, nil
}

func (f *fuzzing) reversed() []call {
	list := slices.Clone(f.calls)
	slices.Reverse(list)
	return list
}

func (f *fuzzing) send(req *http.Request) (*answer, error) {
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if resp.Header.Get("Content-Type") == "text/event-stream" { // it has no end
		return a, nil
	}
	a.body, err = io.ReadAll(resp.Body)
	return a, err
}

// learn keeps ids and cursors of an answer.
func (f *fuzzing) learn(body []byte) {
	var of struct {
		ID    any `json:"id"`
		Next  string
		Items []struct {
			ID any `json:"id"`
		}
	}
	if json.Unmarshal(body, &of) != nil {
		return // a list, or YAML
	}
	if of.Next != "" && len(f.cursors) < 100 {
		f.cursors = append(f.cursors, of.Next)
	}
	for _, item := range of.Items {
		own := func(key string) bool { return strings.Contains(key, fmt.Sprint(item.ID)) } // it is not to be revoked
		if id, ok := item.ID.(string); ok && len(f.known) < 500 && !slices.ContainsFunc(f.keys, own) {
			f.known = append(f.known, id)
		}
	}
}

// curl is a request as a shell sends it.
func curl(r *http.Request, body []byte) string {
	var b strings.Builder
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	fmt.Fprintf(&b, "curl -X %s %s", r.Method, quote(r.URL.String()))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, " -H %s", quote(name+": "+r.Header.Get(name)))
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, " --data-binary @- <<< \"$(base64 -d <<< %s)\" # %.3000q", base64.StdEncoding.EncodeToString(body[:min(len(body), 20_000)]), body)
	}
	return b.String()
}

// element is the schema of one value of a parameter.
func element(s *openapi3.Schema) *openapi3.Schema {
	if s.Type.Is(openapi3.TypeArray) {
		return s.Items.Value
	}
	return s
}

// asText writes a value as a parameter has it.
func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "null"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func (f *fuzzing) segment(s *openapi3.Schema) string {
	text := asText(f.value(s, 3))
	if !s.Type.Is(openapi3.TypeInteger) && f.r.IntN(2) == 0 {
		text = f.known[f.r.IntN(len(f.known))]
	}
	if strings.Trim(text, "./") == "" || len(text) > 4000 {
		return "x" // a path without it, which is another
	}
	return text
}

// Texts as nobody sends them. What stands between @@ is put in as it can't be written here.
var oddTexts = []string{
	"", " ", "a", "\x00", "a\x00b", "\x1b[31mred\x1b[0m", "@@FF@@", "@@D800@@", "\u202eabc", "e\u0301", "😀", "\ufeff", "a\r\nb: c", "'", "\"", "\\", "%", "_", "%00", "%s%n",
	"';drop table orders--", "$1", "null", "true", "-1", "0", "1", "2147483648", "9223372036854775808", "1e400", "NaN", "Infinity", "-infinity", "0x10", "١",
	"../../etc/passwd", "http://127.0.0.1:1/", "file:///etc/passwd", "https://[::1", "{{ new.id }}", "{{ new.id", "{% for i in (1..1000000000) %}x{% endfor %}", "{% render 'greeting-acme' %}",
	"1/0", "new.total > 5", "len(repeat('x', 1000000000))", "(a+)+$", "[", "*", "1h", "-1h", "1ns", "9999999h", "P1D", "24:00", "22:00", "Europe/Vienna", "Local", "UTC+25",
	"2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "10000-01-01T00:00:00Z", "-4713-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
	"2026-01-01T00:00:00+23:59", "01M8BBT12Q00003W36G0000000", "01M8BBT12Q00003W36G0000000-1_0", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ-9999999999-9_9999999999", "live", "draft", "domain:x", "public.orders",
	"orders", "whsec_", "mailto:x@example.com", "x@example.com", "@", "+43", "ann", "acme", "globex", "webhook", "email", "log", "W/\"1\"", "\"1\"",
}

func (f *fuzzing) text() string {
	switch f.r.IntN(12) {
	case 0:
		return strings.Repeat("x", []int{63, 64, 65, 130, 200, 255, 256, 500, 1000, 2001, 4000}[f.r.IntN(11)])
	case 1:
		return strings.Repeat(oddTexts[f.r.IntN(len(oddTexts))], 1+f.r.IntN(20))
	case 2, 3, 4:
		return f.known[f.r.IntN(len(f.known))]
	}
	return oddTexts[f.r.IntN(len(oddTexts))]
}

func (f *fuzzing) cursor() string {
	raw := oddTexts[f.r.IntN(len(oddTexts))]
	switch f.r.IntN(4) {
	case 0:
		return f.text()
	case 1:
		raw = []string{
			"null", "[]", "{}", "[null]", `{"at":"x"}`, `{"at":null,"id":null}`, `[1,2,3]`, `["2026-01-01T00:00:00Z","x"]`, `{"at":"9999-12-31T23:59:59Z","id":"\u0000"}`,
			`{"t":"10000-01-01T00:00:00Z"}`, "1", `"x"`, `-1`, `1e400`,
		}[f.r.IntN(14)]
	default:
		if len(f.cursors) == 0 {
			break
		}
		known := f.cursors[f.r.IntN(len(f.cursors))]
		if f.r.IntN(2) == 0 {
			return known
		}
		b, err := base64.RawURLEncoding.DecodeString(known)
		if err != nil || len(b) == 0 {
			return known[:f.r.IntN(len(known))]
		}
		b[f.r.IntN(len(b))] = byte(f.r.Uint32())
		raw = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(raw))
}

func (f *fuzzing) number() json.Number {
	list := []string{
		"0", "1", "-1", "2", "3.5", "-0", "1e2", "200", "201", "1000", "32768", "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993", "9223372036854775807",
		"9223372036854775808", "1e19", "1e308", "1e400", "1e-400", "0.1", "123456789012345678901234567890",
	}
	return json.Number(list[f.r.IntN(len(list))])
}

// odd is a value of any type.
func (f *fuzzing) odd() any {
	switch f.r.IntN(10) {
	case 0:
		return nil
	case 1:
		return f.r.IntN(2) == 0
	case 2:
		return []any{}
	case 3:
		return map[string]any{}
	case 4:
		return []any{f.text(), f.number(), nil}
	case 5:
		return map[string]any{f.text(): f.text()}
	case 6:
		var deep any = f.text()
		for range 1 << f.r.IntN(13) {
			if f.r.IntN(2) == 0 {
				deep = []any{deep}
			} else {
				deep = map[string]any{[]string{"all", "any", "not", "a"}[f.r.IntN(4)]: deep}
			}
		}
		return deep
	case 7:
		return f.number()
	case 8:
		return strings.Repeat("x", 100_000)
	}
	return f.text()
}

// value is one as a schema has it, or nearly.
func (f *fuzzing) value(s *openapi3.Schema, depth int) any {
	switch {
	case f.r.IntN(12) == 0:
		return f.odd()
	case len(s.Enum) > 0 && f.r.IntN(10) > 0:
		return s.Enum[f.r.IntN(len(s.Enum))]
	case s.Type.Is(openapi3.TypeString):
		if s.Format == "date-time" && f.r.IntN(4) > 0 {
			return time.Now().Add(time.Duration(f.r.Int64N(int64(48*time.Hour))) - 24*time.Hour).UTC().Format(time.RFC3339Nano)
		}
		return f.text()
	case s.Type.Is(openapi3.TypeInteger), s.Type.Is(openapi3.TypeNumber):
		switch bound := []*float64{s.Min, s.Max}[f.r.IntN(2)]; {
		case bound != nil && f.r.IntN(2) == 0:
			return *bound + float64(f.r.IntN(3)-1)
		case f.r.IntN(3) == 0:
			return f.number()
		}
		return f.r.IntN(20)
	case s.Type.Is(openapi3.TypeBoolean):
		return f.r.IntN(2) == 0
	case s.Type.Is(openapi3.TypeArray):
		n := f.r.IntN(4)
		if f.r.IntN(30) == 0 {
			n = 1100
		}
		list := make([]any, n)
		for i := range list {
			list[i] = f.value(s.Items.Value, depth+1)
		}
		return list
	}
	m := make(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if f.r.IntN(10) < 5 || slices.Contains(s.Required, name) && f.r.IntN(20) > 0 {
			m[name] = f.value(s.Properties[name].Value, depth+1)
		}
	}
	if len(s.Properties) == 0 || f.r.IntN(30) == 0 {
		m[f.text()] = f.odd()
	}
	return m
}

// mutated is a value with something else in one or two places.
func (f *fuzzing) mutated(v any) any {
	if v == nil || f.r.IntN(5) == 0 {
		return v
	}
	if _, ok := v.(string); ok {
		return v // YAML: its bytes are changed
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var own any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&own) != nil {
		return v
	}
	for range 1 + f.r.IntN(2) {
		own = f.changed(own)
	}
	return own
}

func (f *fuzzing) changed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		switch {
		case len(names) == 0 || f.r.IntN(12) == 0:
			v[f.text()] = f.odd()
		case f.r.IntN(12) == 0:
			delete(v, names[f.r.IntN(len(names))])
		default:
			name := names[f.r.IntN(len(names))]
			v[name] = f.changed(v[name])
		}
		return v
	case []any:
		switch {
		case len(v) == 0 || f.r.IntN(12) == 0:
			return append(v, f.odd())
		case f.r.IntN(20) == 0:
			return slices.Repeat(v, 100)
		}
		i := f.r.IntN(len(v))
		v[i] = f.changed(v[i])
		return v
	case string:
		if f.r.IntN(3) > 0 {
			return f.text()
		}
	case json.Number:
		if f.r.IntN(3) > 0 {
			return f.number()
		}
	}
	return f.odd()
}

// encoded is a body and its content type; some are broken.
func (f *fuzzing) encoded(body any) (raw []byte, kind string) {
	kind = "application/json"
	if text, ok := body.(string); ok {
		raw, kind = []byte(text), "application/yaml"
	} else {
		var err error
		if raw, err = json.Marshal(body); err != nil { // 1e400 and the like are numbers in JSON
			raw = []byte("{}")
		}
	}
	raw = bytes.ReplaceAll(raw, []byte("@@FF@@"), []byte("\xff\xfe"))
	raw = bytes.ReplaceAll(raw, []byte("@@D800@@"), []byte(`\ud800`))
	switch f.r.IntN(40) {
	case 0:
		raw = raw[:f.r.IntN(len(raw)+1)]
	case 1, 2:
		if len(raw) > 0 {
			raw[f.r.IntN(len(raw))] = byte(f.r.Uint32())
		}
	case 3:
		kind = []string{"application/yaml", "application/json; charset=latin1", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""}[f.r.IntN(7)]
	case 4:
		raw = nil
	case 5:
		raw = append(raw, raw...)
	}
	return raw, kind
}
