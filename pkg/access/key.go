package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"

	"github.com/oklog/ulid/v2"
)

// keyPrefix is what leak scanners know keys by: rbk_[0-9A-HJKMNP-TV-Z]{26}_[A-Z2-7]{33}
const keyPrefix = "rbk_"

const (
	secretSize   = 26 // characters of rand.Text: 130 bits
	checksumSize = 7  // characters of a CRC-32
	keySize      = len(keyPrefix) + ulid.EncodedSize + 1 + secretSize + checksumSize
)

var keyEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// newKey makes the text of a key, with the id of its row.
func newKey() (id, text string) {
	id = ulid.Make().String()
	text = keyPrefix + id + "_" + rand.Text()
	return id, text + checksum(text)
}

// checksum is of what stands before it in a key.
func checksum(text string) string {
	return keyEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(text))))
}

// hashKey is what is stored of a key.
func hashKey(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// matchesKey says in constant time whether a key is the one with this hash.
func matchesKey(text string, hash []byte) bool {
	return subtle.ConstantTimeCompare(hashKey(text), hash) == 1
}

// errKeyShape says that a text can't be a key, whatever is in the database.
var errKeyShape = errors.New("the API key is incomplete or mistyped: its checksum is wrong. Copy the whole of it, from rbk_ on: 64 letters, digits and underscores")

// parseKey finds the id in the text of a key. Returns errKeyShape if it was cut or mistyped.
func parseKey(text string) (id string, err error) {
	if len(text) != keySize || !strings.HasPrefix(text, keyPrefix) {
		return "", errKeyShape
	}
	id = text[len(keyPrefix) : len(keyPrefix)+ulid.EncodedSize]
	if u, err := ulid.ParseStrict(id); err != nil || u.String() != id || text[len(keyPrefix)+len(id)] != '_' {
		return "", errKeyShape
	}
	body, sum := text[:keySize-checksumSize], text[keySize-checksumSize:]
	if strings.Trim(body[len(body)-secretSize:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" || checksum(body) != sum {
		return "", errKeyShape
	}
	return id, nil
}
