package policy

import (
	"strings"
	"testing"
)

// TestPreflight: a preflight request passes where a rule of a file with preflight: public is
// for what it asks for, and only there.
func TestPreflight(t *testing.T) {
	set, err := Parse(File{Name: "a.yaml", Data: []byte(`version: 1
preflight: public
rules:
  - {match: GET /users, scopes: [read]}
  - {match: POST /users, deny: true}
  - {match: /any, when: 'request.method == "GET"'}
  - {match: "GET /named/{id}", scopes: [read]}
  - {match: "OPTIONS /named/{id}", scopes: [admin]}
  - {match: "/closed/{path...}", deny: true}
  - {match: PATCH /closed/open, optional: true, scopes: [read]}
  - {match: GET /audited, deny: true, mode: audit}
  - {match: GET /slash/, public: true}
  - {match: GET api.example.com/host, scopes: [read]}
`)}, File{Name: "b.yaml", Data: []byte("version: 1\nrules:\n  - {match: GET /other, scopes: [read]}\n  - {match: /methodless, scopes: [read]}\n")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path, origin, asks string
		passes                     bool
	}{
		{"OPTIONS", "/users", "https://a", "GET", true},
		{"OPTIONS", "/users", "null", "HEAD", true},
		{"OPTIONS", "/users", "https://a", "POST", false},   // its rule denies
		{"OPTIONS", "/users", "https://a", "DELETE", false}, // there is no rule
		{"OPTIONS", "/users", "https://a", "get", false},
		{"OPTIONS", "/users", "https://a", "GET,POST", false}, // two headers, joined
		{"OPTIONS", "/users", "https://a", "", false},
		{"OPTIONS", "/users", "", "GET", false},
		{"GET", "/users", "https://a", "GET", false},
		{"options", "/users", "https://a", "GET", false},
		{"OPTIONS", "/users/", "https://a", "GET", false},
		{"OPTIONS", "/any", "https://a", "GET", true},
		{"OPTIONS", "/any", "https://a", "OPTIONS", false},
		{"OPTIONS", "/any", "https://a", "CONNECT", false},
		{"OPTIONS", "/any", "https://a", "TRACE", false},
		{"OPTIONS", "/any", "https://a", "BREW", true},
		{"OPTIONS", "/any", "", "", false},
		{"OPTIONS", "/named/1", "https://a", "GET", false}, // a pattern that names OPTIONS wins
		{"OPTIONS", "/closed/x", "https://a", "GET", false},
		{"OPTIONS", "/closed/open", "https://a", "PATCH", true},
		{"OPTIONS", "/audited", "https://a", "GET", false},
		{"OPTIONS", "/slash", "https://a", "GET", false}, // redirected
		{"OPTIONS", "/slash/x", "https://a", "GET", true},
		{"OPTIONS", "/host", "https://a", "GET", false},
		{"OPTIONS", "/other", "https://a", "GET", false}, // its file says nothing
		{"OPTIONS", "/methodless", "https://a", "GET", false},
	} {
		r, err := NewRequest(tt.method, "", tt.path)
		if err != nil {
			t.Fatal(err)
		}
		headers := map[string]string{"origin": tt.origin, "access-control-request-method": tt.asks}
		r.Preflight = Preflight(r.Method, func(name string) string { return headers[name] })
		m, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Decide(nil).Code == Allowed; got != tt.passes || got != m.ForPreflight() || got != (m.Access() == AccessPublic) {
			t.Errorf("%+v: passes %v, for preflight %v", tt, got, m.ForPreflight())
		}
	}
}

func TestPreflightInsteadOfOptions(t *testing.T) {
	for _, rules := range []string{`"OPTIONS /{path...}", "/users/"`, `"/users/", "OPTIONS /{path...}"`} {
		_, err := Parse(File{Name: "a.yaml", Data: []byte("version: 1\nrules:\n  - {match: [" + rules + "], public: true}\n")})
		if err == nil || !strings.Contains(err.Error(), "write preflight: public in the file") {
			t.Errorf("%s: %v", rules, err)
		}
	}
}
