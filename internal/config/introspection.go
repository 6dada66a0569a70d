package config

import (
	"slices"
	"strings"

	"scopeward/authz/token/clientauth"
	"scopeward/internal/strictyaml"
)

// introspectEndpoint is RFC 7662's.
type introspectEndpoint struct {
	URL          located                    `yaml:"url" doc:"Where tokens are introspected; by default where the issuer's metadata say (introspection_endpoint). The issuer and /oauth2/introspect counts only where it publishes no metadata at all." examples:"['https://acme.kinde.com/oauth2/introspect']"`
	ClientID     located                    `yaml:"client_id" doc:"The client that introspects."`
	ClientSecret strictyaml.Located[Secret] `yaml:"client_secret" doc:"The secret of that client, as file:PATH or ${NAME}." examples:"['file:client.secret', '${CLIENT_SECRET}']"`
	Auth         located                    `yaml:"auth" default:"client_secret_basic" doc:"How Scopeward says who it is. client_secret_basic, client_secret_post: by client_id and client_secret. private_key_jwt: by client_id and key (RFC 7523). bearer: by token. client_credentials: by a token that client_id and client_secret get at token_url. none: not at all."`
	Key          strictyaml.Located[Secret] `yaml:"key" doc:"The private key of the client, PEM, as file:PATH: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)." examples:"['file:client.pem']"`
	Token        strictyaml.Located[Secret] `yaml:"token" doc:"The bearer token, as file:PATH or ${NAME}." examples:"['file:introspection.token', '${INTROSPECTION_TOKEN}']"`
	TokenURL     located                    `yaml:"token_url" doc:"The token endpoint, for client_credentials." examples:"['https://acme.kinde.com/oauth2/token']"`
	Audience     located                    `yaml:"audience" doc:"The audience of the token of client_credentials." examples:"['https://acme.kinde.com/api']"`
	Scope        located                    `yaml:"scope" doc:"The scopes of the token of client_credentials, separated by spaces." examples:"['read:tokens']"`
}

// clientSettings are the settings of each way to authenticate; those after the first
// optional one may be absent.
var clientSettings = []struct {
	method           string
	needed, optional []string
}{
	{clientauth.Basic, []string{"client_id", "client_secret"}, nil},
	{clientauth.Post, []string{"client_id", "client_secret"}, nil},
	{clientauth.PrivateKey, []string{"client_id", "key"}, nil},
	{clientauth.Bearer, []string{"token"}, nil},
	{clientauth.Credentials, []string{"client_id", "client_secret", "token_url"}, []string{"audience", "scope"}},
	{clientauth.None, nil, []string{"client_id"}},
}

func clientMethods() (names []string) {
	for _, s := range clientSettings {
		names = append(names, s.method)
	}
	return names
}

// introspection checks that the endpoint has what its auth needs, and nothing that would
// have no effect.
func (v *validator) introspection(p providerSection, pos func(located) strictyaml.Pos) {
	e := p.Introspection
	i := slices.Index(clientMethods(), string(e.Auth.Value))
	if i < 0 {
		v.oneOf("introspection.auth", e.Auth, clientMethods()...)
		return
	}
	s := clientSettings[i]
	for _, setting := range []struct {
		name  string
		value string
		pos   strictyaml.Pos
	}{
		{"client_id", string(e.ClientID.Value), e.ClientID.Pos}, {"client_secret", string(e.ClientSecret.Value), e.ClientSecret.Pos},
		{"key", string(e.Key.Value), e.Key.Pos}, {"token", string(e.Token.Value), e.Token.Pos}, {"token_url", string(e.TokenURL.Value), e.TokenURL.Pos},
		{"audience", string(e.Audience.Value), e.Audience.Pos}, {"scope", string(e.Scope.Value), e.Scope.Pos},
	} {
		switch {
		case slices.Contains(s.needed, setting.name):
			if setting.value == "" {
				at := setting.pos
				if at.Line == 0 {
					at = pos(e.Auth)
				}
				v.add(at, "introspection needs %s with auth: %s, and has no %s", strings.Join(s.needed, " and "), s.method, setting.name)
			}
		case setting.pos.Line > 0 && !slices.Contains(s.optional, setting.name):
			v.add(setting.pos, "introspection.%s has no effect with auth: %s; remove it, or write the auth that it is for", setting.name, s.method)
		}
	}
	if e.TokenURL.Value != "" {
		v.url("introspection.token_url", e.TokenURL, p.Insecure)
	}
}

// client resolves how we authenticate, and reads the secrets' files.
func (e introspectEndpoint) client(v *validator, dir, issuer string) clientauth.Options {
	read := func(l strictyaml.Located[Secret]) string {
		secret, err := l.Value.resolve(dir)
		if err == nil && l != e.Key {
			err = checkSecret(string(secret))
		}
		if err != nil {
			v.add(l.Pos, "%v", err)
		}
		return string(secret)
	}
	o := clientauth.Options{
		Method: string(e.Auth.Value), ClientID: string(e.ClientID.Value), Secret: read(e.ClientSecret), Token: read(e.Token), Issuer: issuer,
		TokenURL: string(e.TokenURL.Value), Audience: string(e.Audience.Value), Scope: string(e.Scope.Value),
	}
	if key := read(e.Key); key != "" {
		var err error
		if o.Key, err = clientauth.ParseKey([]byte(key)); err != nil {
			v.add(e.Key.Pos, "introspection.key: %v", err)
		}
	}
	return o
}

// secrets are the values that may stand in files.
func (e introspectEndpoint) secrets() []Secret {
	return []Secret{e.ClientSecret.Value, e.Key.Value, e.Token.Value}
}
