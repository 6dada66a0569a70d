// Package profile validates a token by asking the provider for the profile of
// its user: the provider vouches for exactly this token by answering.
package profile

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// Options configure a [Verifier].
type Options struct {
	URL   string         // of the provider's user profile or userinfo endpoint
	Place provider.Place // finds it, instead of URL
	// Rules are for tokens that are JWTs. Without Audiences any audience is good.
	Rules  token.Rules
	Client *provider.Client // default provider.New(provider.Options{})
	Logger *slog.Logger     // default: discard
}

// Verifier asks the provider about each token.
type Verifier struct {
	place    provider.Place
	rules    token.Rules
	client   *provider.Client
	warnings *provider.Warnings
}

// New makes a verifier.
func New(opts Options) *Verifier {
	if opts.Client == nil {
		opts.Client = provider.New(provider.Options{})
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Place == nil {
		opts.Place = provider.At(opts.URL)
	}
	opts.Rules.AnyAudience = len(opts.Rules.Audiences) == 0
	return &Verifier{opts.Place, opts.Rules, opts.Client, provider.NewWarnings(opts.Logger, nil)}
}

// Verify implements [token.Verifier]. A token that is a JWT has the claims that
// are in it, and must be the profile's; another one is its profile.
//
// There are three outcomes: 200 with a profile is valid; what [provider.Response.Refuses]
// is invalid; all else tells nothing.
func (v *Verifier) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	id, claims, err := v.fromJWT(t)
	if err != nil {
		return nil, err
	}
	if claims.Has("cnf") {
		return nil, errBound
	}
	profile, err := v.ask(ctx, t.Raw)
	if err == nil && !machine(id) && profile.Text("sub") == "" {
		err = &token.UnavailableError{Reason: "the provider's profile has neither sub nor id"}
	}
	if err != nil {
		v.warnings.Unavailable("cannot get a profile from the provider", err)
		return nil, err
	}
	if profile.Has("cnf") {
		return nil, errBound
	}
	if err := v.rules.CheckPurpose(profile.Only("token_use", "token_usage", "token_type")); err != nil {
		return nil, err
	}
	person, err := v.fromProfile(profile)
	switch {
	case id == nil && err != nil:
		return nil, err
	case id == nil:
		person.Email = v.rules.EmailOf(person.Email, profile)
		return person, nil
	case !owns(id, profile):
		return nil, token.Invalidf("the profile is not that of the token's subject (sub) or client")
	case id.Email == "" && err == nil:
		// Access tokens seldom have it. A profile that is no good for it is no fault of
		// the token.
		id.Email = person.Email
	}
	id.Email = v.rules.EmailOf(id.Email, claims, profile)
	return id, nil
}

// machine reports whether a JWT stands for its client, and for no person.
func machine(id *token.Identity) bool {
	return id != nil && id.ClientID != "" && (id.Subject == "" || id.Subject == id.ClientID)
}

// owns reports whether a profile is that of a JWT. The profile of a machine may have no
// subject, as Hydra's; then it names the client.
func owns(id *token.Identity, profile token.Claims) bool {
	if sub := profile.Text("sub"); sub != "" {
		return sub == id.Subject || machine(id) && sub == id.ClientID
	}
	named, _, _ := profile.Texts("aud")
	named = append(named, profile.Text("aud"), profile.Text("client_id"), profile.Text("azp"))
	return machine(id) && slices.Contains(named, id.ClientID)
}

// errBound refuses a token with which the provider can't be asked: it would want the proof
// of the client's key.
var errBound = token.Invalidf("it is bound to a key of its client (cnf), and its provider gives no profile without a proof of that key: use validation: jwks or introspection")

// Outage implements [token.Patient].
func (v *Verifier) Outage() *token.UnavailableError { return provider.Outage(v.place, v.client) }

// anyEmail are the rules before it is known who says what of an address.
func (v *Verifier) anyEmail() token.Rules {
	rules := v.rules
	rules.Email = token.EmailAny
	return rules
}

// fromJWT reads a JWT before anybody is asked: what has expired needs no
// request. The identity is nil if the token is no JWT at all.
func (v *Verifier) fromJWT(given *token.Token) (*token.Identity, token.Claims, error) {
	if given.Opaque() {
		return nil, token.Claims{}, nil
	}
	t, err := given.JWT()
	if err != nil {
		return nil, token.Claims{}, err
	}
	id, err := v.anyEmail().For(t).Identity(t.Claims)
	if err == nil && id.Subject == "" && id.ClientID == "" {
		return nil, t.Claims, token.Invalidf("it has neither a subject (sub) nor a client, so that no profile can be its own")
	}
	return id, t.Claims, err
}

// fromProfile makes an identity for a token that is no JWT. Its scopes are those
// that the profile itself states; most state none.
func (v *Verifier) fromProfile(profile token.Claims) (*token.Identity, error) {
	rules := v.anyEmail()
	rules.Optional, rules.Audiences, rules.AnyAudience, rules.Clients = true, nil, true, nil
	rules.ScopeClaims = token.ScopeClaims{{{"scope"}}}
	id, err := rules.Identity(profile.Only("sub", "email", "scope"))
	if err != nil {
		return nil, err
	}
	id.SetClaims(profile)
	return id, nil
}

// ask gets the profile.
func (v *Verifier) ask(ctx context.Context, raw string) (token.Claims, error) {
	url, err := v.place.URL(ctx)
	if err != nil {
		return token.Claims{}, err
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
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

// read sorts the answer into the three outcomes. Where the profile has no sub, id stands for
// it.
func read(resp *provider.Response) (token.Claims, error) {
	switch {
	case resp.Refuses():
		return token.Claims{}, token.Invalidf("the provider refuses it (%s)", strings.TrimSpace(fmt.Sprint(resp.Status, " ", resp.Error())))
	case resp.Status != http.StatusOK:
		return token.Claims{}, resp.Unexpected("a profile", "profile.url")
	}
	profile, err := token.ReadClaims(resp.Body)
	if err != nil {
		return token.Claims{}, resp.Unavailable("the provider's profile cannot be read: %v", err)
	}
	if sub, _ := profile.Get("sub"); sub == nil || sub == "" {
		profile = profile.Copied("id", "sub")
	}
	return profile, nil
}
