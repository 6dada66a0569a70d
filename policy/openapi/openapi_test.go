package openapi

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

var update = flag.Bool("update", false, "write the policies of the test data anew")

// components has a scheme of each kind.
const components = `
components:
  securitySchemes:
    oauth: {type: oauth2, flows: {}}
    id: {type: openIdConnect, openIdConnectUrl: https://id.example.com}
    bearer: {type: http, scheme: Bearer}
    key: {type: apiKey, in: header, name: X-Key}
    basic: {type: http, scheme: basic}
    tls: {type: mutualTLS}
    broken: {scheme: bearer}
`

func document(t *testing.T, text string) *Document {
	t.Helper()
	d, err := Read("api.yaml", strings.NewReader(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func imported(t *testing.T, d *Document) string {
	t.Helper()
	made, err := d.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Parse(policy.File{Name: "policy.yaml", Data: made.Policy}); err != nil {
		t.Fatalf("%v\n%s", err, made.Policy)
	}
	return string(made.Policy)
}

// TestSecurity: what a security key becomes. The operation is GET /x, its rule
// is given without `- match:`; notes are the words after the position.
func TestSecurity(t *testing.T) {
	tests := map[string]struct{ top, security, rule, note string }{
		"one scope":                      {"", `[{oauth: [a]}]`, "scopes: [a]", ""},
		"all scopes of a scheme":         {"", `[{oauth: [b, a, b]}]`, "scopes: [a, b]", ""},
		"all schemes of a requirement":   {"", `[{oauth: [a], id: [b]}]`, "scopes: [a, b]", ""},
		"any valid token":                {"", `[{oauth: []}]`, "", ""},
		"bearer":                         {"", `[{bearer: []}]`, "", ""},
		"bearer with roles":              {"", `[{bearer: [a]}]`, "scopes: [a]", "taken as scopes"},
		"empty list":                     {"", `[]`, "public: true", ""},
		"empty requirement":              {"", `[{oauth: [a]}, {}]`, "public: true", ""},
		"alternatives of one":            {"", `[{oauth: [a]}, {oauth: [b]}]`, "any_scopes: [a, b]", ""},
		"alternatives in common":         {"", `[{oauth: [a, b]}, {oauth: [a, c]}]`, "scopes: [a] any_scopes: [b, c]", ""},
		"alternatives of several":        {"", `[{oauth: [a, b]}, {oauth: [c]}]`, `when: >- ("c" in identity.scopes) || ("a" in identity.scopes && "b" in identity.scopes)`, ""},
		"one that the other contains":    {"", `[{oauth: [a, b]}, {oauth: [a]}]`, "scopes: [a]", ""},
		"a token without scopes will do": {"", `[{oauth: [a]}, {bearer: []}]`, "", "do not matter"},
		"apiKey":                         {"", `[{key: []}]`, "deny: true", `"key" is apiKey in header X-Key`},
		"basic":                          {"", `[{basic: []}]`, "deny: true", `"basic" is http basic`},
		"mutualTLS":                      {"", `[{tls: []}]`, "deny: true", `"tls" is mutualTLS`},
		"a token and a key":              {"", `[{oauth: [a], key: []}]`, "deny: true", `"key" is apiKey`},
		"a token or a key":               {"", `[{oauth: [a]}, {key: []}]`, "scopes: [a]", `"key" is apiKey`},
		"an unknown scheme":              {"", `[{nothing: []}]`, "deny: true", `"nothing" is not defined`},
		"a broken scheme":                {"", `[{broken: []}]`, "deny: true", `cannot be read`},
		"no scope by RFC 6749":           {"", `[{oauth: ["a b"]}]`, "deny: true", `is no scope`},
		"an empty scope":                 {"", `[{oauth: [""]}]`, "deny: true", `is no scope`},
		"a number as scope":              {"", `[{oauth: [1]}]`, "deny: true", `is no scope`},
		"scopes that are no list":        {"", `[{oauth: a}]`, "deny: true", `are no list`},
		"no list":                        {"", `{oauth: [a]}`, "deny: true", `security is no list`},
		"null":                           {"security: []", `null`, "deny: true", `security is no list`},
		"a name instead of a mapping":    {"", `[oauth]`, "deny: true", `is no mapping`},
		"the document's":                 {"security: [{oauth: [a]}]", ``, "scopes: [a]", ""},
		"replaces the document's":        {"security: [{oauth: [a]}]", `[{oauth: [b]}]`, "scopes: [b]", ""},
		"opens the document's":           {"security: [{oauth: [a]}]", `[]`, "public: true", ""},
		"the document's public":          {"security: []", ``, "public: true", ""},
		"nothing anywhere":               {"", ``, "deny: true", `says anything about security`},
		"a reserved word":                {"", `[{oauth: ["true", "null", "a:b", "#c"]}]`, `scopes: ["#c", a:b, "null", "true"]`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := "openapi: 3.1.0\ninfo: {title: T, version: v}\n" + test.top + "\npaths:\n  /x:\n    get:\n      responses: {}\n"
			if test.security != "" {
				text += "      security: " + test.security + "\n"
			}
			d := document(t, text+components)
			made := imported(t, d)
			_, rule, _ := strings.Cut(made, "  - match: GET /x\n")
			rule, _, _ = strings.Cut(rule, "tests:\n")
			if got := strings.Join(strings.Fields(rule), " "); got != test.rule {
				t.Errorf("the rule is %q, want %q", got, test.rule)
			}
			notes := ""
			for _, n := range d.Operations[0].Notes {
				notes += n.Pos.String() + ": " + n.Message + "\n"
				if n.Pos.Line == 0 {
					t.Errorf("a note without its line: %v", n)
				}
			}
			if !strings.Contains(notes, test.note) || test.note == "" && notes != "" {
				t.Errorf("the notes are %q, want %q", notes, test.note)
			}
		})
	}
}

// TestPatterns: what servers and paths become.
func TestPatterns(t *testing.T) {
	tests := map[string]struct {
		servers, path string
		want          []string // patterns
		closed        bool
		note          string
	}{
		"no server":               {"", "/x", []string{"GET /x"}, false, ""},
		"empty list":              {"[]", "/x", []string{"GET /x"}, false, ""},
		"host and base":           {"[{url: https://api.example.com/v1/}]", "/x", []string{"GET api.example.com/v1/x"}, false, ""},
		"port and case":           {"[{url: https://API.example.com:8443}]", "/x", []string{"GET api.example.com/x"}, false, ""},
		"base only":               {"[{url: /v1}]", "/x", []string{"GET /v1/x"}, false, ""},
		"two":                     {"[{url: https://a.example}, {url: https://b.example/v1}]", "/x", []string{"GET a.example/x", "GET b.example/v1/x"}, false, ""},
		"two schemes of one":      {"[{url: https://a.example}, {url: http://a.example}]", "/x", []string{"GET a.example/x"}, false, ""},
		"variables, listed":       {`[{url: "https://{r}.example/{v}", variables: {r: {default: eu, enum: [eu, us]}, v: {default: v1}}}]`, "/x", []string{"GET eu.example/v1/x", "GET us.example/v1/x"}, false, `only its default "v1" is covered`},
		"a variable without":      {`[{url: "https://{r}.example"}]`, "/x", []string{"GET /x"}, true, "not defined"},
		"any label":               {`[{url: "https://{r}.example/v1", variables: {r: {default: eu}}}]`, "/x", []string{"GET {r}.example/v1/x"}, false, ""},
		"relative":                {"[{url: v1}]", "/x", []string{"GET /x"}, true, "relative to the place"},
		"one of two unreadable":   {"[{url: v1}, {url: /v2}]", "/x", []string{"GET /v2/x"}, false, "relative to the place"},
		"no address":              {`[{url: "https://a b"}]`, "/x", []string{"GET /x"}, true, "no address"},
		"parameters":              {"", "/u/{id}/{id2}", []string{"GET /u/{id}/{id2}"}, false, ""},
		"names that are no names": {"", "/u/{user-id}/{1}/{}", []string{"GET /u/{user_id}/{_1}/{parameter}"}, true, "without a name"},
		"the same name twice":     {"", "/u/{id}/{id}", []string{"GET /u/{id}/{id_2}"}, false, ""},
		"root":                    {"", "/", []string{"GET /{$}"}, false, ""},
		"slash at the end":        {"[{url: /v1}]", "/x/", []string{"GET /v1/x/{$}"}, false, ""},
		"part of a segment":       {"", "/r/{a}.{b}", []string{"GET /r/{a_b}"}, true, "a public rule has no condition"},
		"custom verb":             {"", "/r/{a}:go", []string{"GET /r/{a}"}, true, "a public rule has no condition"},
		"query":                   {"", "/r?action=a", []string{"GET /r"}, true, "a public rule has no condition"},
		"space":                   {"", "/a b", []string{"GET /a%20b"}, false, ""},
		"script":                  {"", "/é", []string{"GET /%C3%A9"}, false, ""},
		"no wildcards":            {"[{url: /*}]", "/:id/$metadata/<x>", []string{"GET /%2A/%3Aid/%24metadata/%3Cx%3E"}, false, ""},
		"dots":                    {"", "/a/../b", nil, false, "no request can match"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := "openapi: 3.0.0\ninfo: {title: T, version: v}\nsecurity: []\npaths:\n  " + quoted(test.path) + ":\n    get: {responses: {}}\n"
			if test.servers != "" {
				text += "servers: " + test.servers + "\n"
			}
			d := document(t, text)
			made, err := d.Policy()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, made.Rules[0].Patterns); diff != "" {
				t.Errorf("patterns (-want +got)\n%s", diff)
			}
			want := policy.AccessPublic
			if test.closed {
				want = policy.AccessDeny
			}
			if made.Rules[0].Access != want {
				t.Errorf("access is %d, want %d", made.Rules[0].Access, want)
			}
			if !strings.Contains(string(made.Policy), test.note) {
				t.Errorf("no comment says %q:\n%s", test.note, made.Policy)
			}
		})
	}
}

