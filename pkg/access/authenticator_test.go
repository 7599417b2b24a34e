package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	k, text := d.key(t, NewKey{TenantID: ptr("acme"), Name: "dashboard", Roles: []Role{Viewer, Operator}, Rights: []Right{SecretReveal}})
	p := d.enters(t, text)
	if p.Kind != KindKey || p.ID != "key:"+k.ID || p.Name != "dashboard" || p.Tenant != "acme" || p.All || !p.Expires.IsZero() {
		t.Errorf("it is %+v", p)
	}
	if !p.Can(DeliveryWrite) || !p.Can(SecretReveal) || p.Can(WorkflowWrite) || p.Can(RedactedRead) || p.Sees("globex") || p.Sees("") || !p.Sees("acme") {
		t.Errorf("%+v may what it may not, or not what it may", p)
	}
	_, all := d.key(t, NewKey{Roles: []Role{Admin}})
	if p := d.enters(t, all); !p.All || p.Tenant != "" || !p.Sees("") || !p.Sees("acme") || p.Can(SecretReveal) {
		t.Errorf("it is %+v", p)
	}
	// Who sees all may narrow that; who doesn't may say what is so.
	if p := d.enters(t, all, TenantHeader, "acme"); p.All || p.Tenant != "acme" || p.Sees("") || p.Sees("globex") {
		t.Errorf("it is %+v", p)
	}
	d.enters(t, text, TenantHeader, "acme")
	d.stays(t, http.StatusForbidden, `you may not act in tenant "globex"`, text, TenantHeader, "globex")
	d.stays(t, http.StatusForbidden, "names no tenant", all, TenantHeader, "*")
	d.stays(t, http.StatusForbidden, "names no tenant", all, TenantHeader, strings.Repeat("a", 201))

	// Nothing that lets anybody in stands in the database.
	if got := pgtest.One[string](t, d.db, `select string_agg(k::text, '') || (select string_agg(a::text, '') from rowbell.audit_log a) from rowbell.api_key k`); strings.Contains(got, text[31:]) || strings.Contains(got, text[31:60]) {
		t.Errorf("the secret of a key is in %s", got)
	}
	if got := pgtest.One[string](t, d.db, `select concat_ws(' ', action, actor, tenant_id, object_type, detail ->> 'name', detail ->> 'roles') from rowbell.audit_log where object_id = $1`, k.ID); got != `key.create ann acme key dashboard ["viewer", "operator"]` {
		t.Errorf("the audit log has %s", got)
	}
}

