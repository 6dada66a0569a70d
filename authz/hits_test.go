package authz

import (
	"testing"

	"scopeward/authz/token"
	"scopeward/policy"
)

// TestHits: each rule counts what it met, also over a change of the policy.
func TestHits(t *testing.T) {
	s, _, _ := testServer(t, func(string) (*token.Identity, error) { return &token.Identity{Scopes: []string{"admin"}}, nil }, nil)
	counts := func() map[string][3]uint64 {
		counts := map[string][3]uint64{}
		for _, h := range s.Snapshot().Hits() {
			name := "none"
			if h.Rule != nil {
				name = h.Rule.Patterns[0].Text
			}
			counts[name] = [3]uint64{h.All, h.Denied, h.WouldBe}
		}
		return counts
	}
	for range 3 {
		check(t, s, get("/public", ""))
		check(t, s, get("/users", "Bearer a"))
		check(t, s, get("/nowhere", "Bearer a"))
		check(t, s, get("/users/../x", "Bearer a"))
	}
	if got := counts(); got["/public"] != [3]uint64{3, 0, 0} || got["GET /users"] != [3]uint64{3, 3, 0} || got["none"] != [3]uint64{6, 6, 0} || got["/admin"] != [3]uint64{} {
		t.Errorf("%v", got)
	}
	next := *s.Snapshot()
	var err error
	next.Policy, err = policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(
		"version: 1\nrules:\n  - {match: GET /users, scopes: [other], mode: audit}\n  - {match: /new, public: true}\n")})
	if err != nil {
		t.Fatal(err)
	}
	s.Swap(&next)
	check(t, s, get("/users", "Bearer a"))
	check(t, s, get("/public", ""))
	if got := counts(); got["GET /users"] != [3]uint64{4, 3, 1} || got["/new"] != [3]uint64{} || got["none"] != [3]uint64{7, 7, 0} {
		t.Errorf("after a change: %v", got)
	}
}
