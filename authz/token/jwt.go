package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
)

// Token is a bearer token, parsed once for all who look at it. Make it with [Parse].
type Token struct {
	Raw    string
	jwt    *JWT
	notJWT error
}

// Parse takes any token, also one that is no JWT.
func Parse(raw string) *Token {
	t := &Token{Raw: raw}
	t.jwt, t.notJWT = ParseJWT(raw)
	return t
}

// JWT is the token as [ParseJWT] reads it, or an *[InvalidError].
func (t *Token) JWT() (*JWT, error) { return t.jwt, t.notJWT }

// Opaque tells whether nobody takes the token for a JWT, however leniently they
// read it.
func (t *Token) Opaque() bool { return t.jwt == nil && !looksLikeJWT(t.Raw) }

// JWT is a parsed JSON Web Token in JWS compact serialization (RFC 7515 §3.1).
// Its signature has not been verified.
type JWT struct {
	joseHeader
	Claims Claims

	SigningInput string // what the signature covers
	Signature    []byte // never empty
}

// joseHeader is the header of a JWT (RFC 7515 §4).
type joseHeader struct {
	Header Claims

	Alg string // alg; never empty, never "none"
	Kid string // kid; empty if absent
	Typ string // typ; empty if absent

	purpose purpose // what its marks say
}

// ParseJWT parses a JWT strictly, as RFC 8725 advises: unpadded canonical
// base64url, JSON objects without repeated members, a signature, no extension
// that would have to be understood (crit, RFC 7515 §4.1.11), and a typ of an
// access token. Nothing in the header points to a key: jwk, jku, x5c and x5u are
// not read. The error is an *[InvalidError].
func ParseJWT(raw string) (*JWT, error) {
	if len(raw) > MaxLength {
		return nil, tooLong(MaxLength)
	}
	return parseJWS(raw, readHeader)
}

// ParseJWS parses a JWT as [ParseJWT] does, of any typ: the caller must look at it.
func ParseJWS(raw string) (*JWT, error) {
	return parseJWS(raw, func(part string) (h joseHeader, err error) {
		if h.Header, err = decodePart("header", part); err != nil {
			return h, err
		}
		return h, h.read()
	})
}

func parseJWS(raw string, readHeader func(part string) (joseHeader, error)) (*JWT, error) {
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, found := strings.Cut(rest, ".")
	switch dots := strings.Count(signature, "."); {
	case found && dots == 2:
		return nil, Invalidf("encrypted tokens (JWE) are not supported")
	case !found || dots != 0:
		return nil, Invalidf("it is not a JWT: a JWT has three parts")
	}
	t := &JWT{SigningInput: raw[:len(raw)-len(signature)-1]}
	var err error
	if t.joseHeader, err = readHeader(header); err != nil {
		return nil, err
	}
	if t.Claims, err = decodePart("payload", payload); err != nil {
		return nil, err
	}
	if t.Signature, err = decodeBase64(signature); err != nil {
		return nil, Invalidf("the signature of the JWT is not canonical base64url")
	}
	if len(t.Signature) == 0 {
		return nil, Invalidf("the JWT has no signature")
	}
	return t, nil
}

// lastHeader is the last header that was accepted: all tokens that one key signs have the
// same.
var lastHeader atomic.Pointer[knownHeader]

type knownHeader struct {
	part string
	joseHeader
}

// readHeader reads the first part of a token.
func readHeader(part string) (h joseHeader, err error) {
	if last := lastHeader.Load(); last != nil && last.part == part {
		return last.joseHeader, nil
	}
	if h.Header, err = decodePart("header", part); err != nil {
		return h, err
	}
	if err := h.read(); err != nil {
		return h, err
	}
	if err := h.checkType(); err != nil {
		return h, err
	}
	lastHeader.Store(&knownHeader{strings.Clone(part), h})
	return h, nil
}

func (h *joseHeader) read() error {
	h.purpose, _ = h.Header.purpose()
	for _, f := range [...]struct {
		name string
		to   *string
	}{{"alg", &h.Alg}, {"kid", &h.Kid}, {"typ", &h.Typ}} {
		v, present := h.Header.Get(f.name)
		s, ok := v.(string)
		if present && !ok {
			return Invalidf("%s in the JWT's header is not a string", f.name)
		}
		*f.to = s
	}
	switch {
	case h.Alg == "":
		return Invalidf("the JWT names no algorithm")
	case strings.EqualFold(h.Alg, "none"):
		return Invalidf("the JWT is not signed (alg none)")
	case h.Header.Has("crit"):
		return Invalidf("the JWT has critical extensions (crit), none of which is supported")
	case h.Header.Has("b64"):
		return Invalidf("the JWT has an unencoded payload (b64), which is not supported")
	}
	return nil
}

// checkType refuses other types than those of access tokens (RFC 9068 §2.1). JWT and no
// typ at all are what most providers send.
func (h *joseHeader) checkType() error {
	switch typ := strings.ToLower(h.Typ); {
	case !h.Header.Has("typ"), typ == "jwt", typ == "at+jwt", typ == "application/at+jwt":
		return nil
	default:
		return Invalidf("the JWT is of a type (typ) that is not an access token")
	}
}

func decodePart(what, part string) (Claims, error) {
	data, err := decodeBase64(part)
	if err != nil {
		return Claims{}, Invalidf("the %s of the JWT is not canonical base64url", what)
	}
	object, err := ReadClaims(data)
	if err != nil {
		return Claims{}, Invalidf("the %s of the JWT is not sound: %v", what, err)
	}
	return object, nil
}

var errNotBase64 = errors.New("not canonical base64url")

// decodeBase64 decodes unpadded base64url. The decoder of encoding/base64 skips
// line breaks even when it is strict about trailing bits.
func decodeBase64(s string) ([]byte, error) {
	if strings.Contains(s, "\r") || strings.Contains(s, "\n") {
		return nil, errNotBase64
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errNotBase64
	}
	return data, nil
}

// looksLikeJWT tells whether a lenient reader could take the token for a JWT
// (or for an encrypted one). Such a token must never be treated as an opaque
// one: what a provider vouches for after a lenient reading would escape the
// checks of its claims.
func looksLikeJWT(raw string) bool {
	if dots := strings.Count(raw, "."); dots != 2 && dots != 4 {
		return false
	}
	header, _, _ := strings.Cut(raw, ".")
	header = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(header)
	data := make([]byte, base64.RawURLEncoding.DecodedLen(len(header)))
	// What was decoded before an error counts too.
	n, _ := base64.RawURLEncoding.Decode(data, []byte(header))
	data = bytes.TrimLeft(data[:n], " \t\r\n")
	rest, isObject := bytes.CutPrefix(data, []byte("{"))
	return isObject && bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(`"`))
}
