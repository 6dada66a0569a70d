package tokentest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"testing"
	"time"
)

// Holder is a client that holds the key which its tokens are bound to (DPoP, RFC 9449).
type Holder struct {
	t   testing.TB
	key key
}

// NewHolder makes a client with a key for an algorithm.
func NewHolder(t testing.TB, alg string) *Holder {
	t.Helper()
	return &Holder{t, key{alg: alg, private: newKey(t, alg)}}
}

// Signer is the private key.
func (h *Holder) Signer() crypto.Signer { return h.key.private }

// JWK is the public key, with the members alone that make it.
func (h *Holder) JWK() map[string]any {
	h.t.Helper()
	var jwk map[string]any
	if err := json.Unmarshal([]byte(h.key.jwk(h.t)), &jwk); err != nil {
		h.t.Fatal(err)
	}
	maps.DeleteFunc(jwk, func(name string, _ any) bool { return name == "kid" || name == "alg" || name == "use" })
	return jwk
}

// Thumbprint is that of the key (RFC 7638): encoding/json sorts members by name.
func (h *Holder) Thumbprint() string {
	h.t.Helper()
	data, err := json.Marshal(h.JWK())
	if err != nil {
		h.t.Fatal(err)
	}
	return sumOf(data)
}

// Confirmation is the claim cnf of a token that is bound to the key.
func (h *Holder) Confirmation() map[string]any { return map[string]any{"jkt": h.Thumbprint()} }

// Proof makes a proof for a request with a token. Both maps change what a good proof has; a
// nil value removes a member.
func (h *Holder) Proof(method, url, token string, claims, header map[string]any) string {
	h.t.Helper()
	good := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": sumOf([]byte(token))}
	all := map[string]any{"kid": nil, "typ": "dpop+jwt", "jwk": h.JWK()}
	maps.Copy(all, header)
	return h.key.sign(h.t, all, changed(good, claims))
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Thumbprint is the SHA-256 of data as claims have it.
func Thumbprint(data []byte) string { return sumOf(data) }

// HexOf is a thumbprint as Envoy writes it.
func HexOf(thumbprint string) string {
	sum, err := base64.RawURLEncoding.DecodeString(thumbprint)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(sum)
}
