package secret

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

func newKey(t testing.TB) *Key {
	t.Helper()
	raw := make([]byte, KeySize)
	_, _ = rand.Read(raw)
	k, err := NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	for _, plain := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", "ß\x00\xff"} {
		sealed := k.Seal(plain, "acme", "hook")
		if len(plain) > 4 && bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("%q stands in what is sealed", plain)
		}
		if bytes.Equal(sealed, k.Seal(plain, "acme", "hook")) {
			t.Errorf("%q is sealed alike twice", plain)
		}
		if got, err := k.Open(sealed, k.ID(), "acme", "hook"); got != plain || err != nil {
			t.Errorf("Open = %q, %v; want %q", got, err, plain)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	sealed := k.Seal("plain", "acme", "hook")
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, tc := range map[string]struct {
		key                 *Key
		sealed              []byte
		keyID, tenant, name string
		want                error
	}{
		"another key":             {other, sealed, k.ID(), "acme", "hook", ErrOtherKey},
		"another key's id forged": {other, sealed, other.ID(), "acme", "hook", ErrDamaged},
		"another tenant":          {k, sealed, k.ID(), "beta", "hook", ErrDamaged},
		"another name":            {k, sealed, k.ID(), "acme", "hook2", ErrDamaged},
		"tenant and name shifted": {k, sealed, k.ID(), "", "acme\x00hook", ErrDamaged},
		"changed":                 {k, changed, k.ID(), "acme", "hook", ErrDamaged},
		"cut":                     {k, sealed[:5], k.ID(), "acme", "hook", ErrDamaged},
		"nothing":                 {k, nil, k.ID(), "acme", "hook", ErrDamaged},
	} {
		if got, err := tc.key.Open(tc.sealed, tc.keyID, tc.tenant, tc.name); !errors.Is(err, tc.want) || got != "" {
			t.Errorf("%s: Open = %q, %v; want %v", name, got, err, tc.want)
		}
	}
	if _, err := NewKey(make([]byte, 16)); err == nil {
		t.Error("a key of 16 bytes is taken")
	}
}

// The id and the sealing are for ever: what an older build sealed must open.
func TestKeyIsStable(t *testing.T) {
	t.Parallel()
	k, err := NewKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	const id = "c6e2f4aa63d2d396"
	if k.ID() != id {
		t.Errorf("the key's id is %s, was %s", k.ID(), id)
	}
	sealed, err := hex.DecodeString("a46d71f88ff496ac9e09ca2442aef33b0afe4d569dc8e5bba47dede8b705d28ec1a799228ad2c4")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Open(sealed, id, "acme", "hook"); got != "whsec_plain" || err != nil {
		t.Errorf("Open of what was sealed once = %q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKey(f)
	f.Add([]byte{}, "acme", "hook")
	f.Add(k.Seal("x", "acme", "hook"), "acme", "hook2")
	f.Fuzz(func(t *testing.T, sealed []byte, tenant, name string) {
		if plain, err := k.Open(sealed, k.ID(), tenant, name); err == nil {
			t.Errorf("opened %x as %q", sealed, plain)
		}
	})
}

// Several keys: the first seals, all open what they have sealed, and no other.
func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 3*KeySize)
	_, _ = rand.Read(raw)
	one := func(n int) []byte { return raw[n*KeySize : (n+1)*KeySize] }
	var keys [3]*Key
	for n := range keys {
		k, err := NewKey(one(n))
		if err != nil {
			t.Fatal(err)
		}
		keys[n] = k
	}
	both, err := NewKey(raw[:2*KeySize])
	if err != nil {
		t.Fatal(err)
	}
	if both.ID() != keys[0].ID() || len(both.OlderIDs()) != 1 || both.OlderIDs()[0] != keys[1].ID() {
		t.Errorf("its ids are %s and %v", both.ID(), both.OlderIDs())
	}
	for n, k := range keys[:2] {
		if got, err := both.Open(k.Seal("plain", "acme", "hook"), k.ID(), "acme", "hook"); got != "plain" || err != nil {
			t.Errorf("of key %d: %q, %v", n, got, err)
		}
	}
	if _, err := both.Open(keys[2].Seal("plain", "acme", "hook"), keys[2].ID(), "acme", "hook"); !errors.Is(err, ErrOtherKey) {
		t.Errorf("of a third key: %v", err)
	}
	if _, err := both.Open(keys[1].Seal("plain", "acme", "hook"), keys[0].ID(), "acme", "hook"); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another's id: %v", err)
	}
	if got, err := keys[0].Open(both.Seal("plain", "acme", "hook"), keys[0].ID(), "acme", "hook"); got != "plain" || err != nil {
		t.Errorf("the first key alone: %q, %v", got, err)
	}
	twice, err := NewKey(append(append([]byte(nil), one(0)...), one(0)...))
	if err != nil || len(twice.OlderIDs()) != 0 {
		t.Errorf("the same key twice: %v, %v", twice.OlderIDs(), err)
	}
	for _, n := range []int{0, 31, 33, 63, (MostKeys + 1) * KeySize} {
		if _, err := NewKey(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are taken for keys", n)
		}
	}
}

// A mark is the same each time, another under another key, and holds nothing of the text.
func TestMark(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{7}, KeySize)
	key := func(raw []byte) *Key {
		k, err := NewKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key(raw).Mark("ann")
	if again := key(append(slices.Clone(raw), bytes.Repeat([]byte{8}, KeySize)...)).Mark("ann"); again != first || len(first) != 32 {
		t.Errorf("a mark is %s, and then %s", first, again)
	}
	if other := key(bytes.Repeat([]byte{8}, KeySize)).Mark("ann"); other == first {
		t.Error("under another key it is the same")
	}
	if other := key(raw).Mark("anna"); other == first {
		t.Error("of another text it is the same")
	}
}
