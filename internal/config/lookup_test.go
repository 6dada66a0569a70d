package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scopeward/authz/token"
	"scopeward/authz/token/lookup"
)

// lookupText is a configuration with a lookup section of these lines.
func lookupText(lines string) []byte {
	return []byte("providers:\n  - name: a\n    issuer: https://a.example\n    validation: lookup\n    lookup:\n      " +
		strings.ReplaceAll(lines, "\n", "\n      ") + "\npolicy: p.yaml\n")
}

const goodLookup = "url: https://a.example/verify\nvalid: status == 200 && body.ok\nclaims: {sub: body.user}\n"

// TestLookupMistakes: what can't take effect, or can't be evaluated, is said at its place.
func TestLookupMistakes(t *testing.T) {
	for settings, want := range map[string]string{
		goodLookup: "",
		goodLookup + "method: POST\njson: {key: '{token}'}":                                               "",
		goodLookup + "json: {deep: [{key: 'a {token} b'}]}\nauth: bearer\ntoken: a":                       "",
		goodLookup + "form: {key: '{token}'}\nauth: client_secret_post\nclient_id: a\nclient_secret: b":   "",
		goodLookup + "query: {key: '{token}'}\nauth: client_secret_basic\nclient_id: a\nclient_secret: b": "",
		"valid: 'true'\nclaims: {sub: body.user}":                                                         `2:5: provider "a" has no lookup.url`,
		strings.Replace(goodLookup, "/verify", "/{token}", 1):                                             "6:12: lookup.url can't name {token}",
		strings.Replace(goodLookup, "https", "http", 1):                                                   "6:12: lookup.url: http:// sends tokens readable",
		goodLookup + "method: PUT":                                                                        `9:15: lookup.method is "PUT"; it must be one of GET, POST`,
		goodLookup + "method: POST":                                                                       "9:15: lookup sends the credential nowhere: write {token}",
		goodLookup + "json: {key: x}":                                                                     "lookup sends the credential nowhere",
		goodLookup + "json: {'{token}': x}":                                                               "lookup sends the credential nowhere",
		goodLookup + "auth: bearer\ntoken: a":                                                             "9:13: lookup sends the credential nowhere, since the Authorization header",
		goodLookup + "json: {key: '{token}'}\nform: {key: '{token}'}":                                     "lookup has json and form; keep one",
		goodLookup + "method: GET\njson: {key: '{token}'}":                                                "10:13: lookup.json and form have no effect with method: GET",
		goodLookup + "json: {key: '{token}'}\nauth: client_secret_post\nclient_id: a\nclient_secret: b":   "10:13: lookup.auth: client_secret_post says who Scopeward is in a form",
		goodLookup + "client_id: a":                                                                       "9:18: lookup.client_id has no effect with auth: none",
		goodLookup + "client_secret: a":                                                                   "9:22: lookup.client_secret has no effect with auth: none",
		goodLookup + "json: {key: '{token}'}\nauth: client_credentials\nclient_id: a\nclient_secret: b":   "lookup needs client_id and client_secret and token_url",
		"url: https://a.example/\nclaims: {sub: body.user}":                                               "lookup has no valid",
		"url: https://a.example/\nvalid: 'true'":                                                          "lookup has no claims",
		"url: https://a.example/\nvalid: status == 200 &&\nclaims: {sub: body.user}":                      "7:30: lookup.valid: not CEL: the expression ends too early",
		"url: https://a.example/\nvalid: status == code\nclaims: {sub: body.user}":                        "7:24: lookup.valid: unknown name code; known are body, status",
		"url: https://a.example/\nvalid: status\nclaims: {sub: body.user}":                                "7:14: lookup.valid: gives int, not bool",
		"url: https://a.example/\nvalid: body.ok\nclaims: {sub: body.user, scope: body.scopes.split( }":   "8:57: lookup.claims.scope: not CEL",
		"url: https://a.example/\nvalid: body.ok\nclaims: {sub: '1 + \"x\"'}":                             "8:24: lookup.claims.sub: + cannot be applied to (int, string)",
		"url: https://a.example/\nvalid: body.ok\nclaims: {sub: identity.subject}":                        "unknown name identity",
		goodLookup + "json: {key: '{token}', own: '${HOME}'}":                                             "9:13: lookup.json takes no ${NAME}",
		"url: https://a.example/\nvalid: body.ok\nclaims: {sub: body.x}\nunknown: 1":                      `unknown key "unknown"`,
	} {
		_, err := loadText(t, lookupText(settings))
		if said := fmt.Sprint(err); want == "" && err != nil || want != "" && (!strings.Contains(said, want) || !strings.Contains(said, "scopeward.yaml:")) {
			t.Errorf("%s:\n%v, want %q", settings, err, want)
		}
	}
	_, err := loadText(t, []byte("providers: [{name: a, issuer: 'https://a.example', audiences: [b], lookup: {valid: 'true'}}]\npolicy: p.yaml\n"))
	if err == nil || !strings.Contains(err.Error(), "lookup has no effect with validation: jwks") {
		t.Error(err)
	}
}

