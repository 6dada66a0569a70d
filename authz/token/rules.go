package token

import "time"

// Rules say which claims a valid token has (RFC 7519 §4.1, RFC 9068 §4). The
// zero value refuses every token.
type Rules struct {
	Provider    string           // becomes Identity.Provider
	Issuer      string           // iss must equal it exactly
	Audiences   []string         // aud must contain one of them
	ClockSkew   time.Duration    // tolerance for exp, nbf and iat; default none
	ScopeClaims []string         // the first that is present counts; default scope, scp
	Now         func() time.Time // default time.Now

	// AnyAudience accepts any aud, or none, when Audiences is empty.
	AnyAudience bool
	// Optional accepts claims without exp and iss; if present they are checked.
	Optional bool
}

// Identity checks the claims and makes an identity of them. The error is an
// *[InvalidError].
func (r Rules) Identity(claims map[string]any) (*Identity, error) {
	return nil, Invalidf("not implemented")
}
