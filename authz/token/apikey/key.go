// Package apikey validates API keys of the operator's own: random credentials, of which a
// file holds the SHA-256 with scopes, claims and an end.
//
// A key is looked up in the file's table, so that a key that is revoked stops with the next
// reading of the file.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"
)

// Prefix begins each key, so that people and secret scanners recognise one.
const Prefix = "swk_"

const (
	secretBytes    = 20 // 160 bits
	secretLength   = 27 // of 160 bits in base 62
	checksumLength = 6  // of 32 bits in base 62
	digits         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Generate makes a key: the prefix, 160 random bits, and a checksum of both that tells a
// mistyped key from a wrong one.
func Generate() string {
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	key := Prefix + base62(new(big.Int).SetBytes(secret[:]), secretLength)
	return key + checksum(key)
}

// Hash is what the file holds of a key: its SHA-256 in hexadecimal.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// wellFormed reports whether a credential with the prefix is a whole key without a typing
// mistake.
func wellFormed(key string) bool {
	if len(key) != len(Prefix)+secretLength+checksumLength || !strings.HasPrefix(key, Prefix) {
		return false
	}
	body, sum := key[:len(key)-checksumLength], key[len(key)-checksumLength:]
	return checksum(body) == sum
}

func checksum(text string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))), checksumLength)
}

func base62(n *big.Int, length int) string {
	text := make([]byte, length)
	base, digit := big.NewInt(62), new(big.Int)
	for i := range text {
		n.DivMod(n, base, digit)
		text[length-1-i] = digits[digit.Int64()]
	}
	return string(text)
}
