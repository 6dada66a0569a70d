package authz

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
	"scopeward/authz/token/binding"
	"scopeward/policy"
)

// code is what became of a request. The zero value denies.
type code uint8

const (
	codeInternalError code = iota
	codeAllow
	codeMissingToken
	codeInvalidRequest
	codeInvalidToken
	codeInsufficientScope
	codeInsufficientAuthentication
	codeAccessDenied
	codeInvalidPath
	codeRateLimited
	codeUnavailable
	codeCrossSite
	codeInvalidProof
	codeUseNonce
	codeMetadata // answered with the metadata of the resource: it does not go upstream

	numCodes = iota
)

// String is the code's name in bodies, audit events and metrics.
func (c code) String() string {
	if c == codeAllow {
		return "allow"
	}
	return c.answer().code
}

// DenialCodes are the names of the codes of denials.
func DenialCodes() []string {
	var names []string
	for c := range code(numCodes) {
		if c != codeAllow && c != codeMetadata {
			names = append(names, c.String())
		}
	}
	slices.Sort(names)
	return names
}

// verdict is the outcome of a request. Its zero value denies.
type verdict struct {
	code   code
	reason string // for people who operate the service; never holds a token
	err    error  // a fault of ours or of the policy, to be logged

	// wouldBe is what a rule in audit mode would have answered; else zero.
	wouldBe code

	retryAfter time.Duration    // codeUnavailable
	limit      ratelimit.Result // codeRateLimited
}

// limitedError refuses work for a client that has had its share.
type limitedError struct{ ratelimit.Result }

func (e *limitedError) Error() string {
	return fmt.Sprintf("more than %d token validations in %v", e.Limit, e.Window)
}

// malformedRequestError is a CheckRequest that no Envoy sends.
type malformedRequestError struct{ reason string }

func (e *malformedRequestError) Error() string { return e.reason }

// denied translates an error into the answer that it means. It is the only
// such place, and an error that it does not know denies.
func denied(err error) verdict {
	if e, ok := errors.AsType[*policy.RequestError](err); ok {
		return verdict{code: codeInvalidPath, reason: e.Error()}
	}
	if e, ok := errors.AsType[*token.MissingError](err); ok {
		return verdict{code: codeMissingToken, reason: e.Error()}
	}
	if e, ok := errors.AsType[*token.MalformedError](err); ok {
		return verdict{code: codeInvalidRequest, reason: e.Reason}
	}
	if e, ok := errors.AsType[*token.InvalidError](err); ok {
		return verdict{code: codeInvalidToken, reason: e.Reason}
	}
	if e, ok := errors.AsType[*binding.Refusal](err); ok {
		return verdict{code: codeOfRefusal(e), reason: e.Reason}
	}
	if e, ok := errors.AsType[*limitedError](err); ok {
		return verdict{code: codeRateLimited, reason: e.Error(), limit: e.Result}
	}
	if e, ok := errors.AsType[*token.UnavailableError](err); ok {
		return verdict{code: codeUnavailable, reason: e.Reason, retryAfter: e.RetryAfter}
	}
	if errors.Is(err, ErrCrossSite) {
		return verdict{code: codeCrossSite, reason: err.Error()}
	}
	return verdict{code: codeInternalError, reason: "internal error", err: err}
}

// codeOfRefusal is the code for what a token is bound to (RFC 9449 section 7.1).
func codeOfRefusal(e *binding.Refusal) code {
	switch e.Kind {
	case binding.OfProof:
		return codeInvalidProof
	case binding.OfNonce:
		return codeUseNonce
	default:
		return codeInvalidToken
	}
}

// orNobody lets a request without a credential pass where the rule takes nobody, too.
func (v verdict) orNobody(match policy.Match) verdict {
	if v.code == codeMissingToken && match.Optional() {
		return judged(match.DecideNobody())
	}
	return v
}

// judged translates the policy's decision.
func judged(d policy.Decision) verdict {
	v := verdict{code: codeAccessDenied, reason: d.Reason, err: d.Err}
	switch d.Code {
	case policy.Allowed:
		v.code = codeAllow
	case policy.InsufficientScope:
		v.code = codeInsufficientScope
	case policy.InsufficientAuthentication:
		v.code = codeInsufficientAuthentication
	}
	return v
}

// ErrCrossSite is why a credential in a cookie doesn't count.
var ErrCrossSite = errors.New("the credential is in a cookie, and the request's Origin is neither its own nor one of the cookie's origins; " +
	"a request that may change something needs such an Origin, or Sec-Fetch-Site: same-origin")

// CodeOf is the name of the code that an error is answered with.
func CodeOf(err error) string { return denied(err).code.String() }

// enforced lets pass what a rule in audit mode denies. A fault of ours is no
// denial of the rule's, and stays; so does that of another site, which would act in
// somebody's name.
func (v verdict) enforced(rule *policy.Rule) verdict {
	if rule == nil || !rule.Audit || v.code == codeAllow || v.code == codeInternalError || v.code == codeCrossSite {
		return v
	}
	return verdict{code: codeAllow, wouldBe: v.code, reason: v.reason, err: v.err}
}

// denyOnPanic turns a panic into a denial: one request fails, not the service.
func (s *Server) denyOnPanic(v *verdict) {
	if p := recover(); p != nil {
		s.log.Error("a request made the service panic; it was denied",
			slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		*v = verdict{code: codeInternalError, reason: "internal error"}
	}
}
