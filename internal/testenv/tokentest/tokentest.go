// Package tokentest is a fake identity provider for tests: a real HTTP server
// with real keys, and a switch for each fault.
package tokentest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"scopeward/authz/token"
)

// The paths that the provider serves.
const (
	KeysPath          = "/.well-known/jwks"
	ProfilePath       = "/oauth2/v2/user_profile"
	IntrospectionPath = "/oauth2/introspect"
	LookupPath        = "/lookup" // {"credential": …} as JSON; tells {"good": …, "claims": …}
)

// What good tokens and requests have.
const (
	Audience     = "https://api.example.com"
	Subject      = "alice"
	Scope        = "read:users"
	ClientID     = "scopeward"
	ClientSecret = "s3cret:with/odd+characters" // shows whether it is encoded as RFC 6749 §2.3.1 asks
)

// Provider is a fake identity provider. All methods may be called concurrently.
type Provider struct {
	URL string // also the issuer

	t         testing.TB
	elsewhere *httptest.Server

	mu       sync.Mutex
	keys     []key // the last one signs
	keyCount int
	document string // served instead of the keys if not empty
	tokens   map[string]map[string]any
	faults   map[string]Fault
	handlers map[string]http.Handler
	requests map[string]int
	release  chan struct{}
}

// New starts a provider with one RSA key. It stops when the test ends.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{
		t:        t,
		tokens:   map[string]map[string]any{},
		faults:   map[string]Fault{},
		handlers: map[string]http.Handler{},
		requests: map[string]int{},
		release:  make(chan struct{}),
	}
	p.Rotate()
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	p.URL = server.URL
	p.elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { p.count("elsewhere") }))
	t.Cleanup(func() {
		p.Release()
		server.CloseClientConnections()
		server.Close()
		p.elsewhere.Close()
	})
	return p
}

// Claims are those of a good token with these changes; a nil value removes a
// claim.
func (p *Provider) Claims(changes map[string]any) map[string]any {
	now := time.Now()
	return changed(map[string]any{
		"iss": p.URL, "aud": []string{Audience}, "sub": Subject, "scope": Scope,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}, changes)
}

// Decoded makes claims of a map, in which everything has a form in JSON.
func Decoded(claims map[string]any) token.Claims {
	c, err := token.NewClaims(claims)
	if err != nil {
		panic(err)
	}
	return c
}

// Mint signs a token with the current key. Both maps change what a good token
// has; a nil value removes a member. The provider knows the token from then on.
func (p *Provider) Mint(claims, header map[string]any) string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.Claims(claims)
	raw := p.keys[len(p.keys)-1].sign(p.t, changed(map[string]any{"typ": "JWT"}, header), all)
	p.tokens[raw] = all
	return raw
}

// Opaque registers a token that is no JWT, with what its profile and its
// introspection say.
func (p *Provider) Opaque(raw string, profile map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[raw] = maps.Clone(profile)
}

// Revoke makes the profile and introspection endpoints refuse the token.
func (p *Provider) Revoke(raw string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tokens, raw)
}

// Handle replaces what a path serves; nil brings it back.
func (p *Provider) Handle(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h == nil {
		delete(p.handlers, path)
		return
	}
	p.handlers[path] = h
}

// Requests is how often a path was asked for.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// Elsewhere is how often somebody followed the fault Redirect.
func (p *Provider) Elsewhere() int { return p.Requests("elsewhere") }

func (p *Provider) count(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[path]++
}

func changed(m, changes map[string]any) map[string]any {
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}
