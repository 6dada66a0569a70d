package introspection_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/token"
	"scopeward/authz/token/introspection"
	"scopeward/authz/token/provider"
	"scopeward/internal/testenv/tokentest"
)

func options(idp *tokentest.Provider, audiences ...string) introspection.Options {
	return introspection.Options{
		URL:      idp.URL + tokentest.IntrospectionPath,
		ClientID: tokentest.ClientID, ClientSecret: tokentest.ClientSecret,
		Rules:  token.Rules{Provider: "idp", Issuer: idp.URL, Audiences: audiences},
		Client: provider.New(provider.Options{Timeout: 300 * time.Millisecond}),
	}
}

// outcome says in a word what became of a token.
func outcome(t *testing.T, id *token.Identity, err error) string {
	t.Helper()
	var invalid *token.InvalidError
	var unavailable *token.UnavailableError
	switch {
	case err == nil && id != nil:
		return "valid"
	case id == nil && errors.As(err, &invalid):
		return "invalid"
	case id == nil && errors.As(err, &unavailable):
		return "unknown"
	default:
		t.Errorf("got %v, %v", id, err)
		return ""
	}
}

func TestTheWholeWay(t *testing.T) {
	idp := tokentest.New(t)
	v := introspection.New(options(idp, tokentest.Audience))
	raw := idp.Mint(nil, nil)
	id, err := v.Verify(t.Context(), token.Parse(raw))
	if err != nil || id.Subject != tokentest.Subject || id.ClientID != "client-1" || !cmp.Equal(id.Scopes, []string{tokentest.Scope}) || time.Until(id.Expiry) < 50*time.Minute {
		t.Errorf("JWT: got %+v, %v", id, err)
	}
	idp.Opaque("opaque", map[string]any{"sub": "bob", "scope": "a b", "aud": tokentest.Audience, "exp": time.Now().Add(time.Hour).Unix()})
	id, err = v.Verify(t.Context(), token.Parse("opaque"))
	if err != nil || id.Subject != "bob" || !cmp.Equal(id.Scopes, []string{"a", "b"}) || time.Until(id.Expiry) < 50*time.Minute {
		t.Errorf("opaque: got %+v, %v", id, err)
	}
	idp.Revoke(raw)
	id, err = v.Verify(t.Context(), token.Parse(raw))
	if got := outcome(t, id, err); got != "invalid" {
		t.Errorf("revoked: %s", got)
	}
}

