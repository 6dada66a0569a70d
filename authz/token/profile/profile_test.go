package profile_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/token"
	"scopeward/authz/token/profile"
	"scopeward/authz/token/provider"
	"scopeward/internal/testenv/tokentest"
)

func newVerifier(idp *tokentest.Provider, audiences ...string) *profile.Verifier {
	return profile.New(profile.Options{
		URL:    idp.URL + tokentest.ProfilePath,
		Rules:  token.Rules{Provider: "idp", Issuer: idp.URL, Audiences: audiences},
		Client: provider.New(provider.Options{Timeout: 300 * time.Millisecond}),
	})
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

func TestJWTHasItsOwnClaims(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(map[string]any{"scope": nil, "scp": []string{"a", "b"}}, nil)
	id, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw))
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != tokentest.Subject || id.Issuer != idp.URL || id.Provider != "idp" ||
		!cmp.Equal(id.Scopes, []string{"a", "b"}) || id.Expiry.IsZero() || id.Email != "john.snow@example.com" {
		t.Errorf("got %+v", id)
	}
}

func TestOpaqueTokenIsItsProfile(t *testing.T) {
	idp := tokentest.New(t)
	for name, c := range map[string]struct {
		profile map[string]any
		subject string
		scopes  []string
		outcome string
	}{
		"without scope":       {map[string]any{"sub": "bob", "id": "bob"}, "bob", nil, "valid"},
		"with scope":          {map[string]any{"sub": "bob", "scope": "a b"}, "bob", []string{"a", "b"}, "valid"},
		"scp does not count":  {map[string]any{"sub": "bob", "scp": "a"}, "bob", nil, "valid"},
		"only id":             {map[string]any{"sub": "", "id": "bob"}, "bob", nil, "valid"},
		"no audience":         {map[string]any{"sub": "bob", "aud": 7}, "bob", nil, "valid"},
		"scope of no type":    {map[string]any{"sub": "bob", "scope": 7}, "", nil, "invalid"},
		"neither sub nor id":  {map[string]any{"sub": nil, "id": nil}, "", nil, "unknown"},
		"sub and id empty":    {map[string]any{"sub": "", "id": ""}, "", nil, "unknown"},
		"sub and id numbers":  {map[string]any{"sub": 7, "id": 7}, "", nil, "unknown"},
		"sub with line break": {map[string]any{"sub": "bob\nx: y"}, "", nil, "invalid"},
	} {
		idp.Opaque("opaque", c.profile)
		id, err := newVerifier(idp, "api").Verify(t.Context(), token.Parse("opaque"))
		if got := outcome(t, id, err); got != c.outcome {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.outcome)
		} else if got == "valid" && (id.Subject != c.subject || !cmp.Equal(id.Scopes, c.scopes) || !id.Expiry.IsZero()) {
			t.Errorf("%s: got %+v", name, id)
		}
	}
}

// TestMachines: a token of a client has no user whose profile it could be; the profile must
// name the client all the same, or any answer of 200 would do.
func TestMachines(t *testing.T) {
	idp := tokentest.New(t)
	type m = map[string]any
	for _, c := range []struct {
		token   m
		profile string
		outcome string
	}{
		{m{"sub": nil, "azp": "c"}, `{"aud":["c"],"iat":1,"iss":"i"}`, "valid"}, // Hydra's
		{m{"sub": "c", "client_id": "c"}, `{"aud":["c"]}`, "valid"},
		{m{"sub": nil, "azp": "c"}, `{"client_id":"c"}`, "valid"},
		{m{"sub": nil, "azp": "c"}, `{"sub":"c"}`, "valid"},
		{m{"sub": nil, "azp": "c"}, `{"id":"c"}`, "valid"},
		{m{"sub": nil, "azp": "c"}, `{}`, "invalid"},
		{m{"sub": nil, "azp": "c"}, `{"aud":["d"]}`, "invalid"},
		{m{"sub": nil, "azp": "c"}, `{"sub":"alice","aud":"c"}`, "invalid"},
		{m{"sub": "c", "azp": "c"}, `{"sub":"alice","aud":"c"}`, "invalid"},
		{m{"sub": "alice", "azp": "c"}, `{"aud":["c"]}`, "unknown"},
		{m{"sub": "alice", "azp": "c"}, `{"sub":"c"}`, "invalid"},
		{m{"sub": nil}, `{"aud":[""]}`, "invalid"},
		{m{"sub": nil, "azp": "c"}, `[]`, "unknown"},
	} {
		idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.profile) })
		id, err := newVerifier(idp, tokentest.Audience).Verify(t.Context(), token.Parse(idp.Mint(c.token, nil)))
		if got := outcome(t, id, err); got != c.outcome {
			t.Errorf("%v, %s: %s (%v), want %s", c.token, c.profile, got, err, c.outcome)
		}
	}
}

