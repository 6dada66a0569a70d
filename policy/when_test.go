package policy

import (
	"fmt"
	"strings"
	"testing"
)

func TestConditions(t *testing.T) {
	id := &Identity{
		Subject: "u1", Email: "u1@example.com", ClientID: "app", Issuer: "https://id.example", Provider: "kinde", Scopes: []string{"read:users", "admin"},
		Claims: map[string]any{"org_code": "org_1", "level": 3.0, "roles": []any{"editor"}, "none": nil, "flags": map[string]any{"beta": true}, "sub": "u1"},
	}
	tests := map[string]string{ // condition to "true", "false", or what the error has
		`path.id == "42" && path.rest == "x/y"`:                                  "true",
		`path.id == identity.subject`:                                            "false",
		`identity.subject == "u1" && identity.email.endsWith("@example.com")`:    "true",
		`identity.client_id == "app" && identity.issuer == "https://id.example"`: "true",
		`identity.provider == "kinde"`:                                           "true",
		`"admin" in identity.scopes`:                                             "true",
		`"Admin" in identity.scopes`:                                             "false",
		`identity.claims.org_code == "org_1"`:                                    "true",
		`identity.claims["org_code"] == "org_2"`:                                 "false",
		`identity.claims.level == 3 && identity.claims.level >= 2`:               "true",
		`identity.claims.level > 3`:                                              "false",
		`"editor" in identity.claims.roles`:                                      "true",
		`identity.claims.roles.exists(r, r.startsWith("edit"))`:                  "true",
		`has(identity.claims.flags.beta) && identity.claims.flags.beta == true`:  "true",
		`has(identity.claims.missing)`:                                           "false",
		`has(identity.claims.missing) && identity.claims.missing == "x"`:         "false",
		`identity.claims.missing == "x"`:                                         "no such key: missing",
		`identity.claims.missing == "x" || true`:                                 "true",
		`identity.claims.none == null`:                                           "true",
		`identity.claims.org_code == 3`:                                          "false",
		`identity.claims.org_code > 3`:                                           "no such overload",
		`request.method == "GET" && request.host == "api.example.com"`:           "true",
		`request.path == "/u/42/x/y"`:                                            "true",
		`request.query["a"] == ["1", "2 3"] && !("b" in request.query)`:          "true",
		`request.query.a[0] == "1"`:                                              "true",
		`request.query.b[0] == "1"`:                                              "no such key: b",
		`request.headers["x-tenant"] == "org_1"`:                                 "true",
		`request.headers["x-missing"] == "org_1"`:                                "no such key: x-missing",
		`request.client_ip == "10.0.0.1"`:                                        "true",
		`identity.subject.upperAscii() == "U1"`:                                  "true",
		`identity.subject.matches("^u[0-9]$")`:                                   "true",
		`1 / (size(identity.scopes) - 2) == 1`:                                   "division by zero",
		`[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, a+b+c+d+e+size(path.id) > 0)))))`: "cost limit exceeded",
		`true`:  "true",
		`false`: "false",
	}
	for condition, want := range tests {
		t.Run(condition, func(t *testing.T) {
			set := mustParse(t, fmt.Sprintf("version: 1\nrules:\n  - match: '/u/{id}/{rest...}'\n    when: %q\n", condition))
			r, err := NewRequest("GET", "API.example.com:80", "/u/42/x/y?a=1&a=2+3")
			if err != nil {
				t.Fatal(err)
			}
			r.ClientIP, r.Headers = "10.0.0.1", map[string]string{"x-tenant": "org_1"}
			m, err := set.Match("", &r)
			if err != nil {
				t.Fatal(err)
			}
			d := m.Decide(id)
			got := fmt.Sprint(d.Code == Allowed)
			if d.Err != nil {
				got = d.Err.Error()
				if d.Code != AccessDenied || d.Reason == "" {
					t.Errorf("an error must deny, got %v", d)
				}
			}
			if got != want && (d.Err == nil || !strings.Contains(got, want)) {
				t.Errorf("got %q, want %q", got, want)
			}
			if d.Code != Allowed && d.Code != AccessDenied || d.Scopes != nil {
				t.Errorf("got %v", d)
			}
		})
	}
}

// TestConditionWithoutValues: an empty identity and request have empty values.
func TestConditionWithoutValues(t *testing.T) {
	set := mustParse(t, `
version: 1
rules:
  - match: /
    when: >-
      identity.subject == "" && size(identity.scopes) == 0 && size(identity.claims) == 0 && !has(identity.claims.x) &&
      size(request.headers) == 0 && size(request.query) == 0
`)
	if got := answer(set, "GET - / sub="); got != "allowed /" {
		t.Errorf("got %q", got)
	}
}

// TestConditionWithoutClient: a client that isn't known is inside of nothing and outside of nothing.
func TestConditionWithoutClient(t *testing.T) {
	set := mustParse(t, `
version: 1
rules:
  - {match: /equal, when: 'request.client_ip == ""'}
  - {match: /unequal, when: 'request.client_ip != "10.0.0.1"'}
  - {match: /not, when: '!request.client_ip.startsWith("10.")'}
  - {match: /size, when: 'size(request.client_ip) == 0'}
`)
	for _, path := range []string{"/equal", "/unequal", "/not", "/size"} {
		r, err := NewRequest("GET", "", path)
		if err != nil {
			t.Fatal(err)
		}
		match, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		if d := match.Decide(&Identity{}); d.Code != AccessDenied || d.Err == nil {
			t.Errorf("%s: got %v", path, d)
		}
	}
}