// TestConflicts: only operations that nothing can express are denied.
func TestConflicts(t *testing.T) {
	tests := map[string]struct {
		paths  string
		closed []string
		open   []string
	}{
		"crossing":           {`{"/a/{x}": {get: {}}, "/{y}/b": {get: {}}, /c: {get: {}}}`, nil, []string{"GET /a/{x}", "GET /{y}/b", "GET /c"}},
		"the same twice":     {`{"/a/{x}": {get: {}}, "/a/{y}": {get: {}, put: {}}}`, nil, []string{"GET /a/{x}", "GET /a/{y}", "PUT /a/{y}"}},
		"a verb beside":      {`{"/a/{x}": {get: {}, post: {}}, "/a/{x}:go": {post: {}}}`, nil, []string{"POST /a/{x}", "POST /a/{x}:go", "GET /a/{x}"}},
		"more specific":      {`{"/a/{x}": {get: {}}, "/a/b": {get: {}}}`, nil, []string{"GET /a/{x}", "GET /a/b"}},
		"HEAD against GET":   {`{"/a/{x}": {head: {}}, "/a/b": {get: {}}}`, nil, []string{"HEAD /a/{x}", "GET /a/b"}},
		"HEAD beside GET":    {`{"/a/{x}": {head: {}, get: {}}, "/a/b": {get: {}}}`, nil, []string{"HEAD /a/{x}", "GET /a/{x}", "GET /a/b"}},
		"by the query":       {`{"/a?x=1": {get: {}}, "/a?x=2": {get: {}}, /b: {get: {}}}`, []string{"GET /a?x=1", "GET /a?x=2"}, []string{"GET /b"}},
		"by the fragment":    {`{"/a#x": {get: {}}, "/a#y": {get: {}}, /b: {get: {}}}`, nil, []string{"GET /a#x", "GET /a#y", "GET /b"}},
		"three in a circle":  {`{"/a/{x}/{y}": {get: {}}, "/{x}/b/{y}": {get: {}}, "/{x}/{y}/c": {get: {}}}`, nil, []string{"GET /a/{x}/{y}", "GET /{x}/b/{y}", "GET /{x}/{y}/c"}},
		"somewhere else":     {`{/a: {$ref: "other.yaml#/x"}, /b: {get: {}}}`, []string{" /a"}, []string{"GET /b"}},
		"all and one method": {`{"/a/b": {$ref: "other.yaml#/x"}, "/a/{x}": {get: {}}}`, []string{" /a/b"}, []string{"GET /a/{x}"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := document(t, "openapi: 3.1.0\ninfo: {title: T, version: v}\nsecurity: []\npaths: "+test.paths+"\n")
			made, err := d.Policy()
			if err != nil {
				t.Fatal(err)
			}
			var closed, open []string
			for _, r := range made.Rules {
				for _, op := range r.own() {
					if r.Access != policy.AccessDeny {
						open = append(open, op.String())
						continue
					}
					closed = append(closed, op.String())
					if len(op.Notes) == 0 {
						t.Errorf("%s is closed without a word", op)
					}
				}
			}
			if diff := cmp.Diff([][]string{sorted(test.closed), sorted(test.open)}, [][]string{sorted(closed), sorted(open)}); diff != "" {
				t.Errorf("closed and open (-want +got)\n%s\n%s", diff, made.Policy)
			}
		})
	}
}

