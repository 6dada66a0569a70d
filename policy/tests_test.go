package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"scopeward/internal/strictyaml"
)

func TestTests(t *testing.T) {
	const rules = "version: 1\nrules: [{match: /, public: true}]\ntests:\n"
	set, err := Parse(
		File{"a.yaml", []byte(rules + `
  - {request: GET /users, expect: missing_token}
  - {request: "POST https://API.example.com:8443/a//b?x=1#y", token: expired, headers: {X-Tenant: a}, expect: invalid_path}
  - {request: GET /users, scopes: [], expect: allow, rule: /}
  - {request: GET http://h?x, claims: {sub: u1, scp: [a, b], azp: app, email: e@x, email_verified: false}, expect: access_denied}
`)},
		File{"b.yaml", []byte("name: other\n" + rules + `
  - {request: "GET /%zz", scopes: [c], claims: {scope: a, client_id: c1, azp: c2, iss: i}, expect: allow}
`)})
	if err != nil {
		t.Fatal(err)
	}
	at := func(file string, line int) strictyaml.Pos { return strictyaml.Pos{File: file, Line: line, Column: 5} }
	want := []*Test{
		{Request: "GET /users", Method: "GET", Target: "/users", Token: TokenNone, Expect: "missing_token", Pos: at("a.yaml", 5)},
		{Request: "POST https://API.example.com:8443/a//b?x=1#y", Method: "POST", Host: "API.example.com:8443", Target: "/a//b?x=1#y", Headers: map[string]string{"x-tenant": "a"}, Token: TokenExpired, Expect: "invalid_path", Pos: at("a.yaml", 6)},
		{Request: "GET /users", Method: "GET", Target: "/users", Token: TokenValid, Identity: &Identity{Scopes: []string{}}, Expect: "allow", Rule: "/", Pos: at("a.yaml", 7)},
		{Request: "GET http://h?x", Method: "GET", Host: "h", Target: "/?x", Token: TokenValid, Expect: "access_denied", Pos: at("a.yaml", 8),
			Identity: &Identity{Subject: "u1", ClientID: "app", Scopes: []string{"a", "b"}, Claims: map[string]any{
				"sub": "u1", "scp": []any{"a", "b"}, "azp": "app", "email": "e@x", "email_verified": false}}},
		{Policy: "other", Request: "GET /%zz", Method: "GET", Target: "/%zz", Token: TokenValid, Expect: "allow", Pos: at("b.yaml", 6),
			Identity: &Identity{ClientID: "c1", Issuer: "i", Scopes: []string{"c"}, Claims: map[string]any{"scope": "a", "client_id": "c1", "azp": "c2", "iss": "i"}}},
	}
	if diff := cmp.Diff(want, set.Tests(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if set.Rules()[0].Policy != "" || set.Rules()[1].Policy != "other" {
		t.Errorf("the rules belong to %q and %q", set.Rules()[0].Policy, set.Rules()[1].Policy)
	}
}

func TestSplitURL(t *testing.T) {
	for url, want := range map[string]string{
		"/a?b":               " /a?b",
		"https://h":          "h /",
		"HTTPS://h:1/../%2f": "h:1 /../%2f",
		"http://[::1]:8/x":   "[::1]:8 /x",
		"http://h#f":         "h /#f",
		"http:///x":          "", "ftp://h/": "", "": "", "x": "", "*": "", "http://u@h/": "", "http://h h/": "",
	} {
		host, target, ok := SplitURL(url)
		if got := host + " " + target; ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q, %t", url, got, ok)
		}
	}
}