// Which part of a key is wrong is not told; but of one that is right, why it doesn't count.
func TestKeysRefused(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	k, text := d.key(t, NewKey{})
	_, unknown := newKey()
	forged := text[:len(text)-secretSize-checksumSize] + unknown[len(unknown)-secretSize-checksumSize:len(unknown)-checksumSize]
	forged += checksum(forged)
	first := d.stays(t, http.StatusUnauthorized, "the API key is not valid here", unknown)
	second := d.stays(t, http.StatusUnauthorized, "the API key is not valid here", forged)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("an unknown id is told as %+v, a wrong secret as %+v", first, second)
	}
	d.stays(t, http.StatusUnauthorized, "incomplete or mistyped", text[:len(text)-1])
	d.enters(t, text)

	soon := d.now().Add(time.Hour)
	_, passing := d.key(t, NewKey{Expires: &soon})
	if p := d.enters(t, passing); !p.Expires.Equal(soon.Truncate(time.Microsecond)) && p.Expires.Sub(soon).Abs() > time.Millisecond {
		t.Errorf("it expires %s, want %s", p.Expires, soon)
	}
	d.forward(time.Hour)
	d.stays(t, http.StatusUnauthorized, "has expired", passing)

	if _, err := d.service.RevokeKey(t.Context(), k.ID, ptr("acme"), "bea"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("a key for all tenants was revoked as one of acme's: %v", err)
	}
	if _, err := d.service.RevokeKey(t.Context(), k.ID, nil, "bea"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.service.RevokeKey(t.Context(), k.ID, nil, "bea"); !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "was revoked already") {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := d.service.RevokeKey(t.Context(), "nonsense", nil, "bea"); !errors.Is(err, workflow.ErrNotFound) || err.Error() != "there is no API key nonsense" {
		t.Errorf("nothing was revoked: %v", err)
	}
	d.forward(fresh) // what was kept is not believed any more
	d.stays(t, http.StatusUnauthorized, "was revoked", text)
	list, err := d.service.Keys(t.Context(), store.AccessFilter{})
	if err != nil || len(list) != 1 {
		t.Errorf("%d keys are listed (%v), want the one that isn't revoked", len(list), err)
	}
	if list, err = d.service.Keys(t.Context(), store.AccessFilter{Revoked: true, TenantID: ptr("")}); err != nil || len(list) != 2 || *list[1].RevokedBy != "bea" {
		t.Errorf("with revoked ones the list is %+v (%v)", list, err)
	}
	if list, err = d.service.Keys(t.Context(), store.AccessFilter{Revoked: true, TenantID: ptr("acme")}); err != nil || len(list) != 0 {
		t.Errorf("acme has %+v (%v)", list, err)
	}
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	_, text := d.key(t, NewKey{})
	for header, reason := range map[string]string{
		"": "say who you are", "Basic YTpi": "must be there once", "Bearer": "must be there once", "Bearer ": "must be there once",
		text: "must be there once", "Bearer nonsense": "neither an API key", "Bearer a.b.c": "neither an API key",
		"Bearer " + strings.Repeat("a", mostToken+1): "too long", "Bearer e30.e30.e30": "there is none here (ROWBELL_OIDC_ISSUER)",
	} {
		d.refuses(t, http.StatusUnauthorized, reason, request(header))
	}
	r := request("Bearer " + text)
	r.Header.Add("Authorization", "Bearer "+text)
	d.refuses(t, http.StatusUnauthorized, "must be there once", r)
	for _, header := range []string{"Bearer " + text, "bearer " + text, "BEARER   " + text} {
		if _, err := d.Authenticate(t.Context(), request(header)); err != nil {
			t.Errorf("%.12s…: %v", header, err)
		}
	}
}

// Requests cost a query in some seconds, also those for keys that there aren't, and many at a
// time cost one.
func TestLookupsAreKept(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	db := &counted{credentials: d.source}
	d.Authenticator = newAt(Config{}, db, d.now)
	_, text := d.key(t, NewKey{})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { d.enters(t, text) })
	}
	all.Wait()
	if n := db.keys.Load(); n != 1 {
		t.Errorf("50 requests cost %d queries", n)
	}
	d.forward(fresh)
	d.enters(t, text)
	if n := db.keys.Load(); n != 2 {
		t.Errorf("later there were %d queries, want 2", n)
	}
	_, unknown := newKey()
	for range 5 {
		d.stays(t, http.StatusUnauthorized, "not valid", unknown)
	}
	if n := db.keys.Load(); n != 3 {
		t.Errorf("a key that there isn't was looked for %d times", n-2)
	}

	// While the database is away nobody is let in for longer than what is known is fresh.
	db.broken.Store(true)
	d.enters(t, text)
	d.forward(fresh)
	if e := d.stays(t, http.StatusServiceUnavailable, "the database does not answer", text); e.RetryAfter == 0 || e.Err == nil {
		t.Errorf("it is told as %+v", e)
	}
	db.broken.Store(false)
	d.enters(t, text)
}

