// Package secret seals what must not be read from the database: webhook secrets, tokens
// and passwords of workflows.
//
// A sealed secret is AES-256 in GCM with a random nonce of 96 bits (NIST SP 800-38D),
// bound to the tenant and the name that it was sealed for, so that a row that is copied
// to another tenant or name opens nothing. A key of its own is derived for that from
// ROWBELL_SECRET_KEY by HKDF (RFC 5869); another derived value, the key's id, stands
// beside each sealed secret and says which key it wants.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeySize is how many bytes a key has.
const KeySize = 32

// ErrOtherKey says that a secret was sealed with another key than the one there is.
var ErrOtherKey = errors.New("it was sealed with another ROWBELL_SECRET_KEY; set that one, or write the secret again")

// ErrDamaged says that what is stored is not what was sealed for this tenant and name.
var ErrDamaged = errors.New("what is stored of it can't be opened: it was changed, or copied from another tenant or name; write the secret again")

// Key seals and opens. It is immutable, and its methods may be called from any goroutine.
type Key struct {
	id   string
	aead cipher.AEAD
}

// NewKey takes the 32 bytes of ROWBELL_SECRET_KEY.
func NewKey(raw []byte) (*Key, error) {
	if len(raw) != KeySize {
		return nil, fmt.Errorf("a secret key has %d bytes, not %d", KeySize, len(raw))
	}
	derive := func(what string, n int) ([]byte, error) { return hkdf.Key(sha256.New, raw, nil, "rowbell "+what, n) }
	id, err := derive("key id", 8)
	if err != nil {
		return nil, err
	}
	key, err := derive("seal secrets, AES-256-GCM", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Key{id: hex.EncodeToString(id), aead: aead}, nil
}

// ID names the key, and tells nothing of it: 16 hexadecimal digits.
func (k *Key) ID() string { return k.id }

// Seal encrypts a secret for a tenant ("" = operators) and a name.
func (k *Key) Seal(plain, tenantID, name string) []byte {
	return k.aead.Seal(nil, nil, []byte(plain), bound(tenantID, name))
}

// Open decrypts what Seal made for the same tenant and name. Returns ErrOtherKey if
// keyID is not this key's, and ErrDamaged if it can't be opened.
func (k *Key) Open(sealed []byte, keyID, tenantID, name string) (string, error) {
	if keyID != k.id {
		return "", ErrOtherKey
	}
	plain, err := k.aead.Open(nil, nil, sealed, bound(tenantID, name))
	if err != nil {
		return "", ErrDamaged
	}
	return string(plain), nil
}

// bound is what a sealed secret is bound to. Neither a tenant's id nor a name holds NUL:
// PostgreSQL has none in text.
func bound(tenantID, name string) []byte { return []byte(tenantID + "\x00" + name) }
