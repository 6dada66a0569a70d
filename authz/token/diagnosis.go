package token

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// The names of checks, in the order in which a token goes through them.
const (
	CheckForm       = "form"       // a JWT of an access token, or a token that a provider takes as it is
	CheckProvider   = "provider"   // a configured provider takes the token
	CheckAlgorithm  = "algorithm"  // alg, and typ where it is asked for
	CheckSetup      = "setup"      // the provider's configuration can judge a token at all
	CheckShape      = "shape"      // the types of exp, nbf, iat, iss and aud
	CheckPurpose    = "purpose"    // an access token, not another one of the same provider
	CheckIssuer     = "issuer"     // iss
	CheckAudience   = "audience"   // aud
	CheckRequired   = "required"   // exp, iss and aud are there
	CheckExpiry     = "expiry"     // exp
	CheckNotBefore  = "not before" // nbf
	CheckIssuedAt   = "issued at"  // iat
	CheckClient     = "client"     // azp, client_id, appid or cid, and the prefix of sub
	CheckBinding    = "binding"    // cnf
	CheckNames      = "names"      // sub, email, azp, client_id
	CheckScopes     = "scopes"     // the scope claim
	CheckSignature  = "signature"  // by a key of the provider
	CheckAPIKey     = "api key"    // an API key of the service's own
	CheckValidation = "validation" // the provider was asked for its opinion
	CheckRevoked    = "revoked"    // no entry of revoked is about it
)

// Check is one of the checks that a token goes through. Err is nil if it passed; else an
// *[InvalidError], or an *[UnavailableError] if it can't be told now.
type Check struct {
	Name string
	Err  error
}

// Diagnosis is all that can be told of a token. Header and Claims are what is readable
// of a token that looks like a JWT, whether it is sound as a whole or not.
type Diagnosis struct {
	Header, Claims       map[string]any
	HeaderErr, ClaimsErr error // why that part can't be read
	Provider             string
	Checks               []Check
	Identity             *Identity // nil if there is an error
	Err                  error     // what [Validator.Validate] would say, without its cache
}

// A Diagnoser is a [Verifier] that can tell of each of its checks, also of those after the
// first that fails. The first that fails is the reason that Verify gives.
type Diagnoser interface {
	Diagnose(ctx context.Context, t *Token) []Check
}

// Diagnose tells what a person wants to know of a token. It uses no cache and no store,
// and asks the provider.
func (v *Validator) Diagnose(ctx context.Context, raw string) Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, v.opts.Timeout)
	defer cancel()
	t := Parse(raw)
	d := Diagnosis{}
	if !t.Opaque() {
		d.read(raw)
	}
	form := t.notJWT
	p, err := v.route(t)
	if form != nil && err == nil {
		form = nil // the provider takes it as it is
	}
	d.Provider, d.Checks = p.Name, []Check{{CheckForm, form}}
	if form == nil {
		d.Checks = append(d.Checks, Check{CheckProvider, err})
	}
	if err == nil && p.Verifier != nil {
		d.Checks = append(d.Checks, diagnose(ctx, p.Verifier, t)...)
	}
	_, d.Identity, d.Err = v.verify(ctx, t)
	failed := func(c Check) bool { return c.Err != nil }
	if d.Err != nil && !slices.ContainsFunc(d.Checks, failed) { // two validations that disagree
		d.Checks = append(d.Checks, Check{CheckValidation, d.Err})
	}
	if d.Identity != nil && v.opts.Revoked.Len() > 0 {
		if d.Err = v.opts.Revoked.Refusal(d.Identity, v.opts.Now); d.Err != nil {
			d.Identity = nil
		}
		d.Checks = append(d.Checks, Check{CheckRevoked, d.Err})
	}
	return d
}

// read takes apart what can be taken apart.
func (d *Diagnosis) read(raw string) {
	header, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var part Claims
	part, d.HeaderErr = decodePart("header", header)
	d.Header = part.Map()
	part, d.ClaimsErr = decodePart("payload", payload)
	d.Claims = part.Map()
}

func diagnose(ctx context.Context, v Verifier, t *Token) []Check {
	if d, ok := v.(Diagnoser); ok {
		return d.Diagnose(ctx, t)
	}
	_, err := v.Verify(ctx, t)
	return []Check{{CheckValidation, err}}
}

// Diagnose holds claims against each of the rules, in the order of [Rules.Identity].
func (r Rules) Diagnose(claims Claims) []Check {
	registered, shape := claims.registered()
	checks := []Check{{CheckSetup, r.configured()}, {CheckShape, shape}, {CheckPurpose, r.CheckPurpose(claims)}}
	if checks[0].Err == nil && checks[1].Err == nil { // else the validator takes them for absent
		checks = append(checks, r.diagnoseClaims(registered, r.forIssuer(claims).validate(registered, claims.States("iss")))...)
	}
	checks = append(checks, Check{CheckClient, cmp.Or(r.checkClients(claims), r.checkSubject(claims))})
	_, binding := r.binding(claims)
	names := Identity{}
	_, scopes := r.scopes(claims)
	return append(checks, Check{CheckBinding, binding}, Check{CheckNames, names.readNames(claims)}, Check{CheckScopes, scopes})
}

// diagnoseClaims says of each claim what the validator says of all.
func (r Rules) diagnoseClaims(claims jwt.RegisteredClaims, err error) (checks []Check) {
	for _, f := range claimFaults() {
		c := Check{Name: f.check}
		if errors.Is(err, f.err) {
			c.Err = &InvalidError{Reason: f.reason(r, claims)}
		}
		checks = append(checks, c)
	}
	return checks
}
