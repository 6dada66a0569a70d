// Package introspection validates tokens by OAuth 2.0 Token Introspection
// (RFC 7662).
package introspection

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"scopeward/authz/token"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/provider"
)

// Options configure a [Verifier].
type Options struct {
	URL          string
	Place        provider.Place // finds the URL, instead of URL
	ClientID     string         // our own credentials, for client_secret_basic
	ClientSecret string
	Auth         *clientauth.Auth // instead of ClientSecret
	// Rules check what the provider states. Without Audiences any audience is good.
	Rules  token.Rules
	Client *provider.Client // default provider.New(provider.Options{})
	Logger *slog.Logger     // default: discard
}

// Verifier asks the provider about each token.
type Verifier struct {
	opts     Options
	warnings *provider.Warnings
	inactive atomic.Int32 // answers so far, while all said that the token is not active; negative: one said otherwise
}

// suspicious is how many tokens a provider must call inactive, and none active, until
// somebody is told: it may keep what it knows from us.
const suspicious = 5

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
	if opts.Auth == nil {
		opts.Auth = clientauth.New(clientauth.Options{ClientID: opts.ClientID, Secret: opts.ClientSecret})
	}
	// The provider may leave out what it has checked itself (RFC 7662 §2.2).
	opts.Rules.Optional = true
	opts.Rules.AnyAudience = len(opts.Rules.Audiences) == 0
	if len(opts.Rules.ScopeClaims) == 0 {
		opts.Rules.ScopeClaims = token.DefaultScopeClaims()
	}
	return &Verifier{opts: opts, warnings: provider.NewWarnings(opts.Logger, nil)}
}

// Verify implements [token.Verifier]. The answer's active must be a JSON boolean;
// exp, iat and nbf may be strings of digits, as some providers write them. An
// answer that refuses our own credentials tells nothing about the token.
//
// Providers may state little more than that the token is active: what is missing
// in the answer is taken from the token if it is a JWT, since the provider has
// vouched for exactly this token. What both state must not differ in sub.
func (v *Verifier) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	own, err := v.fromJWT(t)
	if err != nil {
		return nil, err
	}
	answer, err := v.ask(ctx, t.Raw)
	if err != nil {
		v.warnings.Unavailable("cannot introspect a token", err)
		return nil, err
	}
	active, _ := answer.Get("active")
	if v.note(active == true); active != true {
		return nil, token.Invalidf("the provider says that it is not active")
	}
	if own.States("sub") && answer.States("sub") && own.Text("sub") != answer.Text("sub") {
		return nil, token.Invalidf("the provider states another subject than the token (sub)")
	}
	rules := v.opts.Rules
	rules.Email = token.EmailAny
	id, err := rules.Identity(v.merge(own, answer))
	if err != nil {
		return nil, err
	}
	id.Email = v.opts.Rules.EmailOf(id.Email, own, answer)
	return id, nil
}

// note says once that the provider has called every token inactive.
func (v *Verifier) note(active bool) {
	switch {
	case active:
		v.inactive.Store(math.MinInt32)
	case v.inactive.Add(1) == suspicious:
		v.opts.Logger.Warn("the provider has called every token inactive so far: may our client_id see the tokens of other clients? (Keycloak: it must be in their aud)",
			slog.String("client_id", v.opts.ClientID), slog.Int("tokens", suspicious))
	}
}

// Outage implements [token.Patient].
func (v *Verifier) Outage() *token.UnavailableError {
	return provider.Outage(v.opts.Place, v.opts.Client)
}

// fromJWT returns the claims of a token that is a JWT, and none for another one.
// One that has expired, or is of another issuer, needs no request.
func (v *Verifier) fromJWT(given *token.Token) (token.Claims, error) {
	if given.Opaque() {
		return token.Claims{}, nil
	}
	t, err := given.JWT()
	if err != nil {
		return token.Claims{}, err
	}
	rules := v.opts.Rules.For(t)
	if !t.Claims.States("aud") {
		rules.Audiences, rules.AnyAudience = nil, true // the answer may have it
	}
	rules.Clients, rules.SubjectPrefix = nil, "" // so may it
	if _, err := rules.Identity(t.Claims); err != nil {
		return token.Claims{}, err
	}
	return t.Claims, nil
}

// merge takes from the token what the answer does not state. Scopes come from
// one of them only: a claim that ranks higher must not add to what was stated.
func (v *Verifier) merge(own, answer token.Claims) token.Claims {
	if slices.ContainsFunc(v.opts.Rules.ScopeClaims, answer.Has) {
		own = own.Without(v.opts.Rules.ScopeClaims...)
	}
	return answer.Over(own)
}

// ask introspects the token, and returns the provider's answer, which says whether it is
// active.
func (v *Verifier) ask(ctx context.Context, raw string) (token.Claims, error) {
	place, err := v.opts.Place.URL(ctx)
	if err != nil {
		return token.Claims{}, err
	}
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	header := http.Header{}
	if err := v.opts.Auth.Add(ctx, header, form); err != nil {
		return token.Claims{}, err
	}
	req, err := http.NewRequest(http.MethodPost, place, strings.NewReader(form.Encode()))
	if err != nil {
		return token.Claims{}, &token.UnavailableError{Reason: "the URL of the introspection is not valid"}
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Not sent: it tells net/http that the request changes nothing, and so may be made
	// again if the provider has closed the connection that it went out on.
	req.Header["Idempotency-Key"] = nil
	resp, err := v.opts.Client.Do(ctx, req)
	if err != nil {
		return token.Claims{}, err
	}
	if resp.Status == http.StatusUnauthorized {
		v.opts.Auth.Refused()
	}
	return read(resp)
}

func read(resp *provider.Response) (token.Claims, error) {
	code := resp.Error()
	switch {
	case resp.Status == http.StatusOK:
	case resp.Status == http.StatusUnauthorized, resp.Status == http.StatusForbidden && code != "":
		return token.Claims{}, resp.Unavailable("the provider refuses our client_id and client_secret (%d): check the credentials in introspection", resp.Status)
	// What is wrong is this token, of which the provider does not know the kind.
	case resp.Status == http.StatusBadRequest && (code == "unsupported_token_type" || code == "invalid_token"):
		return token.Claims{}, token.Invalidf("the provider refuses it (%d, %s)", resp.Status, code)
	default:
		return token.Claims{}, resp.Unexpected("an introspection", "introspection.url")
	}
	claims, err := token.ReadClaims(resp.Body)
	if err != nil {
		return token.Claims{}, resp.Unavailable("the provider's answer cannot be read: %v", err)
	}
	if active, _ := claims.Get("active"); active != true && active != false {
		return token.Claims{}, resp.Unavailable("the provider's answer does not say whether the token is active")
	}
	return claims.LenientDates(), nil
}
