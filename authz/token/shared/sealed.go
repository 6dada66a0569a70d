package shared

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"scopeward/authz/redis"
	"scopeward/authz/token"
)

// MinKey is the least length of a key in bytes.
const MinKey = 32

// Sealed is a [token.Store] whose entries nobody can read or make without the key:
// AES-256-GCM (NIST SP 800-38D), under a key of each entry's own, which is derived
// from the store's key and the entry's name. So an entry opens only under the name
// that it was stored by: it can't be given to another token or provider, and the
// random nonces of one key stay few. What whoever can write to that Redis can still
// do is take entries away, and put one back that was there before; it says itself
// when it ends. Names in Redis are HMAC-SHA256 of the provider and the token's hash.
type Sealed struct {
	client  *redis.Client
	names   []byte
	entries []byte
}

// sealedVersion is the first byte of an entry.
const sealedVersion = 1

// NewSealed makes a store. All who share it must have the same key, of at least
// [MinKey] random bytes.
func NewSealed(client *redis.Client, key []byte) (*Sealed, error) {
	if len(key) < MinKey {
		return nil, fmt.Errorf("a key of %d bytes is too short: it needs at least %d", len(key), MinKey)
	}
	names, err := hkdf.Key(sha256.New, key, nil, "scopeward identity cache 1: names", sha256.Size)
	if err != nil {
		return nil, err
	}
	entries, err := hkdf.Key(sha256.New, key, nil, "scopeward identity cache 1: entries", sha256.Size)
	if err != nil {
		return nil, err
	}
	return &Sealed{client, names, entries}, nil
}

// Get implements [token.Store].
func (s *Sealed) Get(ctx context.Context, name token.EntryName) ([]byte, error) {
	value, err := get(ctx, s.client, s.key(name))
	if err != nil || value == nil {
		return nil, err
	}
	if value[0] != sealedVersion {
		return nil, &token.RejectedError{Reason: "it is of another version"}
	}
	gcm, err := s.cipher(name)
	if err != nil {
		return nil, err
	}
	entry, err := gcm.Open(nil, nil, value[1:], value[:1])
	if err != nil || len(entry) == 0 {
		return nil, &token.RejectedError{Reason: "it was not sealed for this token with this key"}
	}
	return entry, nil
}

// Set implements [token.Store].
func (s *Sealed) Set(ctx context.Context, name token.EntryName, entry []byte, ttl time.Duration) {
	gcm, err := s.cipher(name)
	if err != nil {
		return
	}
	version := []byte{sealedVersion}
	set(ctx, s.client, s.key(name), gcm.Seal(version, nil, entry, version), ttl)
}

func (s *Sealed) key(name token.EntryName) string { return keyOf("sealed", mac(s.names, name)) }

// cipher is the entry's own. It chooses nonces itself, and puts them in front.
func (s *Sealed) cipher(name token.EntryName) (cipher.AEAD, error) {
	block, err := aes.NewCipher(mac(s.entries, name))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func mac(key []byte, name token.EntryName) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(bytesOf(name))
	return h.Sum(nil)
}
