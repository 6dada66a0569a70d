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
}

// Verify implements [token.Verifier].
func (v *Verifier) Verify(ctx context.Context, given *token.Token) (*token.Identity, error) {
	t, err := given.JWT()
	if err != nil {
		return nil, err
	}
	if err := v.accepts(t); err != nil {
		return nil, err
	}
	// Cheap, and what has expired needs no key: it must not cause a fetch.
	id, err := v.Rules.For(t).Identity(t.Claims)
	if err != nil {
		return nil, err
	}
	if id.KeyID, err = v.signer(ctx, t); err != nil {
		return nil, err
	}
	return id, nil
}

// accepts tells whether a token with this header may be valid.
func (v *Verifier) accepts(t *token.JWT) error {
	if v.Keys == nil || !Supported(t.Alg) || !slices.Contains(v.Algorithms, t.Alg) {
		return token.Invalidf("its algorithm (alg) is not among the accepted ones")
	}
	return nil
}

// signer finds the key that signed the token.
func (v *Verifier) signer(ctx context.Context, t *token.JWT) (keyID string, err error) {
	k, err := v.Keys.find(ctx, t)
	return k.id, err
}

// Diagnose implements [token.Diagnoser]. Other than Verify it goes on after a check that
// fails, so that a token that has expired costs a look at the keys as well.
func (v *Verifier) Diagnose(ctx context.Context, given *token.Token) []token.Check {
	t, err := given.JWT()
	if err != nil {
		return nil // which the form says already
	}
	header := v.accepts(t)
	checks := append([]token.Check{{Name: token.CheckAlgorithm, Err: header}}, v.Rules.For(t).Diagnose(t.Claims)...)
	if header != nil {
		return checks // no key is looked for
	}
	_, err = v.signer(ctx, t)
	return append(checks, token.Check{Name: token.CheckSignature, Err: err})
}

// Immediate implements [token.Immediate]: only an unknown key is asked for.
func (v *Verifier) Immediate(given *token.Token) bool {
	t, err := given.JWT()
	if err != nil || v.accepts(t) != nil {
		return true
	}
	_, sure, err := v.Keys.held(t)
	return err != nil || sure
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
