package idp

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The clients that every issuer knows.
const (
	DeviceClient  = "demo-cli"     // public; device authorization flow, a person approves on the page that it names
	AutoClient    = "demo-auto"    // public; device authorization flow, approved at once
	MachineClient = "demo-machine" // confidential; client credentials and introspection
)

// client is an OAuth client (op.Client). What it leaves out is for flows with redirects.
type client struct {
	id     string
	grant  oidc.GrantType
	opaque bool
	skew   time.Duration
}

func newClient(id string, opaque bool) (client, bool) {
	switch id {
	case DeviceClient, AutoClient:
		return client{id: id, opaque: opaque, grant: oidc.GrantTypeDeviceCode}, true
	case MachineClient:
		return client{id: id, opaque: opaque, grant: oidc.GrantTypeClientCredentials}, true
	default:
		return client{}, false
	}
}

func (c client) GetID() string                      { return c.id }
func (c client) GrantTypes() []oidc.GrantType       { return []oidc.GrantType{c.grant} }
func (c client) ClockSkew() time.Duration           { return c.skew }
func (c client) IDTokenLifetime() time.Duration     { return TokenLifetime }
func (c client) RedirectURIs() []string             { return nil }
func (c client) PostLogoutRedirectURIs() []string   { return nil }
func (c client) ResponseTypes() []oidc.ResponseType { return nil }
func (c client) LoginURL(string) string             { return "" }
func (c client) DevMode() bool                      { return false }
func (c client) IsScopeAllowed(string) bool         { return true }
func (c client) IDTokenUserinfoClaimsAssertion() bool {
	return false
}

func (c client) ApplicationType() op.ApplicationType {
	if c.id == MachineClient {
		return op.ApplicationTypeWeb
	}
	return op.ApplicationTypeNative
}

func (c client) AuthMethod() oidc.AuthMethod {
	if c.id == MachineClient {
		return oidc.AuthMethodBasic
	}
	return oidc.AuthMethodNone
}

func (c client) AccessTokenType() op.AccessTokenType {
	if c.opaque {
		return op.AccessTokenTypeBearer
	}
	return op.AccessTokenTypeJWT
}

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { return same }

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return same }

func same(scopes []string) []string { return scopes }

// noRedirects refuses the parts of op.Storage for flows that the demo does not have: authorization code, refresh, sessions, JWT assertions.
type noRedirects struct{}

func errNoFlow() error {
	return oidc.ErrInvalidRequest().WithDescription("the demo provider has the device authorization flow and client credentials only")
}

func (noRedirects) CreateAuthRequest(context.Context, *oidc.AuthRequest, string) (op.AuthRequest, error) {
	return nil, errNoFlow()
}

func (noRedirects) AuthRequestByID(context.Context, string) (op.AuthRequest, error) {
	return nil, errNoFlow()
}

func (noRedirects) AuthRequestByCode(context.Context, string) (op.AuthRequest, error) {
	return nil, errNoFlow()
}

func (noRedirects) SaveAuthCode(context.Context, string, string) error { return errNoFlow() }

func (noRedirects) DeleteAuthRequest(context.Context, string) error { return errNoFlow() }

func (noRedirects) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNoFlow()
}

func (noRedirects) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNoFlow()
}

func (noRedirects) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (noRedirects) TerminateSession(context.Context, string, string) error { return nil }

func (noRedirects) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (noRedirects) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, errNoFlow()
}

func (noRedirects) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errors.New("no client of the demo has keys")
}

func (noRedirects) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNoFlow()
}
