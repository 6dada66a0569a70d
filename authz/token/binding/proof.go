package binding

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/jwks"
)

// proof is a DPoP proof (RFC 9449 §4.2), whose signature has not been verified.
type proof struct {
	jwt    *token.JWT
	key    jwks.Public // jwk
	id     string      // jti
	method string      // htm
	url    string      // htu
	issued time.Time   // iat
	token  string      // ath
	nonce  string      // nonce; perhaps none
}

// maxProof bounds a proof in bytes: one with an RSA key of 8192 bits has 3,500.
const maxProof = 8 << 10

// Algorithms are those by which proofs may be signed, for challenges and metadata.
func Algorithms() []string {
	return []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
}

// readProof reads the header DPoP: the checks of RFC 9449 §4.3 that need nothing else.
func readProof(header string) (p proof, err error) {
	header = strings.Trim(header, " \t")
	switch {
	case header == "":
		return p, bad(CheckForm, "there is none; if the client sends one, ext_authz must pass it on (allowed_headers)")
	case strings.Contains(header, ","): // Envoy joins several by commas
		return p, bad(CheckForm, "there are several")
	case len(header) > maxProof:
		return p, bad(CheckForm, "it is too long")
	}
	if p.jwt, err = token.ParseJWS(header); err != nil {
		return p, bad(CheckForm, reasonOf(err))
	}
	if err := p.readClaims(p.jwt.Claims); err != nil {
		return p, bad(CheckClaims, err.Error())
	}
	if !strings.EqualFold(p.jwt.Typ, "dpop+jwt") {
		return p, bad(CheckType, "its typ is not dpop+jwt")
	}
	if !slices.Contains(Algorithms(), p.jwt.Alg) {
		return p, bad(CheckAlgorithm, "its algorithm (alg) is not among the accepted ones")
	}
	jwk, _ := p.jwt.Header.JSON("jwk")
	if p.key, err = jwks.ParsePublic(jwk); err != nil {
		return p, bad(CheckKey, "its key (jwk) is not a public key: "+err.Error())
	}
	if !p.key.Fits(p.jwt.Alg) {
		return p, bad(CheckKey, "its key (jwk) is none for its algorithm (alg)")
	}
	return p, nil
}

// readClaims reads the claims that a proof beside a token must have.
func (p *proof) readClaims(claims token.Claims) error {
	for _, c := range []struct {
		name string
		to   *string
	}{{"jti", &p.id}, {"htm", &p.method}, {"htu", &p.url}, {"ath", &p.token}} {
		if *c.to = claims.Text(c.name); *c.to == "" {
			return errors.New("its " + c.name + " is missing, or not a text")
		}
	}
	if p.nonce = claims.Text("nonce"); p.nonce == "" && claims.States("nonce") {
		return errors.New("its nonce is empty, or not a text")
	}
	var ok bool
	if p.issued, ok = dateOf(claims, "iat"); !ok {
		return errors.New("its iat is missing, or not a date")
	}
	return nil
}

// dateOf reads a NumericDate (RFC 7519 §2), to the second.
func dateOf(claims token.Claims, name string) (time.Time, bool) {
	const last = 253402300799 // the end of the year 9999
	value, _ := claims.Get(name)
	switch n := value.(type) {
	case int64:
		return time.Unix(n, 0), n > 0 && n <= last
	case float64:
		return time.Unix(int64(math.Floor(n)), 0), n >= 1 && n <= last
	}
	return time.Time{}, false
}

// hashOf is what ath must be (RFC 9449 §4.2).
func hashOf(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func reasonOf(err error) string {
	if invalid, ok := errors.AsType[*token.InvalidError](err); ok {
		return invalid.Reason
	}
	return err.Error()
}
