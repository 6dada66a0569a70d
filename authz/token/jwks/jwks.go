// Package jwks verifies JWTs locally, with the keys that the provider publishes
// (RFC 7515, RFC 7517).
package jwks

import (
	"context"
	"slices"

	"scopeward/authz/token"
)

// Verifier verifies JWTs with the keys of a [KeySet]. The zero value refuses
// every token.
type Verifier struct {
	Keys       *KeySet
	Rules      token.Rules
	Algorithms []string // accepted values of alg; see [Supported]
	// RequireTyp accepts only tokens that say that they are access tokens, by typ
	// at+jwt (RFC 9068 §4). Many providers do not say so.
	RequireTyp bool
}

// Verify implements [token.Verifier].
func (v *Verifier) Verify(ctx context.Context, given *token.Token) (*token.Identity, error) {
	t, err := given.JWT()
	if err != nil {
		return nil, err
	}
	if v.Keys == nil || !Supported(t.Alg) || !slices.Contains(v.Algorithms, t.Alg) {
		return nil, token.Invalidf("its algorithm (alg) is not among the accepted ones")
	}
	if v.RequireTyp && !t.IsAccessTokenType() {
		return nil, token.Invalidf("it does not say that it is an access token (typ at+jwt)")
	}
	// Cheap, and what has expired needs no key: it must not cause a fetch.
	id, err := v.Rules.Identity(t.Claims)
	if err != nil {
		return nil, err
	}
	keys, err := v.Keys.find(ctx, t.Kid, t.Alg)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.verifies(t) {
			id.KeyID = k.id
			return id, nil
		}
	}
	return nil, token.Invalidf("its signature is wrong")
}

// HasKey implements [token.KeyHolder].
func (v *Verifier) HasKey(id string) bool { return v.Keys != nil && v.Keys.has(id) }

// Outage implements [token.Patient].
func (v *Verifier) Outage() *token.UnavailableError {
	if v.Keys == nil {
		return nil
	}
	return v.Keys.outage()
}
