package explain

import (
	"strings"
	"testing"
	"time"

	"scopeward/policy"
)

// TestStepUp: explained as the server decides, each part for itself.
func TestStepUp(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - {match: /a, acr: [urn:hw, urn:mfa], max_age: 5m}\n")})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		claims map[string]any
		want   string
		toPass string
	}{
		{map[string]any{"acr": "urn:mfa", "auth_time": now.Unix() - 300}, Allow, ""},
		{map[string]any{"acr": "urn:mfa", "auth_time": now.Unix() - 301}, InsufficientLogin, "a login at most 5m ago"},
		{map[string]any{"acr": "urn:pwd", "auth_time": now.Unix()}, InsufficientLogin, "a login by urn:hw or urn:mfa"},
		{nil, InsufficientLogin, "a login by urn:hw or urn:mfa, a login at most 5m ago"},
	} {
		q := Question{Method: "GET", Target: "/a", Token: policy.TokenValid, Identity: &policy.Identity{Claims: c.claims}, Time: now}
		e, out := Explain(set, q)
		if e.Code != c.want || out.Code != c.want || strings.Join(e.ToPass, ", ") != c.toPass || len(e.Checks) != 3 {
			t.Errorf("%v: %s", c.claims, e)
		}
		for _, check := range e.Checks[1:] {
			if (check.State == Held) == strings.Contains(c.toPass, check.Text) {
				t.Errorf("%v: %s is %s", c.claims, check.Text, check.State)
			}
		}
	}
}
