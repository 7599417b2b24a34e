// Package secret seals what must not be read from the database: webhook secrets, tokens
// and passwords of workflows.
//
// A sealed secret is AES-256 in GCM with a random nonce of 96 bits (NIST SP 800-38D),
// bound to the tenant and the name that it was sealed for, so that a row that is copied
// to another tenant or name opens nothing. A key of its own is derived for that from
// ROWBELL_SECRET_KEY by HKDF (RFC 5869); another derived value, the key's id, stands
// beside each sealed secret and says which key it wants.
//
// There may be several keys: the first one seals, and all open. That is how keys are
// changed, without a moment in which something can't be opened.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeySize is how many bytes a key has.
const KeySize = 32

// MostKeys is how many keys there may be.
const MostKeys = 10

// ErrOtherKey says that a secret was sealed with a key that there is not.
var ErrOtherKey = errors.New("it was sealed with another ROWBELL_SECRET_KEY; add that one behind a comma, or write the secret again")

// ErrDamaged says that what is stored is not what was sealed for this tenant and name.
var ErrDamaged = errors.New("what is stored of it can't be opened: it was changed, or copied from another tenant or name; write the secret again")

// Key seals and opens. It is immutable, and its methods may be called from any goroutine.
type Key struct {
	id    string // of the key that seals
	older []string
	aeads map[string]cipher.AEAD // by id
	marks []byte                 // for Mark, of the key that seals
}

// NewKey takes the 32 bytes of each key of ROWBELL_SECRET_KEY, one behind the other: the
// first one seals.
func NewKey(raw []byte) (*Key, error) {
	n := len(raw) / KeySize
	if len(raw)%KeySize != 0 || n < 1 || n > MostKeys {
		return nil, fmt.Errorf("secret keys have %d bytes each, and there may be 1 to %d of them: %d bytes are not that", KeySize, MostKeys, len(raw))
	}
	k := &Key{aeads: make(map[string]cipher.AEAD, n)}
	for i := range n {
		id, aead, err := derive(raw[i*KeySize : (i+1)*KeySize])
		if err != nil {
			return nil, err
		}
		if k.aeads[id] != nil {
			continue // the same key twice
		}
		k.aeads[id] = aead
		if i == 0 {
			k.id = id
			if k.marks, err = hkdf.Key(sha256.New, raw[:KeySize], nil, "rowbell marks, HMAC-SHA256", sha256.Size); err != nil {
				return nil, err
			}
		} else {
			k.older = append(k.older, id)
		}
	}
	return k, nil
}

// derive derives from one key its id and what seals.
func derive(raw []byte) (id string, aead cipher.AEAD, err error) {
	derived := func(what string, n int) ([]byte, error) { return hkdf.Key(sha256.New, raw, nil, "rowbell "+what, n) }
	name, err := derived("key id", 8)
	if err != nil {
		return "", nil, err
	}
	key, err := derived("seal secrets, AES-256-GCM", KeySize)
	if err != nil {
		return "", nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", nil, err
	}
	if aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return "", nil, err
	}
	return hex.EncodeToString(name), aead, nil
}

// ID names the key that seals, and tells nothing of it: 16 hexadecimal digits.
func (k *Key) ID() string { return k.id }

// OlderIDs name the keys that only open.
func (k *Key) OlderIDs() []string { return k.older }

// Seal encrypts a secret for a tenant ("" = operators) and a name.
func (k *Key) Seal(plain, tenantID, name string) []byte {
	return k.aeads[k.id].Seal(nil, nil, []byte(plain), bound(tenantID, name))
}

// Mark is the same each time for the same text, and tells nothing of it to whoever doesn't
// have the key: what an audit log may keep of something that was erased. (RFC 2104.)
func (k *Key) Mark(text string) string {
	mac := hmac.New(sha256.New, k.marks)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Open decrypts what Seal made for the same tenant and name, with the key that keyID
// names. Returns ErrOtherKey if there is no such key, and ErrDamaged if it can't be opened.
func (k *Key) Open(sealed []byte, keyID, tenantID, name string) (string, error) {
	aead := k.aeads[keyID]
	if aead == nil {
		return "", ErrOtherKey
	}
	plain, err := aead.Open(nil, nil, sealed, bound(tenantID, name))
	if err != nil {
		return "", ErrDamaged
	}
	return string(plain), nil
}

// bound is what a sealed secret is bound to. Neither a tenant's id nor a name holds NUL:
// PostgreSQL has none in text.
func bound(tenantID, name string) []byte { return []byte(tenantID + "\x00" + name) }
