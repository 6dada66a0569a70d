package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// issuer is a server whose answers a test writes. A path that it does not have is 404.
type issuer struct {
	*httptest.Server
	pages  atomic.Pointer[map[string]string] // a body, or a status of three digits
	visits atomic.Int64
}

func newIssuer(t *testing.T) *issuer {
	i := new(issuer)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.visits.Add(1)
		var page string
		if pages := i.pages.Load(); pages != nil {
			page = (*pages)[r.URL.Path]
		}
		var status int
		switch _, err := fmt.Sscanf(page, "%3d", &status); {
		case page == "":
			http.NotFound(w, r)
		case err == nil && len(page) == 3:
			w.WriteHeader(status)
		default:
			fmt.Fprint(w, strings.ReplaceAll(page, "ISSUER", i.URL))
		}
	}))
	t.Cleanup(i.Close)
	return i
}

const (
	oidc = "/.well-known/openid-configuration"
	as   = "/.well-known/oauth-authorization-server"
)

func (i *issuer) serve(pages map[string]string) { i.pages.Store(&pages) }

func TestLookup(t *testing.T) {
	for _, test := range []struct {
		name  string
		path  string // of the issuer
		pages map[string]string
		want  Metadata // JWKS and so on without the server's address
		fails string   // part of the error
	}{
		{name: "openid", pages: map[string]string{oidc: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys","userinfo_endpoint":"ISSUER/me"}`},
			want: Metadata{JWKS: "/keys", Userinfo: "/me"}},
		{name: "rfc 8414", pages: map[string]string{as: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys","introspection_endpoint":"ISSUER/in"}`},
			want: Metadata{JWKS: "/keys", Introspection: "/in"}},
		{name: "both", pages: map[string]string{
			oidc: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`,
			as:   `{"issuer":"ISSUER","jwks_uri":"ISSUER/other","introspection_endpoint":"ISSUER/in"}`,
		}, want: Metadata{JWKS: "/keys", Introspection: "/in"}},
		{name: "the second is broken", pages: map[string]string{oidc: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`, as: "500"},
			want: Metadata{JWKS: "/keys"}},
		{name: "a path", path: "/realms/a", pages: map[string]string{"/realms/a" + oidc: `{"issuer":"ISSUER/realms/a","jwks_uri":"ISSUER/keys"}`},
			want: Metadata{JWKS: "/keys"}},
		{name: "a path, rfc 8414", path: "/realms/a", pages: map[string]string{as + "/realms/a": `{"issuer":"ISSUER/realms/a","jwks_uri":"ISSUER/keys"}`},
			want: Metadata{JWKS: "/keys"}},
		{name: "a slash at the end", path: "/", pages: map[string]string{oidc: `{"issuer":"ISSUER/","jwks_uri":"ISSUER/keys"}`},
			want: Metadata{JWKS: "/keys"}},
		{name: "none", fails: "publishes no metadata"},
		{name: "another issuer", pages: map[string]string{oidc: `{"issuer":"https://evil.example","jwks_uri":"ISSUER/keys"}`},
			fails: `are of the issuer "https://evil.example"`},
		{name: "only the slash differs", pages: map[string]string{oidc: `{"issuer":"ISSUER/","jwks_uri":"ISSUER/keys"}`},
			fails: "write the issuer as the metadata do"},
		{name: "a web page", pages: map[string]string{oidc: `<html><title>Welcome</title>`}, fails: "is no metadata"},
		{name: "no issuer", pages: map[string]string{oidc: `{"jwks_uri":"ISSUER/keys"}`}, fails: "is no metadata"},
		{name: "a list", pages: map[string]string{oidc: `[]`}, fails: "is no metadata"},
		{name: "a fault", pages: map[string]string{oidc: "500"}, fails: "answers 500 instead of metadata"},
		{name: "forbidden", pages: map[string]string{oidc: "403"}, fails: "answers 403 instead of metadata"},
		{name: "huge", pages: map[string]string{oidc: `{"issuer":"ISSUER","x":"` + strings.Repeat("x", 2<<20) + `"}`}, fails: "larger than 1 MiB"},
		{name: "plain http elsewhere", pages: map[string]string{oidc: `{"issuer":"ISSUER","jwks_uri":"http://keys.example/k"}`},
			fails: "jwks_uri that is not used: it is not encrypted"},
		{name: "no URL", pages: map[string]string{oidc: `{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}`}, fails: "not a URL with https://"},
		{name: "a user name", pages: map[string]string{oidc: `{"issuer":"ISSUER","token_endpoint":"https://a:b@x.example/"}`}, fails: "user name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := newIssuer(t)
			i.serve(test.pages)
			m, err := Lookup(t.Context(), provider.New(provider.Options{MayBeAbsent: true}), i.URL+test.path, false)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("the error is %v", err)
				}
				if none := (*NoneError)(nil); errors.As(err, &none) != (test.name == "none") {
					t.Errorf("%v says that there are none", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct{ got, want string }{
				{m.JWKS, test.want.JWKS}, {m.Userinfo, test.want.Userinfo}, {m.Introspection, test.want.Introspection},
			} {
				if f.want != "" {
					f.want = i.URL + f.want
				}
				if f.got != f.want {
					t.Errorf("got %q, want %q", f.got, f.want)
				}
			}
		})
	}
}

func TestLookupRefusesIssuers(t *testing.T) {
	for _, issuer := range []string{"", "acme", "https://a.example/?x=1", "https://a.example/#x", "https://u:p@a.example"} {
		if _, err := Lookup(t.Context(), provider.New(provider.Options{MayBeAbsent: true}), issuer, false); err == nil {
			t.Errorf("%q is looked up", issuer)
		}
	}
}

// TestEndpointsOnThisMachine checks that a provider elsewhere can't make Scopeward ask
// this machine.
func TestEndpointsOnThisMachine(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"https://keys.example/k":         true,
		"https://127.0.0.1/k":            false,
		"https://127.1.2.3:8443/k":       false,
		"http://localhost:9192/k":        false,
		"https://LOCALHOST./k":           false,
		"https://a.localhost/k":          false,
		"https://[::1]/k":                false,
		"https://[::ffff:127.0.0.1]/k":   false,
		"https://0.0.0.0/k":              false,
		"http://keys.example/k":          false,
		"https://localhost.example/k":    true,
		"//keys.example/k":               false,
		"https://keys.example/k#x":       false,
		"https://keys.example:99999999/": true, // which net/http refuses
	} {
		if err := CheckEndpoint("https://issuer.example", endpoint, false); (err == nil) != good {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if err := CheckEndpoint("http://127.0.0.1:1", "http://[::1]:2/k", false); err != nil {
		t.Errorf("an issuer on this machine: %v", err)
	}
	if err := CheckEndpoint("http://idp.internal", "http://idp.internal/k", true); err != nil {
		t.Errorf("an insecure provider: %v", err)
	}
}

// clock is the time that a test sets.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c, start := new(clock), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.at.Store(&start)
	return c
}
func (c *clock) now() time.Time { return *c.at.Load() }
func (c *clock) pass(d time.Duration) {
	later := c.now().Add(d)
	c.at.Store(&later)
}

func TestSource(t *testing.T) {
	i, clock := newIssuer(t), newClock()
	s := New(Options{Issuer: i.URL, Client: provider.New(provider.Options{MayBeAbsent: true, Now: clock.now}), Now: clock.now})
	i.serve(map[string]string{oidc: "500"})
	for range 3 { // one look-up, however many ask
		if url, err := s.JWKS(t.Context()); err == nil || !unavailableError(err) || !strings.Contains(err.Error(), "jwks.url") {
			t.Fatalf("during a fault: %q, %v", url, err)
		}
	}
	if url, err := s.Introspection(t.Context()); err == nil {
		t.Errorf("after a fault a secret would go to %s", url)
	}
	if got := i.visits.Load(); got != 1 {
		t.Errorf("%d visits", got)
	}
	i.serve(map[string]string{oidc: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`})
	clock.pass(retryAfter)
	if url, err := s.JWKS(t.Context()); err != nil || url != i.URL+"/keys" {
		t.Errorf("%q, %v", url, err)
	}
	if url, err := s.Profile(t.Context()); err != nil || url != i.URL+"/oauth2/v2/user_profile" {
		t.Errorf("not named: %q, %v", url, err)
	}
	if _, err := s.Introspection(t.Context()); err == nil || !strings.Contains(err.Error(), "set introspection.url") {
		t.Errorf("no introspection is named: %v", err)
	}
	// A fault, a page of another issuer, and metadata that vanish: the endpoint stays.
	for _, pages := range []map[string]string{{oidc: "503"}, {oidc: `{"issuer":"https://evil.example","jwks_uri":"https://evil.example/k"}`}, {}} {
		i.serve(pages)
		clock.pass(time.Hour)
		if err := s.LookUp(t.Context()); err == nil {
			t.Errorf("%v is taken", pages)
		}
		if url, err := s.JWKS(t.Context()); err != nil || url != i.URL+"/keys" {
			t.Errorf("%v: %q, %v", pages, url, err)
		}
	}
	i.serve(map[string]string{oidc: `{"issuer":"ISSUER","jwks_uri":"ISSUER/new","token_endpoint":"ISSUER/token"}`})
	clock.pass(time.Hour)
	if err := s.LookUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if url, _ := s.JWKS(t.Context()); url != i.URL+"/new" {
		t.Errorf("after a change: %q", url)
	}
	if url, _ := s.Token(t.Context()); url != i.URL+"/token" {
		t.Errorf("token endpoint: %q", url)
	}
}

// TestWithoutMetadata checks that Kinde's places count where there are no metadata at all.
func TestWithoutMetadata(t *testing.T) {
	i := newIssuer(t)
	s := New(Options{Issuer: i.URL + "/", Client: provider.New(provider.Options{MayBeAbsent: true})})
	for want, find := range map[string]func(context.Context) (string, error){
		"/.well-known/jwks": s.JWKS, "/oauth2/v2/user_profile": s.Profile, "/oauth2/introspect": s.Introspection,
	} {
		if url, err := find(t.Context()); err != nil || url != i.URL+want {
			t.Errorf("%s: %q, %v", want, url, err)
		}
	}
	if _, err := s.Token(t.Context()); err == nil {
		t.Error("there is a token endpoint")
	}
}

// TestTooLate checks that a caller who can't wait leaves, and that the look-up goes on.
func TestTooLate(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		fmt.Fprintf(w, `{"issuer":"http://%s","jwks_uri":"http://%[1]s/k"}`, r.Host)
	}))
	defer server.Close()
	s := New(Options{Issuer: server.URL, Client: provider.New(provider.Options{MayBeAbsent: true})})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.JWKS(ctx); !unavailableError(err) {
		t.Errorf("the error is %v", err)
	}
	close(release)
	if url, err := s.JWKS(t.Context()); err != nil || url != server.URL+"/k" {
		t.Errorf("%q, %v", url, err)
	}
}

func unavailableError(err error) bool {
	unavailable := (*token.UnavailableError)(nil)
	return errors.As(err, &unavailable)
}

func FuzzMetadata(f *testing.F) {
	f.Add(`{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`)
	f.Add(`{"issuer":"https://evil.example","jwks_uri":"https://evil.example/keys"}`)
	f.Add(`<html>`)
	const issuer = "https://issuer.example"
	f.Fuzz(func(t *testing.T, body string) {
		client := provider.New(provider.Options{Transport: answer(strings.ReplaceAll(body, "ISSUER", issuer))})
		m, err := Lookup(t.Context(), client, issuer, false)
		if err != nil {
			return
		}
		if m.Issuer != issuer {
			t.Errorf("metadata of %q are taken", m.Issuer)
		}
		for _, url := range []string{m.JWKS, m.Userinfo, m.Introspection, m.Token, m.Device} {
			if url != "" && !strings.HasPrefix(strings.ToLower(url), "https://") {
				t.Errorf("%q is taken", url)
			}
		}
	})
}

// answer is a transport that always gets the same body.
type answer string

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.WriteString(string(a))
	return w.Result(), nil
}