// TestConditionErrorsHaveNoValues: what a request brought may be a secret.
func TestConditionErrorsHaveNoValues(t *testing.T) {
	const secret = `s3cret "and\more` + "`\n"
	for condition, want := range map[string]string{
		`int(request.headers["x-key"]) > 3`:                         "type conversion error",
		`double(request.headers["x-key"]) > 3.0`:                    "type conversion error",
		`bool(request.headers["x-key"])`:                            "",
		`duration(request.headers["x-key"]) > duration("1s")`:       "",
		`timestamp(request.headers["x-key"]) > timestamp(0)`:        "",
		`identity.claims[request.headers["x-key"]] == "x"`:          "no such key",
		`request.headers[identity.claims.key] == "x"`:               "no such key",
		`"x".matches(request.headers["x-key"] + "(")`:               "regexp",
		`identity.claims.absent == request.headers["x-key"]`:        "no such key: absent",
		`request.headers["x-key"].charAt(1000) == "x"`:              "",
		`request.headers["x-key"].format([1]) == "%x"`:              "*",
		`("%s" + request.headers["x-key"]).format([]) == "x"`:       "",
		`request.headers["x-key"].substring(500) == identity.email`: "",
	} {
		set := mustParse(t, fmt.Sprintf("version: 1\nrules: [{match: /, when: %q}]", condition))
		r, err := NewRequest("GET", "a", "/")
		if err != nil {
			t.Fatal(err)
		}
		r.Headers = map[string]string{"x-key": secret}
		m, err := set.Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		d := m.Decide(&Identity{Claims: map[string]any{"key": secret}})
		switch {
		case d.Err == nil && want != "*":
			t.Errorf("%s: no error", condition)
		case d.Err == nil:
		case strings.Contains(d.Err.Error(), "s3cret") || strings.Contains(d.Err.Error(), "more"):
			t.Errorf("%s: the error has the value: %v", condition, d.Err)
		case want != "*" && !strings.Contains(d.Err.Error(), want):
			t.Errorf("%s: got %v, want %s", condition, d.Err, want)
		}
	}
}

// TestConditionOnMalformedQuery: a query that two parties could read
// differently makes the conditions that look at it fail, and no others.
func TestConditionOnMalformedQuery(t *testing.T) {
	set := mustParse(t, `
version: 1
rules:
  - {match: /looks, when: 'size(request.query) >= 0'}
  - {match: /looks-not, when: 'request.path == "/looks-not"'}
  - {match: /negated, when: '!("admin" in request.query)'}
`)
	for _, query := range []string{"a=%zz", "a;b", "%"} {
		for path, want := range map[string]string{"/looks": "denied /looks", "/negated": "denied /negated", "/looks-not": "allowed /looks-not"} {
			if got := answer(set, "GET a "+path+"?"+query+" sub=x"); got != want {
				t.Errorf("%s?%s: got %q, want %q", path, query, got, want)
			}
		}
	}
}

// TestConditionAfterScopes: what scopes refuse is not worth an evaluation, and
// its challenge must not depend on it.
func TestConditionAfterScopes(t *testing.T) {
	set := mustParse(t, `
version: 1
rules:
  - {match: /, scopes: [a, b], any_scopes: [c, d], when: 'identity.claims.x == "y"'}
`)
	for scopes, want := range map[string]string{
		"":      "scopes[a,b,c,d] /",
		"a,b":   "scopes[a,b,c,d] /",
		"a,c":   "scopes[a,b,c,d] /",
		"a,b,c": "denied /",
	} {
		if got := answer(set, "GET a / scopes="+scopes); got != want {
			t.Errorf("scopes %q: got %q, want %q", scopes, got, want)
		}
	}
}

// TestConditionAdvice checks that a mistake in a condition is told with what to write.
func TestConditionAdvice(t *testing.T) {
	for condition, want := range map[string]string{
		`identity.org_code == "a"`:             "identity.claims.org_code",
		`admin in identity.scopes`:             `write it in quotes: "admin"`,
		`request.headers.x-tenant == "a"`:      `request.headers["x-tenant"]`,
		`not ("a" in identity.scopes)`:         "did you mean !?",
		`path.id == "1" && not identity.email`: "did you mean !?",
		`identity.scopes.contains("a")`:        `"admin" in identity.scopes`,
		`identity.subjct == "a"`:               "did you mean identity.subject?",
		`identity.scopes == "a"`:               `"admin" in identity.scopes`,
		`identity.subject = path.id`:           "did you mean ==?",
		`true and identity.subject == "a"`:     "did you mean &&?",
		`true or identity.subject == "a"`:      "did you mean ||?",
	} {
		text := "version: 1\nrules:\n  - match: /{id}\n    when: '" + condition + "'\n"
		_, err := Parse(File{"p.yaml", []byte(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", condition, err, want)
		}
	}
}
