package policy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answer says in the words of the tables in testdata/match what a request gets.
func answer(set *Set, line string) string {
	fields := strings.Fields(line)
	host := strings.TrimPrefix(fields[1], "-")
	r, err := NewRequest(fields[0], host, fields[2])
	var id *Identity
	name := ""
	for _, field := range fields[3:] {
		key, value, _ := strings.Cut(field, "=")
		if key == "policy" {
			name = value
			continue
		}
		if id == nil {
			id = &Identity{}
		}
		switch key {
		case "sub":
			id.Subject = value
		case "scopes":
			id.Scopes = strings.Split(value, ",")
		}
	}
	var m Match
	if err == nil {
		m, err = set.Match(name, &r)
	}
	var refused *RequestError
	switch d := m.Decide(id); {
	case errors.As(err, &refused):
		return "400"
	case err != nil:
		return "error " + err.Error()
	case m.Access() == AccessPublic && d.Code == Allowed:
		return "public " + m.Action()
	case m.Access() == AccessToken && id == nil && d.Code == AccessDenied:
		return "no_token " + m.Action()
	case d.Code == Allowed:
		return "allowed " + m.Action()
	case d.Code == InsufficientScope:
		return fmt.Sprintf("scopes[%s] %s", strings.Join(d.Scopes, ","), m.Action())
	default:
		return strings.TrimSpace("denied " + m.Action())
	}
}

func TestMatch(t *testing.T) {
	eachArchive(t, "testdata/match/*.txtar", "cases", func(t *testing.T, files []File, cases string) {
		set, err := Parse(files...)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(cases) {
			request, want, ok := strings.Cut(line, "=>")
			if strings.HasPrefix(line, "#") {
				continue
			}
			if !ok {
				t.Fatalf("no => in %q", line)
			}
			if got := answer(set, request); got != strings.TrimSpace(want) {
				t.Errorf("%s: got %q, want %q", strings.TrimSpace(request), got, strings.TrimSpace(want))
			}
		}
	})
}

func TestZeroValuesDeny(t *testing.T) {
	r, err := NewRequest("GET", "a", "/")
	if err != nil {
		t.Fatal(err)
	}
	id := &Identity{Subject: "x"}
	for name, set := range map[string]*Set{"no set": nil, "empty set": {}} {
		if m, err := set.Match("", &r); err != nil || m.Rule() != nil || m.Action() != "" || m.Access() != AccessDeny {
			t.Errorf("%s: got %v and %v", name, m, err)
		}
	}
	if d := (Match{}).Decide(id); d.Code != AccessDenied || d.Reason == "" {
		t.Errorf("zero match: got %v", d)
	}
	if d := (Match{rule: &Rule{}}).Decide(id); d.Code != AccessDenied {
		t.Errorf("zero rule: got %v", d)
	}
	if d := (Match{rule: &Rule{Access: 99}}).Decide(id); d.Code != AccessDenied {
		t.Errorf("unknown access: got %v", d)
	}
	if (Decision{}).Code != AccessDenied {
		t.Error("the zero decision does not deny")
	}
	set := mustParse(t, "version: 1\nrules: [{match: /, public: true}]")
	if m, err := set.Match("", &Request{}); err != nil || m.Rule() != nil {
		t.Errorf("zero request: got rule %v and %v", m.Rule(), err)
	}
}

func mustParse(t testing.TB, policy string) *Set {
	t.Helper()
	set, err := Parse(File{"policy.yaml", []byte(policy)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestExample(t *testing.T) {
	set, err := Load("examples/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rule := range set.Rules() {
		for _, pattern := range rule.Patterns {
			got = append(got, fmt.Sprintf("%d %s", rule.Access, pattern))
		}
	}
	want := []string{"1 /healthz", "1 GET /public/{path...}", "2 GET /users", "2 GET /users/{id}", "2 POST /users", "2 DELETE /users/{id}", "0 admin.example.com/{path...}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	set := mustParse(t, "version: 1\nrules: [{match: '/users/{id}', scopes: [a]}, {match: /plain}]")
	id := &Identity{Scopes: []string{"a"}}
	for target, want := range map[string]float64{"/users/42": 0, "/plain": 0} {
		r, err := NewRequest("GET", "example.com", target)
		if err != nil {
			t.Fatal(err)
		}
		decide := func() {
			m, err := set.Match("", &r)
			if d := m.Decide(id); err != nil || d.Code != Allowed {
				t.Error(d, err)
			}
		}
		if got := testing.AllocsPerRun(1000, decide); got != want {
			t.Errorf("%s: got %v allocations, want %v", target, got, want)
		}
	}
}

// TestMatchConcurrently: each match has its own values.
func TestMatchConcurrently(t *testing.T) {
	set := mustParse(t, "version: 1\nrules: [{match: '/users/{id}', when: path.id == identity.subject}, {match: '/redirect/', public: true}]")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			id := &Identity{Subject: fmt.Sprint("user", i)}
			for range 500 {
				if got := answer(set, "GET a /users/"+id.Subject+" sub="+id.Subject); got != "allowed /users/{id}" {
					t.Errorf("got %q", got)
				}
				if got := answer(set, "GET a /redirect sub="+id.Subject); got != "denied" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	group.Wait()
}
