// Package providers makes the identity providers that a configuration names, and keeps
// their keys fresh.
package providers

import (
	"context"
	"log/slog"
	"slices"

	"scopeward/authz/token"
	"scopeward/authz/token/apikey"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/discovery"
	"scopeward/authz/token/introspection"
	"scopeward/authz/token/jwks"
	"scopeward/authz/token/lookup"
	"scopeward/authz/token/profile"
	"scopeward/authz/token/provider"
	"scopeward/internal/config"
)

// Provider is a provider of the configuration, ready to be asked.
type Provider struct {
	token.Provider
	Validation string            // by what its tokens are validated, for the page
	Keys       *jwks.KeySet      // nil where no keys are needed
	Discovery  *discovery.Source // nil where all endpoints are written
	Endpoints  []Endpoint        // what it is asked at
	stop       func()            // ends the fetching of keys; nil until it has begun
}

// Endpoint is one of a provider's URLs: discovery, jwks, profile, introspection, lookup or token.
type Endpoint struct {
	Name  string
	Place provider.Place // nil for discovery
	*provider.Client
}

// New makes the providers of the configuration; one that is running and has not
// changed is taken over. It asks no provider.
func New(c *config.Config, log *slog.Logger, metrics *provider.Metrics, running []*Provider) []*Provider {
	var list []*Provider
	for _, p := range c.Providers {
		if i := slices.IndexFunc(running, func(r *Provider) bool { return r.CacheKey == p.ID }); i >= 0 {
			list = append(list, running[i])
			continue
		}
		built := &Provider{
			Provider:   token.Provider{Name: p.Name, CacheKey: p.ID, Issuer: p.Issuer, Tokens: p.Tokens, Prefixes: p.Prefixes, MaxBytes: p.MaxTokenBytes},
			Validation: p.Validation,
		}
		log := log.With(slog.String("provider", p.Name))
		built.verify(p, log, func(name string, place provider.Place) *provider.Client {
			client := provider.New(provider.Options{
				Timeout: p.Timeout, RootCAs: p.RootCAs, Logger: log, Observe: metrics.Observer(p.Name, name),
				MayBeAbsent: name == "discovery" || name == "lookup", NoRedirects: name == "lookup",
			})
			built.Endpoints = append(built.Endpoints, Endpoint{name, place, client})
			return client
		})
		list = append(list, built)
	}
	return list
}

// verify makes the provider's verifier. Each endpoint has a client of its own: one
// that hangs takes no connection from another.
func (built *Provider) verify(p config.Provider, log *slog.Logger, client func(endpoint string, at provider.Place) *provider.Client) {
	rules := token.Rules{
		Provider:      built.Name,
		Issuers:       p.Issuers,
		Clients:       p.Clients,
		SubjectPrefix: p.SubjectPrefix,
		Audiences:     p.Audiences,
		ClockSkew:     p.ClockSkew,
		ScopeClaims:   p.ScopeClaims,
		AnyPurpose:    p.AnyPurpose,
		MustBeBound:   p.MustBeBound,
		Email:         p.Email,
	}
	if len(p.Issuers) > 0 && !p.Issuers[0].IsTemplate() {
		rules.Issuer = p.Issuer
	}
	if len(p.Issuers) == 1 && rules.Issuer != "" {
		rules.Issuers = nil // the one is enough
	}
	built.Rules = rules
	at := func(url, name string, find func(*discovery.Source, context.Context) (string, error)) provider.Place {
		if url != "" || !p.Discovery {
			return provider.At(url)
		}
		if built.Discovery == nil {
			built.Discovery = discovery.New(discovery.Options{Issuer: p.Issuer, Insecure: p.Insecure, Client: client("discovery", nil), Logger: log})
		}
		return built.Discovery.At(name, find)
	}
	byKeys := func() token.Verifier {
		opts := jwks.Options{File: p.JWKS.File, Refresh: p.JWKS.Refresh, MaxStale: p.JWKS.MaxStale, Logger: log, Uses: p.JWKS.Uses, Token: p.JWKS.Token}
		if opts.File == "" {
			for _, url := range p.JWKS.URLs {
				opts.Places = append(opts.Places, provider.At(url))
			}
			if len(opts.Places) == 0 {
				opts.Places = []provider.Place{at("", "jwks_uri", (*discovery.Source).JWKS)}
			}
			opts.Client = client("jwks", opts.Places[0])
		}
		built.Keys = jwks.New(opts)
		return &jwks.Verifier{Keys: built.Keys, Rules: rules, Algorithms: p.Algorithms}
	}
	byProfile := func() token.Verifier {
		place := at(p.ProfileURL, "userinfo_endpoint", (*discovery.Source).Profile)
		return profile.New(profile.Options{Place: place, Rules: rules, Client: client("profile", place), Logger: log})
	}
	ourselves := func(auth clientauth.Options) clientauth.Options {
		if auth.TokenURL != "" {
			auth.Client = client("token", provider.At(auth.TokenURL))
		}
		return auth
	}
	byIntrospection := func() token.Verifier {
		place := at(p.Introspection.URL, "introspection_endpoint", (*discovery.Source).Introspection)
		return introspection.New(introspection.Options{
			Place: place, ClientID: p.Introspection.Client.ClientID, Auth: clientauth.New(ourselves(p.Introspection.Client)),
			Rules: rules, Client: client("introspection", place), Logger: log,
		})
	}
	switch p.Validation {
	case config.ValidateJWKS:
		built.Verifier = byKeys()
	case config.ValidateProfile:
		built.Verifier = byProfile()
	case config.ValidateJWKSProfile:
		built.Verifier = token.Both(byKeys(), byProfile())
	case config.ValidateIntrospection:
		built.Verifier = byIntrospection()
	case config.ValidateJWKSIntrospection:
		built.Verifier = token.Both(byKeys(), byIntrospection())
	case config.ValidateLookup:
		opts := lookup.Options{Request: p.Lookup.Request, Meaning: p.Lookup.Meaning, Rules: rules, Logger: log}
		if p.Lookup.Client.Method != clientauth.None {
			opts.Auth = clientauth.New(ourselves(p.Lookup.Client))
		}
		opts.Client = client("lookup", provider.At(opts.Request.URL))
		built.Verifier = lookup.New(opts)
	case config.ValidateAPIKeys:
		built.Uncached = true
		if keys, err := apikey.New(built.Name, built.Issuer, p.APIKeys, nil); err == nil { // which apikey.Parse has made sure of
			built.Verifier = keys
		}
	} // package config has refused the others; without a verifier every token is invalid
}

// Start begins to fetch metadata and keys, if it has not begun yet; run gives a function a
// goroutine.
func (built *Provider) Start(ctx context.Context, run func(func() error)) {
	if built.stop != nil {
		return
	}
	ctx, built.stop = context.WithCancel(ctx)
	if built.Discovery != nil {
		run(func() error { built.Discovery.Run(ctx); return nil })
	}
	if built.Keys != nil {
		run(func() error { built.Keys.Run(ctx); return nil })
	}
}

// UsableKeys is the number of keys that tokens can be verified with.
func (built *Provider) UsableKeys() int {
	if _, missing := built.Keys.Ready(); missing != "" {
		return 0
	}
	return built.Keys.Held()
}

// WaitTried waits until the keys have been tried.
func (built *Provider) WaitTried(ctx context.Context) error {
	if built.Keys == nil {
		return nil
	}
	select {
	case <-built.Keys.Tried():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends what Start has begun.
func (built *Provider) Stop() {
	if built.stop != nil {
		built.stop()
	}
}
