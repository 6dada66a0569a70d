package openapi

import (
	"strings"
	"testing"
	"testing/fstest"

	"scopeward/policy"
)

// asked imports a document and asks its policy.
func asked(t *testing.T, text string, options Options, requests map[string]string) *Import {
	t.Helper()
	d, err := Read("api.yaml", strings.NewReader(text), options)
	if err != nil {
		t.Fatal(err)
	}
	made, err := d.Policy()
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Parse(policy.File{Name: "p", Data: made.Policy})
	if err != nil {
		t.Fatalf("%v\n%s", err, made.Policy)
	}
	for request, want := range requests {
		fields := strings.Fields(request) // METHOD target [scope…] [provider=NAME]
		host, target := "api.example", fields[1]
		if rest, ok := strings.CutPrefix(target, "https://"); ok {
			at := strings.IndexByte(rest, '/')
			host, target = rest[:at], rest[at:]
		}
		r, err := policy.NewRequest(fields[0], host, target)
		if err != nil {
			t.Fatal(err)
		}
		m, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		id := &policy.Identity{}
		for _, word := range fields[2:] {
			if provider, ok := strings.CutPrefix(word, "provider="); ok {
				id.Provider = provider
			} else {
				id.Scopes = append(id.Scopes, word)
			}
		}
		got := "deny"
		switch {
		case m.DecideNobody().Code == policy.Allowed:
			got = "public"
		case m.Decide(id).Code == policy.Allowed:
			got = "allow"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s\n%s", request, got, want, made.Policy)
		}
	}
	findings, err := d.Drift(set, "")
	if err != nil || len(findings) > 0 {
		t.Errorf("drift of a document from its own policy: %v, %v\n%s", findings, err, made.Policy)
	}
	return made
}

const realHead = `openapi: 3.1.0
info: {title: T, version: v}
components:
  securitySchemes:
    oauth: {type: oauth2, flows: {}}
    key: {type: apiKey, in: header, name: X-Key}
    basic: {type: http, scheme: basic}
paths:
`

