// Package explain says what a policy answers to a request and why, for people:
// which rule matched, which of its conditions held, and what would make the
// request pass. What it explains is decided by policy.Set.Match and Match.Decide
// alone, as in the server.
package explain

import (
	"time"

	"scopeward/policy"
)

// The outcomes of a request: allow, and the codes of denials as clients get them.
const (
	Allow             = "allow"
	MissingToken      = "missing_token"
	InvalidToken      = "invalid_token"
	InsufficientScope = "insufficient_scope"
	InsufficientLogin = "insufficient_user_authentication" // RFC 9470
	AccessDenied      = "access_denied"
	InvalidPath       = "invalid_path"
)

// Question is a request to a policy and the token that it brings. The zero value
// of Token is none.
type Question struct {
	Policy   string // its name; empty: the default policy
	Method   string
	Host     string
	Target   string            // raw path and query
	Headers  map[string]string // by lower-case name, without authorization
	ClientIP string
	Peer     policy.Peer
	Body     string // with the header content-type, by default that of JSON; empty: not known

	Token      policy.Token
	TokenFault string           // of an invalid token: why, in words
	Identity   *policy.Identity // of a valid token

	Time time.Time // when it is asked; zero: now
}

// Outcome is the answer to a question. The zero value is no answer.
type Outcome struct {
	Code     string
	WouldBe  string // what Code would be if the rule were enforced; empty: the same
	Reason   string // of a denial, in words, also of one that is not enforced
	Request  *policy.Request
	Match    policy.Match
	Decision policy.Decision
	Err      error // why the path is refused: a *policy.RequestError
}

// Decide answers a question as the server would.
func Decide(set *policy.Set, q Question) Outcome {
	out := decide(set, q)
	if rule := out.Match.Rule(); rule != nil && rule.Audit && out.Code != Allow {
		out.Code, out.WouldBe = Allow, out.Code
	}
	return out
}

func decide(set *policy.Set, q Question) Outcome {
	request, err := policy.NewRequest(q.Method, q.Host, q.Target)
	request.Headers, request.ClientIP, request.Time = q.Headers, q.ClientIP, q.Time
	request.Peer = q.Peer
	if q.Body != "" {
		request.Body = policy.NewBody(q.Body, func(name string) string {
			if _, given := q.Headers["content-type"]; name == "content-type" && !given {
				return "application/json"
			}
			return q.Headers[name]
		})
	}
	if q.Time.IsZero() {
		request.Time = time.Now()
	}
	request.Preflight = policy.Preflight(q.Method, func(name string) string { return q.Headers[name] })
	out := Outcome{Request: &request}
	if err == nil {
		out.Match, err = set.Match(q.Policy, &request)
	}
	if err != nil {
		out.Code, out.Reason, out.Err = InvalidPath, err.Error(), err
		return out
	}
	valid := q.Token == policy.TokenValid && q.Identity != nil
	if out.Match.Optional() && withoutCredential(q) {
		out.Decision, out.Code = out.Match.DecideNobody(), Allow
		return out
	}
	if out.Match.Access() == policy.AccessToken && !valid {
		out.Code, out.Reason = withoutToken(q)
		out.Reason = "the rule asks for a valid token, and " + out.Reason
		return out
	}
	out.Decision = out.Match.Decide(q.Identity)
	out.Reason = out.Decision.Reason
	switch out.Decision.Code {
	case policy.Allowed:
		out.Code = Allow
	case policy.InsufficientScope:
		out.Code = InsufficientScope
	case policy.InsufficientAuthentication:
		out.Code = InsufficientLogin
	default:
		out.Code = AccessDenied
	}
	if out.Decision.Err != nil {
		out.Reason += ": " + out.Decision.Err.Error()
	}
	return out
}

func withoutCredential(q Question) bool {
	return q.Token == policy.TokenNone || q.Token == ""
}

func withoutToken(q Question) (code, reason string) {
	switch {
	case q.Token == policy.TokenInvalid && q.TokenFault != "":
		return InvalidToken, "the request's is not valid: " + q.TokenFault
	case q.Token == policy.TokenInvalid:
		return InvalidToken, "the request's is not valid"
	case q.Token == policy.TokenExpired:
		return InvalidToken, "the request's has expired"
	default:
		return MissingToken, "the request has none"
	}
}
