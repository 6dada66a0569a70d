package token

import "context"

// Admission is the rate limit of a client as a [Validator] sees it. What local keys vouch
// for is free; refusals and requests to a provider count.
type Admission struct {
	// Peek returns an error if the client may have no more work done. It counts nothing,
	// waits for nothing, and is asked before each signature is verified, so that a flood of
	// bad ones costs little.
	Peek func() error
	// Charge counts one, or returns an error if the client has had its share.
	Charge func(ctx context.Context) error
	// Valid notes a valid token, and whether it was charged.
	Valid func(charged bool)
}

func (a *Admission) peek() error {
	if a == nil || a.Peek == nil {
		return nil
	}
	return a.Peek()
}

func (a *Admission) charge(ctx context.Context) error {
	if a == nil || a.Charge == nil {
		return nil
	}
	return a.Charge(ctx)
}

func (a *Admission) valid(charged bool) {
	if a != nil && a.Valid != nil {
		a.Valid(charged)
	}
}
