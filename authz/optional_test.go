package authz

import (
	"testing"

	"scopeward/policy"
)

// TestOptionalShadow: what a shadow policy says of nobody, where it or the policy in force
// has an optional rule.
func TestOptionalShadow(t *testing.T) {
	set := func(rule string) *policy.Set {
		s, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - " + rule + "\n")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const optional, asks, public = "{match: /a, optional: true}", "{match: /a}", "{match: /a, public: true}"
	for _, c := range []struct{ inForce, shadow, authorization, code, would string }{
		{optional, asks, "", "allow", "missing_token"},
		{asks, optional, "", "missing_token", "allow"},
		{public, optional, "", "allow", ""},
		{optional, optional, "", "allow", ""},
		{optional, asks, "Bearer a,b", "invalid_request", ""},
		{asks, optional, "Bearer a,b", "invalid_request", ""},
		{public, optional, "Bearer a,b", "allow", "invalid_request"},
	} {
		s, written, _ := testServer(t, nil, func(s *Snapshot) { s.Policy, s.Shadow = set(c.inForce), set(c.shadow) })
		check(t, s, get("/a", c.authorization))
		if events := eventsOf(t, s, written); len(events) != 1 || events[0].Code != c.code || events[0].Shadow != c.would {
			t.Errorf("%+v: %+v", c, events)
		}
	}
}
