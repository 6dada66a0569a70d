// Package profile validates a token by asking the provider for the profile of
// its user: the provider vouches for exactly this token by answering.
package profile

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// Options configure a [Verifier].
type Options struct {
	URL string // of the provider's user profile or userinfo endpoint
	// Rules are for tokens that are JWTs. Without Audiences any audience is good.
	Rules  token.Rules
	Client *provider.Client // default provider.New(provider.Options{})
	Logger *slog.Logger     // default: discard
}

// Verifier asks the provider about each token.
type Verifier struct {
	url    string
	rules  token.Rules
	client *provider.Client
	logger *slog.Logger
}

// New makes a verifier.
func New(opts Options) *Verifier {
	if opts.Client == nil {
		opts.Client = provider.New(provider.Options{})
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Rules.AnyAudience = len(opts.Rules.Audiences) == 0
	return &Verifier{opts.URL, opts.Rules, opts.Client, opts.Logger}
}

// Verify implements [token.Verifier]. A token that is a JWT has the claims that
// are in it, and must be the profile's; another one is its profile.
//
// There are three outcomes: 200 with a profile is valid; 401, 403, or another
// 4xx with the error invalid_token is invalid; all else tells nothing.
func (v *Verifier) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	id, err := v.fromJWT(t)
	if err != nil {
		return nil, err
	}
	profile, err := v.ask(ctx, t.Raw)
	if err != nil {
		v.logUnavailable(err)
		return nil, err
	}
	if id == nil {
		return v.fromProfile(profile)
	}
	if id.Subject != profile.Text("sub") && id.Subject != profile.Text("id") {
		return nil, token.Invalidf("the profile is not that of the token's subject (sub)")
	}
	if id.Email == "" {
		// Access tokens seldom have it. A profile that is no good for it is no fault
		// of the token.
		if person, err := v.fromProfile(profile); err == nil {
			id.Email = person.Email
		}
	}
	return id, nil
}

// Outage implements [token.Patient].
func (v *Verifier) Outage() *token.UnavailableError { return v.client.Outage() }

// fromJWT reads a JWT before anybody is asked: what has expired needs no
// request. The identity is nil if the token is no JWT at all.
func (v *Verifier) fromJWT(given *token.Token) (*token.Identity, error) {
	if given.Opaque() {
		return nil, nil
	}
	t, err := given.JWT()
	if err != nil {
		return nil, err
	}
	id, err := v.rules.Identity(t.Claims)
	if err == nil && id.Subject == "" {
		return nil, token.Invalidf("it has no subject (sub), so that no profile can be its own")
	}
	return id, err
}

// fromProfile makes an identity for a token that is no JWT. Its scopes are those
// that the profile itself states; most state none.
func (v *Verifier) fromProfile(profile token.Claims) (*token.Identity, error) {
	rules := v.rules
	rules.Optional, rules.Audiences, rules.AnyAudience = true, nil, true
	rules.ScopeClaims = []string{"scope"}
	claims := map[string]any{}
	for _, name := range []string{"sub", "email", "email_verified", "scope"} {
		if value, ok := profile.Get(name); ok {
			claims[name] = value
		}
	}
	if profile.Text("sub") == "" {
		claims["sub"], _ = profile.Get("id")
	}
	stated, err := token.NewClaims(claims)
	if err != nil {
		return nil, err
	}
	id, err := rules.Identity(stated)
	if err != nil {
		return nil, err
	}
	id.SetClaims(profile)
	return id, nil
}

// ask gets the profile.
func (v *Verifier) ask(ctx context.Context, raw string) (token.Claims, error) {
	req, err := http.NewRequest(http.MethodGet, v.url, nil)
	if err != nil {
		return token.Claims{}, &token.UnavailableError{Reason: "the URL of the profile is not valid"}
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	req.Header.Set("Accept", "application/json")
	resp, err := v.client.Do(ctx, req)
	if err != nil {
		return token.Claims{}, err
	}
	return read(resp)
}

// read sorts the answer into the three outcomes.
func read(resp *provider.Response) (token.Claims, error) {
	body, bodyErr := token.ReadClaims(resp.Body)
	switch status := resp.Status; {
	case status == http.StatusOK && bodyErr != nil:
		return token.Claims{}, resp.Unavailable("the provider's profile cannot be read: %v", bodyErr)
	case status == http.StatusOK && body.Text("sub") == "" && body.Text("id") == "":
		return token.Claims{}, resp.Unavailable("the provider's profile has neither sub nor id")
	case status == http.StatusOK:
		return body, nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return token.Claims{}, token.Invalidf("the provider refuses it (%d)", status)
	// RFC 6750 §3.1 has 401 for it, but not all providers follow.
	case 400 <= status && status < 500 && body.Text("error") == "invalid_token":
		return token.Claims{}, token.Invalidf("the provider refuses it (%d, invalid_token)", status)
	default:
		return token.Claims{}, resp.Unavailable("the provider answers %d instead of a profile", status)
	}
}

func (v *Verifier) logUnavailable(err error) {
	// The client has said once that it leaves the provider alone.
	if unavailable, ok := err.(*token.UnavailableError); ok && !errors.Is(err, provider.ErrSkipped) {
		v.logger.Warn("cannot get a profile from the provider", "error", unavailable)
	}
}