// A request that ends doesn't fail others that wait for the same row.
func TestLookupOutlivesWhoBeganIt(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	r := newRows(time.Now, func(ctx context.Context, _ string) (int, error) {
		close(begun)
		<-release
		return 7, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, _, err := r.get(ctx, "a")
		first <- err
	}()
	<-begun
	second := make(chan int)
	go func() {
		v, _, _ := r.get(t.Context(), "a")
		second <- v
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that ended got %v", err)
	}
	close(release)
	if v := <-second; v != 7 {
		t.Errorf("the other one got %d", v)
	}
}

func TestLastUsed(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	k, text := d.key(t, NewKey{})
	used := func() *time.Time {
		return pgtest.One[*time.Time](t, d.db, `select last_used_at from rowbell.api_key where id = $1`, k.ID)
	}
	d.enters(t, text)
	if got := used(); got != nil {
		t.Errorf("it is written in the request's way: %s", got)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := d.Run(ctx); err != nil { // writes at its end
		t.Fatal(err)
	}
	first := used()
	if first == nil {
		t.Fatal("when it was used is not written")
	}
	d.forward(30 * time.Second)
	d.enters(t, text)
	d.writeUsed(t.Context())
	if got := used(); !got.Equal(*first) {
		t.Errorf("30 s later it is written again: %s, was %s", got, first)
	}
	d.forward(31 * time.Second)
	d.enters(t, text)
	d.writeUsed(t.Context())
	if got := used(); got.Sub(*first) < time.Minute {
		t.Errorf("after a minute it is not written: %s, was %s", got, first)
	}
}

func TestFailuresAreLimited(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	d := open(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Metrics: NewMetrics(reg)})
	_, good := d.key(t, NewKey{})
	_, rare := d.key(t, NewKey{})
	d.enters(t, good, "X-Forwarded-For", "198.51.100.7")
	_, wrong := newKey()
	for range failuresAtOnce {
		d.stays(t, http.StatusUnauthorized, "not valid", wrong, "X-Forwarded-For", "198.51.100.7")
	}
	if e := d.stays(t, http.StatusTooManyRequests, "too many failures from your address", wrong, "X-Forwarded-For", "198.51.100.7"); e.RetryAfter < time.Second || e.RetryAfter > failureEach {
		t.Errorf("it is to wait %s", e.RetryAfter)
	}
	// It is this address's alone, and not that of what it claims to be.
	d.stays(t, http.StatusTooManyRequests, "too many", rare, "X-Forwarded-For", "203.0.113.9, 198.51.100.7")
	d.enters(t, rare, "X-Forwarded-For", "198.51.100.8")
	// Who was right a moment ago is let in all the same.
	d.enters(t, good, "X-Forwarded-For", "198.51.100.7")
	d.forward(failureEach + time.Second)
	d.enters(t, rare, "X-Forwarded-For", "198.51.100.7") // and a success costs nothing
	d.enters(t, rare, "X-Forwarded-For", "198.51.100.7")
	d.stays(t, http.StatusUnauthorized, "not valid", wrong, "X-Forwarded-For", "198.51.100.7")
	d.stays(t, http.StatusTooManyRequests, "too many", wrong, "X-Forwarded-For", "198.51.100.7")

	for labels, want := range map[[2]string]float64{{"key", "accepted"}: 5, {"key", "refused"}: failuresAtOnce + 1, {"key", "limited"}: 3, {"link", "accepted"}: 0} {
		if got := testutil.ToFloat64(d.cfg.Metrics.total.WithLabelValues(labels[0], labels[1])); got != want {
			t.Errorf("%v was counted %v times, want %v", labels, got, want)
		}
	}
}

// However many addresses and ids there are, little is remembered of them.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	f := newFailures(time.Now)
	a := netip.MustParseAddr("2001:db8::")
	for i := range 5 * mostAddresses {
		b := a.As16()
		b[5], b[6], b[7] = byte(i>>16), byte(i>>8), byte(i)
		f.add(netip.AddrFrom16(b))
	}
	if n := f.counts.size(); n > 2*mostAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
	r := newRecent[int, int](3)
	for i := range 100 {
		r.put(i, i)
		if v, ok := r.get(i); !ok || v != i {
			t.Fatalf("%d is forgotten at once", i)
		}
		if i > 2 {
			if _, ok := r.get(i - 1); !ok {
				t.Fatalf("%d is forgotten too soon", i-1)
			}
		}
	}
	if r.size() > 6 {
		t.Errorf("%d of at most 6 are kept", r.size())
	}
}

