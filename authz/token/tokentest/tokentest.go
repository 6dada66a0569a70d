// Package tokentest is a fake identity provider for tests: a real HTTP server
// with real keys, and a switch for each fault.
package tokentest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// The paths that the provider serves.
const (
	KeysPath          = "/.well-known/jwks"
	ProfilePath       = "/oauth2/v2/user_profile"
	IntrospectionPath = "/oauth2/introspect"
)

// The credentials that the introspection endpoint asks for.
const (
	ClientID     = "scopeward"
	ClientSecret = "s3cret:with/odd+characters"
)

// Fault is a way to fail.
type Fault string

// The faults. The empty one is none.
const (
	Down      Fault = "down"      // the connection is closed without an answer
	Error     Fault = "error"     // 500
	TooMany   Fault = "too many"  // 429 with Retry-After: 7
	HTML      Fault = "html"      // 200 with a web page
	Empty     Fault = "empty"     // 200 without body
	Truncated Fault = "truncated" // the connection ends within the body
	Huge      Fault = "huge"      // 200 with 10 MiB of JSON
	Redirect  Fault = "redirect"  // 302 to another host
	Slow      Fault = "slow"      // no answer until Release, or until the client leaves
)

// Provider is a fake identity provider.
type Provider struct {
	URL string // also the issuer

	server *httptest.Server
	mu     sync.Mutex
}

// New starts a provider with one RSA key, which is stopped when the test ends.
func New(t testing.TB) *Provider {
	p := &Provider{}
	p.server = httptest.NewServer(http.NotFoundHandler())
	p.URL = p.server.URL
	t.Cleanup(p.server.Close)
	return p
}

// Claims are those of a good token of the user alice with these changes; a nil value removes a claim.
func (p *Provider) Claims(changes map[string]any) map[string]any { return maps.Clone(changes) }

// Mint signs a token with the current key. Both maps change the good defaults:
// a nil value removes a member.
func (p *Provider) Mint(claims, header map[string]any) string { return "" }

// Opaque registers a token that is no JWT, with the profile that it has.
func (p *Provider) Opaque(raw string, profile map[string]any) {}

// Revoke makes the profile and introspection endpoints find the token invalid.
func (p *Provider) Revoke(raw string) {}

// Rotate signs new tokens with a new key. The old keys stay published until Drop.
func (p *Provider) Rotate() {}

// Drop withdraws all published keys but the current one.
func (p *Provider) Drop() {}

// Fail sets the fault of a path; the empty path means every path.
func (p *Provider) Fail(path string, f Fault) {}

// Release answers all requests that Slow holds.
func (p *Provider) Release() {}

// Requests is how often a path was asked for.
func (p *Provider) Requests(path string) int { return 0 }
