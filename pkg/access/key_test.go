package access

import (
	"regexp"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	t.Parallel()
	id, text := newKey()
	if !regexp.MustCompile(`^rbk_[0-9A-HJKMNP-TV-Z]{26}_[A-Z2-7]{33}$`).MatchString(text) {
		t.Errorf("%s isn't what leak scanners look for", text)
	}
	if got, err := parseKey(text); err != nil || got != id {
		t.Errorf("parseKey(%s) = %s, %v; want %s", text, got, err, id)
	}
	if !matchesKey(text, hashKey(text)) || matchesKey(text, noHash) || matchesKey(text, nil) {
		t.Error("a key doesn't match its hash, or another one")
	}
	if _, other := newKey(); other == text || matchesKey(other, hashKey(text)) {
		t.Error("two keys are one")
	}
	if got := []string{KeyID(text), KeyID(id), KeyID(text[:40]), KeyID(LinkKeyID(id))}; strings.Join(got, " ") != strings.Repeat(id+" ", 3)+id {
		t.Errorf("the id was found as %v", got)
	}
}

// Whatever single character of a key is lost, doubled, changed or swapped with the next one,
// it is told without the database.
func TestKeyTypingErrors(t *testing.T) {
	t.Parallel()
	_, text := newKey()
	bad := []string{"", "rbk_", text + "A", text + "\n", " " + text, strings.ToLower(text), strings.Replace(text, "_", "-", 1)}
	for i := range text {
		bad = append(bad, text[:i]+text[i+1:], text[:i]+text[i:i+1]+text[i:], text[:i]+"\x00"+text[i+1:])
		for _, c := range "0A7z_" {
			if other := text[:i] + string(c) + text[i+1:]; other != text {
				bad = append(bad, other)
			}
		}
		if i > 0 && text[i] != text[i-1] {
			bad = append(bad, text[:i-1]+text[i:i+1]+text[i-1:i]+text[i+1:])
		}
	}
	for _, s := range bad {
		if id, err := parseKey(s); err == nil {
			t.Errorf("%q was taken for a key with id %s", s, id)
		}
	}
}

// What parses is a key to the last character, and finds its own id.
func FuzzParseKey(f *testing.F) {
	_, text := newKey()
	f.Add(text)
	f.Add(text[:40])
	f.Add("rbk_01JDA0000000000000000000_" + strings.Repeat("A", 33))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseKey(s)
		if err != nil {
			return
		}
		if s[:keySize-checksumSize]+checksum(s[:keySize-checksumSize]) != s || KeyID(s) != id || len(id) != 26 {
			t.Errorf("%q was taken for a key with id %q", s, id)
		}
	})
}