// TestLookupSecrets: what is sent beside the credential may be a secret: it is read from its
// file, watched, shown nowhere, and another one is another provider.
func TestLookupSecrets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "own.key")
	read := func(secret string) *Config {
		t.Helper()
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, "scopeward.yaml")
		if err := os.WriteFile(config, lookupText(goodLookup+"query: {key: 'file:own.key', t: '{token}'}"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Read(Options{File: config})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, other := read("canary-1"), read("canary-2")
	if p := one.Providers[0]; p.Lookup.Request.Query["key"] != "canary-1" || p.Lookup.Request.Query["t"] != "{token}" || p.ID == other.Providers[0].ID {
		t.Errorf("%+v", p)
	}
	if shown, err := one.Shown(); err != nil || strings.Contains(fmt.Sprint(shown), "canary") {
		t.Errorf("%v, %v", shown, err)
	}
	if !slices.Contains(one.Watched(), file) {
		t.Errorf("%v are watched", one.Watched())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(Options{File: filepath.Join(dir, "scopeward.yaml")}); err == nil || !strings.Contains(err.Error(), "scopeward.yaml:9:20: the secret's file can't be read") {
		t.Error(err)
	}
}

// TestLookupMeaning: what expressions give is exact, or an error without anything of the
// answer; never valid.
func TestLookupMeaning(t *testing.T) {
	meaning := func(valid, claims string) lookup.Meaning {
		t.Helper()
		c, err := loadText(t, lookupText("url: https://a.example/\nvalid: >-\n  "+valid+"\nclaims:\n  "+claims))
		if err != nil {
			t.Fatal(err)
		}
		return c.Providers[0].Lookup.Meaning
	}
	answer := func(status int, body string) lookup.Answer {
		claims, err := token.ReadClaims([]byte(body))
		if err != nil {
			return lookup.Answer{Status: status}
		}
		return lookup.Answer{Status: status, Body: claims.Map()}
	}
	for _, test := range []struct {
		valid, body string
		want        bool
		fails       string
	}{
		{`status == 200 && body.ok`, `{"ok":true}`, true, ""},
		{`status == 200 && body.ok`, `{"ok":false}`, false, ""},
		{`status == 200 && body.ok`, `{}`, false, "no such key: ok"},
		{`status == 200 && body.ok`, `{"ok":"canary"}`, false, "no such overload"},
		{`status == 200 && body.ok`, `nothing`, false, "no such key: ok"},
		{`status == 404 && body.ok`, `nothing`, false, ""},
		{`body.ok`, `{"ok":1}`, false, "gives no bool"},
		{`body.ok`, `{"ok":null}`, false, "gives no bool"},
		{`body.?ok.orValue(false)`, `{}`, false, ""},
		{`int(body.n) > 1`, `{"n":"canary"}`, false, "type conversion error"},
		{`body[body.name]`, `{"name":"canary"}`, false, "no such key"},
		{`body.n == 9007199254740993`, `{"n":9007199254740993}`, true, ""},
		{`body.n == 9007199254740993`, `{"n":9007199254740992}`, false, ""},
		{`body.n > 1.5`, `{"n":2}`, true, ""},
		{`body.l.all(x, body.l.all(y, body.l.all(z, x != y + z)))`, `{"l":[` + strings.Repeat("1,", 500) + `1]}`, false, "cost"},
	} {
		good, err := meaning(test.valid, "{sub: body.s}").Valid(answer(200, test.body))
		if good != test.want || (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s of %.60s: %t, %v, want %t, %q", test.valid, test.body, good, err, test.want, test.fails)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows the answer: %v", err)
		}
	}
	for _, test := range []struct{ claims, body, want, fails string }{
		{`{sub: body.user.id, exp: int(timestamp(body.until)), scope: 'body.scopes.map(s, "api:" + s)'}`, `{"user":{"id":"u"},"until":"2030-01-01T00:00:00Z","scopes":["a","b"]}`,
			`{"exp":1893456000,"scope":["api:a","api:b"],"sub":"u"}`, ""},
		{`{sub: body.?user, client_id: body.?key.orValue("none"), org: body.org}`, `{"org":null}`, `{"client_id":"none","org":null}`, ""},
		{`{sub: string(body.id), n: body.n, o: body.o}`, `{"id":9007199254740993,"n":18446744073709551615,"o":{"a":[1,true,null,"x"]}}`,
			`{"n":18446744073709551615,"o":{"a":[1,true,null,"x"]},"sub":"9007199254740993"}`, ""},
		{`{sub: body.user}`, `{}`, "", "sub: no such key: user"},
		{`{sub: "timestamp(body.at)"}`, `{"at":"2030-01-01T00:00:00Z"}`, "", "sub: it is google.protobuf.Timestamp"},
		{`{sub: body.n}`, `{"n":1e400}`, "", "sub: no such key: n"},
		{`{sub: body.n}`, `{"n":18446744073709551616}`, "", "too large, or not exact"},
		{`{sub: "{1: 2}"}`, `{}`, "", "a key of it is int"},
	} {
		claims, err := meaning("true", test.claims).Claims(answer(200, test.body))
		got, _ := json.Marshal(claims)
		if test.fails == "" && string(got) != test.want || (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s of %s: %s, %v, want %s, %q", test.claims, test.body, got, err, test.want, test.fails)
		}
	}
}
