package token

import "context"

// Both makes a verifier that accepts a token only if both verifiers do, for the
// same subject. The first is asked first, and its claims count; put the cheap
// one first.
func Both(first, second Verifier) Verifier { return both{first, second} }

type both struct{ first, second Verifier }

var _ Abilities = both{}

func (b both) Verify(ctx context.Context, t *Token) (*Identity, error) {
	one, err := b.first.Verify(ctx, t)
	if err != nil {
		return nil, err
	}
	two, err := b.second.Verify(ctx, t)
	if err != nil {
		return nil, err
	}
	if !samePerson(one, two) {
		return nil, Invalidf("the two validations of the token name different subjects")
	}
	if one.Bound != nil && two.Bound != nil && !one.Bound.Same(two.Bound) {
		return nil, Invalidf("the two validations of the token bind it to different clients (cnf)")
	}
	id := *one
	if id.Bound == nil {
		id.Bound = two.Bound
	}
	if id.Email == "" {
		id.Email = two.Email
	}
	if id.Expiry.IsZero() || !two.Expiry.IsZero() && two.Expiry.Before(id.Expiry) {
		id.Expiry = two.Expiry
	}
	return &id, nil
}

// samePerson compares the subjects, or the clients of machine tokens without one.
func samePerson(a, b *Identity) bool {
	if a.Subject == "" && b.Subject == "" {
		return a.ClientID != "" && a.ClientID == b.ClientID
	}
	return a.Subject == b.Subject
}

// HasKey implements [KeyHolder]: a key is withdrawn if the first verifier says
// so, since the identity is the first one's.
func (b both) HasKey(id string) bool { return hasKey(b.first, id) }

func hasKey(v Verifier, id string) bool {
	h, ok := v.(KeyHolder)
	return !ok || id == "" || h.HasKey(id)
}

// Outage implements [Patient].
func (b both) Outage() *UnavailableError {
	if err := outage(b.first); err != nil {
		return err
	}
	return outage(b.second)
}

func outage(v Verifier) *UnavailableError {
	if p, ok := v.(Patient); ok {
		return p.Outage()
	}
	return nil
}

// Immediate implements [Immediate].
func (b both) Immediate(t *Token) bool { return immediate(b.first, t) && immediate(b.second, t) }

func immediate(v Verifier, t *Token) bool {
	i, ok := v.(Immediate)
	return ok && i.Immediate(t)
}

// Diagnose implements [Diagnoser].
func (b both) Diagnose(ctx context.Context, t *Token) []Check {
	return append(diagnose(ctx, b.first, t), diagnose(ctx, b.second, t)...)
}
