// Package clientauth authenticates our own requests to a provider, which ask about the
// credentials of others.
package clientauth

import (
	"context"
	"crypto"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
	"scopeward/authz/token/signing"
)

// The ways to authenticate.
const (
	Basic       = "client_secret_basic" // RFC 6749 §2.3.1
	Post        = "client_secret_post"
	PrivateKey  = "private_key_jwt" // RFC 7523
	Bearer      = "bearer"          // a token that is configured
	Credentials = "client_credentials"
	None        = "none"
)

// Options configure an [Auth].
type Options struct {
	Method   string // default Basic
	ClientID string
	Secret   string        // for Basic, Post and Credentials
	Key      crypto.Signer // for PrivateKey; see [signing.ParseKey]
	Issuer   string        // the audience of what Key signs
	Token    string        // for Bearer

	// For Credentials: where the token is got, and for what.
	TokenURL, Audience, Scope string
	Client                    *provider.Client // asks TokenURL

	Now func() time.Time // default time.Now
}

// String hides the secrets.
func (o Options) String() string { return "(" + o.Method + ")" }

// GoString hides the secrets.
func (o Options) GoString() string { return o.String() }

// Auth authenticates requests. Make it with [New].
type Auth struct {
	opts Options

	mu      sync.Mutex
	token   string
	renewal time.Time // when another token is got
}

// New makes an Auth.
func New(opts Options) *Auth {
	if opts.Method == "" {
		opts.Method = Basic
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Auth{opts: opts}
}

// Add puts the credentials into the header or form of a request.
func (a *Auth) Add(ctx context.Context, header http.Header, form url.Values) error {
	switch a.opts.Method {
	case Basic:
		basic(header, a.opts.ClientID, a.opts.Secret)
	case Post:
		form.Set("client_id", a.opts.ClientID)
		form.Set("client_secret", a.opts.Secret)
	case PrivateKey:
		return a.assert(form)
	case Bearer:
		header.Set("Authorization", "Bearer "+a.opts.Token)
	case Credentials:
		got, err := a.got(ctx)
		if err != nil {
			return err
		}
		header.Set("Authorization", "Bearer "+got)
	case None:
		if a.opts.ClientID != "" { // a public client
			form.Set("client_id", a.opts.ClientID)
		}
	default:
		return &token.UnavailableError{Reason: "the client's way to authenticate is not known"}
	}
	return nil
}

// Refused forgets the token of [Credentials], which the provider has refused.
func (a *Auth) Refused() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = ""
}

// basic has both form-encoded before they are joined (RFC 6749 §2.3.1).
func basic(header http.Header, id, secret string) {
	req := http.Request{Header: header}
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
}

// assert signs who we are (RFC 7523 §2.2 and §3).
func (a *Auth) assert(form url.Values) error {
	method := signing.Method(a.opts.Key)
	if method == nil {
		return &token.UnavailableError{Reason: "the client's key can't sign"}
	}
	now := a.opts.Now()
	signed, err := jwt.NewWithClaims(method, jwt.MapClaims{
		"iss": a.opts.ClientID, "sub": a.opts.ClientID, "aud": a.opts.Issuer, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}).SignedString(a.opts.Key)
	if err != nil {
		return &token.UnavailableError{Reason: "the client's key can't sign"}
	}
	form.Set("client_id", a.opts.ClientID)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", signed)
	return nil
}

// got is a token of our own, from the cache or the token endpoint.
func (a *Auth) got(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && a.opts.Now().Before(a.renewal) {
		return a.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, value := range map[string]string{"audience": a.opts.Audience, "scope": a.opts.Scope} {
		if value != "" {
			form.Set(name, value)
		}
	}
	req, err := http.NewRequest(http.MethodPost, a.opts.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", &token.UnavailableError{Reason: "token_url is not valid"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	basic(req.Header, a.opts.ClientID, a.opts.Secret)
	resp, err := a.opts.Client.Do(ctx, req)
	if err != nil {
		return "", err
	}
	answer, err := token.ReadClaims(resp.Body)
	got := answer.Text("access_token")
	if resp.Status != http.StatusOK || err != nil || got == "" {
		return "", resp.Unavailable("the provider gives us no token for client_credentials (%d %s): check client_id, client_secret, audience and scope", resp.Status, resp.Error())
	}
	a.token, a.renewal = got, a.opts.Now().Add(lifetime(answer))
	return got, nil
}

// lifetime is for how long a token is used: until shortly before its end.
func lifetime(answer token.Claims) time.Duration {
	seconds, _ := answer.Get("expires_in")
	n, ok := seconds.(int64)
	if !ok || n <= 0 || n > 24*60*60 {
		n = 5 * 60
	}
	life := time.Duration(n) * time.Second
	return life - min(life/10, 30*time.Second)
}
