package explain_test

import (
	"strings"
	"testing"
	"unicode"

	"scopeward/policy"
	"scopeward/policy/explain"
)

// FuzzExplain: whatever is asked, the explanation says what was decided, knows
// what is missing if and only if something is, and shows nothing to a terminal
// but text.
func FuzzExplain(f *testing.F) {
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(`
version: 1
paths: {allow: [encoded_slash]}
rules:
  - match: [/healthz, "GET /public/{path...}"]
    public: true
  - match: GET /users/{id}
    any_scopes: [read:users, admin]
    when: >-
      path.id == identity.subject || "admin" in identity.scopes && !(request.query["a"][0] == "x") ||
      request.headers["x-a"].startsWith(identity.claims.x) || identity.claims.l.exists(e, e == request.path)
  - match: [POST /users, /reports/, "GET /exact/{$}"]
    scopes: [write:users]
  - match: admin.example.com/{path...}
    deny: true
  - {match: "/audited/{x}", scopes: [a], mode: audit}
`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", "GET", "https://API.example.com:1/users/42?a=x", "read:users", "42", "y")
	f.Add("policy", "get", "/users/42", "admin", "u\u009b1", "\x1b[2J")
	f.Add("x\ny", "G\x1bT", "/user/\u202e/%2F", "a b", "", "")
	f.Add("", "GET", "/exact/a%C2%ADb", "", "", "")
	f.Add("", "POST", "/audited/a%2Fb", "b", "x", "")
	f.Fuzz(func(t *testing.T, name, method, url, scopes, subject, header string) {
		host, target, ok := policy.SplitURL(url)
		if !ok {
			return
		}
		q := explain.Question{Policy: name, Method: method, Host: host, Target: target, Headers: map[string]string{"x-a": header}}
		id, err := policy.NewIdentity(nil, map[string]any{"scope": scopes, "sub": subject, "x": header, "l": []any{subject, nil, 1.}})
		if err == nil {
			q.Token, q.Identity = policy.TokenValid, id
		}
		e, out := explain.Explain(set, q)
		if decided := explain.Decide(set, q); e.Code != decided.Code || e.Code != out.Code || e.Allowed != (decided.Code == explain.Allow) {
			t.Errorf("explained %s, decided %s", e.Code, decided.Code)
		}
		if passes := e.Allowed && e.WouldBe == ""; passes != (len(e.ToPass) == 0) {
			t.Errorf("%s %s: to pass it needs %q", e.Code, e.WouldBe, e.ToPass)
		}
		for line := range strings.Lines(e.String()) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl) {
				t.Errorf("a control in %q", line)
			}
		}
	})
}
