package idp

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is what one issuer keeps, in the shape that the library asks for: op.Storage, op.ClientCredentialsStorage,
// op.DeviceAuthorizationStorage, op.CanGetPrivateClaimsFromRequest.
type storage struct {
	noRedirects
	*state
	issuer string
	opaque bool
}

// The demo's one user is the one of Kinde's documentation.
const (
	Subject  = "kp_c3143a4b50ad43c88e541d9077681782"
	Audience = "https://api.demo.example"
	// TokenLifetime is how long an access token is good.
	TokenLifetime = time.Hour
)

func scopes() []string {
	return []string{"openid", "profile", "email", "read:users", "write:users", "admin"}
}

// granted narrows a request to the scopes that exist (RFC 6749 section 3.3).
func granted(requested []string) []string {
	return slices.DeleteFunc(slices.Clone(requested), func(s string) bool { return !slices.Contains(scopes(), s) })
}

func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	g := grant{Subject: r.GetSubject(), Audience: r.GetAudience(), Scopes: r.GetScopes(), Opaque: s.opaque, Issuer: s.issuer, Issued: time.Now()}
	if c, ok := r.(interface{ GetClientID() string }); ok {
		g.ClientID = c.GetClientID()
	}
	g.Expiry = g.Issued.Add(TokenLifetime)
	id, err := s.addToken(g)
	return id, g.Expiry, err
}

// GetPrivateClaimsFromRequest adds the scopes as Kinde does: a person's token has scp (an array), a machine's has scope (granted) and scp.
func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, r op.TokenRequest, _ []string) (map[string]any, error) {
	claims := map[string]any{"scp": r.GetScopes()}
	if r.GetSubject() == "" {
		claims["scope"] = strings.Join(r.GetScopes(), " ")
	} else {
		claims["email"] = user().Email
	}
	return claims, nil
}

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, requested []string) (op.TokenRequest, error) {
	return &grant{ClientID: id, Audience: []string{Audience}, Scopes: granted(requested)}, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	// The secret never changes while the provider runs, so it needs no lock.
	if id != MachineClient || subtle.ConstantTimeCompare([]byte(secret), []byte(s.data.Secret)) != 1 {
		return errors.New("unknown client or wrong secret")
	}
	return nil
}

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := newClient(id, s.opaque)
	if !ok {
		return nil, oidc.ErrInvalidClient().WithDescription("unknown client_id")
	}
	return c, nil
}

func (s *storage) StoreDeviceAuthorization(_ context.Context, clientID, deviceCode, userCode string, expires time.Time, requested []string) error {
	auto := clientID == AutoClient
	return s.change(func(d *stateData) error {
		for code, old := range d.Devices {
			if time.Now().After(old.State.Expires) {
				delete(d.Devices, code)
			} else if old.UserCode == userCode {
				return op.ErrDuplicateUserCode
			}
		}
		d.Devices[deviceCode] = device{UserCode: userCode, State: op.DeviceAuthorizationState{
			ClientID: clientID, Audience: []string{Audience}, Scopes: granted(requested), Expires: expires,
			Subject: Subject, Done: auto, AuthTime: time.Now()}}
		return nil
	})
}

// GetDeviceAuthorizatonState gives an approved device code out once (RFC 8628 section 3.5 leaves it to the server; RFC 6749 codes are single-use).
func (s *storage) GetDeviceAuthorizatonState(_ context.Context, clientID, deviceCode string) (*op.DeviceAuthorizationState, error) {
	var dev device
	err := s.change(func(d *stateData) error {
		var ok bool
		if dev, ok = d.Devices[deviceCode]; !ok || dev.State.ClientID != clientID {
			return errors.New("unknown device code")
		}
		if dev.State.Done {
			delete(d.Devices, deviceCode)
		}
		return nil
	})
	return &dev.State, err
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, _, _ string) error {
	g, err := s.token(tokenID, s.issuer)
	if err != nil {
		return err
	}
	if g.Subject == "" {
		return errors.New("a machine has no profile")
	}
	*info = *user()
	if g.Opaque {
		info.AppendClaims("scope", strings.Join(g.Scopes, " ")) // nobody can read it from such a token
	}
	return nil
}

func (s *storage) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, tokenID, _, _ string) error {
	g, err := s.token(tokenID, s.issuer)
	if err != nil {
		return err
	}
	answer.Subject, answer.ClientID, answer.Audience, answer.Scope = g.Subject, g.ClientID, g.Audience, g.Scopes
	answer.Issuer, answer.JWTID, answer.TokenType = s.issuer, tokenID, oidc.BearerToken
	answer.IssuedAt, answer.Expiration = oidc.FromTime(g.Issued), oidc.FromTime(g.Expiry)
	return nil
}

func (s *storage) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	err := s.change(func(d *stateData) error {
		delete(d.Tokens, id)
		return nil
	})
	if err != nil {
		return oidc.ErrServerError().WithParent(err)
	}
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	keys := s.keys()
	return keys[len(keys)-1], nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	var set []op.Key
	for _, k := range s.keys() {
		set = append(set, publicKey{k})
	}
	return set, nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s *storage) Health(context.Context) error { return nil }

// user is the success response of user_profile in Kinde's documentation, field by field.
func user() *oidc.UserInfo {
	return &oidc.UserInfo{
		Subject: Subject,
		UserInfoProfile: oidc.UserInfoProfile{
			Name: "John Snow", GivenName: "John", FamilyName: "Snow", UpdatedAt: 1612345678,
			Picture: "https://example.com/john_snow.jpg", PreferredUsername: "john_snow",
		},
		UserInfoEmail: oidc.UserInfoEmail{Email: "john.snow@example.com", EmailVerified: true},
		Claims:        map[string]any{"id": Subject, "provided_id": "some_external_id"},
	}
}
