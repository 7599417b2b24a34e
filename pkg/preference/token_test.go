package preference

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func signer(t testing.TB, keys ...string) *Signer {
	t.Helper()
	var raw [][]byte
	for _, k := range keys {
		raw = append(raw, []byte(strings.Repeat(k, 32)))
	}
	s, err := NewSigner(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestToken(t *testing.T) {
	t.Parallel()
	s := signer(t, "a")
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringN(0, 60, 200)
		sub := Subscription{text.Draw(r, "tenant"), rapid.StringN(1, 60, 200).Draw(r, "recipient"), text.Draw(r, "workflow"), text.Draw(r, "channel")}
		token := s.Token(sub)
		if got, err := s.Open(" " + token + "==\n"); err != nil || got != sub {
			r.Fatalf("%+v comes back as %+v, %v", sub, got, err)
		}
		if s.Token(sub) != token {
			r.Fatal("it is another one each time")
		}
		raw, _ := base64.RawURLEncoding.DecodeString(token)
		raw[rapid.IntRange(0, len(raw)-1).Draw(r, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		if got, err := s.Open(base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrToken) || got != (Subscription{}) {
			r.Fatalf("a changed token is %+v, %v", got, err)
		}
		if _, err := s.Open(token[:rapid.IntRange(0, len(token)-1).Draw(r, "cut")]); !errors.Is(err, ErrToken) {
			r.Fatal("a cut token counts")
		}
	})
}

func TestTokenKeys(t *testing.T) {
	t.Parallel()
	sub := Subscription{"acme", "ann", "wf", "email"}
	old, both, other := signer(t, "a"), signer(t, "b", "a"), signer(t, "c")
	if got, err := both.Open(old.Token(sub)); err != nil || got != sub {
		t.Errorf("a key of before: %+v, %v", got, err)
	}
	if _, err := old.Open(both.Token(sub)); !errors.Is(err, ErrToken) {
		t.Error("the first key doesn't sign")
	}
	if _, err := other.Open(old.Token(sub)); !errors.Is(err, ErrToken) {
		t.Error("another installation's token counts")
	}
	// Fields can't be shifted into each other.
	if old.Token(Subscription{"acme", "ann", "w", "femail"}) == old.Token(sub) {
		t.Error("two subscriptions have one token")
	}
	for _, bad := range []string{"", "x", "AQ", strings.Repeat("A", 5000), "ä", old.Token(Subscription{})} {
		if _, err := old.Open(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%.20q counts", bad)
		}
	}
	if _, err := NewSigner([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
	if _, err := NewSigner(); err == nil {
		t.Error("no key is taken")
	}
}

// No token that was not made here is taken, and none makes it panic.
func FuzzToken(f *testing.F) {
	s := signer(f, "a")
	f.Add(s.Token(Subscription{"acme", "ann", "wf", "email"}))
	f.Add("AQAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		sub, err := s.Open(token)
		if err == nil && s.Token(sub) != strings.TrimRight(strings.TrimSpace(token), "=") {
			t.Errorf("%q is taken for %+v", token, sub)
		}
	})
}
