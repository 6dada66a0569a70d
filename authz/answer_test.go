package authz

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/token"
	"scopeward/policy"
)

func TestAnswer(t *testing.T) {
	s := &Snapshot{Realm: "api"}
	allowed := policy.Decision{Code: policy.Allowed}
	for name, c := range map[string]struct {
		decision policy.Decision
		err      error
		want     Answer
	}{
		"allowed":       {decision: allowed, want: Answer{Status: 200}},
		"zero decision": {want: Answer{Status: 403, Body: `{"error":"Access denied","code":"access_denied"}`}},
		"scopes": {
			decision: policy.Decision{Code: policy.InsufficientScope, Scopes: []string{"a", "b"}},
			want: Answer{Status: 403, Body: `{"error":"Insufficient scope","code":"insufficient_scope","message":"Insufficient permissions"}`,
				Challenge: `Bearer realm="api", error="insufficient_scope", scope="a b"`},
		},
		"missing":       {allowed, &token.MissingError{}, Answer{401, `{"error":"Access token required","code":"missing_token","message":"Access token required"}`, `Bearer realm="api"`}},
		"invalid":       {allowed, token.Invalidf("x"), Answer{401, `{"error":"Invalid token","code":"invalid_token","message":"Please re-authenticate"}`, `Bearer realm="api", error="invalid_token"`}},
		"path":          {allowed, &policy.RequestError{Reason: "x"}, Answer{Status: 400, Body: `{"error":"Invalid request path","code":"invalid_path"}`}},
		"unknown error": {allowed, errors.New("x"), Answer{Status: 500, Body: `{"error":"Authentication error","code":"internal_error"}`}},
	} {
		if diff := cmp.Diff(c.want, s.Answer(c.decision, c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
