// Package introspection validates tokens by OAuth 2.0 Token Introspection
// (RFC 7662).
package introspection

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// Options configure a [Verifier].
type Options struct {
	URL          string
	ClientID     string // our own credentials, for client_secret_basic
	ClientSecret string
	// Rules check what the provider states. Without Audiences any audience is good.
	Rules  token.Rules
	Client *provider.Client // default provider.New(provider.Options{})
	Logger *slog.Logger     // default: discard
}

// Verifier asks the provider about each token.
type Verifier struct {
	opts Options
}

// New makes a verifier.
func New(opts Options) *Verifier {
	if opts.Client == nil {
		opts.Client = provider.New(provider.Options{})
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	// The provider may leave out what it has checked itself (RFC 7662 §2.2).
	opts.Rules.Optional = true
	opts.Rules.AnyAudience = len(opts.Rules.Audiences) == 0
	if len(opts.Rules.ScopeClaims) == 0 {
		opts.Rules.ScopeClaims = token.DefaultScopeClaims()
	}
	return &Verifier{opts}
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
		// The client has said once that it leaves the provider alone.
		if unavailable, ok := err.(*token.UnavailableError); ok && !errors.Is(err, provider.ErrSkipped) {
			v.opts.Logger.Warn("cannot introspect a token", "error", unavailable)
		}
		return nil, err
	}
	readNumbers(answer)
	if sub, ok := answer["sub"]; ok && own["sub"] != nil && own["sub"] != sub {
		return nil, token.Invalidf("the provider states another subject than the token (sub)")
	}
	stated, err := token.NewClaims(v.merge(own, answer))
	if err != nil {
		return nil, err
	}
	return v.opts.Rules.Identity(stated)
}

// Outage implements [token.Patient].
func (v *Verifier) Outage() *token.UnavailableError { return v.opts.Client.Outage() }

// fromJWT returns the claims of a token that is a JWT, and nil for another one.
// One that has expired, or is of another issuer, needs no request.
func (v *Verifier) fromJWT(given *token.Token) (map[string]any, error) {
	if given.Opaque() {
		return nil, nil
	}
	t, err := given.JWT()
	if err != nil {
		return nil, err
	}
	rules := v.opts.Rules
	if !t.Claims.Has("aud") {
		rules.Audiences, rules.AnyAudience = nil, true // the answer may have it
	}
	if _, err := rules.Identity(t.Claims); err != nil {
		return nil, err
	}
	return t.Claims.Map(), nil
}

// merge takes from the token what the answer does not state. Scopes come from
// one of them only: a claim that ranks higher must not add to what was stated.
func (v *Verifier) merge(own, answer map[string]any) map[string]any {
	if own == nil {
		return answer
	}
	for _, name := range v.opts.Rules.ScopeClaims {
		if has(answer, name) {
			for _, name := range v.opts.Rules.ScopeClaims {
				delete(own, name)
			}
			break
		}
	}
	maps.Copy(own, answer)
	return own
}

func has(m map[string]any, name string) bool { _, ok := m[name]; return ok }

// ask introspects the token, and returns what the provider states of an active one.
func (v *Verifier) ask(ctx context.Context, raw string) (map[string]any, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequest(http.MethodPost, v.opts.URL, strings.NewReader(form))
	if err != nil {
		return nil, &token.UnavailableError{Reason: "the URL of the introspection is not valid"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Not sent: it tells net/http that the request changes nothing, and so may be made
	// again if the provider has closed the connection that it went out on.
	req.Header["Idempotency-Key"] = nil
	// RFC 6749 §2.3.1 has both encoded before they are joined.
	req.SetBasicAuth(url.QueryEscape(v.opts.ClientID), url.QueryEscape(v.opts.ClientSecret))
	resp, err := v.opts.Client.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	return read(resp)
}

func read(resp *provider.Response) (map[string]any, error) {
	switch resp.Status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, resp.Unavailable("the provider refuses our client_id and client_secret (%d): check the configuration", resp.Status)
	default:
		return nil, resp.Unavailable("the provider answers %d to an introspection", resp.Status)
	}
	claims, err := token.ReadClaims(resp.Body)
	if err != nil {
		return nil, resp.Unavailable("the provider's answer cannot be read: %v", err)
	}
	answer := claims.Map()
	active, ok := answer["active"].(bool)
	switch kind, _ := answer["token_type"].(string); {
	case !ok:
		return nil, resp.Unavailable("the provider's answer does not say whether the token is active")
	case !active:
		return nil, token.Invalidf("the provider says that it is not active")
	case strings.EqualFold(kind, "refresh_token"), strings.EqualFold(kind, "id_token"):
		return nil, token.Invalidf("it is not an access token (token_type)")
	}
	return answer, nil
}

// readNumbers turns dates that are strings of digits into numbers. Anything else
// stays, and is refused as a claim of a wrong type.
func readNumbers(answer map[string]any) {
	for _, name := range []string{"exp", "iat", "nbf"} {
		if s, ok := answer[name].(string); ok {
			if n, err := strconv.ParseUint(s, 10, 63); err == nil {
				answer[name] = float64(n)
			}
		}
	}
}