func TestOpaqueTokenHasItsEmail(t *testing.T) {
	idp := tokentest.New(t)
	idp.Opaque("opaque", map[string]any{"sub": "bob"})
	id, err := newVerifier(idp).Verify(t.Context(), token.Parse("opaque"))
	if err != nil || id.Email != "john.snow@example.com" || id.Claims()["family_name"] != "Snow" {
		t.Errorf("got %+v, %v", id, err)
	}
}

func TestJWTThatNobodyNeedsToBeAskedAbout(t *testing.T) {
	idp := tokentest.New(t)
	good := strings.Split(idp.Mint(nil, nil), ".")
	type m = map[string]any
	for name, raw := range map[string]string{
		"expired":            idp.Mint(m{"exp": 1}, nil),
		"no exp":             idp.Mint(m{"exp": nil}, nil),
		"another issuer":     idp.Mint(m{"iss": idp.URL + "/"}, nil),
		"another audience":   idp.Mint(m{"aud": "other"}, nil),
		"no subject":         idp.Mint(m{"sub": nil}, nil),
		"ID token":           idp.Mint(m{"at_hash": "x"}, nil),
		"logout token":       idp.Mint(nil, m{"typ": "logout+jwt"}),
		"crit":               idp.Mint(nil, m{"crit": []string{"x"}}),
		"none":               idp.Mint(nil, m{"alg": "none"}),
		"signature stripped": good[0] + "." + good[1] + ".",
		"padded":             strings.Join(good, ".") + "=",
		"JWE":                strings.Join(good, ".") + ".a.b",
	} {
		id, err := newVerifier(idp, tokentest.Audience).Verify(t.Context(), token.Parse(raw))
		if got := outcome(t, id, err); got != "invalid" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n := idp.Requests(tokentest.ProfilePath); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestProviderRefuses(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(nil, nil)
	idp.Revoke(raw)
	for _, raw := range []string{raw, "opaque"} {
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw))
		if got := outcome(t, id, err); got != "invalid" {
			t.Errorf("%.20s: %s", raw, got)
		}
	}
}

