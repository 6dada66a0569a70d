package jwks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"scopeward/authz/token"
)

// RSA keys below the lower bound are forbidden by RFC 7518 §3.3; above the upper
// one, a verification takes milliseconds.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// key is a public key that can verify signatures.
type key struct {
	id     string // of the key with its kid and alg
	kid    string // empty if it has none
	alg    string // the only algorithm it is for; empty: any that fits
	issuer string // the only issuer whose tokens it is for; empty: any. {tenantid} stands for the claim tid
	public any
}

// countsFor reports whether the key is for tokens of this one's issuer: Entra names the
// issuer of each of its keys.
func (k key) countsFor(t *token.JWT) bool {
	return k.issuer == "" || strings.ReplaceAll(k.issuer, "{tenantid}", t.Claims.Text("tid")) == t.Claims.Text("iss")
}

// fits tells whether the key can verify a signature by alg.
func (k key) fits(alg string) bool {
	if k.alg != "" && k.alg != alg && method(k.alg) != method(alg) {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == "ES256" && public.Curve == elliptic.P256() ||
			alg == "ES384" && public.Curve == elliptic.P384() ||
			alg == "ES512" && public.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return alg == "EdDSA" || alg == "Ed25519"
	default:
		return false
	}
}

// verifies tells whether the token was signed with the key, by the algorithm
// that its header names.
func (k key) verifies(t *token.JWT) bool {
	m := method(t.Alg)
	return m != nil && k.fits(t.Alg) && m.Verify(t.SigningInput, t.Signature, k.public) == nil
}

// method is golang-jwt's implementation of an algorithm, of the asymmetric ones
// only; its own registry knows HMAC and none, too.
func method(alg string) jwt.SigningMethod {
	switch alg {
	case "RS256":
		return jwt.SigningMethodRS256
	case "RS384":
		return jwt.SigningMethodRS384
	case "RS512":
		return jwt.SigningMethodRS512
	case "PS256":
		return jwt.SigningMethodPS256
	case "PS384":
		return jwt.SigningMethodPS384
	case "PS512":
		return jwt.SigningMethodPS512
	case "ES256":
		return jwt.SigningMethodES256
	case "ES384":
		return jwt.SigningMethodES384
	case "ES512":
		return jwt.SigningMethodES512
	case "EdDSA", "Ed25519": // RFC 9864 calls it by its curve
		return jwt.SigningMethodEdDSA
	default:
		return nil
	}
}

// Supported tells whether alg is a signature algorithm that a [Verifier] can
// accept: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512
// (RFC 7518 §3.1), EdDSA (RFC 8037) and Ed25519 (RFC 9864), all of them asymmetric.
func Supported(alg string) bool { return method(alg) != nil }

// parsed is what a JWK Set has.
type parsed struct {
	keys     []key    // that can verify signatures
	unusable []string // why others can't that were meant to
	others   []string // why others can't that are for something else
}

// parseSet reads a JWK Set (RFC 7517 §5). Each key stands for itself: one that
// can't be used is left out. A set without any that can be used withdraws those that were
// there before; it is an error only if its keys can't be read at all.
func parseSet(data []byte, uses []string) (p parsed, err error) {
	members, err := splitSet(data)
	if err != nil {
		return p, err
	}
	broken := 0
	for i, member := range members {
		k, err := parseKey(member, uses)
		why := fmt.Sprintf("key %d: %v", i+1, err)
		switch {
		case err == nil:
			p.keys = append(p.keys, k)
		case errors.Is(err, errOtherUse):
			p.others = append(p.others, why)
		default:
			p.unusable = append(p.unusable, why)
			if !errors.As(err, new(*disqualifiedError)) {
				broken++
			}
		}
	}
	if broken > 0 && broken == len(members) {
		return p, fmt.Errorf("the key set has no key that can be read (%d keys in all)", len(members))
	}
	return p, nil
}

// errOtherUse is the reason of a key that was never meant to verify signatures, which is
// normal beside others.
var errOtherUse = &disqualifiedError{"its use or key_ops are not those of a key that verifies signatures"}

// disqualifiedError is the reason of a key that can be read, and must not be used.
type disqualifiedError struct{ reason string }

func (e *disqualifiedError) Error() string { return e.reason }

