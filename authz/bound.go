package authz

import (
	"context"
	"errors"
	"strings"

	"scopeward/authz/credential"
	"scopeward/authz/token"
	"scopeward/authz/token/binding"
)

// confirm checks what the token of the event is bound to, if anything: for each request,
// however well the token is known. It returns false without an error if it would have to
// wait and may not.
func (s *Server) confirm(ctx context.Context, e *Event, mayWait bool) (confirmed bool, err error) {
	bound := e.result.Identity.Bound
	if !binding.Asked(bound, e.credential.Scheme) {
		return true, nil
	}
	e.bound = bound.String()
	if !mayWait { // a signature takes a while, and the memory that replicas share is elsewhere
		return false, nil
	}
	e.nonce, err = e.snapshot.Binding.Check(ctx, e.credential.Raw, bound, e.snapshot.shown(e))
	if err == nil {
		return true, nil
	}
	e.result.Identity = nil // whoever can't show it is nobody, also where the rule is not enforced
	refusal, ok := errors.AsType[*binding.Refusal](err)
	if !ok {
		return true, err
	}
	s.metrics.bindings[refusal.Check].Inc()
	if limit := e.snapshot.Limit; refusal.Kind != binding.OfNonce && !limit.EveryRequest {
		if limited := s.charge(ctx, limit, e.request.charged()); limited != nil {
			return true, limited
		}
	}
	return true, err
}

// shown is what the request has besides its token.
func (s *Snapshot) shown(e *Event) binding.Shown {
	asked := &e.request.asked
	path, _, _ := strings.Cut(asked.Path, "?")
	shown := binding.Shown{
		Scheme: e.credential.Scheme, Proof: asked.Header(credential.ProofHeader), Method: asked.Method,
		URL: binding.URL{Scheme: asked.ClientScheme(), Authority: asked.Host, Path: path}, Certificate: asked.Certificate,
	}
	if s.TrustXFCC {
		shown.Forwarded = asked.Header("x-forwarded-client-cert")
	}
	return shown
}

// byDPoP reports whether the client is to be told of DPoP: since it uses it, or its token
// needs it, or the configuration asks for it.
func (s *Snapshot) byDPoP(e *Event) bool {
	return s.OfferDPoP || e.credential.Scheme == token.DPoP || strings.HasPrefix(e.bound, "dpop")
}

// challengeDPoP is the challenge of RFC 9449 section 7.1, beside that for bearer tokens.
// The one whose scheme the client used has what went wrong.
func (s *Snapshot) challengeDPoP(bearer, told string, used token.Scheme) string {
	dpop := "DPoP realm=" + quote(s.Realm)
	algs := `, algs="` + strings.Join(binding.Algorithms(), " ") + `"`
	if used == token.DPoP {
		return bearer + ", " + dpop + told + algs
	}
	return bearer + told + ", " + dpop + algs
}
