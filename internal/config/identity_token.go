package config

import (
	"crypto"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"scopeward/authz"
	"scopeward/authz/identitytoken"
	"scopeward/authz/token/signing"
	"scopeward/internal/strictyaml"
)

// identityTokenSection is the token for the service behind.
type identityTokenSection struct {
	Header   located                                          `yaml:"header" default:"x-identity-token" doc:"The header of the token."`
	Issuer   located                                          `yaml:"issuer" doc:"The token's iss, by which services know Scopeward: a URL of your own, and none of a provider's." examples:"['https://gateway.acme.dev']"`
	Audience strictyaml.OneOrMore[located]                    `yaml:"audience" doc:"The token's aud: the services that it is for, one or a list." examples:"['https://users.internal.acme.dev']"`
	Key      strictyaml.OneOrMore[strictyaml.Located[Secret]] `yaml:"key" doc:"The private key, PEM, as file:PATH or ${NAME}: P-256 (ES256), Ed25519 (EdDSA) or RSA of at least 2048 bits (RS256). Of a list, the first signs and all are published: a new key is published before it signs, and an old one until its last tokens have ended." examples:"['file:identity.pem', ['file:new.pem', 'file:old.pem']]"`
	TTL      *strictyaml.Located[time.Duration]               `yaml:"ttl" default:"5m" doc:"How long a token counts, from 10s to 24h, never beyond the exp of the credential that it stands for. It is made anew at half of that."`
	Claims   map[string]located                               `yaml:"claims" doc:"Further claims, each with a field of the identity as in headers; a claim keeps its JSON form. One that is not there is left out." examples:"[{email: identity.email, roles: identity.claims.roles}]"`
	Publish  bool                                             `yaml:"publish" default:"false" doc:"Answers the public keys through Envoy, at issuer and /identity/jwks.json. The admin listener has them at /identity/jwks.json in any case."`
}

// IdentityKeysPath is where the public keys are: of the admin listener, and below the issuer.
const IdentityKeysPath = "/identity/jwks.json"

// The bounds of a token's time to live.
const (
	minIdentityTTL = 10 * time.Second
	maxIdentityTTL = 24 * time.Hour
)

func (s *identityTokenSection) setDefaults() {
	setDefault(&s.Header, "x-identity-token")
	setPointer(&s.TTL, 5*time.Minute)
}

func (identityTokenSection) AmendSchema(s strictyaml.JSONSchema) {
	s["required"] = []string{"issuer", "audience", "key"}
	s.Property("issuer")["minLength"] = 1
	claims := s.Property("claims")
	claims["propertyNames"] = strictyaml.JSONSchema{"not": strictyaml.JSONSchema{"enum": identitytoken.Registered()}}
	orReference(claims.Values(), oneOf(authz.IdentityFields()), strictyaml.JSONSchema{"pattern": `^identity\.claims\..`})
}

// signedIdentity is the section, resolved. Version changes with all that it says, and with
// its keys.
type signedIdentity struct {
	token   authz.IdentityToken
	version [8]byte
}

// identityToken validates the section, and compiles it if its keys may be read.
func (v *validator) identityToken(d *document, secrets Secrets) (signed signedIdentity) {
	if d.IdentityToken == nil {
		return signed
	}
	before, s := len(v.problems), d.IdentityToken.Value
	header := strings.ToLower(string(s.Header.Value))
	place := func(l located) strictyaml.Pos {
		if l.Pos.Line > 0 {
			return l.Pos
		}
		return d.IdentityToken.Pos
	}
	if _, err := authz.NewIdentityToken(header, nil); err != nil {
		v.add(place(s.Header), "identity_token: %v", err)
	}
	v.ownHeader(d, header, place(s.Header))
	v.identityIssuer(d, s, place)
	if len(s.Audience) == 0 {
		v.add(d.IdentityToken.Pos, "identity_token has no audience: name the service that the token is for, so that no other takes it")
	}
	for _, audience := range s.Audience {
		if audience.Value == "" {
			v.add(audience.Pos, "identity_token.audience is empty")
		}
	}
	if ttl := s.TTL.Value; ttl < minIdentityTTL || ttl > maxIdentityTTL {
		v.add(s.TTL.Pos, "identity_token.ttl must lie between 10s and 24h")
	}
	o := identitytoken.Options{
		Issuer: string(s.Issuer.Value), Audiences: stringsOf(s.Audience), TTL: s.TTL.Value, Claims: v.identityClaims(s.Claims),
	}
	if len(s.Key) == 0 {
		v.add(d.IdentityToken.Pos, "identity_token has no key: make one with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out identity.pem, and name it, as in key: file:identity.pem")
	}
	if secrets != AllSecrets { // a tool that signs nothing
		signed.token = authz.IdentityToken{Header: header}
		return signed
	}
	o.Keys = v.identityKeys(s.Key, d.dir())
	if len(v.problems) > before {
		return signed
	}
	parts := [][]byte{[]byte(textOf(s))}
	for _, key := range o.Keys {
		parts = append(parts, publicKey(key))
	}
	sum := digest(parts...)
	o.Version = [8]byte(sum[:8])
	signer, err := identitytoken.New(o)
	if err != nil {
		v.add(d.IdentityToken.Pos, "identity_token.key: %v", err)
		return signed
	}
	signed.token, signed.version = authz.IdentityToken{Header: header, Signer: signer}, o.Version
	if s.Publish {
		signed.token.Keys, err = authz.NewDocument(strings.TrimSuffix(o.Issuer, "/")+IdentityKeysPath, signer.JWKS())
	}
	if err != nil {
		v.add(place(s.Issuer), "identity_token: %v", err)
	}
	return signed
}

