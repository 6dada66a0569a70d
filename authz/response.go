package authz

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"scopeward/authz/token"
)

// answer is a row of the table of answers: what the client gets for a code.
type answer struct {
	status     typev3.StatusCode
	grpc       codes.Code // only has to differ from OK: Envoy answers by status
	error      string
	code       string
	message    string
	challenge  bool
	retryAfter bool
}

var internalError = answer{status: 500, grpc: codes.Internal, error: "Authentication error", code: "internal_error"}

// answer returns the row of a denial. What is no denial, or unknown, is an
// internal error.
func (c code) answer() answer {
	switch c {
	case codeMissingToken:
		return answer{status: 401, grpc: codes.Unauthenticated, error: "Access token required", code: "missing_token", message: "Access token required", challenge: true}
	case codeInvalidRequest:
		return answer{status: 401, grpc: codes.Unauthenticated, error: "Invalid token", code: "invalid_request", challenge: true}
	case codeInvalidToken:
		return answer{status: 401, grpc: codes.Unauthenticated, error: "Invalid token", code: "invalid_token", message: "Please re-authenticate", challenge: true}
	case codeInsufficientScope:
		return answer{status: 403, grpc: codes.PermissionDenied, error: "Insufficient scope", code: "insufficient_scope", message: "Insufficient permissions", challenge: true}
	case codeAccessDenied:
		return answer{status: 403, grpc: codes.PermissionDenied, error: "Access denied", code: "access_denied"}
	case codeInvalidPath:
		return answer{status: 400, grpc: codes.InvalidArgument, error: "Invalid request path", code: "invalid_path"}
	case codeRateLimited:
		return answer{status: 429, grpc: codes.ResourceExhausted, error: "Too many token validation requests", code: "rate_limited", retryAfter: true}
	case codeUnavailable:
		return answer{status: 503, grpc: codes.Unavailable, error: "Authentication error", code: "unavailable", retryAfter: true}
	case codeMetadata: // Envoy takes the answer of a denial, whatever its status
		return answer{status: 200, grpc: codes.PermissionDenied, code: "metadata"}
	default:
		return internalError
	}
}

// reply is what Envoy is to do. Its zero value denies.
type reply struct {
	allowed bool
	answer  answer   // of a denial
	body    string   // of a denial
	set     []header // for the upstream, or for the client of a denial
	remove  []string // from what goes upstream; never a name of set, for Envoy would remove it
	code    string
	rule    string
	who     *token.Identity
}

// respond builds the reply for a verdict. Everything but an explicit codeAllow
// is denied.
func (s *Snapshot) respond(e *Event) reply {
	r := reply{
		code: e.verdict.code.String(), rule: e.match.Action(), who: e.result.Identity,
		set: e.reply.set[:0], remove: e.reply.remove[:0], // the memory of the event's last request
	}
	switch e.verdict.code {
	case codeAllow:
		s.allow(&r, e)
	case codeMetadata:
		s.Metadata.respond(&r, e.request.Method)
	default:
		s.deny(&r, e)
	}
	return r
}

// allow lets the request pass, with the identity's headers in place of the
// client's own.
func (s *Snapshot) allow(r *reply, e *Event) {
	r.allowed = true
	s.identityHeaders(r, e)
}

// deny refuses the request.
func (s *Snapshot) deny(r *reply, e *Event) {
	d := s.denial(e.verdict)
	r.answer, r.body = d.answer, d.body
	r.set = append(r.set, header{"content-type", "application/json"})
	if d.challenge != "" {
		r.set = append(r.set, header{"www-authenticate", d.challenge})
	}
	if r.answer.retryAfter {
		r.set = append(r.set, retryHeaders(e.verdict)...)
	}
}

// denial is what a client gets that is denied, but for when to come back.
type denial struct {
	answer
	body      string
	challenge string // WWW-Authenticate; empty if there is none
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
	if int(v.code) < len(s.prepared) && v.code != codeInvalidRequest {
		d := s.prepared[v.code]
		if len(v.scopes) > 0 {
			d.challenge = s.challenge(v)
		}
		return d
	}
	a := v.code.answer()
	d := denial{answer: a, body: a.body(v)}
	if a.challenge {
		d.challenge = s.challenge(v)
	}
	return d
}

