package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"scopeward/authz/token"
	"scopeward/authz/token/introspection"
	"scopeward/authz/token/jwks"
	"scopeward/authz/token/profile"
	"scopeward/authz/token/provider"
	"scopeward/internal/strictyaml"
)

// identityProvider is a provider of the configuration, ready to be asked.
type identityProvider struct {
	token.Provider
	keys      *jwks.KeySet // nil where no keys are needed
	endpoints []endpoint   // what it is asked at
	stop      func()       // ends the fetching of keys; nil until it has begun
}

// endpoint is one of a provider's URLs: jwks, profile or introspection.
type endpoint struct {
	name string
	*provider.Client
}

// newProviders makes the providers of the configuration; one that is running and
// has not changed is taken over. It reads secrets, and so finds out whether their
// files are there; it asks no provider.
func newProviders(c *Config, log *slog.Logger, metrics *provider.Metrics, running []*identityProvider) ([]*identityProvider, error) {
	var list []*identityProvider
	var problems strictyaml.Problems
	for _, l := range c.Providers {
		p := l.Value
		secret, err := p.Introspection.ClientSecret.Value.resolve(c.dir())
		if err != nil {
			problems = append(problems, strictyaml.Problem{Pos: p.Introspection.ClientSecret.Pos, Message: err.Error()})
			continue
		}
		roots, ca, err := p.roots(c.dir())
		if err != nil {
			problems = append(problems, strictyaml.Problem{Pos: p.CA.Pos, Message: err.Error()})
			continue
		}
		key := cacheKey(c, p, secret, ca)
		if i := slices.IndexFunc(running, func(r *identityProvider) bool { return r.CacheKey == key }); i >= 0 {
			list = append(list, running[i])
			continue
		}
		built := &identityProvider{Provider: token.Provider{
			Name: string(p.Name.Value), CacheKey: key, Issuer: string(p.Issuer.Value), Opaque: *p.Opaque,
		}}
		log := log.With(slog.String("provider", built.Name))
		built.verify(c, p, secret, log, func(name string) *provider.Client {
			client := provider.New(provider.Options{
				Timeout: *p.Timeout, RootCAs: roots, Logger: log, Observe: metrics.Observer(built.Name, name),
			})
			built.endpoints = append(built.endpoints, endpoint{name, client})
			return client
		})
		list = append(list, built)
	}
	return list, problems.Err()
}

// roots reads the CAs of a provider; nil are those of the system.
func (p Provider) roots(dir string) (*x509.CertPool, []byte, error) {
	if p.CA.Pos.Line == 0 {
		return nil, nil, nil
	}
	data, unreadable := strictyaml.ReadFile(absolute(dir, string(p.CA.Value)))
	if unreadable != nil {
		return nil, nil, fmt.Errorf("ca: %w", unreadable)
	}
	pool, err := certPool(data, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("ca: %s %w", p.CA.Value, err)
	}
	return pool, data, nil
}

// cacheKey tells a provider from every other, and from itself with another
// configuration: what was cached under that no longer counts. Replicas with the
// same settings have the same.
func cacheKey(c *Config, p Provider, secret string, ca []byte) string {
	keys, _ := os.ReadFile(p.JWKS.file(c.dir())) // the key set says so if it can't be read
	settings := textOf(struct {
		Provider         Provider
		TTL, NegativeTTL time.Duration
	}{p, c.Cache.TTL.Value, c.Cache.NegativeTTL.Value})
	sum := digest([]byte(settings), []byte(secret), keys, ca)
	return string(p.Name.Value) + "/" + hex.EncodeToString(sum[:8])
}

// textOf is a part of the configuration without its positions.
func textOf(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil { // it came from YAML
		return err.Error()
	}
	return string(text)
}

func sameText(a, b any) bool { return textOf(a) == textOf(b) }

// verify makes the provider's verifier. Each endpoint has a client of its own: one
// that hangs takes no connection from another.
func (built *identityProvider) verify(c *Config, p Provider, secret string, log *slog.Logger, client func(endpoint string) *provider.Client) {
	rules := token.Rules{
		Provider:    built.Name,
		Issuer:      built.Issuer,
		Audiences:   stringsOf(p.Audiences),
		ClockSkew:   *p.ClockSkew,
		ScopeClaims: stringsOf(p.ScopeClaims),
	}
	byKeys := func() token.Verifier {
		built.keys = jwks.New(jwks.Options{
			URL: string(p.JWKS.URL.Value), File: p.JWKS.file(c.dir()),
			Refresh: p.JWKS.Refresh, MaxStale: p.JWKS.MaxStale, Client: client("jwks"), Logger: log,
		})
		var algorithms []string
		for _, a := range p.Algorithms {
			algorithms = append(algorithms, string(a.Value))
		}
		return &jwks.Verifier{Keys: built.keys, Rules: rules, Algorithms: algorithms}
	}
	byProfile := func() token.Verifier {
		return profile.New(profile.Options{URL: string(p.Profile.URL.Value), Rules: rules, Client: client("profile"), Logger: log})
	}
	switch p.Validation.Value {
	case validateJWKS:
		built.Verifier = byKeys()
	case validateProfile:
		built.Verifier = byProfile()
	case validateJWKSProfile:
		built.Verifier = token.Both(byKeys(), byProfile())
	case validateIntrospection:
		built.Verifier = introspection.New(introspection.Options{
			URL: string(p.Introspection.URL.Value), ClientID: string(p.Introspection.ClientID.Value), ClientSecret: secret,
			Rules: rules, Client: client("introspection"), Logger: log,
		})
	} // validate has refused the others; without a verifier every token is invalid
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

func (j JWKSEndpoint) file(dir string) string {
	if j.File.Value == "" {
		return ""
	}
	return absolute(dir, filepath.Clean(string(j.File.Value)))
}

func stringsOf(ts []text) []string {
	s := make([]string, len(ts))
	for i, t := range ts {
		s[i] = string(t)
	}
	return s
}
