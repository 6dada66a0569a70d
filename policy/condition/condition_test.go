package condition_test

import (
	"fmt"
	"testing"

	"cel.dev/cel-go/common/ast"
	"github.com/google/go-cmp/cmp"

	"scopeward/policy"
	"scopeward/policy/condition"
)

// read compiles a condition as a policy does.
func read(t *testing.T, when string) *condition.Condition {
	t.Helper()
	set, err := policy.Parse(policy.File{Name: "p.yaml", Data: fmt.Appendf(nil, "version: 1\nrules:\n  - {match: '/{id}/{rest...}', when: %q}\n", when)})
	if err != nil {
		t.Fatal(err)
	}
	return set.Rules()[0].Condition()
}

func TestVariables(t *testing.T) {
	for when, want := range map[string][]string{
		`.identity.claims.org == path.id`:                                         {"identity.claims", "path.id"},
		`has(identity.claims.org) || "x" in .request.headers`:                     {"identity.claims", "request.headers"},
		`[{"claims": 1}].exists(identity, identity.claims == 1)`:                  nil,
		`["a"].exists(path, path == .path.id)`:                                    {"path.id"},
		`identity.scopes.exists(s, s == identity.subject) && size(path.rest) > 1`: {"identity.scopes", "identity.subject", "path.rest"},
		`true`: nil,
	} {
		if diff := cmp.Diff(want, read(t, when).Variables()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", when, diff)
		}
	}
}

func TestUses(t *testing.T) {
	for when, want := range map[string]bool{
		`identity.claims.roles == ["a"]`:                                          true,
		`.identity.claims["roles"] == ["a"]`:                                      true,
		`"a" in identity.claims.roles`:                                            true,
		`identity.claims.roles.exists(r, r == "a")`:                               true,
		`identity.claims.role == "roles"`:                                         false,
		`[{"claims": {"roles": 1}}].exists(identity, identity.claims.roles == 1)`: false,
	} {
		if got := read(t, when).Uses("identity.claims.roles"); got != want {
			t.Errorf("%s: got %t", when, got)
		}
	}
}

func TestScopes(t *testing.T) {
	for _, test := range []struct {
		when   string
		named  []string
		others bool
	}{
		{`"b" in identity.scopes || "a" in .identity.scopes && "b" in identity.scopes`, []string{"a", "b"}, false},
		{`!("a" in identity.scopes) || size(identity.scopes) > 0`, []string{"a"}, true},
		{`identity.scopes.exists(s, s == "a")`, nil, true},
		{`path.id in identity.scopes`, nil, true},
		{`path.id == "a"`, nil, false},
	} {
		named, others := read(t, test.when).Scopes()
		if diff := cmp.Diff(test.named, named); diff != "" || others != test.others {
			t.Errorf("%s: got %q, %t", test.when, named, others)
		}
	}
}

func TestStart(t *testing.T) {
	c := read(t, `"é" == path.id && identity.claims.org == "x"`)
	want := map[string]int{"identity.claims.org": len(`"é" == path.id && `), "path.id": len(`"é" == `)}
	c.Walk(func(e ast.Expr) {
		if at, ok := want[condition.Name(e)]; ok && c.Start(e) != at {
			t.Errorf("%s starts at %d, not %d", condition.Name(e), c.Start(e), at)
		}
	})
}

func TestKeys(t *testing.T) {
	key := func(when string, ordered bool) string {
		k := condition.Keys{Condition: read(t, when), Ordered: ordered}
		return k.Key(k.Root())
	}
	for _, test := range []struct {
		a, b          string
		same, ordered bool
	}{
		{`path.id == "a"`, `"a" == path.id`, true, true},
		{`identity.claims.org == "a"`, `.identity.claims["org"] == "a"`, true, false},
		{`path.id == "a" + "b"`, `path.id == "ab"`, true, false},
		{`path.id == "a  b"`, `path.id == "a b"`, false, false},
		{`path.id == "a" + "  b"`, `path.id == "a  b"`, true, false},
		{`identity.claims.n == null`, `null == identity.claims.n`, true, true},
		{`identity.claims.n == 1`, `identity.claims.n == 1u`, false, false},
		{`identity.scopes.exists(s, s == path.id)`, `identity.scopes.exists(t, t == path.id)`, true, true},
		{`identity.scopes.exists(s, [1].exists(t, s == path.id))`, `identity.scopes.exists(t, [1].exists(s, s == 1))`, false, false},
		{`google.protobuf.Int64Value{value: 1} == 1`, `google.protobuf.Int64Value{value: 2} == 1`, false, false},
		{`google.protobuf.Int64Value{value: 1} == 1`, `google.protobuf.Int64Value{value: 1} == 1`, true, true},
		{`path.id == "a" && identity.claims.n == 1`, `1 == identity.claims.n && path.id == "a"`, false, false},
		{`path.id < "b"`, `"b" > path.id`, true, false},
	} {
		if same := key(test.a, false) == key(test.b, false); same != test.same {
			t.Errorf("%s and %s: the same: %t", test.a, test.b, same)
		}
		if same := key(test.a, true) == key(test.b, true); same != test.ordered {
			t.Errorf("%s and %s, in order: the same: %t", test.a, test.b, same)
		}
	}
}

func TestMayExceed(t *testing.T) {
	for when, want := range map[string]bool{
		`path.id == identity.subject && "a" in identity.scopes && identity.claims.org.dept == "x"`: false,
		`identity.scopes.exists(s, s == path.id)`:                                                  true,
		`identity.claims.roles.exists(r, identity.claims.groups.exists(g, g == r))`:                true,
		`path.id.replace("a", "b").replace("c", "d") == "x"`:                                       true,
	} {
		if got := read(t, when).MayExceed(100_000); got != want {
			t.Errorf("%s: got %t", when, got)
		}
	}
}
