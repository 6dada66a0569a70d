package explain

import (
	"testing"

	"scopeward/policy"
)

// TestOptional: explained as the server decides.
func TestOptional(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - {match: /a, optional: true, scopes: [r]}\n")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q     Question
		want  string
		needs int
	}{
		{Question{}, Allow, 0},
		{Question{Token: policy.TokenNone}, Allow, 0},
		{Question{Token: policy.TokenInvalid}, InvalidToken, 2},
		{Question{Token: policy.TokenExpired}, InvalidToken, 2},
		{Question{Token: policy.TokenValid, Identity: &policy.Identity{}}, InsufficientScope, 1},
		{Question{Token: policy.TokenValid, Identity: &policy.Identity{Scopes: []string{"r"}}}, Allow, 0},
	} {
		c.q.Method, c.q.Target = "GET", "/a"
		e, _ := Explain(set, c.q)
		if e.Code != c.want || len(e.ToPass) != c.needs || !e.Rule.Optional {
			t.Errorf("%+v: %s, to pass %q; want %s", c.q, e.Code, e.ToPass, c.want)
		}
	}
}
