package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outline writes a part and its parts, one line each.
func outline(b *strings.Builder, p Part, depth int) {
	value, err := json.Marshal(p.Value)
	if err != nil {
		value = []byte(err.Error())
	}
	if p.Err != nil {
		value = []byte("error: " + p.Err.Error())
	}
	fmt.Fprintf(b, "%d:%d %s%s%s = %s\n", p.Pos.Line, p.Pos.Column, strings.Repeat("  ", depth), p.Text, strings.TrimRight(" "+string(p.Op), " "), value)
	for _, part := range p.Parts {
		outline(b, part, depth+1)
	}
}

func TestExplain(t *testing.T) {
	set := mustParse(t, `version: 1
rules:
  - match: /u/{id}
    when: path.id == identity.subject || "admin" in identity.scopes && !(has(identity.claims.x))
  - match: /claims
    when: >-
      identity.claims.org == "ö" && identity.claims.none == "a" ||
      identity.claims.roles.exists(r, r.startsWith("ed")) && [1, size(identity.scopes)] == [1, 2]
  - match: /query
    when: request.query["a"][0] == "1" && request.headers[identity.email] == "s3cret" && int(identity.subject) > 3
  - match: /cost
    when: 'request.method == "GET" || [0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, a+b+c+d+e+size(request.path) > 0)))))'
  - match: /types
    when: 'timestamp("2020-01-01T00:00:00Z") < timestamp(identity.claims.at) ? duration("1s") > duration("0s") : false'
  - match: /none
`)
	id := &Identity{Subject: "u1", Email: "e@example.com", Scopes: []string{"a", "admin"}, Claims: map[string]any{"org": "ö", "roles": []any{"editor"}, "at": "2021-01-01T00:00:00Z"}}
	for target, want := range map[string]string{
		"/u/42": `
4:11 path.id == identity.subject || "admin" in identity.scopes && !has(identity.claims.x) or = true
4:11   path.id == identity.subject = false
4:11     path.id = "42"
4:22     identity.subject = "u1"
4:42   "admin" in identity.scopes && !has(identity.claims.x) and = true
4:42     "admin" in identity.scopes = true
4:53       identity.scopes = ["a","admin"]
4:72     !has(identity.claims.x) not = true
4:74       has(identity.claims.x) = false
`,
		"/claims": `
7:7 identity.claims.org == "ö" && identity.claims.none == "a" || identity.claims.roles.exists(r, r.startsWith("ed")) && [1, size(identity.scopes)] == [1, 2] or = true
7:7   identity.claims.org == "ö" && identity.claims.none == "a" and = error: no such key: none
7:7     identity.claims.org == "ö" = true
7:7       identity.claims.org = "ö"
7:37     identity.claims.none == "a" = error: no such key: none
7:37       identity.claims.none = error: no such key: none
8:7   identity.claims.roles.exists(r, r.startsWith("ed")) && [1, size(identity.scopes)] == [1, 2] and = true
8:7     identity.claims.roles.exists(r, r.startsWith("ed")) = true
8:7       identity.claims.roles = ["editor"]
8:62     [1, size(identity.scopes)] == [1, 2] = true
8:62       [1, size(identity.scopes)] = [1,2]
8:66         size(identity.scopes) = 2
8:71           identity.scopes = ["a","admin"]
`,
		"/query?a=2": `
10:11 request.query["a"][0] == "1" && request.headers[identity.email] == "s3cret" && int(identity.subject) > 3 and = false
10:11   request.query["a"][0] == "1" = false
10:11     request.query["a"][0] = "2"
10:43   request.headers[identity.email] == "s3cret" = error: no such key
10:43     request.headers[identity.email] = error: no such key
10:59       identity.email = "e@example.com"
10:90   int(identity.subject) > 3 = error: type conversion error from 'string' to 'int'
10:90     int(identity.subject) = error: type conversion error from 'string' to 'int'
10:94       identity.subject = "u1"
`,
		"/cost": `
12:12 request.method == "GET" || [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(a, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(b, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(c, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(d, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(e, a + b + c + d + e + size(request.path) > 0))))) or = error: operation cancelled: actual cost limit exceeded
12:12   request.method == "GET" = true
12:12     request.method = "GET"
12:39   [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(a, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(b, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(c, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(d, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(e, a + b + c + d + e + size(request.path) > 0))))) = error: not evaluated
`,
		"/types": `
14:12 (timestamp("2020-01-01T00:00:00Z") < timestamp(identity.claims.at)) ? (duration("1s") > duration("0s")) : false = true
14:12   timestamp("2020-01-01T00:00:00Z") < timestamp(identity.claims.at) = true
14:12     timestamp("2020-01-01T00:00:00Z") = "2020-01-01T00:00:00Z"
14:48     timestamp(identity.claims.at) = "2021-01-01T00:00:00Z"
14:58       identity.claims.at = "2021-01-01T00:00:00Z"
14:80   duration("1s") > duration("0s") = true
14:80     duration("1s") = "1s"
14:97     duration("0s") = "0s"
`,
	} {
		r, err := NewRequest("GET", "a", target)
		if err != nil {
			t.Fatal(err)
		}
		m, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		part, ok := m.Explain(id)
		if !ok {
			t.Fatalf("%s has no condition", target)
		}
		var b strings.Builder
		outline(&b, part, 0)
		if diff := cmp.Diff(strings.TrimLeft(want, "\n"), b.String()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", target, diff)
		}
	}
}

// TestExplainNothing: where there is nothing to explain, it says so.
func TestExplainNothing(t *testing.T) {
	set := mustParse(t, "version: 1\nrules: [{match: /a, when: 'true'}, {match: /b, public: true}]")
	for _, c := range []struct {
		path string
		id   *Identity
		want bool
	}{{"/a", &Identity{}, true}, {"/a", nil, false}, {"/b", &Identity{}, false}, {"/c", &Identity{}, false}} {
		r, err := NewRequest("GET", "a", c.path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		if part, ok := m.Explain(c.id); ok != c.want {
			t.Errorf("%s: got %v", c.path, part)
		}
	}
}