func TestAnswers(t *testing.T) {
	idp := tokentest.New(t)
	future, past := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"active":true,"aud":"api"}`, "valid"},
		{200, fmt.Sprintf(`{"active":true,"aud":["api"],"exp":%d,"iat":%d}`, future, past), "valid"},
		{200, fmt.Sprintf(`{"active":true,"aud":["api"],"exp":"%d","iat":"%d"}`, future, past), "valid"}, // Kinde
		{200, `{"active":true,"aud":"api","iss":"` + idp.URL + `"}`, "valid"},
		{200, `{"active":true,"aud":"api","token_type":"Bearer"}`, "valid"},

		{200, `{"active":false}`, "invalid"},
		{200, `{"active":false,"aud":"api","sub":"bob"}`, "invalid"},
		{200, fmt.Sprintf(`{"active":true,"aud":"api","exp":%d}`, past), "invalid"},
		{200, fmt.Sprintf(`{"active":true,"aud":"api","exp":"%d"}`, past), "invalid"},
		{200, fmt.Sprintf(`{"active":true,"aud":"api","nbf":"%d"}`, future), "invalid"},
		{200, fmt.Sprintf(`{"active":true,"aud":"api","iat":%d}`, future), "invalid"},
		{200, `{"active":true,"aud":"api","exp":"soon"}`, "invalid"},
		{200, `{"active":true,"aud":"api","exp":"1e99"}`, "invalid"},
		{200, `{"active":true,"aud":"api","exp":"-1"}`, "invalid"},
		{200, `{"active":true,"aud":"api","exp":""}`, "invalid"},
		{200, `{"active":true,"aud":"api","exp":null,"nbf":null,"iat":null,"sub":null,"iss":null,"email":["a@b.test"]}`, "valid"},
		{200, `{"active":true,"aud":"api","exp":0}`, "valid"}, {200, `{"active":true,"aud":"api","exp":"0"}`, "valid"},
		{200, `{"active":true,"aud":null}`, "invalid"},
		{200, `{"active":true,"aud":"api","cnf":{"jkt":"x"}}`, "invalid"}, {200, `{"active":true,"aud":"api","cnf":null}`, "invalid"},
		{200, `{"active":true,"aud":"api","token_type":"DPoP"}`, "invalid"}, {200, `{"active":true,"aud":"api","token_type":"Bearer"}`, "valid"},
		{200, `{"active":true,"aud":"api","token_use":"refresh_token"}`, "invalid"}, {200, `{"active":true,"aud":"api","token_usage":"refresh_token"}`, "invalid"},
		{200, `{"active":true,"aud":"api","token_use":"id_token"}`, "invalid"}, {200, `{"active":true,"aud":"api","token_type":"Refresh"}`, "invalid"},
		{200, `{"active":true,"aud":"api","token_type":"urn:ietf:params:oauth:token-type:refresh_token"}`, "invalid"},
		{400, `{"error":"unsupported_token_type"}`, "invalid"}, {400, `{"error":"invalid_request"}`, "unknown"}, {403, `<html>`, "unknown"},
		{200, `{"active":true,"aud":"api","exp":99999999999999}`, "invalid"},
		{200, `{"active":true}`, "invalid"}, // an audience is configured
		{200, `{"active":true,"aud":"other"}`, "invalid"},
		{200, `{"active":true,"aud":"api","iss":"` + idp.URL + `/"}`, "invalid"},
		{200, `{"active":true,"aud":"api","sub":7}`, "invalid"},
		{200, `{"active":true,"aud":"api","scope":7}`, "invalid"},
		{200, `{"active":true,"aud":"api","token_type":"refresh_token"}`, "invalid"},

		{200, `{"active":"true","aud":"api"}`, "unknown"},
		{200, `{"active":1,"aud":"api"}`, "unknown"},
		{200, `{"active":null}`, "unknown"},
		{200, `{"Active":true,"aud":"api"}`, "unknown"},
		{200, `{"active":false,"active":true,"aud":"api"}`, "unknown"},
		{200, `{}`, "unknown"}, {200, ``, "unknown"}, {200, `true`, "unknown"}, {200, `<html>`, "unknown"},
		{200, `{"active":true,"aud":"api"`, "unknown"},
		{201, `{"active":true,"aud":"api"}`, "unknown"},
		{400, `{"error":"invalid_request"}`, "unknown"},
		{401, `{"error":"invalid_client"}`, "unknown"}, // our credentials, not the token
		{403, ``, "unknown"}, {404, ``, "unknown"}, {429, ``, "unknown"}, {500, ``, "unknown"}, {503, ``, "unknown"},
	} {
		idp.Handle(tokentest.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		id, err := introspection.New(options(idp, "api")).Verify(t.Context(), token.Parse("opaque"))
		if got := outcome(t, id, err); got != c.want {
			t.Errorf("%d %s: %s (%v), want %s", c.status, c.body, got, err, c.want)
		}
	}
}

// What the answer leaves out is taken from a JWT; scopes come from one of both.
func TestAnswerAndJWT(t *testing.T) {
	idp := tokentest.New(t)
	type m = map[string]any
	for name, c := range map[string]struct {
		token  m
		answer string
		want   string
		sub    string
		scopes []string
	}{
		"Kinde's answer":                   {m{}, `{"active":true,"client_id":"c"}`, "valid", "alice", []string{"read:users"}},
		"the answer's scope wins":          {m{}, `{"active":true,"scope":"a"}`, "valid", "alice", []string{"a"}},
		"an empty scope wins":              {m{}, `{"active":true,"scope":""}`, "valid", "alice", nil},
		"scp of the answer against scope":  {m{}, `{"active":true,"scp":["a"]}`, "valid", "alice", []string{"a"}},
		"another subject":                  {m{}, `{"active":true,"sub":"mallory"}`, "invalid", "", nil},
		"a subject of another type":        {m{}, `{"active":true,"sub":["alice"]}`, "invalid", "", nil},
		"a machine token":                  {m{"sub": nil}, `{"active":true,"client_id":"c"}`, "valid", "", []string{"read:users"}},
		"the answer has another audience":  {m{}, `{"active":true,"aud":"other"}`, "invalid", "", nil},
		"only the answer has the audience": {m{"aud": nil}, `{"active":true,"aud":"` + tokentest.Audience + `"}`, "valid", "alice", []string{"read:users"}},
		"neither has an audience":          {m{"aud": nil}, `{"active":true}`, "invalid", "", nil},
		"the answer says expired":          {m{}, `{"active":true,"exp":1}`, "invalid", "", nil},
	} {
		idp.Handle(tokentest.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.answer) })
		id, err := introspection.New(options(idp, tokentest.Audience)).Verify(t.Context(), token.Parse(idp.Mint(c.token, nil)))
		if got := outcome(t, id, err); got != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		} else if got == "valid" && (id.Subject != c.sub || !cmp.Equal(id.Scopes, c.scopes)) {
			t.Errorf("%s: got %+v", name, id)
		}
	}
}

func TestJWTThatNobodyNeedsToBeAskedAbout(t *testing.T) {
	idp := tokentest.New(t)
	type m = map[string]any
	for name, raw := range map[string]string{
		"expired":          idp.Mint(m{"exp": 1}, nil),
		"another issuer":   idp.Mint(m{"iss": "https://evil.test"}, nil),
		"another audience": idp.Mint(m{"aud": "other"}, nil),
		"ID token":         idp.Mint(m{"at_hash": "x"}, nil),
		"none":             idp.Mint(nil, m{"alg": "NONE"}),
	} {
		id, err := introspection.New(options(idp, tokentest.Audience)).Verify(t.Context(), token.Parse(raw))
		if got := outcome(t, id, err); got != "invalid" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n := idp.Requests(tokentest.IntrospectionPath); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// A provider that closes an idle connection as a request goes out on it costs no answer.
func TestIdleConnectionIsReset(t *testing.T) {
	idp := tokentest.New(t)
	var seen sync.Map // addresses that asked before; each connection is served by a goroutine of its own
	idp.Handle(tokentest.IntrospectionPath, func(w http.ResponseWriter, r *http.Request) {
		if _, again := seen.LoadOrStore(r.RemoteAddr, true); again {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `{"active":true,"sub":"alice"}`)
	})
	v := introspection.New(options(idp))
	for range 3 {
		id, err := v.Verify(t.Context(), token.Parse("opaque"))
		if got := outcome(t, id, err); got != "valid" {
			t.Fatalf("%s: %v", got, err)
		}
	}
}

func TestFaultsAndSecrets(t *testing.T) {
	idp := tokentest.New(t)
	var log strings.Builder
	opts := options(idp)
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	opts.ClientSecret = "canary-secret"
	check := func(name string) {
		opts.Client = provider.New(provider.Options{Timeout: 300 * time.Millisecond}) // which has no memory of faults
		id, err := introspection.New(opts).Verify(t.Context(), token.Parse("canary-token"))
		if got := outcome(t, id, err); got != "unknown" {
			t.Errorf("%s: %s", name, got)
		}
		if strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("wrong secret")
	if !strings.Contains(log.String(), "client_secret") {
		t.Errorf("the log does not say what to do: %s", log.String())
	}
	for _, fault := range []tokentest.Fault{
		tokentest.Down, tokentest.Error, tokentest.TooMany, tokentest.HTML, tokentest.Empty, tokentest.Truncated,
		tokentest.Huge, tokentest.Deep, tokentest.Redirect, tokentest.Slow, tokentest.Drip,
	} {
		idp.Fail("", fault)
		check(string(fault))
		idp.Release()
	}
	if n := idp.Elsewhere(); n != 0 {
		t.Error("the redirect was followed, with our secret")
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("log: %s", log.String())
	}
}

type answer string

func (a answer) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(a))), Request: req}, nil
}

func FuzzIntrospection(f *testing.F) {
	f.Add(`{"active":true,"aud":"api","exp":"9999999999","iat":"1","client_id":"c"}`)
	f.Add(`{"active":false}`)
	f.Add(`{"active":"true","sub":"a\r\nb","scope":"a b"}`)
	f.Add(`{"active":true,"active":false}`)
	f.Fuzz(func(t *testing.T, body string) {
		v := introspection.New(introspection.Options{
			URL: "https://idp.test/introspect", Rules: token.Rules{Issuer: "https://idp.test"},
			Client: provider.New(provider.Options{Transport: answer(body)}),
		})
		id, err := v.Verify(t.Context(), token.Parse("opaque"))
		if outcome(t, id, err) != "valid" {
			return
		}
		stated, err := token.ReadClaims([]byte(body))
		if active, _ := stated.Get("active"); err != nil || active != true || strings.ContainsAny(id.Subject+strings.Join(id.Scopes, ""), "\r\n\x00") {
			t.Fatalf("unsound identity %+v", id)
		}
	})
}

// What the answer does not state comes from the token; null states nothing.
func TestNullAndEmailOfBoth(t *testing.T) {
	idp := tokentest.New(t)
	type m = map[string]any
	for name, c := range map[string]struct {
		token         m
		answer, email string
		scopes        []string
	}{
		"null":                        {m{"email": "a@b.test"}, `{"active":true,"sub":null,"aud":null,"exp":null,"email":null}`, "a@b.test", []string{"read:users"}},
		"a scope of null is empty":    {nil, `{"active":true,"scope":null}`, "", nil},
		"the answer repeats it":       {m{"email": "a@b.test", "email_verified": false}, `{"active":true,"email":"a@b.test"}`, "", []string{"read:users"}},
		"another address, unverified": {m{"email": "x@b.test", "email_verified": false}, `{"active":true,"email":"a@b.test"}`, "", []string{"read:users"}},
		"null is not verified":        {m{"email": "a@b.test", "email_verified": true}, `{"active":true,"email_verified":null}`, "", []string{"read:users"}},
		"an odd scope":                {nil, `{"active":true,"scope":["a",7,"b c","PS Emeriti",null]}`, "", []string{"a"}},
	} {
		idp.Handle(tokentest.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.answer) })
		id, err := introspection.New(options(idp, tokentest.Audience)).Verify(t.Context(), token.Parse(idp.Mint(c.token, nil)))
		if err != nil || id.Email != c.email || !cmp.Equal(id.Scopes, c.scopes) || id.Subject != "alice" {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
	}
}

// That each token is inactive is said once, unless one was active.
func TestAllInactive(t *testing.T) {
	idp := tokentest.New(t)
	for name, c := range map[string]struct {
		first string
		want  int
	}{"all": {`{"active":false}`, 1}, "but one": {`{"active":true}`, 0}} {
		var log strings.Builder
		opts := options(idp)
		opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		v := introspection.New(opts)
		for i := range 20 {
			answer := `{"active":false}`
			if i == 0 {
				answer = c.first
			}
			idp.Handle(tokentest.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
			_, _ = v.Verify(t.Context(), token.Parse("opaque"))
		}
		if n := strings.Count(log.String(), "every token inactive"); n != c.want {
			t.Errorf("%s: said %d times: %s", name, n, log.String())
		}
	}
}

// Warnings are limited by class: a client can't flood the log.
func TestWarningsAreLimited(t *testing.T) {
	idp := tokentest.New(t)
	var log strings.Builder
	opts := options(idp)
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	v := introspection.New(opts)
	for i := range 50 {
		idp.Handle(tokentest.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			if i%2 == 0 {
				_, _ = io.WriteString(w, `{"error":"unsupported_token_type"}`)
			}
		})
		_, _ = v.Verify(t.Context(), token.Parse("opaque"))
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("the log has %d lines: %s", n, log.String())
	}
}