// An address has neighbours where it could take another as easily.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	f := newFailures(time.Now)
	for range failuresAtOnce {
		f.add(netip.MustParseAddr("2001:db8:0:1::7"))
		f.add(netip.MustParseAddr("::ffff:198.51.100.7"))
	}
	for addr, limited := range map[string]bool{
		"2001:db8:0:1::8": true, "2001:db8:0:2::7": false, "198.51.100.7": true, "198.51.100.8": false,
	} {
		if got := f.wait(netip.MustParseAddr(addr)) > 0; got != limited {
			t.Errorf("%s must wait: %v, want %v", addr, got, limited)
		}
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"198.51.100.7:1234", nil, "198.51.100.7"},
		{"198.51.100.7:1234", []string{"203.0.113.9"}, "198.51.100.7"}, // nobody's proxy
		{"10.0.0.1:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		{"10.0.0.1:1234", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"}, // what the client wrote itself
		{"10.0.0.1:1234", []string{"1.2.3.4, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"10.0.0.1:1234", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{"10.0.0.1:1234", []string{"203.0.113.9:5678"}, "203.0.113.9"},
		{"[fd00::1]:1234", []string{"[2001:db8::1]:5678"}, "2001:db8::1"},
		{"10.0.0.1:1234", []string{"nonsense"}, "10.0.0.1"},
		{"10.0.0.1:1234", []string{"203.0.113.9, "}, "10.0.0.1"},
		{"10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:1234", nil, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		{"@", []string{"203.0.113.9"}, "invalid IP"},
	} {
		r := request("")
		r.RemoteAddr = c.peer
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := ClientAddress(r, proxies).String(); got != c.want {
			t.Errorf("%s with %q is %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
	r := request("", "X-Forwarded-For", strings.Repeat("10.0.0.9, ", 100_000)+"10.0.0.8")
	r.RemoteAddr = "10.0.0.1:1234"
	if got := ClientAddress(r, proxies).String(); got != "10.0.0.9" {
		t.Errorf("of very many it is %s", got)
	}
}

// Of many processes that start at once one makes the first key, and no later one does.
func TestFirstKey(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	type made struct {
		text string
		err  error
	}
	results := make(chan made, 8)
	for range cap(results) {
		go func() {
			_, text, err := d.service.FirstKey(t.Context(), "rowbell run")
			results <- made{text, err}
		}()
	}
	var texts []string
	for range cap(results) {
		m := <-results
		if m.err != nil {
			t.Error(m.err)
		}
		if m.text != "" {
			texts = append(texts, m.text)
		}
	}
	if len(texts) != 1 {
		t.Fatalf("%d first keys were made", len(texts))
	}
	if p := d.enters(t, texts[0]); !p.All || !slices.Equal(p.Roles, []Role{Admin}) {
		t.Errorf("it is %+v", p)
	}
	d.db.Exec(t, `delete from rowbell.api_key`)
	if _, text, err := d.service.FirstKey(t.Context(), "rowbell run"); text != "" || err != nil {
		t.Errorf("another one was made when that was gone: %v", err)
	}

	other := open(t, Config{})
	other.key(t, NewKey{})
	if _, text, err := other.service.FirstKey(t.Context(), "rowbell run"); text != "" || err != nil {
		t.Errorf("one was made although there was a key: %v", err)
	}
}

func TestNewKeyIsChecked(t *testing.T) {
	t.Parallel()
	s := NewService(nil) // which is not asked
	for want, n := range map[string]NewKey{
		"needs a role or a right":          {},
		"a tenant's id has 1 to 200":       {TenantID: ptr(""), Roles: []Role{Viewer}},
		"and isn't *":                      {TenantID: ptr("*"), Roles: []Role{Viewer}},
		"more than 200 characters":         {Name: strings.Repeat("a", 201), Roles: []Role{Viewer}},
		"or control characters":            {Name: "a\x00", Roles: []Role{Viewer}},
		"it would have expired already":    {Expires: ptr(time.Now().Add(-time.Second)), Roles: []Role{Viewer}},
		"leave it out for all tenants":     {TenantID: ptr("a\nb"), Roles: []Role{Viewer}},
		"or control characters\nit would ": {Name: "\n", Expires: ptr(time.Now()), Roles: []Role{Viewer}},
	} {
		if _, _, err := s.CreateKey(t.Context(), n, ""); !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%+v: %v, want %q", n, err, want)
		}
	}
}
