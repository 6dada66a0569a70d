// Package identitytoken signs who a request is from, as a JWT that the service behind
// verifies: it need not believe a header that others than Scopeward could set.
package identitytoken

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"scopeward/authz/token"
	"scopeward/authz/token/signing"
)

// maxLength bounds a token, in bytes: Envoy forwards headers of 60 KiB in all by default,
// and most servers take less.
const maxLength = 16 << 10

// registered are the claims that a token has of itself (RFC 7519 §4.1, RFC 9068 §2.2).
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope"}

// Registered are the claims that a token has of itself, and that no [Claim] may be.
func Registered() []string { return registered }

// Options configure a [Signer].
type Options struct {
	// Version tells tokens of these options from those of others.
	Version   [8]byte
	Issuer    string
	Audiences []string
	Keys      []crypto.Signer // the first signs, all are published; see [signing.ParseKey]
	TTL       time.Duration
	Claims    []Claim
}

// Claim is a further claim of the tokens. One of which the value is nil is left out.
type Claim struct {
	Name  string
	Value func(*token.Identity) any
}

// Signer makes the tokens. It is for concurrent use; make it with [New].
type Signer struct {
	opts     Options
	method   jwt.SigningMethod
	keyID    string
	audience any // as aud has it
	jwks     string
}

// New makes a Signer.
func New(o Options) (*Signer, error) {
	s := &Signer{opts: o, audience: o.Audiences}
	if len(o.Audiences) == 1 {
		s.audience = o.Audiences[0]
	}
	var set jose.JSONWebKeySet
	for _, key := range o.Keys {
		method := signing.Method(key)
		if method == nil {
			return nil, errors.New("the key can't sign a JWT")
		}
		public := jose.JSONWebKey{Key: key.Public(), Algorithm: method.Alg(), Use: "sig"}
		thumbprint, err := public.Thumbprint(crypto.SHA256)
		if err != nil {
			return nil, err
		}
		public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
		for i, other := range set.Keys {
			if other.KeyID == public.KeyID {
				return nil, fmt.Errorf("keys %d and %d are the same", i+1, len(set.Keys)+1)
			}
		}
		set.Keys = append(set.Keys, public)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("there is no key")
	}
	s.method, s.keyID = signing.Method(o.Keys[0]), set.Keys[0].KeyID
	published, err := json.Marshal(set)
	s.jwks = string(published) + "\n"
	return s, err
}

// Version tells tokens of this signer from those of others.
func (s *Signer) Version() [8]byte { return s.opts.Version }

// JWKS is the public keys (RFC 7517), as JSON.
func (s *Signer) JWKS() string { return s.jwks }

// Known is the token of an identity that is cached with it; nil if it must be signed.
func (s *Signer) Known(id *token.Identity, now time.Time) *token.Note {
	return id.Note(s.opts.Version, now)
}

// Sign is the token of an identity. It ends with the time to live of the options, and no
// later than what it stands for. It is made anew at half of that, so that a service
// always has some time to use it.
func (s *Signer) Sign(id *token.Identity, now time.Time) (*token.Note, error) {
	return id.Annotate(s.opts.Version, now, func() (*token.Note, error) { return s.sign(id, now) })
}

func (s *Signer) sign(id *token.Identity, now time.Time) (*token.Note, error) {
	end, until := now.Add(s.opts.TTL), now.Add(s.opts.TTL/2)
	if !id.Expiry.IsZero() && id.Expiry.Before(end) {
		end, until = id.Expiry, id.Expiry // another one would end no later
	}
	note := &token.Note{By: s.opts.Version, ID: rand.Text(), Until: until}
	t := jwt.NewWithClaims(s.method, s.claims(id, note.ID, now, end))
	t.Header["kid"] = s.keyID
	text, err := t.SignedString(s.opts.Keys[0])
	switch {
	case err != nil: // which may tell of the key
		return nil, errors.New("the identity token can't be signed")
	case len(text) > maxLength:
		return nil, fmt.Errorf("the identity token would have %d bytes, and %d are allowed: let identity_token.claims name less", len(text), maxLength)
	}
	note.Text = text
	return note, nil
}

func (s *Signer) claims(id *token.Identity, jti string, now, end time.Time) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": s.opts.Issuer, "aud": s.audience, "jti": jti, "iat": now.Unix(), "exp": end.Unix(),
	}
	for name, text := range map[string]string{"sub": id.Subject, "client_id": id.ClientID, "scope": id.ScopeText()} {
		if text != "" {
			claims[name] = text
		}
	}
	for _, c := range s.opts.Claims {
		if value := c.Value(id); value != nil {
			claims[c.Name] = value
		}
	}
	return claims
}
