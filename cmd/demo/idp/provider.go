// Package idp is the demo's identity provider: real OAuth on github.com/zitadel/oidc, with Kinde's paths and bodies, and switches for faults.
// Production never links it.
package idp

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Issuer is a path of the provider with its own issuer. The issuers share keys and users.
type Issuer string

// The issuers; each is there for one way of validation.
const (
	Keys          Issuer = "keys"          // JWTs
	Profile       Issuer = "profile"       // JWTs
	Both          Issuer = "both"          // JWTs
	Introspection Issuer = "introspection" // opaque tokens
)

// Issuers lists all of them.
func Issuers() []Issuer { return []Issuer{Keys, Profile, Both, Introspection} }

// Provider is the identity provider's HTTP interface and its state.
type Provider struct {
	http.Handler
	state *state
	base  string
}

// New opens the provider whose state lives in dir. Its issuers are base/keys, base/profile and so on. The secret of [MachineClient] is the
// one that is given, else the one of the state.
func New(dir, base, secret string) (*Provider, error) {
	state, err := open(dir)
	if err == nil && secret != "" {
		state.data.Secret = secret
	}
	if err != nil {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	p := &Provider{state: state, base: base}
	mux := http.NewServeMux()
	for _, issuer := range Issuers() {
		h, err := p.issuer(issuer)
		if err != nil {
			return nil, fmt.Errorf("identity provider: %w", err)
		}
		mux.Handle("/"+string(issuer)+"/", http.StripPrefix("/"+string(issuer), h))
	}
	p.Handler = mux
	return p, nil
}

// Secret is the client secret of [MachineClient].
func (p *Provider) Secret() string { return p.state.data.Secret }

// Rotate makes a new key, which signs from now on; the older ones stay published.
func (p *Provider) Rotate() error { return p.state.rotate() }

// Drop withdraws every key but the one that signs.
func (p *Provider) Drop() error { return p.state.drop() }

func (p *Provider) storage(i Issuer) *storage {
	return &storage{state: p.state, issuer: p.base + "/" + string(i), opaque: i == Introspection}
}

const (
	jwksPath    = "/.well-known/jwks"
	profilePath = "/oauth2/v2/user_profile"
	devicePath  = "/device"
)

func (p *Provider) issuer(i Issuer) (http.Handler, error) {
	storage := p.storage(i)
	sealer, err := newSealer(p.state.data.CryptoKey)
	if err != nil {
		return nil, err
	}
	config := &op.Config{
		SupportedScopes: scopes(),
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime: 5 * time.Minute, PollInterval: time.Second, UserFormPath: "/" + string(i) + devicePath, UserCode: op.UserCodeBase20,
		},
	}
	library, err := op.NewProvider(config, storage, op.StaticIssuer(storage.issuer),
		op.WithAllowInsecure(), // plain HTTP, on loopback
		op.WithCrypto(sealer),
		op.WithCustomKeysEndpoint(op.NewEndpoint(jwksPath)),
		op.WithCustomUserinfoEndpoint(op.NewEndpoint(profilePath)),
		op.WithCustomAuthEndpoint(op.NewEndpoint("/oauth2/auth")),
		op.WithCustomTokenEndpoint(op.NewEndpoint("/oauth2/token")),
		op.WithCustomRevocationEndpoint(op.NewEndpoint("/oauth2/revoke")),
		op.WithCustomIntrospectionEndpoint(op.NewEndpoint("/oauth2/introspect")),
		op.WithCustomDeviceAuthorizationEndpoint(op.NewEndpoint("/oauth2/device_authorization")),
	)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", library)
	mux.Handle(jwksPath, jwks(library))
	mux.Handle(jwksPath+".json", jwks(library))
	mux.HandleFunc(profilePath, func(w http.ResponseWriter, r *http.Request) { library.ServeHTTP(&profileWriter{ResponseWriter: w}, r) })
	mux.HandleFunc("GET "+devicePath, p.askPerson)
	mux.HandleFunc("POST "+devicePath, p.hearPerson)
	return mux, nil
}

// jwks refuses an Authorization header, as Kinde does.
func jwks(library http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "the key set takes no Authorization header", http.StatusForbidden)
			return
		}
		r.URL.Path = jwksPath
		library.ServeHTTP(w, r)
	})
}

// profileWriter gives every refusal of the library the body that Kinde documents, and the status 403.
type profileWriter struct {
	http.ResponseWriter
	refused bool
}

func (w *profileWriter) WriteHeader(status int) {
	if status == http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Set("Content-Type", "application/json")
	w.ResponseWriter.WriteHeader(http.StatusForbidden)
	fmt.Fprintln(w.ResponseWriter, `{"error": "invalid_token", "error_description": "The access token is invalid or expired"}`)
}

func (w *profileWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ExpiredToken mints a JWT that was good from two hours ago until one hour ago.
func (p *Provider) ExpiredToken(ctx context.Context, i Issuer, scopes []string) (string, error) {
	storage := p.storage(i)
	c := client{id: AutoClient, skew: 2 * time.Hour} // the library dates a token back by the client's skew
	g := &grant{Subject: Subject, ClientID: c.id, Audience: []string{Audience}, Scopes: scopes}
	return op.CreateJWT(ctx, storage.issuer, g, time.Now().Add(-time.Hour), "expired", c, storage)
}

var devicePage = template.Must(template.New("device").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Connect a device</title>
<style>body{font:18px system-ui;max-width:28em;margin:4em auto;padding:0 1em}input,button{font:inherit;padding:.4em .8em}</style>
<h1>Connect a device</h1>
{{if .Message}}<p>{{.Message}}</p>{{else}}<p>You are John Snow. Allow only a device whose code you see in front of you.</p>
<form method="post"><p><label>Code <input name="user_code" value="{{.Code}}" required autofocus></label></p>
<p><button name="action" value="allow">Allow</button> <button name="action" value="deny">Deny</button></p></form>{{end}}
`))

type devicePageData struct{ Code, Message string }

func (p *Provider) askPerson(w http.ResponseWriter, r *http.Request) {
	p.page(w, http.StatusOK, devicePageData{Code: r.URL.Query().Get("user_code")})
}

func (p *Provider) hearPerson(w http.ResponseWriter, r *http.Request) {
	allow := r.PostFormValue("action") == "allow"
	if err := p.state.decide(r.PostFormValue("user_code"), allow); err != nil {
		p.page(w, http.StatusBadRequest, devicePageData{Message: err.Error()})
		return
	}
	p.page(w, http.StatusOK, devicePageData{Message: map[bool]string{true: "Allowed.", false: "Denied."}[allow] + " You can close this page."})
}

func (p *Provider) page(w http.ResponseWriter, status int, data devicePageData) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = devicePage.Execute(w, data) // the browser has gone
}
