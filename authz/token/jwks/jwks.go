// Package jwks verifies JWTs locally, with the provider's published keys
// (RFC 7515, RFC 7517).
package jwks

import (
	"context"
	"log/slog"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// Options configure a [KeySet]: exactly one of URL and File is set.
type Options struct {
	URL      string
	File     string
	Refresh  time.Duration    // between background fetches; default 15 min
	MaxStale time.Duration    // how long the last good set serves; default 24 h
	Client   *provider.Client // default provider.New(provider.Options{})
	Logger   *slog.Logger     // default: discard
	Now      func() time.Time // default time.Now
}

// KeySet holds the keys that a provider publishes.
type KeySet struct{ opts Options }

// New makes an empty key set; Run fills it.
func New(opts Options) *KeySet { return &KeySet{opts} }

// Run fetches the keys now and then in the background until ctx ends.
func (s *KeySet) Run(ctx context.Context) { <-ctx.Done() }

// Ready tells whether a fetch has been tried, and why the keys are not good
// ("" if they are).
func (s *KeySet) Ready() (tried bool, reason string) { return false, "not implemented" }

// Age is the time since the last good fetch; ok is false if there was none.
func (s *KeySet) Age() (age time.Duration, ok bool) { return 0, false }

// Supported tells whether alg is a signature algorithm that a [Verifier] knows:
// asymmetric ones only (RFC 7518 §3.1, RFC 8037).
func Supported(alg string) bool { return false }

// Verifier verifies JWTs with the keys of a [KeySet]. The zero value denies.
type Verifier struct {
	Keys       *KeySet
	Rules      token.Rules
	Algorithms []string // accepted alg values; none: nothing is accepted
	RequireTyp bool     // only typ at+jwt (RFC 9068 §4)
}

// Verify implements [token.Verifier].
func (v *Verifier) Verify(ctx context.Context, raw string) (*token.Identity, error) {
	return nil, token.Invalidf("not implemented")
}

// HasKey implements [token.KeyHolder].
func (v *Verifier) HasKey(id string) bool { return false }
