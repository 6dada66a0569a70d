package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/token"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/provider"
	"scopeward/internal/testenv/tokentest"
)

// endpoint is a server that answers with what a test says, and remembers what it was asked.
type endpoint struct {
	*httptest.Server
	status int
	body   string
	asked  atomic.Pointer[asked]
	visits atomic.Int32
}

type asked struct {
	method, authorization, kind, body string
	query                             url.Values
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{status: http.StatusOK}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.visits.Add(1)
		body, _ := io.ReadAll(r.Body)
		e.asked.Store(&asked{r.Method, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body), r.URL.Query()})
		if e.status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(e.status)
		fmt.Fprint(w, e.body)
	}))
	t.Cleanup(e.Close)
	return e
}

// meaning says what a body like that of many services means.
func meaning() Meaning {
	return Meaning{
		Valid: func(a Answer) (bool, error) {
			good, ok := a.Body["ok"].(bool)
			if a.Status != http.StatusOK {
				return false, nil
			}
			if !ok {
				return false, errors.New("no such key: ok")
			}
			return good, nil
		},
		Claims: func(a Answer) (map[string]any, error) {
			claims := map[string]any{}
			for _, name := range []string{"sub", "scope", "exp", "aud", "client_id"} {
				if v, ok := a.Body[name]; ok {
					claims[name] = v
				}
			}
			return claims, nil
		},
	}
}

func (e *endpoint) verifier(change func(*Options)) token.Verifier {
	o := Options{
		Request: Request{URL: e.URL}, Meaning: meaning(), Rules: token.Rules{Provider: "p", Issuer: "https://issuer.example"},
		Client: provider.New(provider.Options{NoRedirects: true, MayBeAbsent: true}),
	}
	if change != nil {
		change(&o)
	}
	if o.Request.Method == "" {
		o.Request.Method = http.MethodGet
	}
	return New(o)
}

// outcome names what Verify says.
func outcome(id *token.Identity, err error) string {
	var invalid *token.InvalidError
	var unavailable *token.UnavailableError
	switch {
	case err == nil && id != nil:
		return "valid"
	case errors.As(err, &invalid):
		return "invalid"
	case errors.As(err, &unavailable):
		return "unavailable"
	}
	return "a fault"
}

const canary = "canary+/=~.token"

func TestAnswers(t *testing.T) {
	basic := clientauth.New(clientauth.Options{ClientID: "c", Secret: "s"})
	for _, test := range []struct {
		status     int
		body       string
		want, own  string // where the token is the credential, and where Scopeward has its own
		wantReason string
	}{
		{200, `{"ok":true,"sub":"alice"}`, "valid", "valid", ""},
		{200, `{"ok":true,"sub":"alice","exp":"4102444800"}`, "valid", "valid", ""},
		{200, `{"ok":true,"sub":"alice","exp":0}`, "valid", "valid", ""},
		{200, `{"ok":false}`, "invalid", "invalid", "says that it is not valid"},
		{200, `{"ok":true,"sub":"alice","exp":1}`, "invalid", "invalid", "expired"},
		{200, `{"ok":true,"sub":["alice"]}`, "invalid", "invalid", "sub"},
		{200, `{"ok":"true","sub":"alice"}`, "unavailable", "unavailable", "lookup.valid does not fit the answer (200)"},
		{200, `{"error":"invalid"}`, "unavailable", "unavailable", "lookup.valid does not fit"},
		{200, `<html>Sign in</html>`, "unavailable", "unavailable", "cannot be read"},
		{200, ``, "unavailable", "unavailable", "cannot be read"},
		{200, `[{"ok":true}]`, "unavailable", "unavailable", "cannot be read"},
		{200, `{"ok":true,"ok":false,"sub":"alice"}`, "unavailable", "unavailable", "repeated"},
		{200, `{"ok":true,"sub":"alice","cnf":{}}`, "invalid", "invalid", "cnf"},
		{200, `{"ok":true,"sub":"alice","token_type":"refresh_token"}`, "invalid", "invalid", "refresh token"},
		{204, ``, "unavailable", "unavailable", "cannot be read"},
		{301, ``, "unavailable", "unavailable", "redirects, which is not followed"},
		{307, `{"ok":true,"sub":"alice"}`, "unavailable", "unavailable", "redirects, which is not followed"},
		{304, ``, "unavailable", "unavailable", "304"},
		{400, `{"error":"invalid_token"}`, "invalid", "invalid", ""},
		{401, `{"ok":true}`, "invalid", "unavailable", ""},
		{403, `nothing`, "invalid", "unavailable", ""},
		{404, `nothing`, "invalid", "invalid", ""},
		{429, `{"ok":true}`, "unavailable", "unavailable", "429"},
		{500, `{"ok":true}`, "unavailable", "unavailable", "500"},
		{503, `nothing`, "unavailable", "unavailable", "503"},
	} {
		e := newEndpoint(t)
		e.status, e.body = test.status, test.body
		query := func(o *Options) { o.Request.Query = map[string]string{"t": Placeholder} }
		for _, v := range []struct {
			token.Verifier
			want string
		}{
			{e.verifier(query), test.want},
			{e.verifier(func(o *Options) { query(o); o.Auth = basic }), test.own},
		} {
			id, err := v.Verify(t.Context(), token.Parse(canary))
			if got := outcome(id, err); got != v.want || err != nil && !strings.Contains(err.Error(), test.wantReason) {
				t.Errorf("%d %s: %s (%v), want %s, %q", test.status, test.body, got, err, v.want, test.wantReason)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), url.QueryEscape(canary))) {
				t.Errorf("the error shows the token: %v", err)
			}
		}
		if e.visits.Load() != 2 {
			t.Errorf("%d: asked %d times", test.status, e.visits.Load())
		}
	}
}

