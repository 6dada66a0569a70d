// Package introspection validates tokens by OAuth 2.0 Token Introspection
// (RFC 7662).
package introspection

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"

	"scopeward/authz/token"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/provider"
	"scopeward/authz/token/vouch"
)

// Options configure what [New] makes.
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

// asker introspects tokens.
type asker struct{ Options }

// New makes a verifier that introspects each token. The answer's active must be a JSON
// boolean; exp, iat and nbf may be strings of digits, as some providers write them. An
// answer that refuses our own credentials tells nothing about the token.
func New(opts Options) *vouch.Verifier {
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
	return vouch.New(vouch.Options{
		Ask: asker{opts}.ask, Place: opts.Place, Client: opts.Client, Rules: opts.Rules,
		Logger:  opts.Logger.With(slog.String("client_id", opts.ClientID)),
		Refusal: "the provider says that it is not active",
		Fault:   "cannot introspect a token",
		Silence: "the provider has called every token inactive so far: may our client_id see the tokens of other clients? (Keycloak: it must be in their aud)",
	})
}

// ask introspects the token; good reports whether it is active.
func (a asker) ask(ctx context.Context, raw string) (stated token.Claims, good bool, err error) {
	resp, err := a.send(ctx, raw)
	if err != nil {
		return token.Claims{}, false, err
	}
	return read(resp)
}

func (a asker) send(ctx context.Context, raw string) (*provider.Response, error) {
	place, err := a.Place.URL(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	header := http.Header{}
	if err := a.Auth.Add(ctx, header, form); err != nil {
		return nil, err
	}
	req, err := provider.NewPost(place, "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		return nil, &token.UnavailableError{Reason: "the URL of the introspection is not valid"}
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Accept", "application/json")
	resp, err := a.Client.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	if resp.Status == http.StatusUnauthorized {
		a.Auth.Refused()
	}
	return resp, nil
}

func read(resp *provider.Response) (stated token.Claims, good bool, err error) {
	code := resp.Error()
	switch {
	case resp.Status == http.StatusOK:
	case resp.Status == http.StatusUnauthorized, resp.Status == http.StatusForbidden && code != "":
		return stated, false, resp.Unavailable("the provider refuses our client_id and client_secret (%d): check the credentials in introspection", resp.Status)
	// What is wrong is this token, of which the provider does not know the kind.
	case resp.Status == http.StatusBadRequest && (code == "unsupported_token_type" || code == "invalid_token"):
		return stated, false, token.Invalidf("the provider refuses it (%d, %s)", resp.Status, code)
	default:
		return stated, false, resp.Unexpected("an introspection", "introspection.url")
	}
	if stated, err = token.ReadClaims(resp.Body); err != nil {
		return stated, false, resp.Unavailable("the provider's answer cannot be read: %v", err)
	}
	active, _ := stated.Get("active")
	if active != true && active != false {
		return stated, false, resp.Unavailable("the provider's answer does not say whether the token is active")
	}
	return stated, active == true, nil
}
