package authz

import (
	"fmt"
	"strings"

	"scopeward/authz/identitytoken"
	"scopeward/authz/token"
)

// IdentityToken says in which header an allowed request carries a token that the service
// behind verifies. A client's own copies of the header never pass.
type IdentityToken struct {
	Header string // in lower case; "" is none
	Signer *identitytoken.Signer
	Keys   Document // of the Signer, where they are published through Envoy
}

// NewIdentityToken makes an IdentityToken.
func NewIdentityToken(header string, signer *identitytoken.Signer) (IdentityToken, error) {
	t := IdentityToken{Header: strings.ToLower(header), Signer: signer}
	return t, checkHeaderName(t.Header)
}

// IdentityField gives a field of the identity, by its name as in [NewHeader], in the form
// that JSON has for it; nil where it is not there.
func IdentityField(name string) (func(*token.Identity) any, error) {
	if name == "identity.scopes" {
		return func(id *token.Identity) any { return id.Scopes }, nil
	}
	if text, ok := identityFields[name]; ok {
		return func(id *token.Identity) any {
			if s := text(id); s != "" {
				return s
			}
			return nil
		}, nil
	}
	if claim, ok := strings.CutPrefix(name, claimPrefix); ok && claim != "" {
		return func(id *token.Identity) any { return id.Claims()[claim] }, nil
	}
	return nil, fmt.Errorf("%q is no field of an identity; use one of %s, %sNAME", name, strings.Join(IdentityFields(), ", "), claimPrefix)
}

// vouch finds the identity token of a request that passes. It returns false if it would
// have to sign and may not: that takes as long as all the rest, or many times as long.
func (s *Server) vouch(e *Event, mayWait bool) (decided bool) {
	signer, id := e.snapshot.IdentityToken.Signer, e.result.Identity
	if signer == nil || id == nil || e.verdict.enforced(e.match.Rule()).code != codeAllow {
		return true
	}
	if e.vouched = signer.Known(id, e.start); e.vouched != nil {
		return true
	}
	if !mayWait {
		return false
	}
	note, err := signer.Sign(id, e.start)
	if err != nil {
		s.metrics.vouched.WithLabelValues("failed").Inc()
		e.verdict = denied(err)
		return true
	}
	s.metrics.vouched.WithLabelValues("signed").Inc()
	e.vouched = note
	e.snapshot.Validator.Grown(e.credential.Raw)
	return true
}
