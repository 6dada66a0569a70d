// Package binding checks what a bound token asks for besides itself: the proof of the
// client's key (DPoP, RFC 9449), and the client's certificate (mutual TLS, RFC 8705).
//
// The token itself has been verified before, and may come out of a cache: what is checked
// here is checked for each request.
package binding

import (
	"context"
	"time"

	"scopeward/authz/token"
)

// Shown is what a request has besides its token.
type Shown struct {
	Scheme token.Scheme // by which the token came
	Proof  string       // the header DPoP; Envoy joins several by commas
	Method string
	URL    URL

	Certificate string // of the client, as Envoy writes it: PEM, URL-encoded
	Forwarded   string // x-forwarded-client-cert, where it is trusted; it counts before Certificate
}

// Options configure a [Checker].
type Options struct {
	MaxAge time.Duration // how old a proof may be
	Nonces *Nonces       // which each proof must have; nil: none
	Seen   *Memory       // of the proofs that were used
	Shared *Shared       // that of all replicas; nil: each has its own
	Now    func() time.Time
}

// Checker checks what requests with bound tokens show. Nil refuses them all. Make it with
// [New].
type Checker struct{ opts Options }

// New makes a checker.
func New(opts Options) *Checker {
	if opts.Seen == nil {
		opts.Seen = NewMemory(defaultMemory)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Checker{opts}
}

// Refusal says that a request lacks what its token is bound to.
type Refusal struct {
	Check  string // one of the constants Check…
	Kind   Kind
	Reason string // for people; has no part of a token or proof
}

// Kind tells what is wrong.
type Kind uint8

// The kinds.
const (
	OfToken Kind = iota // the token is not the client's, or came in a wrong way: invalid_token
	OfProof             // invalid_dpop_proof (RFC 9449 §7.1)
	OfNonce             // use_dpop_nonce (RFC 9449 §9): the proof needs the nonce of now
)

func (r *Refusal) Error() string { return r.Reason }

// The checks, in their order.
const (
	CheckScheme      = "scheme"      // DPoP for a token that is bound to a key, and only for such
	CheckCertificate = "certificate" // the client's is the token's
	CheckForm        = "form"        // one header with a JWT
	CheckClaims      = "claims"      // jti, htm, htu, iat and ath are there, and of their types
	CheckType        = "type"        // typ
	CheckAlgorithm   = "algorithm"   // alg is asymmetric
	CheckKey         = "key"         // jwk is a public key for it
	CheckSignature   = "signature"   // by that key
	CheckMethod      = "method"      // htm
	CheckURL         = "url"         // htu
	CheckNonce       = "nonce"       // nonce
	CheckAge         = "age"         // iat
	CheckToken       = "token"       // ath
	CheckBinding     = "binding"     // the key is the token's
	CheckReplay      = "replay"      // jti was not used
)

// Checks are all of them.
func Checks() []string {
	return []string{
		CheckScheme, CheckCertificate, CheckForm, CheckClaims, CheckType, CheckAlgorithm, CheckKey, CheckSignature,
		CheckMethod, CheckURL, CheckNonce, CheckAge, CheckToken, CheckBinding, CheckReplay,
	}
}

// Asked reports whether there is anything to check about a request with such a token.
func Asked(bound *token.Binding, scheme token.Scheme) bool {
	return bound != nil || scheme != token.Bearer
}

// Check holds what a request shows against what its token is bound to. The error is a
// *[Refusal], or a *[token.UnavailableError] if too many proofs are remembered. nonce is
// what the client's next proof must have, if it doesn't know it.
func (c *Checker) Check(ctx context.Context, raw string, bound *token.Binding, shown Shown) (nonce string, err error) {
	switch byKey := bound != nil && bound.Key != ""; {
	case !byKey && shown.Scheme == token.DPoP:
		return "", &Refusal{CheckScheme, OfToken, "the token is not bound to a key (it has no cnf.jkt), and came by the scheme DPoP"}
	case bound == nil:
		return "", nil
	case c == nil || *bound == (token.Binding{}):
		return "", &Refusal{CheckBinding, OfToken, "the token is bound to something that can't be checked"}
	case byKey && shown.Scheme != token.DPoP:
		return c.Nonce(), &Refusal{CheckScheme, OfToken, "the token is bound to a key of its client (cnf.jkt): it must come as Authorization: DPoP, with a proof of the key in the header DPoP"}
	}
	if bound.Certificate != "" {
		if err := checkCertificate(bound.Certificate, shown); err != nil {
			return "", err
		}
	}
	if bound.Key == "" {
		return "", nil
	}
	now := c.opts.Now()
	p, err := c.checkProof(raw, bound.Key, shown, now)
	if err == nil {
		err = c.once(ctx, p, now)
	}
	if nonce = c.Nonce(); nonce == p.nonce && err == nil {
		nonce = ""
	}
	return nonce, err
}

// Nonce is what proofs must have now; "" if none.
func (c *Checker) Nonce() string {
	if c == nil || c.opts.Nonces == nil {
		return ""
	}
	return c.opts.Nonces.at(c.opts.Now())
}

// checkProof goes through the checks of RFC 9449 §4.3, in their order.
func (c *Checker) checkProof(raw, key string, shown Shown, now time.Time) (proof, error) {
	p, err := readProof(shown.Proof) // one header, a JWT, its claims, typ, alg, jwk
	switch {
	case err != nil:
		return p, err
	case !p.key.Verifies(p.jwt):
		err = bad(CheckSignature, "its signature is not by the key in it (jwk)")
	case p.method != shown.Method:
		err = bad(CheckMethod, "it is for another method (htm)")
	case !shown.URL.is(p.url):
		err = bad(CheckURL, "it is for another URL (htu) than "+shown.URL.String())
	case c.opts.Nonces != nil && !c.opts.Nonces.good(p.nonce, now):
		err = &Refusal{CheckNonce, OfNonce, "the proof (header DPoP) needs the nonce that this answer has"}
	case p.issued.Before(now.Add(-c.opts.MaxAge)):
		err = bad(CheckAge, "it is older than dpop.max_age (iat), or the client's clock is slow")
	case p.issued.After(now.Add(ahead)):
		err = bad(CheckAge, "it is from the future (iat): the client's clock is fast")
	case p.token != hashOf(raw):
		err = bad(CheckToken, "it is for another token (ath)")
	case p.key.Thumbprint != key:
		err = &Refusal{CheckBinding, OfToken, "the token is bound to another key (cnf.jkt) than that of the proof (header DPoP)"}
	}
	return p, err
}

// ahead is by how much a client's clock may be fast.
const ahead = 30 * time.Second

// bad is the refusal of a proof.
func bad(check, reason string) *Refusal {
	return &Refusal{check, OfProof, "the proof of the client's key (header DPoP) is not good: " + reason}
}

// once lets a proof pass one time (RFC 9449 §11.1). Only good ones are remembered.
func (c *Checker) once(ctx context.Context, p proof, now time.Time) error {
	switch c.opts.Seen.use(p, now, c.opts.MaxAge) {
	case fresh:
	case forgotten:
		return bad(CheckAge, "so many later ones of this key were used that nobody knows whether this one was: make one for each request, when it is sent")
	case full:
		return &token.UnavailableError{Reason: "there is no room to remember more proofs (DPoP)", RetryAfter: c.opts.MaxAge, Charged: true}
	default:
		return bad(CheckReplay, "it was used before (jti)")
	}
	if c.opts.Shared != nil && !c.opts.Shared.use(ctx, p, now, c.opts.MaxAge) {
		return bad(CheckReplay, "it was used before (jti), at another replica")
	}
	return nil
}
