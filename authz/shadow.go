package authz

import (
	"log/slog"

	"scopeward/authz/token/binding"
	"scopeward/policy"
)

// unverified is what the shadow policy says of a token that the policy in force
// did not ask for, and that nobody has verified: to do so would cost the
// provider, and the client its share.
const unverified = "token_unverified"

// shadow decides the request by the shadow policy. It returns what that would
// have answered, or "" for the same as the policy in force.
func (s *Server) shadow(snapshot *Snapshot, e *Event) (would string) {
	if snapshot.Shadow == nil || e.verdict.code == codeInvalidPath || e.verdict.code == codeInternalError || e.verdict.code == codeMetadata {
		return ""
	}
	defer func() {
		if p := recover(); p != nil { // a shadow harms nobody
			s.log.Error("the shadow policy made the service panic", slog.Any("panic", p))
			would = ""
		}
	}()
	if would = snapshot.shadowed(e); would == e.verdict.code.String() {
		return ""
	}
	return would
}

func (s *Snapshot) shadowed(e *Event) string {
	match, err := e.request.find(s.Shadow, &s.Credentials)
	if err != nil {
		return denied(err).code.String()
	}
	v, known := s.shadowVerdict(match, e)
	if !known && !match.Rule().Audit {
		return unverified
	}
	return v.enforced(match.Rule()).code.String()
}

// shadowVerdict uses what is known of the token: from the decision by the policy
// in force, or else from the cache.
func (s *Snapshot) shadowVerdict(match policy.Match, e *Event) (v verdict, known bool) {
	switch {
	case match.Access() == policy.AccessPublic:
		return verdict{code: codeAllow}, true
	case match.Access() != policy.AccessToken:
		return judged(match.Decide(nil)), true
	case e.result.Identity != nil:
		return e.judge(match, e.result.Identity), true
	case e.match.Access() == policy.AccessToken && e.verdict.wouldBe != 0: // its token was refused
		return verdict{code: e.verdict.wouldBe}.orNobody(match), true
	case e.match.Access() == policy.AccessToken && e.verdict.code != codeAllow:
		return e.verdict.orNobody(match), true
	}
	found, err := s.Credentials.Find(&e.request.asked, s.Validator.MaxBytes())
	if err != nil {
		return denied(err).orNobody(match), true
	}
	result, known, err := s.Validator.Known(found.Raw)
	switch {
	case !known:
		return verdict{code: codeAccessDenied}, false
	case err != nil:
		return denied(err), true
	case binding.Asked(result.Identity.Bound, found.Scheme): // a proof counts once, for the policy in force
		return verdict{code: codeAccessDenied}, false
	case found.CrossSite(&e.request.asked):
		return denied(ErrCrossSite), true
	default:
		return e.judge(match, result.Identity), true
	}
}