func TestSubjectMustBeTheProfiles(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(nil, nil)
	for body, want := range map[string]string{
		`{"sub":"alice"}`:                "valid",
		`{"id":"alice"}`:                 "valid",
		`{"sub":"mallory","id":"alice"}`: "invalid",
		`{"sub":["x"],"id":"alice"}`:     "unknown",
		`{"sub":null,"id":"alice"}`:      "valid",
		`{"sub":"alice","id":"x"}`:       "valid",
		`{"sub":"mallory"}`:              "invalid",
		`{"sub":"Alice"}`:                "invalid",
		`{"id":"mallory","name":"x"}`:    "invalid",
		`{"SUB":"alice"}`:                "unknown",
		`{"sub":["alice"]}`:              "unknown",
		`{"sub":"alice","sub":"alice"}`:  "unknown",
		`{"data":{"sub":"alice"}}`:       "unknown",
	} {
		idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw))
		if got := outcome(t, id, err); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func TestStatuses(t *testing.T) {
	idp := tokentest.New(t)
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"sub":"bob"}`, "valid"},
		{200, `{"error":"invalid_token"}`, "unknown"},
		{200, ``, "unknown"}, {200, `{}`, "unknown"}, {200, `null`, "unknown"}, {200, `[]`, "unknown"},
		{200, `"sub"`, "unknown"}, {200, `{"sub":"bob"`, "unknown"}, {200, `{"sub":"bob"}x`, "unknown"},
		{200, "{\"sub\":\"\xff\"}", "unknown"},
		{201, `{"sub":"bob"}`, "unknown"}, {204, ``, "unknown"}, {206, `{"sub":"bob"}`, "unknown"},
		{302, `{"sub":"bob"}`, "unknown"}, {304, ``, "unknown"},
		{401, ``, "invalid"}, {401, `<html>`, "invalid"}, {403, `{"error":"invalid_token"}`, "invalid"}, {403, ``, "unknown"}, {403, `<html>`, "unknown"}, {403, `{"error":"Forbidden"}`, "unknown"},
		{403, `{"error":"insufficient_scope"}`, "invalid"}, {404, `{"error":"invalid_token"}`, "invalid"}, {429, `{"error":"invalid_token"}`, "unknown"},
		{400, `{"error":"invalid_token"}`, "invalid"}, {400, `{"error":"invalid_request"}`, "unknown"}, {400, ``, "unknown"},
		{404, ``, "unknown"}, {407, ``, "unknown"}, {408, ``, "unknown"}, {429, ``, "unknown"},
		{500, `{"error":"invalid_token"}`, "unknown"}, {500, ``, "unknown"}, {502, ``, "unknown"}, {503, ``, "unknown"},
	} {
		idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse("opaque"))
		if got := outcome(t, id, err); got != c.want {
			t.Errorf("%d %s: %s, want %s", c.status, c.body, got, c.want)
		}
	}
}

func TestFaultsAreUnknownAndNeverCached(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(nil, nil)
	var log strings.Builder
	cache := token.NewCache(10, 0)
	validate := func() (token.Result, error) {
		v := profile.New(profile.Options{
			URL: idp.URL + tokentest.ProfilePath, Rules: token.Rules{Issuer: idp.URL},
			Client: provider.New(provider.Options{Timeout: 200 * time.Millisecond}), // which has no memory of faults
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		return token.NewValidator(token.Options{
			Providers: []token.Provider{{Name: "idp", Issuer: idp.URL, Verifier: v}}, Cache: cache,
		}).Validate(t.Context(), raw, nil)
	}
	for _, fault := range []tokentest.Fault{
		tokentest.Down, tokentest.Error, tokentest.TooMany, tokentest.HTML, tokentest.Empty, tokentest.Truncated,
		tokentest.Huge, tokentest.Deep, tokentest.Redirect, tokentest.Slow, tokentest.Drip,
	} {
		idp.Fail("", fault)
		r, err := validate()
		if got := outcome(t, r.Identity, err); got != "unknown" {
			t.Errorf("%s: %s", fault, got)
		}
		var unavailable *token.UnavailableError
		if errors.As(err, &unavailable) && fault == tokentest.TooMany && unavailable.RetryAfter != 7*time.Second {
			t.Errorf("RetryAfter is %v", unavailable.RetryAfter)
		}
		if strings.Contains(fmt.Sprint(err), raw) {
			t.Errorf("%s: the error contains the token: %v", fault, err)
		}
		idp.Release()
	}
	idp.Fail("", "")
	if r, err := validate(); err != nil || r.Cache != token.CacheMiss {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
	if n := idp.Elsewhere(); n != 0 {
		t.Error("the redirect was followed, with the token")
	}
	if s := log.String(); strings.Contains(s, raw) || !strings.Contains(s, "429") {
		t.Errorf("log: %s", s)
	}
}

type answer string

func (a answer) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(a))), Request: req}, nil
}

func FuzzProfile(f *testing.F) {
	f.Add(`{"sub":"alice","id":"alice","email":"a@b.test","scope":"a b"}`)
	f.Add(`{"error":"invalid_token","error_description":"The access token is invalid or expired"}`)
	f.Add(`{"sub":"a\r\nb","scope":["a","b c"]}`)
	f.Add(`{"id":7,"sub":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		v := profile.New(profile.Options{
			URL: "https://idp.test/profile", Rules: token.Rules{Issuer: "https://idp.test"},
			Client: provider.New(provider.Options{Transport: answer(body)}),
		})
		id, err := v.Verify(t.Context(), token.Parse("opaque"))
		if outcome(t, id, err) == "valid" && (id.Subject == "" || strings.ContainsAny(id.Subject+id.Email+strings.Join(id.Scopes, ""), "\r\n\x00")) {
			t.Fatalf("unsound identity %+v", id)
		}
	})
}

