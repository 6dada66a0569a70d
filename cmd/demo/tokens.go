package main

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/errgroup"

	"scopeward/cmd/demo/idp"
)

// tokens are the access tokens in the lines that the demo prints.
type tokens struct {
	keys, machine, profile, both, introspection, expired string
	spare                                                string // of profile; not printed until the provider is broken
}

// variable is a shell variable with a token.
type variable struct{ name, token string }

// variables are the tokens by the names that the lines use; the first is the one that most need.
func (t tokens) variables() []variable {
	return []variable{{"TOKEN", t.keys}, {"EXPIRED", t.expired}, {"MACHINE", t.machine}, {"PROFILE", t.profile}, {"BOTH", t.both}, {"OPAQUE", t.introspection}}
}

// getTokens runs real OAuth flows at the provider, all at once, for each takes the second that a device must wait before it polls.
func getTokens(ctx context.Context, p *provider) (t tokens, err error) {
	group, ctx := errgroup.WithContext(ctx)
	for token, issuer := range map[*string]idp.Issuer{
		&t.keys: idp.Keys, &t.profile: idp.Profile, &t.spare: idp.Profile, &t.both: idp.Both, &t.introspection: idp.Introspection} {
		group.Go(func() (err error) {
			*token, err = deviceToken(ctx, p.url, issuer)
			return err
		})
	}
	group.Go(func() (err error) {
		t.machine, err = machineToken(ctx, p.url, p.secret, idp.Keys)
		return err
	})
	group.Go(func() (err error) {
		t.expired, err = idp.Ask(ctx, p.control(), "expired")
		return err
	})
	return t, group.Wait()
}

// deviceToken gets a person's token with the scope read:users by the device authorization flow (RFC 8628).
func deviceToken(ctx context.Context, base string, issuer idp.Issuer) (string, error) {
	ctx = direct(ctx)
	at := base + "/" + string(issuer)
	c := oauth2.Config{ClientID: idp.AutoClient, Scopes: []string{"read:users"}, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: at + "/oauth2/device_authorization", TokenURL: at + "/oauth2/token", AuthStyle: oauth2.AuthStyleInParams}}
	device, err := c.DeviceAuth(ctx)
	if err != nil {
		return "", fmt.Errorf("device authorization at %s: %w", at, err)
	}
	token, err := c.DeviceAccessToken(ctx, device)
	if err != nil {
		return "", fmt.Errorf("device token at %s: %w", at, err)
	}
	return token.AccessToken, nil
}

// machineToken gets a machine's token with the scopes read:users and write:users by client credentials (RFC 6749 section 4.4).
func machineToken(ctx context.Context, base, secret string, issuer idp.Issuer) (string, error) {
	c := clientcredentials.Config{ClientID: idp.MachineClient, ClientSecret: secret, TokenURL: base + "/" + string(issuer) + "/oauth2/token",
		Scopes: []string{"read:users", "write:users"}, AuthStyle: oauth2.AuthStyleInHeader}
	token, err := c.Token(direct(ctx))
	if err != nil {
		return "", fmt.Errorf("client credentials at %s: %w", c.TokenURL, err)
	}
	return token.AccessToken, nil
}

// direct makes OAuth requests go straight to the provider on loopback, whatever proxy the environment names.
func direct(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
}
