package policy

import (
	"strings"
	"testing"
)

// TestOptional: nobody passes where a rule is optional, and only there; who has a token
// that is not valid, or not enough, is denied.
func TestOptional(t *testing.T) {
	set, err := Parse(File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - {match: /a, optional: true, scopes: [r]}\n  - {match: /b, scopes: [r]}\n  - {match: /c, deny: true}\n")})
	if err != nil {
		t.Fatal(err)
	}
	for path, nobody := range map[string]Code{"/a": Allowed, "/b": AccessDenied, "/c": AccessDenied, "/none": AccessDenied} {
		r, err := NewRequest("GET", "", path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.DecideNobody().Code; got != nobody {
			t.Errorf("%s: nobody gets %v, want %v", path, got, nobody)
		}
		for _, id := range []*Identity{nil, {}, {Scopes: []string{"x"}}} {
			if m.Decide(id).Code == Allowed {
				t.Errorf("%s lets %v pass", path, id)
			}
		}
	}
	for _, rule := range []string{"{match: /a, optional: false}", "{match: /a, public: true, optional: true}", "{match: /a, deny: true, optional: true}"} {
		if _, err := Parse(File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - " + rule + "\n")}); err == nil || !strings.HasPrefix(err.Error(), "p.yaml:3:") || !strings.Contains(err.Error(), "optional") {
			t.Errorf("%s: %v", rule, err)
		}
	}
}