// TestRealForms: forms that public documents have.
func TestRealForms(t *testing.T) {
	tests := map[string]struct {
		text    string
		options Options
		want    map[string]string
	}{
		"crossing paths": {realHead + `
  /volumes/{id}/snapshots: {get: {security: [{oauth: [a]}]}}
  /volumes/snapshots/{id}: {get: {security: [{oauth: [b]}]}}
`, Options{}, map[string]string{
			"GET /volumes/1/snapshots a":           "allow",
			"GET /volumes/snapshots/1 b":           "allow",
			"GET /volumes/snapshots/1 a":           "deny",
			"GET /volumes/snapshots/snapshots a b": "allow", // it may be for either
			"GET /volumes/snapshots/snapshots a":   "deny",
			"GET /volumes/snapshots/snapshots b":   "deny",
		}},
		"fragments": {realHead + `
  /files#copy: {post: {security: [{oauth: [a]}]}}
  /files#move: {post: {security: [{oauth: [a]}]}}
  /x#one: {get: {security: [{oauth: [a]}]}}
  /x#two: {get: {security: [{oauth: [b]}]}}
`, Options{}, map[string]string{"POST /files a": "allow", "POST /files b": "deny", "GET /x a": "deny", "GET /x a b": "allow"}},
		"parts of segments": {realHead + `
  /c/{Sid}.json: {get: {security: [{oauth: [a]}]}}
  /c/{Sid}.xml: {get: {security: [{oauth: [b]}]}}
  /d/{a}-{b}: {get: {security: [{oauth: [a]}]}}
`, Options{}, map[string]string{
			"GET /c/1.json a": "allow", "GET /c/1.json b": "deny", "GET /c/1.xml b": "allow", "GET /c/1.xml a": "deny",
			"GET /c/1 a b": "deny", "GET /c/.json a": "deny", "GET /d/1-2 a": "allow", "GET /d/12 a": "deny", "GET /d/1- a": "deny",
		}},
		"queries": {realHead + `
  /q?action=list: {get: {security: [{oauth: [a]}]}}
  /q?action=wipe: {get: {security: [{oauth: [b]}]}}
`, Options{}, map[string]string{
			"GET /q?action=list a": "allow", "GET /q?action=wipe a": "deny", "GET /q?action=list&action=wipe a b": "deny", "GET /q a b": "deny",
		}},
		"a part that is public": {realHead + `
  /c/{Sid}.json: {get: {security: []}}
`, Options{}, map[string]string{"GET /c/1.json": "deny"}},
		"schemes": {realHead + `
  /key: {get: {security: [{key: []}]}}
  /basic: {get: {security: [{basic: []}]}}
  /either: {get: {security: [{key: []}, {oauth: [a]}]}}
  /both: {get: {security: [{key: [], oauth: [a]}]}}
`, Options{Schemes: map[string]string{"key": "keys"}}, map[string]string{
			"GET /key": "deny", "GET /key provider=keys": "allow", "GET /key provider=other": "deny", "GET /basic provider=keys": "deny",
			"GET /either a": "allow", "GET /either provider=keys": "allow", "GET /either": "deny", "GET /both a provider=keys": "deny",
		}},
		"any scope": {realHead + `  /x: {get: {security: [{oauth: [a, b]}]}}` + "\n", Options{Scopes: ScopesAny, Prefix: "api/"}, map[string]string{
			"GET /x api/a": "allow", "GET /x api/b": "allow", "GET /x a": "deny", "GET /x": "deny",
		}},
		"kinde": {realHead + `
  /users/{userId}: {get: {security: [{oauth: []}]}, delete: {security: [{oauth: []}]}}
  /open: {get: {security: []}}
`, Options{Scopes: ScopesKinde}, map[string]string{
			"GET /users/1 get:users_userid": "allow", "DELETE /users/1 get:users_userid": "deny", "DELETE /users/1 delete:users_userid": "allow", "GET /open": "public",
		}},
		"3.2": {strings.Replace(realHead, "3.1.0", "3.2.0", 1) + `
  /x: {query: {security: [{oauth: [a]}]}, additionalOperations: {COPY: {security: [{"#/components/securitySchemes/oauth": [b]}]}}}
`, Options{}, map[string]string{"QUERY /x a": "allow", "COPY /x b": "allow", "COPY /x a": "deny"}},
		"tenants": {realHead + `  /x: {get: {security: [{oauth: [a]}]}}
servers: [{url: "https://{tenant}.example.com/v1", variables: {tenant: {default: acme}}}]
`, Options{}, map[string]string{
			"GET https://acme.example.com/v1/x a": "allow", "GET https://evil.org/v1/x a": "deny", "GET https://a.b.example.com/v1/x a": "deny",
		}},
		"any host": {realHead + `  /x: {get: {security: [{oauth: [a]}]}}
servers: [{url: "https://{yourDomain}/v1"}]
`, Options{AnyHost: true}, map[string]string{"GET https://acme.org/v1/x a": "allow"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { asked(t, test.text, test.options, test.want) })
	}
}

// TestFiles: operations, path items and schemes in files below the folder of the document.
func TestFiles(t *testing.T) {
	files := fstest.MapFS{
		"paths/users.yml":    {Data: []byte("get: {$ref: 'ops/list.yml'}\npost: {$ref: '#/x-ops/create'}\nx-ops: {create: {security: [{oauth: [b]}]}}\n")},
		"paths/ops/list.yml": {Data: []byte("operationId: list\nsecurity: [{oauth: [a]}]\n")},
		"one.json":           {Data: []byte("{\"item\": {\n\t\"get\": {\"security\": [{\"oauth\": [\"a\\ud83d\\ude00\"]}, {\"oauth\": [\"c\"]}]}}}")},
		"twice.json":         {Data: []byte(`{"get": {"security": [], "security": [{"oauth": ["a"]}]}}`)},
	}
	text := realHead + `
  /users: {$ref: paths/users.yml}
  /json: {$ref: 'one.json#/item'}
  /out: {$ref: ../secret.yml}
  /far: {$ref: 'https://example.com/x.yml'}
  /none: {$ref: paths/none.yml}
`
	made := asked(t, text, Options{Files: files, Base: "api.yaml"}, map[string]string{
		"GET /users a": "allow", "POST /users a": "deny", "POST /users b": "allow", "GET /json c": "allow", "GET /json a": "deny",
		"GET /out a b": "deny", "GET /far a b": "deny", "GET /none a b": "deny",
	})
	for _, want := range []string{"one.json:2:34: \"a", "not in the folder of the document", "there is no such file"} {
		if !strings.Contains(string(made.Policy), want) {
			t.Errorf("no comment says %q:\n%s", want, made.Policy)
		}
	}
	_, err := Read("api.yaml", strings.NewReader(realHead+"  /x: {$ref: twice.json}\n"), Options{Files: files, Base: "api.yaml"})
	if err == nil || !strings.Contains(err.Error(), `twice.json:1:26: key "security" is already defined`) {
		t.Errorf("a key twice: got %v", err)
	}
	if _, err := Read("api.yaml", strings.NewReader(realHead+"  /x: {get: {}}\n"), Options{Schemes: map[string]string{"kye": "keys"}}); err == nil {
		t.Error("an unknown scheme is ignored")
	}
}