// TestHosts: ServeMux puts a pattern with a host before a path that is more
// concrete; a document does not. What an operation without a host asks for is
// asked for at the hosts of others too.
func TestHosts(t *testing.T) {
	const head = "openapi: 3.1.0\ninfo: {title: T, version: v}\npaths: "
	const one = `servers: [{url: "https://one.example"}]`
	tests := map[string]struct {
		paths string
		want  []string // patterns of all rules
	}{
		"concrete without a host": {
			`{"/k/{id}": {get: {security: [], ` + one + `}}, /k/secret: {get: {security: [{oauth: [a]}]}}}`,
			[]string{"GET one.example/k/{id}", "GET /k/secret", "GET one.example/k/secret"},
		},
		"concrete with a host": {
			`{"/k/{id}": {get: {security: [{oauth: [a]}]}}, /k/secret: {get: {security: [], ` + one + `}}}`,
			[]string{"GET /k/{id}", "GET one.example/k/secret"},
		},
		"apart": {
			`{"/k/{id}": {get: {security: [], ` + one + `}}, /l/secret: {get: {security: []}}, /k/x: {put: {security: []}}}`,
			[]string{"GET one.example/k/{id}", "GET /l/secret", "PUT /k/x"},
		},
		"two hosts": {
			`{"/k/{id}": {get: {security: [], servers: [{url: "https://one.example"}, {url: "https://two.example"}]}}, /k/secret: {get: {security: []}}}`,
			[]string{"GET one.example/k/{id}", "GET two.example/k/{id}", "GET /k/secret", "GET one.example/k/secret", "GET two.example/k/secret"},
		},
		"with and without a host": {
			`{/k: {get: {security: [], servers: [{url: /}, {url: "https://one.example"}]}}}`,
			[]string{"GET /k", "GET one.example/k"},
		},
		"below what was copied": {
			`{"/{x}/{y}/c": {get: {security: [], ` + one + `}}, "/{x}/b/c": {get: {security: []}}, "/a/b/c": {get: {security: []}}}`,
			[]string{"GET one.example/{x}/{y}/c", "GET /{x}/b/c", "GET one.example/{x}/b/c", "GET /a/b/c", "GET one.example/a/b/c"},
		},
		"crossing": { // what both are for asks for both
			`{"/k/{id}": {get: {security: [], ` + one + `}}, "/{x}/secret": {get: {security: [{oauth: [a]}]}}}`,
			[]string{"GET /{x}/secret", "GET one.example/k/secret", "GET one.example/k/{id}", "GET one.example/{x}/secret"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := document(t, head+test.paths+components)
			made, err := d.Policy()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range made.Rules {
				got = append(got, r.Patterns...)
				if len(r.Operations) > 1 && (r.Access != policy.AccessToken || !slices.Equal(r.Scopes, []string{"a"})) {
					t.Errorf("%v does not ask for what each asks for", r.Patterns)
				}
			}
			if diff := cmp.Diff(sorted(test.want), sorted(got)); diff != "" {
				t.Errorf("patterns (-want +got)\n%s", diff)
			}
		})
	}

	d := document(t, head+tests["concrete without a host"].paths+components)
	set, err := policy.Parse(policy.File{Name: "p", Data: []byte("version: 1\nrules:\n  - {match: \"GET one.example/k/{id}\", public: true}\n  - {match: GET /k/secret, scopes: [a]}\n")})
	if err != nil {
		t.Fatal(err)
	}
	findings, err := d.Drift(set, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != 1 || findings[0].Kind != WeakerRule || findings[0].Request != "GET https://one.example/k/secret" {
		t.Errorf("drift: got %v, want that the public rule is weaker", findings)
	}
	made := imported(t, d)
	for _, want := range []string{
		`{request: "GET /k/secret", scopes: [a], expect: allow}`,
		`{request: "GET https://one.example/k/secret", scopes: [a], expect: allow}`,
		`{request: "GET https://one.example/k/secret", scopes: [], expect: insufficient_scope}`,
	} {
		if !strings.Contains(made, want) {
			t.Errorf("no test %s:\n%s", want, made)
		}
	}
}

// TestBrokenReferences: a reference that leads nowhere costs what refers, and
// nothing else.
func TestBrokenReferences(t *testing.T) {
	made := imported(t, document(t, `openapi: 3.1.0
info: {title: T, version: v}
security: [{oauth: [a]}]
paths:
  /a: {get: {}}
  /b: {get: {security: [{nowhere: []}]}}
  /c: {get: {security: [{elsewhere: []}]}}
  /d: {get: {security: [{circle: []}]}}
  /e: {get: {security: [{alias: [b]}]}}
  /f: {$ref: "#/components/pathItems/f"}
  /g: {$ref: "#/components/pathItems/nowhere"}
components:
  pathItems:
    f: {get: {}}
  securitySchemes:
    nowhere: {$ref: "#/components/securitySchemes/missing"}
    elsewhere: {$ref: "other.yaml#/x"}
    circle: {$ref: "#/components/securitySchemes/circle"}
    alias: {$ref: "#/components/securitySchemes/a~1b%20c"}
    a/b c: {type: oauth2, flows: {}}
    oauth: {type: oauth2, flows: {}}
`))
	for _, want := range []string{
		"- match: GET /a\n    scopes: [a]\n",
		"api.yaml:16:21: the security scheme \"nowhere\" cannot be read: the reference \"#/components/securitySchemes/missing\" leads nowhere\n  - match: GET /b\n    deny: true\n",
		"api.yaml:17:23: the security scheme \"elsewhere\" cannot be read: the reference \"other.yaml#/x\" is not followed: put all files into one document first\n  - match: GET /c\n    deny: true\n",
		"api.yaml:18:20: the security scheme \"circle\" cannot be read: the reference \"#/components/securitySchemes/circle\" leads in a circle\n  - match: GET /d\n    deny: true\n",
		"- match: GET /e\n    scopes: [b]\n",
		"- match: GET /f\n    scopes: [a]\n",
		"api.yaml:11:14: the reference \"#/components/pathItems/nowhere\" leads nowhere\n  - match: /g\n    deny: true\n",
	} {
		if !strings.Contains(made, want) {
			t.Errorf("%q is missing:\n%s", want, made)
		}
	}
}

// TestReferences: what is referred to within the document counts, and merge
// keys bring their security with them.
func TestReferences(t *testing.T) {
	made := imported(t, document(t, `
openapi: 3.1.0
info: {title: T, version: v}
security: []
x-admin: &admin {security: [{oauth: [admin]}]}
paths:
  /a: {$ref: "#/components/pathItems/a"}
  /b: {get: {<<: *admin, summary: B}}
  /c: {get: *admin}
  /d: {get: {<<: [*admin, {security: []}]}}
  /e: {get: {<<: *admin, security: []}}
components:
  pathItems:
    a: {get: {security: [{alias: [read]}]}}
  securitySchemes:
    oauth: {type: oauth2, flows: {}}
    alias: {$ref: "#/components/securitySchemes/oauth"}
`))
	for _, want := range []string{
		"- match: GET /a\n    scopes: [read]\n", "- match: GET /b\n    scopes: [admin]\n", "- match: GET /c\n    scopes: [admin]\n",
		"- match: GET /d\n    scopes: [admin]\n", "- match: GET /e\n    public: true\n",
	} {
		if !strings.Contains(made, want) {
			t.Errorf("%q is missing:\n%s", want, made)
		}
	}
}

// TestInjection: text of a document can't become part of the policy.
func TestInjection(t *testing.T) {
	made := imported(t, document(t, `
openapi: 3.1.0
info: {title: "T\n  - match: /\n    public: true", version: "v\u2028rules:"}
paths:
  /a:
    get:
      operationId: "x\n    public: true"
      security: [{"s\n  - match: /b\n    public: true": []}]
  "/c\n  - match: /d": {get: {security: []}}
`))
	set, err := policy.Parse(policy.File{Name: "p", Data: []byte(made)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range set.Rules() {
		if r.Access != policy.AccessDeny {
			t.Errorf("a rule came in:\n%s", made)
		}
	}
}

// TestUnreadable: documents that are none say so, at their place.
func TestUnreadable(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "api.yaml:1:1: the file is empty"},
		"another":       {"a: b\n", "api.yaml: is no OpenAPI document: it does not say openapi: 3.0 to 3.2"},
		"binary":        {"\x00\xff\xfe", "api.yaml"},
		"a list":        {"[1]", "api.yaml"},
		"text":          {"hello", "api.yaml"},
		"a number":      {"openapi: 3.1", "api.yaml"},
		"no paths":      {"openapi: 3.1.0\ninfo: {title: T, version: v}\n", "api.yaml: has no operation"},
		"paths a list":  {"openapi: 3.1.0\ninfo: {title: T, version: v}\npaths: [a]\n", "api.yaml"},
		"no slash":      {"openapi: 3.1.0\npaths: {x: {get: {}}}\n", `api.yaml:2:9: path "x" does not start with a slash`},
		"swagger":       {"swagger: '2.0'\npaths: {}\n", "is Swagger 2.0"},
		"3.3":           {"openapi: 3.3.0\npaths: {}\n", "is OpenAPI 3.3.0"},
		"a key twice":   {"openapi: 3.1.0\npaths:\n  /a:\n    get:\n      security: [{oauth: []}]\n      security: []\n", "already defined"},
		"a path twice":  {"openapi: 3.1.0\npaths:\n  /a: {get: {security: []}}\n  /a: {put: {security: []}}\n", "already defined"},
		"alias bomb":    {"openapi: 3.1.0\n" + bomb + "paths: {/a: {get: {security: []}}}\n", ""},
		"deep":          {"openapi: 3.1.0\npaths: " + strings.Repeat("[", 20000), "api.yaml"},
		"merge circle":  {"openapi: 3.1.0\nx: &a {<<: *a}\npaths: {/a: {get: {<<: [*a, {<<: *a}], security: []}}}\n", ""},
		"tab":           {"openapi: 3.1.0\npaths:\n\t/a: {}\n", "api.yaml:3:1: a tab cannot indent YAML"},
		"alias circle":  {"openapi: 3.1.0\npaths: &p {/a: {get: *p}}\n", ""},
		"too large":     {strings.Repeat(" ", maxBytes+1), "is larger than 64 MiB"},
		"cut off JSON":  {`{"openapi": "3.1.0", "paths": {`, "api.yaml"},
		"two documents": {"openapi: 3.1.0\npaths: {/a: {get: {security: []}}}\n---\nopenapi: 3.1.0\n", "api.yaml:3:1: a second document starts here"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Read("api.yaml", strings.NewReader(test.text), Options{})
			var problems strictyaml.Problems
			switch {
			case err == nil && test.want == "":
				if _, err := d.Policy(); err != nil {
					t.Error(err)
				}
			case err == nil:
				t.Error("it is taken")
			case !errors.As(err, &problems) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n"):
				t.Errorf("got %T %q, want %q", err, err, test.want)
			}
		})
	}
}

