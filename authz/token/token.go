// Package token turns the bearer token of a request into an identity.
//
// It knows nothing of policies and nothing of Envoy. A [Verifier] vouches for
// one token; a [Validator] puts the right verifier behind a cache, so that many
// requests with one token cost one verification.
package token

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Bounds of a token's length in bytes.
const (
	// MaxLength is what no [Provider] goes beyond: a longer credential is refused unread.
	MaxLength = 256 << 10
	// DefaultMaxLength is a [Provider]'s bound. Tokens that list all groups of their user
	// are long; Envoy accepts 60 KiB of headers by default.
	DefaultMaxLength = 48 << 10
)

// Identity is who a valid token stands for. It is shared between requests: no
// holder may change it, nor anything that it refers to.
type Identity struct {
	Provider string   // the configured name of the provider
	Issuer   string   // iss (RFC 7519 §4.1.1)
	Subject  string   // sub; empty for a machine token that has none
	ClientID string   // client_id (RFC 9068 §2.2), else azp
	Email    string   // email, unless email_verified says false
	Scopes   []string // granted scopes, each a scope-token of RFC 6749 §3.3

	// Bound is what the token is bound to; who has verified the token alone knows only whose
	// it is. Nil: nothing, and whoever has the token may use it.
	Bound *Binding

	scopes *scopeSet   // Scopes, where they are held once for many; see compact
	claims *heldClaims // nil if there are none

	// Expiry is when the token ends, without any clock skew. Zero: not known.
	Expiry time.Time

	// KeyID names the local key that verified the signature, for [KeyHolder].
	// Empty if no local key did.
	KeyID string
}

// ScopeText is the scopes as RFC 6749 §3.3 writes them, separated by spaces.
func (id *Identity) ScopeText() string {
	if id.scopes == nil {
		return strings.Join(id.Scopes, " ")
	}
	return id.scopes.text
}

// A Verifier decides whether a token is valid.
//
// Verify returns an identity, or an *[InvalidError] (the token is bad), or an
// *[UnavailableError] (it cannot be told now). Any other error is a fault of
// ours: it denies, and is never cached. It is called concurrently.
type Verifier interface {
	Verify(ctx context.Context, t *Token) (*Identity, error)
}

// A KeyHolder is a [Verifier] whose answers rest on keys that the provider can
// withdraw. HasKey tells whether a key, by [Identity.KeyID], is still held: an
// identity that was cached under a withdrawn key is verified anew.
type KeyHolder interface {
	HasKey(id string) bool
}

// An Immediate is a [Verifier] that needs nobody for some tokens: Immediate tells whether
// Verify would answer for this one without waiting.
type Immediate interface {
	Immediate(t *Token) bool
}

// A Patient is a [Verifier] that knows when it could tell of no new token, since its
// provider is sick. Outage is nil while it could. Clients are not charged for what it
// refuses so: the outage would be followed by their limit.
type Patient interface {
	Outage() *UnavailableError
}

// Abilities are all that a [Verifier] may have besides. One that forwards to others, as
// [Both] does, has them all: one that it forgets would be lost without a word.
type Abilities interface {
	KeyHolder
	Immediate
	Patient
	Diagnoser
}

// MissingError says that a request carries no bearer token (RFC 6750 §3.1: such
// a request gets a challenge without an error code).
type MissingError struct{ Reason string }

func (e *MissingError) Error() string { return "no bearer token: " + e.Reason }

// MalformedError says that a request tries to carry a bearer token but breaks
// the syntax of RFC 6750 §2.1 (invalid_request).
type MalformedError struct{ Reason string }

func (e *MalformedError) Error() string { return "malformed Authorization header: " + e.Reason }

// InvalidError says that a token is not valid (invalid_token). Reason is meant
// for logs and people; it never contains any part of the token.
type InvalidError struct {
	Reason string
	// NoCache marks a verdict that another moment may change, such as a key
	// that may yet be published.
	NoCache bool
}

func (e *InvalidError) Error() string { return "invalid token: " + e.Reason }

// Invalidf makes an *[InvalidError]. The arguments must not come from the token.
func Invalidf(format string, args ...any) *InvalidError {
	return &InvalidError{Reason: fmt.Sprintf(format, args...)}
}

// UnavailableError says that nobody can tell now whether the token is valid. It
// is never cached.
type UnavailableError struct {
	Reason string
	// RetryAfter is how long the client should wait. Zero: not known.
	RetryAfter time.Duration
	// Charged marks what the token is the reason of, not an outage: it counts against the
	// client's limit as a refusal does, so that it is no free flood.
	Charged bool
	Err     error
}

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *UnavailableError) Unwrap() error { return e.Err }
