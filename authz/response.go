package authz

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"

	"scopeward/authz/answer"
	"scopeward/authz/wire"
	"scopeward/policy"
)

// row is a row of the table of answers: what the client gets for a code.
type row struct {
	status     typev3.StatusCode
	grpc       codes.Code // only has to differ from OK: Envoy answers by status
	error      string
	code       string
	message    string
	challenge  bool
	retryAfter bool
}

var internalError = row{status: 500, grpc: codes.Internal, error: "Authentication error", code: "internal_error"}

// answer returns the row of a denial. What is no denial, or unknown, is an
// internal error.
func (c code) answer() row {
	switch c {
	case codeMissingToken:
		return row{status: 401, grpc: codes.Unauthenticated, error: "Access token required", code: "missing_token", message: "Access token required", challenge: true}
	case codeInvalidRequest:
		return row{status: 401, grpc: codes.Unauthenticated, error: "Invalid token", code: "invalid_request", challenge: true}
	case codeInvalidToken:
		return row{status: 401, grpc: codes.Unauthenticated, error: "Invalid token", code: "invalid_token", message: "Please re-authenticate", challenge: true}
	case codeInvalidProof:
		return row{status: 401, grpc: codes.Unauthenticated, error: "Invalid DPoP proof", code: "invalid_dpop_proof", challenge: true}
	case codeUseNonce:
		return row{status: 401, grpc: codes.Unauthenticated, error: "DPoP nonce required", code: "use_dpop_nonce", challenge: true}
	case codeInsufficientScope:
		return row{status: 403, grpc: codes.PermissionDenied, error: "Insufficient scope", code: "insufficient_scope", message: "Insufficient permissions", challenge: true}
	case codeInsufficientAuthentication: // RFC 9470
		return row{status: 401, grpc: codes.Unauthenticated, error: "Insufficient user authentication", code: "insufficient_user_authentication", message: "Please sign in again, as the challenge says", challenge: true}
	case codeAccessDenied:
		return row{status: 403, grpc: codes.PermissionDenied, error: "Access denied", code: "access_denied"}
	case codeCrossSite:
		return row{status: 403, grpc: codes.PermissionDenied, error: "Access denied", code: "cross_site", message: "The request comes from another site"}
	case codeInvalidPath:
		return row{status: 400, grpc: codes.InvalidArgument, error: "Invalid request path", code: "invalid_path"}
	case codeRateLimited:
		return row{status: 429, grpc: codes.ResourceExhausted, error: "Too many token validation requests", code: "rate_limited", retryAfter: true}
	case codeUnavailable:
		return row{status: 503, grpc: codes.Unavailable, error: "Authentication error", code: "unavailable", retryAfter: true}
	case codeMetadata: // Envoy takes the answer of a denial, whatever its status
		return row{status: 200, grpc: codes.PermissionDenied, code: "metadata"}
	default:
		return internalError
	}
}

// respond builds the response for a verdict, in the event. Everything but an explicit codeAllow
// is denied.
func (s *Snapshot) respond(e *Event) {
	r := &e.reply
	r.Reset()
	r.Metadata = wire.Metadata{Code: e.verdict.code.String(), Rule: e.match.Action()}
	if id := e.result.Identity; id != nil {
		r.Metadata.Identified, r.Metadata.Subject, r.Metadata.Provider, r.Metadata.Scopes = true, id.Subject, id.Provider, id.Scopes
	}
	document := s.published(&e.request)
	switch {
	case e.verdict.code == codeAllow:
		s.allow(r, e)
	case e.verdict.code == codeMetadata && document != nil:
		document.respond(r, e.request.Method)
	default:
		s.deny(r, e)
	}
}

// allow lets the request pass, with the identity's headers in place of the
// client's own, and without the credentials that are not for the upstream.
func (s *Snapshot) allow(r *wire.Response, e *Event) {
	r.Allowed = true
	s.identityHeaders(r, e)
	s.Credentials.Hide(&e.request.asked, r)
	if e.nonce != "" {
		r.Answer = append(r.Answer, wire.Header{Name: "dpop-nonce", Value: e.nonce})
	}
}

// deny refuses the request. No cache may keep the answer: with another credential, or
// a moment later, it is another one.
func (s *Snapshot) deny(r *wire.Response, e *Event) {
	d := s.denial(e.verdict)
	r.GRPC, r.Status, r.Body = d.grpc, d.status, d.body
	r.Set = append(r.Set,
		wire.Header{Name: "content-type", Value: "application/json"},
		wire.Header{Name: "cache-control", Value: "no-store"})
	if d.challenge {
		r.Set = append(r.Set, wire.Header{Name: "www-authenticate", Value: s.challenge(d, e)})
		if nonce := s.Binding.Nonce(); nonce != "" && s.byDPoP(e) {
			r.Set = append(r.Set, wire.Header{Name: "dpop-nonce", Value: nonce})
		}
	}
	if d.retryAfter {
		r.Set = append(r.Set, retryHeaders(e.verdict)...)
	}
	written, varies := s.Answers.Find(d.code, &e.request.asked)
	if written != nil {
		written.Write(r, &answer.Values{
			Code: d.code, Error: d.error, Message: d.message, Scopes: e.match.Rule().ScopeText(),
			URL: s.address(e), RequestID: e.request.asked.ID,
		})
	}
	if varies {
		r.Set = append(r.Set, wire.Header{Name: "vary", Value: "Accept"})
	}
}