// TestPublicDocuments: real documents become the policies beside them, and
// there is no drift between the two.
func TestPublicDocuments(t *testing.T) {
	for _, name := range []string{"asana.yaml", "spotify.yml", "adyen.json"} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			d, err := Read(name, f, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, golden := imported(t, d), filepath.Join("testdata", name+".policy")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			set, err := policy.Load(golden)
			if err != nil {
				t.Fatal(err)
			}
			findings, err := d.Drift(set, "")
			if err != nil || len(findings) > 0 {
				t.Errorf("drift from itself: %v %v", findings, err)
			}
		})
	}
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

// TestDriftByName: the rules of other policies are none of the one that is asked.
func TestDriftByName(t *testing.T) {
	d := document(t, "openapi: 3.1.0\npaths: {/a: {get: {security: [{oauth: [a]}]}}}\n"+components)
	set, err := policy.Parse(
		policy.File{Name: "main.yaml", Data: []byte("version: 1\nrules: [{match: GET /a, scopes: [a]}]\n")},
		policy.File{Name: "other.yaml", Data: []byte("version: 1\nname: other\nrules: [{match: /a, public: true}, {match: /b}]\n")},
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"":       nil,
		"main":   nil,
		"other":  {WeakerRule, RuleWithoutRoute},
		"nobody": {RouteWithoutRule},
	} {
		findings, err := d.Drift(set, name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range findings {
			got = append(got, f.Kind)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("policy %q (-want +got)\n%s", name, diff)
		}
	}
}

// TestWeaker: rules against a document that asks for the scope a, or b and c.
func TestWeaker(t *testing.T) {
	d := document(t, "openapi: 3.1.0\npaths: {/a: {get: {security: [{oauth: [a]}, {oauth: [b, c]}]}}, /k: {get: {security: [{key: []}]}}, /s: {get: {}}}\n"+components)
	for rule, want := range map[string]string{
		"match: GET /a, scopes: [a]":                                          "",
		"match: GET /a, scopes: [b, c, d]":                                    "",
		"match: GET /a, deny: true":                                           "",
		"match: GET /a, scopes: [b]":                                          "a token with the scope b passes",
		"match: GET /a, any_scopes: [a, b]":                                   "a token with the scope",
		"match: GET /a, public: true":                                         "it needs no token",
		"match: GET /a":                                                       "a token without scopes passes",
		`match: GET /a, when: '"a" in identity.scopes'`:                       "",
		`match: GET /a, scopes: [c], when: '"b" in identity.scopes'`:          "",
		`match: GET /a, when: 'identity.subject == "x"'`:                      "may pass (if the condition",
		`match: GET /a, when: '!("d" in identity.scopes)'`:                    "passes",
		`match: GET /a, scopes: [a], when: 'identity.claims.x == 1'`:          "",
		`match: GET /a, when: '"a" in identity.scopes && request.host != ""'`: "",
		"match: GET /a, scopes: [a], mode: audit":                             "audit mode",
		"match: GET /k, scopes: [a]":                                          "what no rule can check",
		"match: GET /k, deny: true":                                           "",
		"match: GET /s, public: true":                                         "",
		"match: GET /, scopes: [b]":                                           "GET /",
	} {
		set, err := policy.Parse(policy.File{Name: "p", Data: []byte("version: 1\nrules:\n  - {" + rule + "}\n")})
		if err != nil {
			t.Fatal(err)
		}
		findings, err := d.Drift(set, "")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range findings {
			if f.Kind == WeakerRule {
				got += f.Message + "\n"
			}
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", rule, got, want)
		}
	}
}

// TestMayAllow: a condition decides only by what it says of scopes, however it says so.
func TestMayAllow(t *testing.T) {
	for _, test := range []struct {
		when   string
		scopes []string
		want   bool
	}{
		{`"r" in .identity.scopes`, nil, false},
		{`"r" in identity.scopes && identity.claims.org == "x"`, []string{"r"}, true},
		{`"r" in identity.scopes && identity.claims.org == "x"`, []string{"w"}, false},
		{`!("w" in identity.scopes)`, []string{"w"}, true}, // a token without it
		{`!("w" in identity.scopes) && "r" in identity.scopes`, []string{"w"}, false},
		{`size(identity.scopes) == 0`, []string{"w"}, true},
		{`path.id == identity.subject`, nil, true},
		{`false && path.id == identity.subject`, nil, false},
	} {
		set, err := policy.Parse(policy.File{Name: "p.yaml", Data: fmt.Appendf(nil, "version: 1\nrules:\n  - {match: '/{id}', when: %q}\n", test.when)})
		if err != nil {
			t.Fatal(err)
		}
		request, err := policy.NewRequest("GET", "", "/x")
		if err != nil {
			t.Fatal(err)
		}
		match, err := set.Match("", &request)
		if err != nil {
			t.Fatal(err)
		}
		if got := mayAllow(match, test.scopes, nil); got != test.want {
			t.Errorf("%s with %q: got %t", test.when, test.scopes, got)
		}
	}
}
