// Package profile validates tokens by asking the provider.
package profile

import (
	"context"
	"log/slog"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// Options configure a [Verifier].
type Options struct {
	URL    string
	Rules  token.Rules
	Client *provider.Client // default provider.New(provider.Options{})
	Logger *slog.Logger     // default: discard
}

// Verifier asks the provider about each token.
type Verifier struct{ opts Options }

// New makes a verifier.
func New(opts Options) *Verifier { return &Verifier{opts} }

// Verify implements [token.Verifier].
func (v *Verifier) Verify(ctx context.Context, raw string) (*token.Identity, error) {
	return nil, token.Invalidf("not implemented")
}