// What the token and the profile say of an address counts together.
func TestEmailIsNotVerifiedByRepeatingIt(t *testing.T) {
	idp := tokentest.New(t)
	type m = map[string]any
	for name, c := range map[string]struct {
		token         m
		profile, want string
	}{
		"repeated":                {m{"email": "a@b.test", "email_verified": false}, `{"sub":"alice","email":"a@b.test"}`, ""},
		"only said to be not":     {m{"email_verified": false}, `{"sub":"alice","email":"a@b.test"}`, ""},
		"verified by the profile": {m{"email_verified": false}, `{"sub":"alice","email":"a@b.test","email_verified":true}`, "a@b.test"},
		"taken back":              {m{"email": "a@b.test"}, `{"sub":"alice","email":"a@b.test","email_verified":false}`, ""},
		"only in the profile":     {nil, `{"sub":"alice","email":"a@b.test"}`, "a@b.test"},
		"a list in the profile":   {nil, `{"sub":"alice","email":["a@b.test"]}`, ""},
	} {
		idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.profile) })
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse(idp.Mint(c.token, nil)))
		if err != nil || id.Email != c.want {
			t.Errorf("%s: got %+v, %v, want %q", name, id, err, c.want)
		}
	}
}

func TestProfileOfABoundToken(t *testing.T) {
	idp := tokentest.New(t)
	idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"sub":"alice","cnf":{"jkt":"x"}}`)
	})
	for _, raw := range []string{"opaque", idp.Mint(nil, nil)} {
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw))
		if got := outcome(t, id, err); got != "invalid" {
			t.Errorf("%.10s: %s", raw, got)
		}
	}
}

func TestChallengesThatRefuse(t *testing.T) {
	idp := tokentest.New(t)
	for challenge, want := range map[string]string{
		`Bearer error="invalid_token"`: "invalid", `bearer`: "invalid", `Basic realm="a, b", Bearer realm="x"`: "invalid", `DPoP algs="ES256"`: "invalid",
		`Basic realm="firewall"`: "unknown", `Bearerish`: "unknown", "": "unknown",
	} {
		idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<html>")
		})
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse("opaque"))
		if got := outcome(t, id, err); got != want {
			t.Errorf("%s: %s, want %s", challenge, got, want)
		}
	}
}

// A 404 names the URL and the setting, once in the log however often it comes, and the
// provider is not up.
func TestWrongURL(t *testing.T) {
	idp := tokentest.New(t)
	var log strings.Builder
	client := provider.New(provider.Options{})
	v := profile.New(profile.Options{
		URL: idp.URL + "/nowhere", Rules: token.Rules{Issuer: idp.URL}, Client: client, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 3 {
		_, err := v.Verify(t.Context(), token.Parse("opaque"))
		if err == nil || !strings.Contains(err.Error(), idp.URL+"/nowhere") || !strings.Contains(err.Error(), "profile.url") {
			t.Errorf("got %v", err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("the log has %d lines: %s", n, log.String())
	}
	if up, reason := client.State(); up || !strings.Contains(reason, "/nowhere") {
		t.Errorf("up %v, %q", up, reason)
	}
}