// message is the reply as a CheckResponse; no other place builds one. A denial
// always carries a DeniedResponse: without one it would be a bare 403, and
// failure_mode_allow could open it.
func (r *reply) message() *authv3.CheckResponse {
	out := &authv3.CheckResponse{DynamicMetadata: r.metadata()}
	set := make([]*corev3.HeaderValueOption, len(r.set))
	for i, h := range r.set {
		set[i] = &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: h.name, Value: h.value},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}
	}
	if r.allowed {
		out.Status = &rpcstatus.Status{Code: int32(codes.OK)}
		out.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{Headers: set, HeadersToRemove: slices.Clone(r.remove)}}
		return out
	}
	a := r.denial()
	out.Status = &rpcstatus.Status{Code: int32(a.grpc)}
	out.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: a.status}, Headers: set, Body: r.body,
	}}
	return out
}

// denial is the answer of a denial, also where it was forgotten.
func (r *reply) denial() answer {
	if r.answer.status == 0 || r.answer.grpc == codes.OK {
		return internalError
	}
	return r.answer
}

// metadata is what Envoy's access log and later filters see under
// envoy.filters.http.ext_authz.
func (r *reply) metadata() *structpb.Struct {
	fields := map[string]*structpb.Value{
		"code": structpb.NewStringValue(r.code),
		"rule": structpb.NewStringValue(r.rule),
	}
	if r.who != nil {
		scopes := make([]*structpb.Value, len(r.who.Scopes))
		for i, s := range r.who.Scopes {
			scopes[i] = structpb.NewStringValue(s)
		}
		fields["subject"] = structpb.NewStringValue(r.who.Subject)
		fields["scopes"] = structpb.NewListValue(&structpb.ListValue{Values: scopes})
		fields["provider"] = structpb.NewStringValue(r.who.Provider)
	}
	return &structpb.Struct{Fields: fields}
}

// body is the JSON that the client gets.
func (a answer) body(v verdict) string {
	if v.code == codeInvalidRequest {
		a.message = v.reason
	}
	b, err := json.Marshal(struct {
		Error   string `json:"error"`
		Code    string `json:"code"`
		Message string `json:"message,omitempty"`
	}{a.error, a.code, a.message})
	if err != nil { // three strings always marshal
		return `{"error":"Authentication error","code":"internal_error"}`
	}
	return string(b)
}

// challenge is the WWW-Authenticate value (RFC 6750 section 3, RFC 9728
// section 5.1). A request without a token gets no error code (RFC 6750
// section 3.1).
func (s *Snapshot) challenge(v verdict) string {
	var b strings.Builder
	b.WriteString("Bearer realm=" + quote(s.Realm))
	if v.code != codeMissingToken {
		b.WriteString(", error=" + quote(v.code.String()))
	}
	if len(v.scopes) > 0 {
		b.WriteString(", scope=" + quote(strings.Join(v.scopes, " ")))
	}
	if s.ResourceMetadata != "" {
		b.WriteString(", resource_metadata=" + quote(s.ResourceMetadata))
	}
	return b.String()
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
func retryHeaders(v verdict) []header {
	if v.code != codeRateLimited {
		wait := v.retryAfter
		if wait <= 0 {
			wait = defaultRetryAfter
		}
		return []header{{"retry-after", seconds(wait)}}
	}
	limit := strconv.Itoa(v.limit.Limit)
	return []header{
		{"retry-after", seconds(v.limit.Reset)},
		{"ratelimit-limit", limit},
		{"ratelimit-remaining", strconv.Itoa(v.limit.Remaining)},
		{"ratelimit-reset", seconds(v.limit.Reset)},
		{"ratelimit-policy", limit + ";w=" + seconds(v.limit.Window)},
	}
}

// seconds rounds up: a client that comes back a moment early is refused again.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
