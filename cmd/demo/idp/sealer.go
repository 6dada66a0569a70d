package idp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
)

// sealer makes opaque tokens (op.Crypto): AES-GCM in base64url. The library's own are JWEs, which look like JWTs to people and to programs.
type sealer struct{ aead cipher.AEAD }

func newSealer(key [32]byte) (sealer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

func (s sealer) Encrypt(text string) (string, error) {
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, []byte(text), nil)), nil
}

func (s sealer) Decrypt(token string) (string, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", err
	}
	text, err := s.aead.Open(nil, nil, sealed, nil)
	return string(text), err
}
