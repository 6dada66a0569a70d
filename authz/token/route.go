package token

import (
	"slices"
	"strings"
)

// Kind says which credentials a provider takes.
type Kind string

// The kinds. The zero value is JWTs alone.
const (
	JWTs   Kind = "jwt"
	Opaque Kind = "opaque"
	Any    Kind = "any"
)

// takesJWT reports whether JWTs may go to the provider.
func (p Provider) takesJWT() bool { return p.Tokens != Opaque }

// takesOpaque reports whether tokens that are no JWT may.
func (p Provider) takesOpaque() bool { return p.Tokens == Opaque || p.Tokens == Any }

// route finds the provider that a token goes to. One whose prefixes the token has wins over
// others; of several for one issuer, that counts whose audiences and clients the token has.
func (v *Validator) route(t *Token) (Provider, error) {
	p, err := v.owner(t)
	if err == nil && len(t.Raw) > p.MaxBytes {
		return Provider{}, tooLong(p.MaxBytes)
	}
	return p, err
}

func (v *Validator) owner(t *Token) (Provider, error) {
	jwt, err := t.JWT()
	if err != nil && !t.Opaque() {
		return Provider{}, err
	}
	fits := Provider.takesOpaque
	if err == nil {
		iss := jwt.Claims.Text("iss")
		fits = func(p Provider) bool { return p.takesJWT() && p.issues(iss, jwt.Claims) }
	}
	found, best := -1, 0
	for i := range v.opts.Providers {
		p := &v.opts.Providers[i]
		rank := p.rank(t.Raw)
		if rank <= best || !fits(*p) {
			continue
		}
		if err == nil && !p.Rules.meant(jwt.Claims) { // it may be another's; if it is none's, this one says why
			rank = 0
			if found >= 0 {
				continue
			}
		}
		found, best = i, rank
	}
	switch {
	case found >= 0:
		return v.opts.Providers[found], nil
	case err != nil:
		return Provider{}, err
	default:
		return Provider{}, Invalidf("it was issued by no configured issuer (iss)")
	}
}

// rank is 0 if a provider takes only tokens with another prefix, 1 if it asks for none, and
// more if the token has one of its prefixes.
func (p *Provider) rank(raw string) int {
	if len(p.Prefixes) == 0 {
		return 1
	}
	rank := 0
	for _, prefix := range p.Prefixes {
		if strings.HasPrefix(raw, prefix) {
			rank = max(rank, 1+len(prefix))
		}
	}
	return rank
}

// issues reports whether a JWT of this iss is the provider's.
func (p Provider) issues(iss string, claims Claims) bool {
	if iss == "" {
		return p.Rules.SubjectPrefix != "" && strings.HasPrefix(claims.Text("sub"), p.Rules.SubjectPrefix)
	}
	if p.Issuer != "" && p.Issuer == iss {
		return true
	}
	return slices.ContainsFunc(p.Rules.Issuers, func(i Issuer) bool { return i.takes(iss, claims) })
}

// meant reports whether audience and client of a token are among the configured.
func (r Rules) meant(claims Claims) bool {
	if len(r.Audiences) > 0 {
		if aud, err := claims.audience(); err != nil || !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(r.Audiences, a) }) {
			return false
		}
	}
	return r.checkClients(claims) == nil
}

// clientClaims name the client that got a token: Entra v1 (appid), Okta (cid). The last that
// is there counts as its name.
func clientClaims() []string { return []string{"cid", "appid", "azp", "client_id"} }

// checkClients refuses tokens of other clients, and with clients alone ID tokens, which
// are for the client itself.
func (r Rules) checkClients(claims Claims) error {
	if len(r.Clients) == 0 {
		return nil
	}
	known := false
	for _, name := range clientClaims() {
		if !claims.States(name) {
			continue
		}
		if !slices.Contains(r.Clients, claims.Text(name)) {
			return Invalidf("it is for another client (%s)", name)
		}
		known = true
	}
	if !known {
		return Invalidf("it names no client (azp, client_id, appid or cid), and clients are configured")
	}
	aud, err := claims.audience()
	if err != nil {
		return err
	}
	other := slices.ContainsFunc(aud, func(a string) bool { return !slices.Contains(r.Clients, a) })
	if len(r.Audiences) == 0 && !r.AnyPurpose && len(aud) > 0 && !other {
		return Invalidf("it looks like an ID token: its audience (aud) is the client itself")
	}
	return nil
}