// TestPlaces: the credential is encoded for its place, and nowhere else.
func TestPlaces(t *testing.T) {
	e := newEndpoint(t)
	e.body = `{"ok":true,"sub":"alice"}`
	strange := `a"b\c&d=e+f` // which no Authorization header brings, but a cookie may
	for name, test := range map[string]struct {
		request Request
		auth    clientauth.Options
		want    asked
	}{
		"bearer": {Request{}, clientauth.Options{}, asked{method: "GET", authorization: "Bearer " + strange, query: url.Values{}}},
		"query": {
			Request{Query: map[string]string{"t": Placeholder, "x": "{y} & z"}}, clientauth.Options{},
			asked{method: "GET", query: url.Values{"t": {strange}, "x": {"{y} & z"}}},
		},
		"form": {
			Request{Method: "POST", Form: map[string]string{"t": Placeholder}}, clientauth.Options{Method: clientauth.Post, ClientID: "c", Secret: "s"},
			asked{method: "POST", kind: "application/x-www-form-urlencoded", body: url.Values{"t": {strange}, "client_id": {"c"}, "client_secret": {"s"}}.Encode(), query: url.Values{}},
		},
		"json": {
			Request{Method: "POST", JSON: map[string]any{"a": []any{map[string]any{"t": "key " + Placeholder}}, "n": int64(1)}}, clientauth.Options{Method: clientauth.Bearer, Token: "own"},
			asked{method: "POST", authorization: "Bearer own", kind: "application/json", body: `{"a":[{"t":"key a\"b\\c\u0026d=e+f"}],"n":1}`, query: url.Values{}},
		},
	} {
		v := e.verifier(func(o *Options) {
			test.request.URL, o.Request = e.URL, test.request
			o.Request.URL = e.URL
			if test.auth.Method != "" {
				o.Auth = clientauth.New(test.auth)
			}
		})
		if _, err := v.Verify(t.Context(), token.Parse(strange)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(&test.want, e.asked.Load(), cmp.AllowUnexported(asked{})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	v := e.verifier(func(o *Options) {
		o.Request = Request{URL: e.URL + "?fixed=1", Query: map[string]string{"t": Placeholder}}
	})
	if _, err := v.Verify(t.Context(), token.Parse("abc")); err != nil || e.asked.Load().query.Encode() != "fixed=1&t=abc" {
		t.Errorf("a URL with a query: %v, %v", e.asked.Load().query, err)
	}
}

// TestRules: what the answer states is checked like the claims of a token.
func TestRules(t *testing.T) {
	e := newEndpoint(t)
	for _, test := range []struct {
		body, want string
		change     func(*Options)
	}{
		{`{"aud":"api"}`, "valid", func(o *Options) { o.Rules.Audiences = []string{"api"} }},
		{`{"aud":"other"}`, "invalid", func(o *Options) { o.Rules.Audiences = []string{"api"} }},
		{`{}`, "invalid", func(o *Options) { o.Rules.Audiences = []string{"api"} }},
		{`{"client_id":"app"}`, "valid", func(o *Options) { o.Rules.Clients = []string{"app"} }},
		{`{"client_id":"other"}`, "invalid", func(o *Options) { o.Rules.Clients = []string{"app"} }},
		{`{}`, "invalid", func(o *Options) { o.Rules.Clients = []string{"app"} }},
		{`{}`, "unavailable", func(o *Options) {
			o.Meaning.Claims = func(Answer) (map[string]any, error) { return nil, errors.New("no such key: sub") }
		}},
		{`{}`, "unavailable", func(o *Options) { o.Meaning = Meaning{} }},
	} {
		e.body = `{"ok":true,"sub":"alice",` + strings.TrimPrefix(test.body, "{")
		e.body = strings.Replace(e.body, ",}", "}", 1)
		if id, err := e.verifier(test.change).Verify(t.Context(), token.Parse("t")); outcome(id, err) != test.want {
			t.Errorf("%s: %v, want %s", e.body, err, test.want)
		}
	}
	// What it is bound to counts, although Claims don't name it.
	e.body = `{"ok":true,"sub":"alice","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`
	if id, err := e.verifier(nil).Verify(t.Context(), token.Parse("t")); err != nil || id.Claims()["cnf"] == nil || id.Bound == nil {
		t.Errorf("%+v, %v", id, err)
	}
	e.body = `{"ok":true,"sub":"alice","scope":["read:users",7]}`
	id, err := e.verifier(nil).Verify(t.Context(), token.Parse("t"))
	if err != nil || id.Subject != "alice" || id.ScopeText() != "read:users" || id.Issuer != "https://issuer.example" {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestJWT: a JWT is checked before anybody is asked, and ends when it says; nothing else of
// it counts, since the configuration says which claims do.
func TestJWT(t *testing.T) {
	idp := tokentest.New(t)
	e := newEndpoint(t)
	e.body = `{"ok":true,"sub":"alice"}`
	v := e.verifier(func(o *Options) { o.Rules.Issuer = idp.URL })
	id, err := v.Verify(t.Context(), token.Parse(idp.Mint(map[string]any{"scope": "admin", "email": "root@acme.dev"}, nil)))
	if err != nil || id.ScopeText() != "" || id.Email != "" || id.Expiry.IsZero() || id.Claims()["scope"] != nil {
		t.Errorf("%+v, %v", id, err)
	}
	for _, raw := range []string{idp.Mint(map[string]any{"exp": 1}, nil), idp.Mint(map[string]any{"sub": "bob"}, nil), idp.Mint(map[string]any{"iss": "https://b.example"}, nil)} {
		if id, err := v.Verify(t.Context(), token.Parse(raw)); outcome(id, err) != "invalid" {
			t.Errorf("%+v, %v", id, err)
		}
	}
	if n := e.visits.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// TestOwnTokenIsRenewed: a 401 to a token of client_credentials gets another one.
func TestOwnTokenIsRenewed(t *testing.T) {
	var made atomic.Int32
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":"own-%d","expires_in":3600}`, made.Add(1))
	}))
	defer issuer.Close()
	e := newEndpoint(t)
	v := e.verifier(func(o *Options) {
		o.Request = Request{URL: e.URL, Method: "POST", JSON: map[string]any{"key": Placeholder}}
		o.Auth = clientauth.New(clientauth.Options{
			Method: clientauth.Credentials, ClientID: "c", Secret: "s", TokenURL: issuer.URL, Client: provider.New(provider.Options{}),
		})
	})
	for i, status := range []int{200, 401, 200} {
		e.status, e.body = status, `{"ok":true,"sub":"alice"}`
		_, err := v.Verify(t.Context(), token.Parse("t"))
		if own := e.asked.Load().authorization; own != fmt.Sprintf("Bearer own-%d", 1+i/2) || (err != nil) != (status == 401) {
			t.Errorf("%d: sent %s, %v", status, own, err)
		}
	}
}

// transport answers without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzLookup: whatever an endpoint answers, a credential is accepted only if the answer is
// 200 and a sound JSON object that says so; nothing of the credential is in an error.
func FuzzLookup(f *testing.F) {
	f.Add(200, `{"ok":true,"sub":"alice","scope":"a b","exp":"4102444800"}`)
	f.Add(200, `{"ok":true,"sub":null,"aud":["api"],"client_id":"c"}`)
	f.Add(404, `nothing`)
	f.Add(302, ``)
	f.Add(500, `{"ok":true}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		e := &endpoint{Server: &httptest.Server{URL: "https://lookup.example"}}
		v := e.verifier(func(o *Options) {
			o.Client = provider.New(provider.Options{NoRedirects: true, MayBeAbsent: true, Transport: transport(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			})})
		})
		id, err := v.Verify(context.Background(), token.Parse(canary))
		if (id == nil) == (err == nil) {
			t.Fatalf("%v and %v", id, err)
		}
		if err != nil {
			if outcome(id, err) == "a fault" || strings.Contains(err.Error(), "canary") {
				t.Fatal(err)
			}
			return
		}
		var object map[string]any
		if json.Unmarshal([]byte(body), &object) != nil || object["ok"] != true || status != 200 {
			t.Fatalf("%d %q is accepted", status, body)
		}
	})
}
