package authz

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/token"
	"scopeward/authz/wire"
	"scopeward/policy"
)

// TestAnswer: each body has a message, no cache keeps a denial, and a challenge names the
// scopes of the rule.
func TestAnswer(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte("version: 1\nrules:\n  - {match: GET /a, scopes: [a], any_scopes: [b, c]}\n")})
	if err != nil {
		t.Fatal(err)
	}
	request, err := policy.NewRequest("GET", "", "/a")
	if err != nil {
		t.Fatal(err)
	}
	match, err := set.Match("", &request)
	if err != nil {
		t.Fatal(err)
	}
	s := &Snapshot{Realm: "api"}
	answer := func(status int, body string, challenge ...string) Answer {
		a := Answer{Status: status, Body: body, Headers: []wire.Header{{Name: "content-type", Value: "application/json"}, {Name: "cache-control", Value: "no-store"}}}
		for _, c := range challenge {
			a.Headers = append(a.Headers, wire.Header{Name: "www-authenticate", Value: c})
		}
		return a
	}
	allowed := policy.Decision{Code: policy.Allowed}
	for name, c := range map[string]struct {
		match    policy.Match
		decision policy.Decision
		err      error
		want     Answer
	}{
		"allowed":       {decision: allowed, want: Answer{Status: 200}},
		"zero decision": {want: answer(403, `{"error":"Access denied","code":"access_denied","message":"Access denied"}`)},
		"scopes": {
			match: match, decision: policy.Decision{Code: policy.InsufficientScope},
			want: answer(403, `{"error":"Insufficient scope","code":"insufficient_scope","message":"Insufficient permissions"}`,
				`Bearer realm="api", error="insufficient_scope", scope="a b c"`),
		},
		"missing": {decision: allowed, err: &token.MissingError{},
			want: answer(401, `{"error":"Access token required","code":"missing_token","message":"Access token required"}`, `Bearer realm="api"`)},
		"missing where a rule asks": {match: match, decision: allowed, err: &token.MissingError{},
			want: answer(401, `{"error":"Access token required","code":"missing_token","message":"Access token required"}`, `Bearer realm="api", scope="a b c"`)},
		"invalid": {match: match, decision: allowed, err: token.Invalidf("x"),
			want: answer(401, `{"error":"Invalid token","code":"invalid_token","message":"Please re-authenticate"}`, `Bearer realm="api", error="invalid_token", scope="a b c"`)},
		"malformed": {decision: allowed, err: &token.MalformedError{Reason: "x"},
			want: answer(401, `{"error":"Invalid token","code":"invalid_request","message":"x"}`, `Bearer realm="api", error="invalid_request"`)},
		"path":          {decision: allowed, err: &policy.RequestError{Reason: "x"}, want: answer(400, `{"error":"Invalid request path","code":"invalid_path","message":"Invalid request path"}`)},
		"unknown error": {decision: allowed, err: errors.New("x"), want: answer(500, `{"error":"Authentication error","code":"internal_error","message":"Authentication error"}`)},
	} {
		if diff := cmp.Diff(c.want, s.Answer(Asked{Method: "GET", Path: "/a"}, c.match, c.decision, c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