// address is the URL of a request as its client wrote it, but for its credential; "" if it
// is none that anybody should be sent to.
func (s *Snapshot) address(e *Event) string {
	asked := &e.request.asked
	if e.verdict.code == codeInvalidPath || e.request.Path == (policy.Path{}) {
		return ""
	}
	return asked.ClientScheme() + "://" + asked.Host + s.Credentials.Target(asked)
}

// denial is what is the same for all requests that are denied with a code.
type denial struct {
	row
	body   string
	scheme string // of a challenge: its beginning
	fault  string // of a challenge: the error in it
}

// prepare makes the denials that are the same for every request.
func (s *Snapshot) prepare() {
	if s.prepared != nil {
		return
	}
	all := make([]denial, numCodes)
	for c := range all {
		all[c] = s.denial(verdict{code: code(c)})
	}
	s.prepared = all
}

// denial is the prepared one, or made for a verdict that has a text of its own.
func (s *Snapshot) denial(v verdict) denial {
	if int(v.code) < len(s.prepared) && v.code != codeInvalidRequest && v.code != codeInvalidProof {
		return s.prepared[v.code]
	}
	d := denial{row: v.code.answer()}
	switch {
	case v.code == codeInvalidRequest, v.code == codeInvalidProof:
		d.message = v.reason
	case d.message == "":
		d.message = d.error
	}
	d.body = d.row.body()
	d.scheme = "Bearer realm=" + quote(s.Realm)
	if v.code != codeMissingToken { // RFC 6750 section 3.1: without a token there is no error
		d.fault = ", error=" + quote(d.code)
	}
	return d
}

// body is the JSON that the client gets.
func (a row) body() string {
	b, err := json.Marshal(struct {
		Error   string `json:"error"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}{a.error, a.code, a.message})
	if err != nil { // three strings always marshal
		return `{"error":"Authentication error","code":"internal_error","message":"Authentication error"}`
	}
	return string(b)
}

// challenge is the WWW-Authenticate value (RFC 6750 section 3, RFC 9728 section 5.1). It
// names the scopes of the rule also where the token is missing or invalid, so that
// clients ask for the right ones at once.
func (s *Snapshot) challenge(d denial, e *Event) string {
	var scope, before, after, resource string
	if scope = e.match.Rule().ScopeText(); scope != "" { // scopes have neither quotes nor backslashes
		before, after = `, scope="`, `"`
	}
	if e.verdict.code == codeInsufficientAuthentication {
		after += stepUp(e.match.Rule())
	}
	if resource = s.resourceMetadata(&e.request); resource != "" {
		resource = ", resource_metadata=" + quote(resource)
	}
	if s.byDPoP(e) {
		return s.challengeDPoP(d.scheme, d.fault+before+scope+after+resource, e.credential.Scheme)
	}
	return d.scheme + d.fault + before + scope + after + resource
}

// stepUp tells the client which login to ask the provider for (RFC 9470 section 3): all
// that the rule asks, also what the token has already.
func stepUp(rule *policy.Rule) (parameters string) {
	if rule == nil {
		return ""
	}
	if len(rule.ACR) > 0 {
		parameters = ", acr_values=" + quote(strings.Join(rule.ACR, " "))
	}
	if rule.MaxAge > 0 {
		parameters += ", max_age=" + quote(strconv.Itoa(int(rule.MaxAge/time.Second)))
	}
	return parameters
}

// quote makes a quoted-string (RFC 9110 section 5.6.4).
func quote(s string) string {
	if strings.ContainsAny(s, `\"`) {
		s = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
	}
	return `"` + s + `"`
}

// defaultRetryAfter is for a provider that does not say when to come back.
const defaultRetryAfter = 5 * time.Second

// retryHeaders tell the client when to try again: Retry-After (RFC 9110
// section 10.2.3), and the RateLimit fields of the client's window.
func retryHeaders(v verdict) []wire.Header {
	if v.code != codeRateLimited {
		wait := v.retryAfter
		if wait <= 0 {
			wait = defaultRetryAfter
		}
		return []wire.Header{{Name: "retry-after", Value: seconds(wait)}}
	}
	limit := strconv.Itoa(v.limit.Limit)
	return []wire.Header{
		{Name: "retry-after", Value: seconds(v.limit.Reset)},
		{Name: "ratelimit-limit", Value: limit},
		{Name: "ratelimit-remaining", Value: strconv.Itoa(v.limit.Remaining)},
		{Name: "ratelimit-reset", Value: seconds(v.limit.Reset)},
		{Name: "ratelimit-policy", Value: limit + ";w=" + seconds(v.limit.Window)},
	}
}

// seconds rounds up: a client that comes back a moment early is refused again.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
