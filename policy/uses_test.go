package policy

import "testing"

func TestUses(t *testing.T) {
	set, err := Parse(File{Name: "policy.yaml", Data: []byte(`version: 1
rules:
  - match: /claims
    when: has(identity.claims.org) && "a" in identity.scopes
  - match: /headers
    when: request.headers["x"] == identity.subject
  - match: /none
    scopes: [a]
`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, variable string
		want           bool
	}{
		{"/claims", "identity.claims", true}, {"/claims", "identity.scopes", true}, {"/claims", "request.headers", false},
		{"/headers", "request.headers", true}, {"/headers", "identity.claims", false}, {"/none", "identity.claims", false}, {"/nothing", "identity.claims", false},
	} {
		request, err := NewRequest("GET", "a.example.com", test.path)
		if err != nil {
			t.Fatal(err)
		}
		match, err := set.Match("", &request)
		if err != nil {
			t.Fatal(err)
		}
		if got := match.Uses(test.variable); got != test.want {
			t.Errorf("%s uses %s: %v, want %v", test.path, test.variable, got, test.want)
		}
	}
}
