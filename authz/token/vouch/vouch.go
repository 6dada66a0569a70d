// Package vouch validates a token by its provider's word: the provider is asked about
// each token, and says whether it is good and what its claims are.
package vouch

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// Ask asks a provider about a token. It returns what the provider states of the token;
// good reports whether the provider vouches for it. The error is an
// *[token.UnavailableError], or an *[token.InvalidError] of a token that the provider
// refuses without a statement.
type Ask func(ctx context.Context, raw string) (stated token.Claims, good bool, err error)

// Options configure a [Verifier]. All are required.
type Options struct {
	Ask    Ask
	Place  provider.Place   // where Ask asks
	Client *provider.Client // by which Ask asks
	// Rules check what the provider states. Without Audiences any audience is good.
	Rules  token.Rules
	Logger *slog.Logger

	// Alone says that what the provider states is all that counts of a JWT, too, but for its
	// end and what it is bound to: somebody chose these claims. Else what is not stated is taken from the token.
	Alone bool

	Refusal string // why a token that is not good is refused
	Fault   string // what is logged when the provider can't tell
	// Silence is what is logged, once, when the provider has vouched for no token so far:
	// it may keep what it knows from us.
	Silence string
}

// suspicious is how many tokens a provider must refuse, and none accept, until somebody
// is told.
const suspicious = 5

// Verifier asks a provider about each token. Make it with [New].
type Verifier struct {
	opts     Options
	warnings *provider.Warnings
	refused  atomic.Int32 // tokens so far, while all were refused; negative: one was not
}

// New makes a verifier.
func New(opts Options) *Verifier {
	// The provider may leave out what it has checked itself (RFC 7662 §2.2).
	opts.Rules.Optional = true
	opts.Rules.AnyAudience = len(opts.Rules.Audiences) == 0
	if len(opts.Rules.ScopeClaims) == 0 {
		opts.Rules.ScopeClaims = token.DefaultScopeClaims()
	}
	return &Verifier{opts: opts, warnings: provider.NewWarnings(opts.Logger, nil)}
}

// Verify implements [token.Verifier].
//
// Providers may state little more than that the token is good: what is missing in the
// answer is taken from the token if it is a JWT, since the provider has vouched for
// exactly this token, unless the answer counts alone. What both state must not differ in
// sub.
func (v *Verifier) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	own, err := v.fromJWT(t)
	if err != nil {
		return nil, err
	}
	stated, good, err := v.opts.Ask(ctx, t.Raw)
	if err != nil {
		v.warnings.Unavailable(v.opts.Fault, err)
		return nil, err
	}
	if v.note(good); !good {
		return nil, &token.InvalidError{Reason: v.opts.Refusal}
	}
	stated = stated.LenientDates()
	if own.States("sub") && stated.States("sub") && own.Text("sub") != stated.Text("sub") {
		return nil, token.Invalidf("the provider states another subject than the token (sub)")
	}
	if err := sameBinding(own, stated); err != nil {
		return nil, err
	}
	if v.opts.Alone {
		own = own.Only("exp", "cnf")
	}
	rules := v.opts.Rules
	rules.Email = token.EmailAny
	id, err := rules.Identity(v.merge(own, stated))
	if err != nil {
		return nil, err
	}
	id.Email = v.opts.Rules.EmailOf(id.Email, own, stated)
	return id, nil
}

// sameBinding refuses a token that its provider states to be bound otherwise than it says
// itself, or to nothing that can be shown.
func sameBinding(own, stated token.Claims) error {
	if !stated.Has("cnf") {
		return nil
	}
	theirs, err := stated.Binding()
	if err != nil || !own.Has("cnf") {
		return err
	}
	if ours, err := own.Binding(); err != nil || !ours.Same(theirs) {
		return token.Invalidf("the provider states that it is bound to something else than the token says (cnf)")
	}
	return nil
}

// note says once that the provider has refused every token.
func (v *Verifier) note(good bool) {
	switch {
	case good:
		v.refused.Store(math.MinInt32)
	case v.refused.Add(1) == suspicious:
		v.opts.Logger.Warn(v.opts.Silence, slog.Int("tokens", suspicious))
	}
}

// Outage implements [token.Patient].
func (v *Verifier) Outage() *token.UnavailableError {
	return provider.Outage(v.opts.Place, v.opts.Client)
}

// fromJWT returns the claims of a token that is a JWT, and none for another one.
// One that has expired, or is of another issuer, needs no request.
func (v *Verifier) fromJWT(given *token.Token) (token.Claims, error) {
	if given.Opaque() {
		return token.Claims{}, nil
	}
	t, err := given.JWT()
	if err != nil {
		return token.Claims{}, err
	}
	rules := v.opts.Rules.For(t)
	if !t.Claims.States("aud") {
		rules.Audiences, rules.AnyAudience = nil, true // the answer may have it
	}
	rules.Clients, rules.SubjectPrefix, rules.MustBeBound = nil, "", false // so may it
	if _, err := rules.Identity(t.Claims); err != nil {
		return token.Claims{}, err
	}
	return t.Claims, nil
}

// merge takes from the token what the answer does not state. Scopes come from
// one of them only: a claim that ranks higher must not add to what was stated.
func (v *Verifier) merge(own, stated token.Claims) token.Claims {
	if scopes := v.opts.Rules.ScopeClaims; scopes.Present(stated) {
		own = scopes.Without(own)
	}
	return stated.Over(own)
}
