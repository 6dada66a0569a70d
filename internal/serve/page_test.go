package serve

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/internal/admin/page"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

const pagePolicy = `version: 1
rules:
  - match: GET /users/{id}
    scopes: [read:users]
    when: path.id == identity.subject
  - {match: /public, public: true}
`

// TestPageExplains: the form's answer is that of policy explain, and of a token that of
// the server's own verification; the token is nowhere in it.
func TestPageExplains(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	config := corpus.Configure(t, t.TempDir(), "jwks", idp, map[string]any{"rate_limit": map[string]any{"max": 1}}, map[string]string{"policy.yaml": pagePolicy})
	s, _ := startService(t, config)
	admin := s.newAdmin().Handler
	good := idp.Mint(map[string]any{"sub": "42"}, nil)
	forged := good[:len(good)-8] + "AAAAAAAA"
	for _, test := range []struct {
		name           string
		question       page.Question
		status         int
		code, verdict  string
		texts          []string
		challengeParts string
	}{
		{"no token", page.Question{Method: "GET", URL: "/users/42"}, 200, "missing_token", "", []string{"401 Unauthorized", "policy.yaml:3:5"}, "Bearer"},
		{"scopes", page.Question{Method: "GET", URL: "https://api.example.com/users/42", Valid: true, Scopes: []string{"read:users"}, Claims: []string{"sub=42"}}, 200, "allow", "", []string{"is allowed"}, ""},
		{"another's", page.Question{Method: "GET", URL: "/users/43", Valid: true, Scopes: []string{"read:users"}, Claims: []string{"sub=42"}}, 200, "access_denied", "", []string{`identity.subject is "42"`}, ""},
		{"no scope", page.Question{Method: "GET", URL: "/users/42", Valid: true}, 200, "insufficient_scope", "", []string{"read:users"}, "insufficient_scope"},
		{"a good token", page.Question{Method: "GET", URL: "/users/42", Token: good}, 200, "allow", "accepted", nil, ""},
		{"again, beyond the rate limit", page.Question{Method: "GET", URL: "/users/43", Token: " Bearer " + good + "\n"}, 200, "access_denied", "accepted", nil, ""},
		{"a forged token", page.Question{Method: "GET", URL: "/users/42", Token: forged}, 200, "invalid_token", "refused", []string{"signature"}, "invalid_token"},
		{"no token at all", page.Question{Method: "GET", URL: "/users/42", Token: "a b"}, 200, "invalid_request", "refused", nil, "invalid_request"},
		{"a public path", page.Question{Method: "GET", URL: "/public", Token: forged}, 200, "allow", "refused", nil, ""},
		{"no rule", page.Question{Method: "GET", URL: "/user/42"}, 200, "access_denied", "", []string{"GET /users/{id}"}, ""},
		{"no path", page.Question{Method: "GET", URL: "users"}, 400, "", "", []string{"neither a path nor"}, ""},
		{"no claim", page.Question{Method: "GET", URL: "/users/1", Valid: true, Claims: []string{"x"}}, 400, "", "", []string{`"claim must be name=value`}, ""},
		{"both", page.Question{Method: "GET", URL: "/users/1", Valid: true, Token: good}, 400, "", "", []string{"not both"}, ""},
	} {
		body, err := json.Marshal(test.question)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "http://127.0.0.1:9192/explain", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		var answer struct {
			Explanation struct {
				Code     string `json:"code"`
				Response struct {
					Challenge string `json:"www_authenticate"`
				} `json:"response"`
			} `json:"explanation"`
			Token struct {
				Verdict string `json:"verdict"`
			} `json:"token"`
		}
		text := w.Body.String()
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v: %s", test.name, err, text)
		}
		if w.Code != test.status || answer.Explanation.Code != test.code || answer.Token.Verdict != test.verdict || !strings.Contains(answer.Explanation.Response.Challenge, test.challengeParts) {
			t.Errorf("%s: %d %s", test.name, w.Code, text)
		}
		var plain map[string]any
		_ = json.Unmarshal(w.Body.Bytes(), &plain)
		shown, _ := plain["text"].(string)
		for _, want := range test.texts {
			if !strings.Contains(text, want) && !strings.Contains(shown, want) {
				t.Errorf("%s: %q is not in %s", test.name, want, text)
			}
		}
		if strings.Contains(text, good[len(good)-30:len(good)-8]) {
			t.Errorf("%s: the token is shown: %s", test.name, text)
		}
	}
}

// TestPageState: a broken edit shows with its place while what was good serves on, and
// rules keep their counts.
func TestPageState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", tokentest.New(t), nil, map[string]string{"policy.yaml": pagePolicy})
	s, _ := startService(t, config)
	client := connect(t, s.newFront(grpcOptions{}, newHealthService()))
	for range 3 {
		if _, err := client.Check(t.Context(), checkRequest(corpus.Request{Method: "GET", Target: "/users/1", Host: "api.example.com"}, "")); err != nil {
			t.Fatal(err)
		}
	}
	before := s.pageState()
	if !before.Ready || before.Policy.Rules != 2 || before.Decisions["missing_token"] != 3 || len(before.Providers) != 1 || before.Providers[0].Keys.Held != 1 ||
		before.Providers[0].Keys.Fault != nil || before.Limit.Max != 100 || len(before.Reload.Errors) != 0 {
		t.Errorf("%+v", before)
	}
	write := func(policy string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "policies", "policy.yaml"), []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		s.reload(t.Context(), func(func() error) {}, true)
	}
	write(strings.Replace(pagePolicy, "path.id", "path.di", 1))
	broken := s.pageState()
	if len(broken.Reload.Errors) != 1 || !strings.Contains(broken.Reload.Errors[0], "policy.yaml:5:11: condition: unknown name path.di") || broken.Reload.Failed.IsZero() {
		t.Errorf("broken: %+v", broken.Reload)
	}
	if broken.Policy != before.Policy {
		t.Errorf("broken: %+v, before: %+v", broken.Policy, before.Policy)
	}
	write(pagePolicy + "  - match: /new\n")
	after := s.pageState()
	if len(after.Reload.Errors) != 0 || after.Policy.Rules != 3 || !after.Policy.Loaded.After(before.Policy.Loaded) {
		t.Errorf("good again: %+v %+v", after.Policy, after.Reload)
	}
	rules := s.pageRules()
	if len(rules) != 4 || rules[0].Hits != 3 || rules[0].Denied != 3 || rules[0].When == "" || rules[1].Access != "public" || rules[2].Hits != 0 || rules[3].Place != "" {
		t.Errorf("rules: %+v", rules)
	}
	w := httptest.NewRecorder()
	s.newAdmin().Handler.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/state", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), after.Policy.Version) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
