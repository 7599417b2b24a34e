package preference

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// A Subscription is what one person is told by one workflow through one channel: what a
// token lets its holder stop, and begin again.
type Subscription struct {
	TenantID    string // whose people they are; "" = there is none
	RecipientID string
	WorkflowID  string
	Channel     string // the action kind
}

// ErrToken says that a token was not made by this installation, or was cut or changed.
var ErrToken = errors.New("the token is not valid")

const (
	tokenVersion = 1
	macSize      = 16   // HMAC-SHA256, cut to 128 bits (RFC 2104, section 5)
	mostToken    = 2048 // characters
)

// Signer makes the tokens of unsubscribe links: a subscription with a MAC, in base64url. It
// is the same each time, so that a mail that is sent again is the same, and counts for ever:
// mails are read late. Its methods may be called from any goroutine.
type Signer struct{ keys [][]byte }

// NewSigner derives a key of its own from each ROWBELL_SECRET_KEY (HKDF, RFC 5869). The first
// one signs; the others are those that were used before.
func NewSigner(keys ...[]byte) (*Signer, error) {
	s := &Signer{}
	for _, raw := range keys {
		if len(raw) < 16 {
			return nil, fmt.Errorf("a key of %d bytes is too short", len(raw))
		}
		key, err := hkdf.Key(sha256.New, raw, nil, "rowbell unsubscribe, HMAC-SHA256", sha256.Size)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, errors.New("there is no key")
	}
	return s, nil
}

// Token is a subscription's.
func (s *Signer) Token(sub Subscription) string {
	b := []byte{tokenVersion}
	for _, field := range sub.fields() {
		b = binary.AppendUvarint(b, uint64(len(*field)))
		b = append(b, *field...)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, mac(s.keys[0], b)...))
}

func (sub *Subscription) fields() []*string {
	return []*string{&sub.TenantID, &sub.RecipientID, &sub.WorkflowID, &sub.Channel}
}

func mac(key, b []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(b) // never fails
	return h.Sum(nil)[:macSize]
}

// Open reads what Token made. Returns ErrToken for anything else. It forgives what mail
// programs do to long links: space around them, and padding.
func (s *Signer) Open(token string) (Subscription, error) {
	var sub Subscription
	token = strings.TrimRight(strings.TrimSpace(token), "=")
	if len(token) > mostToken {
		return sub, ErrToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= macSize || b[0] != tokenVersion {
		return sub, ErrToken
	}
	b, sum := b[:len(b)-macSize], b[len(b)-macSize:]
	valid := false
	for _, key := range s.keys {
		valid = valid || hmac.Equal(sum, mac(key, b))
	}
	if !valid {
		return sub, ErrToken
	}
	b = b[1:]
	for _, field := range sub.fields() {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return Subscription{}, ErrToken
		}
		*field, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	if len(b) > 0 || sub.RecipientID == "" {
		return Subscription{}, ErrToken
	}
	return sub, nil
}
