package config

import (
	"slices"
	"strings"

	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/signing"
	"scopeward/internal/strictyaml"
)

// introspectEndpoint is RFC 7662's.
type introspectEndpoint struct {
	URL           located `yaml:"url" doc:"Where tokens are introspected; by default where the issuer's metadata say (introspection_endpoint). The issuer and /oauth2/introspect counts only where it publishes no metadata at all." examples:"['https://acme.kinde.com/oauth2/introspect']"`
	Auth          located `yaml:"auth" default:"client_secret_basic" doc:"How Scopeward says who it is. client_secret_basic, client_secret_post: by client_id and client_secret. private_key_jwt: by client_id and key (RFC 7523). bearer: by token. client_credentials: by a token that client_id and client_secret get at token_url. none: not at all."`
	clientSection `yaml:",inline"`
}

// clientSection is how Scopeward says who it is to an endpoint.
type clientSection struct {
	ClientID     located                    `yaml:"client_id" doc:"The client that Scopeward is."`
	ClientSecret strictyaml.Located[Secret] `yaml:"client_secret" doc:"The secret of that client, as file:PATH or ${NAME}." examples:"['file:client.secret', '${CLIENT_SECRET}']"`
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

// client checks that a section has what its auth needs, and nothing that would have no
// effect.
func (v *validator) client(section string, auth located, c clientSection, insecure bool, pos func(located) strictyaml.Pos) {
	i := slices.Index(clientMethods(), string(auth.Value))
	if i < 0 {
		v.oneOf(section+".auth", auth, clientMethods()...)
		return
	}
	s := clientSettings[i]
	for _, setting := range []struct {
		name  string
		value string
		pos   strictyaml.Pos
	}{
		{"client_id", string(c.ClientID.Value), c.ClientID.Pos}, {"client_secret", string(c.ClientSecret.Value), c.ClientSecret.Pos},
		{"key", string(c.Key.Value), c.Key.Pos}, {"token", string(c.Token.Value), c.Token.Pos}, {"token_url", string(c.TokenURL.Value), c.TokenURL.Pos},
		{"audience", string(c.Audience.Value), c.Audience.Pos}, {"scope", string(c.Scope.Value), c.Scope.Pos},
	} {
		switch {
		case slices.Contains(s.needed, setting.name):
			if setting.value == "" {
				at := setting.pos
				if at.Line == 0 {
					at = pos(auth)
				}
				v.add(at, "%s needs %s with auth: %s, and has no %s", section, strings.Join(s.needed, " and "), s.method, setting.name)
			}
		case setting.pos.Line > 0 && !slices.Contains(s.optional, setting.name):
			v.add(setting.pos, "%s.%s has no effect with auth: %s; remove it, or write the auth that it is for", section, setting.name, s.method)
		}
	}
	if c.TokenURL.Value != "" {
		v.url(section+".token_url", located{Value: c.TokenURL.Value, Pos: pos(c.TokenURL)}, insecure)
	}
}

// options resolves how we authenticate, and reads the secrets' files.
func (c clientSection) options(v *validator, section string, auth located, dir, issuer string) clientauth.Options {
	read := func(l strictyaml.Located[Secret]) string {
		secret, err := l.Value.resolve(dir)
		if err == nil && l != c.Key {
			err = checkSecret(string(secret))
		}
		if err != nil {
			v.add(l.Pos, "%v", err)
		}
		return string(secret)
	}
	o := clientauth.Options{
		Method: string(auth.Value), ClientID: string(c.ClientID.Value), Secret: read(c.ClientSecret), Token: read(c.Token), Issuer: issuer,
		TokenURL: string(c.TokenURL.Value), Audience: string(c.Audience.Value), Scope: string(c.Scope.Value),
	}
	if key := read(c.Key); key != "" {
		var err error
		if o.Key, err = signing.ParseKey([]byte(key)); err != nil {
			v.add(c.Key.Pos, "%s.key: %v", section, err)
		}
	}
	return o
}

// written are the settings, of which the places say whether somebody wrote them.
func (c clientSection) written() []located {
	return []located{c.ClientID, c.TokenURL, c.Audience, c.Scope, {Pos: c.ClientSecret.Pos}, {Pos: c.Key.Pos}, {Pos: c.Token.Pos}}
}

// secrets are the values that may stand in files.
func (c clientSection) secrets() []Secret {
	return []Secret{c.ClientSecret.Value, c.Key.Value, c.Token.Value}
}
