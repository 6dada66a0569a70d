package token

import (
	"slices"
	"strings"
)

// purpose is what a token says that it is for.
type purpose uint8

const (
	untold purpose = iota
	access
	bound    // an access token that is bound to a key of its client, by its type
	identity // an ID token
	refresh
	event // a logout or security event token
	other // a code, or another token that is not for an API
)

// marks are the members by which providers tell what a token is for, in a JWT's header
// and claims and in introspection answers: Cognito, Ory Hydra (token_use), OpenIddict
// (token_usage, oi_tkn_typ), Keycloak (typ), ForgeRock (tokenName), and libraries that
// make tokens (token_type, type).
func marks() []string {
	return []string{
		"token_use", "token_usage", "token_type", "token_name", "tokenUse", "tokenUsage", "tokenType", "tokenName", "type", "typ", "oi_tkn_typ",
	}
}

// markedAs is what the value of a mark says: Refresh, refresh_token, rt+jwt, and
// urn:ietf:params:oauth:token-type:refresh_token are one. What it does not know tells
// nothing: type is also the name of a claim for anything else.
func markedAs(value string) purpose {
	value = strings.ToLower(value[strings.LastIndexAny(value, ":/")+1:])
	value = strings.TrimSuffix(value, "+jwt")
	value = strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			return c
		}
		return -1
	}, value)
	switch strings.TrimSuffix(value, "token") {
	case "access", "bearer", "at":
		return access
	case "id", "identity", "serializedid":
		return identity
	case "dpop", "pop":
		return bound
	case "refresh", "rt", "offline", "offlineaccess", "oireft":
		return refresh
	case "logout", "secevent":
		return event
	case "code", "authorizationcode", "authcode", "devicecode", "usercode", "oiauc", "oidevc", "oiusrc", "oistet", "oireqt",
		"registration", "registrationaccess", "initialaccess":
		return other
	default:
		return untold
	}
}

// purpose is what the marks say, and which of them. The worst of them counts.
func (c Claims) purpose() (worst purpose, mark string) {
	known := marks()
	for _, m := range c.members {
		if !slices.ContainsFunc(known, func(mark string) bool { return strings.EqualFold(mark, m.name) }) {
			continue
		}
		values, _, isList := c.Texts(m.name)
		if !isList {
			values = []string{c.Text(m.name)}
		}
		for _, value := range values {
			if p := markedAs(value); p > worst {
				worst, mark = p, m.name
			}
		}
	}
	return worst, mark
}

// CheckPurpose refuses tokens of the same provider, under the same keys, that were never
// meant for an API (RFC 8725 §2.8). The error is an *[InvalidError].
func (r Rules) CheckPurpose(c Claims) error {
	if c.States("events") {
		return Invalidf("it is a logout or event token, not an access token (it has events)") // RFC 8417 §2.2
	}
	purpose, mark := c.purpose()
	if r.header > purpose {
		purpose, mark = r.header, "header"
	}
	if purpose == bound && !c.States("cnf") {
		return Invalidf("it is bound to a key of its client (by its %s), and nothing says to which (cnf)", mark)
	}
	if err := r.refuse(purpose, mark); err != nil || r.AnyPurpose {
		return err
	}
	// OpenID Connect Core §3.1.3.6 and §3.3.2.11.
	for _, name := range []string{"at_hash", "c_hash", "s_hash"} {
		if c.States(name) {
			return Invalidf("it looks like an ID token, not an access token (it has %s); if the provider's access tokens have that, set purpose: any", name)
		}
	}
	// Some providers put the nonce of §2 into access tokens, too, but those say what they
	// are, or what they are good for.
	if scope := DefaultScopeClaims().states(c) || r.ScopeClaims.states(c); c.States("nonce") && purpose != access && purpose != bound && !scope {
		return Invalidf("it looks like an ID token, not an access token (it has nonce and no scopes); if the provider's access tokens are such, set purpose: any")
	}
	return nil
}

// For are the rules for the claims of this JWT, whose header may say what it is for.
func (r Rules) For(t *JWT) Rules {
	r.header = t.purpose
	return r
}

// refuse is the error of a token with this mark; nil if it may be an access token.
func (r Rules) refuse(p purpose, mark string) error {
	switch p {
	case untold, access, bound:
		return nil
	case identity:
		if r.AnyPurpose {
			return nil
		}
		return Invalidf("it is an ID token, not an access token (by its %s); with purpose: any the provider's ID tokens pass", mark)
	case refresh:
		return Invalidf("it is a refresh token, not an access token (by its %s)", mark)
	default:
		return Invalidf("it is not an access token (by its %s)", mark)
	}
}