// ownHeader refuses a header that has another meaning already.
func (v *validator) ownHeader(d *document, header string, pos strictyaml.Pos) {
	same := func(name string) bool {
		return strings.ReplaceAll(strings.ToLower(name), "_", "-") == strings.ReplaceAll(header, "_", "-")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		if same(name) {
			v.add(pos, "identity_token: header %s carries %s by headers already; choose another name", strings.ToLower(name), d.Headers[name].Value)
		}
	}
	for _, place := range d.credentials.List {
		if taken := place.UpstreamHeader(); taken != "" && same(taken) {
			v.add(pos, "identity_token: header %s may hold the credential (%s); choose another name", header, place)
		}
	}
}

// identityIssuer checks who the tokens say that they are from.
func (v *validator) identityIssuer(d *document, s identityTokenSection, place func(located) strictyaml.Pos) {
	issuer := string(s.Issuer.Value)
	if issuer == "" {
		v.add(place(s.Issuer), "identity_token has no issuer: name who signs, as in https://gateway.acme.dev")
		return
	}
	for _, p := range d.Providers {
		for _, theirs := range p.Value.Issuer {
			if strings.TrimSuffix(string(theirs.Value), "/") == strings.TrimSuffix(issuer, "/") {
				v.add(place(s.Issuer), "identity_token.issuer is that of provider %q: services could not tell its tokens from these; choose one of your own", p.Value.Name.Value)
			}
		}
	}
	if !s.Publish {
		return
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		v.add(place(s.Issuer), "identity_token.publish needs an issuer that is a URL by which services reach Envoy, as in https://gateway.acme.dev: the keys are at that and %s", IdentityKeysPath)
	}
}

// identityKeys reads the keys. Their errors never contain anything of them.
func (v *validator) identityKeys(written []strictyaml.Located[Secret], dir string) (keys []crypto.Signer) {
	for _, l := range written {
		secret, err := l.Value.resolve(dir)
		var key crypto.Signer
		if err == nil {
			key, err = signing.ParseKey([]byte(secret))
		}
		if err != nil {
			v.add(l.Pos, "identity_token.key: %v", err)
			continue
		}
		same := func(other crypto.Signer) bool { return string(publicKey(other)) == string(publicKey(key)) }
		if slices.ContainsFunc(keys, same) {
			v.add(l.Pos, "identity_token.key: this key is there twice")
		}
		keys = append(keys, key)
	}
	return keys
}

// identityClaims compiles the further claims.
func (v *validator) identityClaims(written map[string]located) (claims []identitytoken.Claim) {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		field := written[name]
		if slices.Contains(identitytoken.Registered(), name) {
			v.add(field.Pos, "identity_token.claims: the token has %s of itself; choose another name", name)
			continue
		}
		value, err := authz.IdentityField(string(field.Value))
		if claim, ofClaim := strings.CutPrefix(string(field.Value), "identity.claims."); ofClaim && isPath(claim) {
			v.add(field.Pos, "identity_token.claims: %s: claims within claims, as in %s, are not supported: name the claim at the top of the token, which keeps its form", name, claim)
			continue
		}
		if err != nil {
			v.add(field.Pos, "identity_token.claims: %s: %v", name, err)
			continue
		}
		claims = append(claims, identitytoken.Claim{Name: name, Value: value})
	}
	return claims
}
