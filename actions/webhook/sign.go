package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

const (
	secretPrefix = "whsec_"
	minKey       = 16 // bytes
	maxKey       = 128
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

// sign makes the value of webhook-signature.
func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	var head [128]byte
	h := append(head[:0], id...)
	h = append(h, '.')
	h = append(h, timestamp...)
	h = append(h, '.')
	mac.Write(h)
	mac.Write(body)
	var sum [sha256.Size]byte
	var text [3 + 44]byte // of 32 bytes in base64
	return string(base64.StdEncoding.AppendEncode(append(text[:0], "v1,"...), mac.Sum(sum[:0])))
}
