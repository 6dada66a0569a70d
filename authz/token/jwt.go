package token

// JWT is a parsed JSON Web Token in JWS compact serialization (RFC 7515 §3.1).
// Its signature has not been verified.
type JWT struct {
	Header map[string]any
	Claims map[string]any

	Alg string // alg; never empty, never "none"
	Kid string // kid; empty if absent
	Typ string // typ; empty if absent

	SigningInput string // what the signature covers
	Signature    []byte
}

// ParseJWT parses a JWT strictly. The error is an *[InvalidError].
func ParseJWT(raw string) (*JWT, error) { return nil, Invalidf("not implemented") }