// splitSet takes the keys out of a set without reading them, so that what is
// wrong within one does not cost the others.
func splitSet(data []byte) ([]jsontext.Value, error) {
	errNoSet := errors.New("the answer is not a JWK Set")
	lax := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // as some editors and servers write
	d := jsontext.NewDecoder(bytes.NewReader(data), lax...)
	if t, err := d.ReadToken(); err != nil || t.Kind() != jsontext.KindBeginObject {
		return nil, errNoSet
	}
	var keys []jsontext.Value
	found := false
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return nil, errNoSet
		}
		isKeys := name.String() == "keys"
		value, err := d.ReadValue()
		if err != nil || isKeys && found {
			return nil, errNoSet
		}
		if isKeys {
			found = true
			if err := json.Unmarshal(value, &keys, lax...); err != nil || keys == nil {
				return nil, errNoSet
			}
		}
	}
	if t, err := d.ReadToken(); err != nil || t.Kind() != jsontext.KindEndObject || !found {
		return nil, errNoSet
	}
	if len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return nil, errNoSet
	}
	return keys, nil
}

// members are those of a JWK that count (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
// Certificates do not: the set itself is what is trusted.
type members struct {
	Kty    string   `json:"kty"`
	Use    *string  `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    *string  `json:"alg"`
	Kid    string   `json:"kid"`
	Issuer string   `json:"issuer"`
	Crv    string   `json:"crv"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	D      any      `json:"d"`
}

func parseKey(data []byte, uses []string) (k key, err error) {
	// Keys are read in goroutines of their own, where a panic of a library would
	// end the process.
	defer func() {
		if recover() != nil {
			k, err = key{}, errors.New("to read it made a library panic; please report this")
		}
	}()
	// Refuses repeated members and deep nesting before they matter.
	if _, err := token.ReadClaims(data); err != nil {
		return key{}, err
	}
	var m members
	if err := json.Unmarshal(data, &m); err != nil {
		return key{}, errors.New("a member has a wrong type")
	}
	if err := m.checkPurpose(uses); err != nil {
		return key{}, err
	}
	public, err := m.public()
	if err != nil {
		return key{}, err
	}
	k = key{kid: m.Kid, issuer: m.Issuer, public: public}
	if m.Alg != nil {
		k.alg = *m.Alg
		if !Supported(k.alg) || !k.fits(k.alg) {
			return key{}, &disqualifiedError{"its alg is no signature algorithm for this key"}
		}
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return key{}, errors.New("its kind is not supported")
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q ", k.kid, k.alg)
	hash.Write(der)
	k.id = hex.EncodeToString(hash.Sum(nil)[:16])
	return k, nil
}

func (m *members) checkPurpose(uses []string) error {
	switch {
	case m.D != nil:
		return &disqualifiedError{"its private part is published, so that anybody could sign with it"}
	case m.Use != nil && !slices.Contains(uses, *m.Use), m.KeyOps != nil && !slices.Contains(m.KeyOps, "verify"):
		return errOtherUse
	default:
		return nil
	}
}

func (m *members) public() (any, error) {
	if m.Kty == "RSA" && len(m.E) > 6 {
		// jwkset takes the low 64 bits of any exponent.
		return nil, errors.New("its RSA exponent is too large")
	}
	parsed, err := jwkset.NewJWKFromMarshal(jwkset.JWKMarshal{
		KTY: jwkset.KTY(m.Kty), CRV: jwkset.CRV(m.Crv), X: m.X, Y: m.Y, N: m.N, E: m.E,
	}, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, errors.New("its kty or curve is not supported, or its value is broken")
	}
	switch public := parsed.Key().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, &disqualifiedError{fmt.Sprintf("it is an RSA key of %d bits; %d to %d are accepted", bits, minRSABits, maxRSABits)}
		}
		if public.E < 3 || public.E > math.MaxInt32 || public.E%2 == 0 || public.N.Bit(0) == 0 {
			return nil, errors.New("it is not a sound RSA key")
		}
		return public, nil
	case *ecdsa.PublicKey:
		if _, err := public.ECDH(); err != nil {
			return nil, errors.New("it is not a point of its curve")
		}
		return public, nil
	case ed25519.PublicKey:
		return public, nil
	default:
		return nil, errors.New("it is no public key for signatures")
	}
}
