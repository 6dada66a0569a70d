package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"

	"scopeward/authz/token"
)

// Public is a public key that a client shows itself, in a proof.
type Public struct {
	key        key
	Thumbprint string // RFC 7638, SHA-256 in base64url
}

// ParsePublic reads a JWK (RFC 7517) with the strictness of a [KeySet]. One with any
// private or symmetric part is refused.
func ParsePublic(jwk string) (Public, error) {
	all, err := token.ReadClaims([]byte(jwk))
	if err != nil {
		return Public{}, err
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if all.Has(private) {
			return Public{}, errors.New("it has a private part (" + private + ")")
		}
	}
	k, err := parseKey([]byte(jwk), []string{"sig"})
	if err != nil {
		return Public{}, err
	}
	p := Public{key: k}
	p.Thumbprint, err = thumbprint(all, k.public)
	return p, err
}

// Verifies reports whether the JWT was signed with the key, by the algorithm that its
// header names.
func (p Public) Verifies(t *token.JWT) bool { return p.key.verifies(t) }

// Fits reports whether an algorithm is one for the key.
func (p Public) Fits(alg string) bool { return p.key.fits(alg) }

// thumbprint hashes the members that make a key, by their names in order (RFC 7638 §3.2),
// as they are written: whoever issues a token for the key hashes the same text.
func thumbprint(jwk token.Claims, public any) (string, error) {
	var names []string
	switch public.(type) {
	case *rsa.PublicKey:
		names = []string{"e", "kty", "n"}
	case *ecdsa.PublicKey:
		names = []string{"crv", "kty", "x", "y"}
	case ed25519.PublicKey:
		names = []string{"crv", "kty", "x"}
	default:
		return "", errors.New("its kind is not supported")
	}
	var b strings.Builder
	for i, name := range names {
		value := jwk.Text(name)
		quoted, err := json.Marshal(value)
		if err != nil || strings.ContainsFunc(value, notBase64) { // whoever escapes otherwise hashes otherwise
			return "", errors.New("its " + name + " is not base64url")
		}
		b.WriteString([]string{"{", ","}[min(i, 1)] + `"` + name + `":` + string(quoted))
	}
	sum := sha256.Sum256([]byte(b.String() + "}"))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

func notBase64(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}
