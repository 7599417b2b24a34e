package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rowbell/rowbell/actions"
)

const (
	secretPrefix = "whsec_"
	minKey       = 16 // bytes
	maxKey       = 128
	maxKeys      = 4 // of one secret
	maxSigned    = 8 // signatures of one attempt
	untilPrefix  = ";until="
)

var errSecret = errors.New("it must be whsec_ and 16 to 128 random bytes in base64; make one by: echo whsec_$(openssl rand -base64 32)")

// decodeSecret returns the key of a secret. Its error doesn't quote it.
func decodeSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return nil, errSecret
	}
	encoding := base64.StdEncoding
	if !strings.HasSuffix(text, "=") {
		encoding = base64.RawStdEncoding
	}
	key, err := encoding.DecodeString(text)
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, errSecret
	}
	return key, nil
}

// key signs until a time.
type key struct {
	bytes []byte
	until time.Time // zero: for good
	text  string    // as it was written, without until
}

// readKeys reads what stands in a secret: one key, or several with spaces between them,
// of which any may end in ";until=" and the time at which it stops signing (RFC 3339).
// So a secret is changed without a moment in which a receiver knows no signature:
//
//	whsec_new whsec_old;until=2026-12-01T12:00:00Z
//
// The error doesn't quote a secret.
func readKeys(secret string) ([]key, error) {
	fields := strings.Fields(secret)
	if len(fields) == 0 {
		return nil, errSecret
	}
	if len(fields) > maxKeys {
		return nil, fmt.Errorf("it holds %d secrets; the most are %d", len(fields), maxKeys)
	}
	keys := make([]key, len(fields))
	for i, field := range fields {
		text, until, limited := strings.Cut(field, untilPrefix)
		k := key{text: text}
		var err error
		if k.bytes, err = decodeSecret(text); err != nil {
			return nil, err
		}
		if limited {
			if k.until, err = time.Parse(time.RFC3339, until); err != nil {
				return nil, errors.New("what stands behind ;until= is no time; write it as 2026-12-01T12:00:00Z")
			}
		}
		keys[i] = k
	}
	return keys, nil
}

// Rotate returns what a secret becomes when next is to sign from now on: what has signed
// so far goes on doing so until a time, and what has expired is gone. Returns an error if
// either holds what is no signing secret.
func Rotate(secret, next string, now, until time.Time) (string, error) {
	if _, err := decodeSecret(next); err != nil {
		return "", err
	}
	keys, err := readKeys(secret)
	if err != nil {
		return "", err
	}
	text, n := next, 1
	for _, k := range keys {
		last := until
		if !k.until.IsZero() && k.until.Before(last) {
			last = k.until
		}
		if n == maxKeys || k.text == next || !last.After(now) {
			continue
		}
		text += " " + k.text + untilPrefix + last.UTC().Format(time.RFC3339)
		n++
	}
	return text, nil
}

// SigningSecret is the name of the stored secret that a webhook signs with first; "" if it
// has none, or if r is no webhook.
func SigningSecret(r actions.Runner) string {
	if h, ok := r.(*hook); ok && len(h.secretRefs) > 0 {
		return h.secretRefs[0]
	}
	return ""
}

// signer has the keys that sign, or knows where they are.
type signer struct {
	keys       []key    // of a secret that stands in the configuration
	secretRefs []string // names of secrets
}

// signs says that requests are signed.
func (s *signer) signs() bool { return len(s.keys)+len(s.secretRefs) > 0 }

// signingKeys returns the keys that sign now, at most maxSigned, and what of them must not be shown; none
// if there is no secret.
func (s *signer) signingKeys(ctx context.Context, d *actions.Delivery, now time.Time) (keys [][]byte, hide []string, err error) {
	if !s.signs() {
		return nil, nil, nil
	}
	all := s.keys
	for _, name := range s.secretRefs {
		text, err := secretOf(ctx, d, name)
		if err != nil {
			return nil, nil, fmt.Errorf("secret: %w", err)
		}
		more, err := readKeys(text)
		if err != nil {
			return nil, nil, fmt.Errorf("secret %q: %w; change the secret, and the next attempt takes it", name, err)
		}
		all = append(all[:len(all):len(all)], more...)
	}
	for _, k := range all {
		hide = append(hide, k.text, strings.TrimPrefix(k.text, secretPrefix))
		if k.until.IsZero() || k.until.After(now) {
			keys = append(keys, k.bytes)
		}
	}
	if len(keys) == 0 {
		return nil, nil, errors.New("secret: all of it has expired; write a secret without ;until=, and the next attempt takes it")
	}
	return keys[:min(len(keys), maxSigned)], hide, nil
}

// sign makes the value of webhook-signature: one for each key, with spaces between them.
func sign(keys [][]byte, id, timestamp string, body []byte) string {
	var text [3 + 44]byte // of 32 bytes in base64
	all := text[:0]
	for _, k := range keys {
		if len(all) > 0 {
			all = append(all, ' ')
		}
		all = appendSignature(all, k, id, timestamp, body)
	}
	return string(all)
}

func appendSignature(b, key []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	var head [128]byte
	h := append(head[:0], id...)
	h = append(h, '.')
	h = append(h, timestamp...)
	h = append(h, '.')
	mac.Write(h)
	mac.Write(body)
	var sum [sha256.Size]byte
	return base64.StdEncoding.AppendEncode(append(b, "v1,"...), mac.Sum(sum[:0]))
}
