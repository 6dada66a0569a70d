package main

import (
	"context"
	"log/slog"
	"slices"

	"scopeward/authz/token"
	"scopeward/authz/token/introspection"
	"scopeward/authz/token/jwks"
	"scopeward/authz/token/profile"
	"scopeward/authz/token/provider"
	"scopeward/internal/config"
)

// identityProvider is a provider of the configuration, ready to be asked.
type identityProvider struct {
	token.Provider
	validation string       // by what its tokens are validated, for the page
	keys       *jwks.KeySet // nil where no keys are needed
	endpoints  []endpoint   // what it is asked at
	stop       func()       // ends the fetching of keys; nil until it has begun
}

// endpoint is one of a provider's URLs: jwks, profile or introspection.
type endpoint struct {
	name string
	*provider.Client
}

// newProviders makes the providers of the configuration; one that is running and has not
// changed is taken over. It asks no provider.
func newProviders(c *config.Config, log *slog.Logger, metrics *provider.Metrics, running []*identityProvider) []*identityProvider {
	var list []*identityProvider
	for _, p := range c.Providers {
		if i := slices.IndexFunc(running, func(r *identityProvider) bool { return r.CacheKey == p.ID }); i >= 0 {
			list = append(list, running[i])
			continue
		}
		built := &identityProvider{
			Provider:   token.Provider{Name: p.Name, CacheKey: p.ID, Issuer: p.Issuer, Opaque: p.Opaque},
			validation: p.Validation,
		}
		log := log.With(slog.String("provider", p.Name))
		built.verify(p, log, func(name string) *provider.Client {
			client := provider.New(provider.Options{
				Timeout: p.Timeout, RootCAs: p.RootCAs, Logger: log, Observe: metrics.Observer(p.Name, name),
			})
			built.endpoints = append(built.endpoints, endpoint{name, client})
			return client
		})
		list = append(list, built)
	}
	return list
}

// verify makes the provider's verifier. Each endpoint has a client of its own: one
// that hangs takes no connection from another.
func (built *identityProvider) verify(p config.Provider, log *slog.Logger, client func(endpoint string) *provider.Client) {
	rules := token.Rules{
		Provider:    built.Name,
		Issuer:      built.Issuer,
		Audiences:   p.Audiences,
		ClockSkew:   p.ClockSkew,
		ScopeClaims: p.ScopeClaims,
	}
	byKeys := func() token.Verifier {
		built.keys = jwks.New(jwks.Options{
			URL: p.JWKS.URL, File: p.JWKS.File,
			Refresh: p.JWKS.Refresh, MaxStale: p.JWKS.MaxStale, Client: client("jwks"), Logger: log,
		})
		return &jwks.Verifier{Keys: built.keys, Rules: rules, Algorithms: p.Algorithms}
	}
	byProfile := func() token.Verifier {
		return profile.New(profile.Options{URL: p.ProfileURL, Rules: rules, Client: client("profile"), Logger: log})
	}
	switch p.Validation {
	case config.ValidateJWKS:
		built.Verifier = byKeys()
	case config.ValidateProfile:
		built.Verifier = byProfile()
	case config.ValidateJWKSProfile:
		built.Verifier = token.Both(byKeys(), byProfile())
	case config.ValidateIntrospection:
		built.Verifier = introspection.New(introspection.Options{
			URL: p.Introspection.URL, ClientID: p.Introspection.ClientID, ClientSecret: string(p.Introspection.ClientSecret),
			Rules: rules, Client: client("introspection"), Logger: log,
		})
	} // package config has refused the others; without a verifier every token is invalid
}

// start begins to fetch the keys, if there are any and it has not begun yet; run
// gives a function a goroutine.
func (built *identityProvider) start(ctx context.Context, run func(func() error)) {
	if built.keys == nil || built.stop != nil {
		return
	}
	ctx, built.stop = context.WithCancel(ctx)
	run(func() error { built.keys.Run(ctx); return nil })
}

// usableKeys is the number of keys that tokens can be verified with.
func (built *identityProvider) usableKeys() int {
	if _, missing := built.keys.Ready(); missing != "" {
		return 0
	}
	return built.keys.Held()
}

// waitTried waits until the keys have been tried.
func (built *identityProvider) waitTried(ctx context.Context) error {
	if built.keys == nil {
		return nil
	}
	select {
	case <-built.keys.Tried():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
