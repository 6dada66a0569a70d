package inspect

import (
	"cmp"
	"errors"
	"slices"

	"scopeward/authz"
	"scopeward/authz/token"
	"scopeward/authz/wire"
	"scopeward/internal/config"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// Presented is the credential that a request in words has in its headers or its query.
type Presented struct {
	Raw   string // "" without one
	Fault error  // why what is there is none, or doesn't count; nil if it does
}

// Present takes the credential out of a question, where the configuration looks for it. What
// is left is what goes upstream, and what conditions see.
func Present(q *explain.Question, c *config.Config) Presented {
	places := &c.Credentials
	r := wire.Request{HTTP: true, Method: q.Method, Host: q.Host, Path: q.Target}
	for name, value := range q.Headers {
		r.Headers = append(r.Headers, wire.Header{Name: name, Value: value})
	}
	slices.SortFunc(r.Headers, func(a, b wire.Header) int { return cmp.Compare(a.Name, b.Name) })
	found, err := places.Find(&r, token.MaxLength)
	if _, missing := errors.AsType[*token.MissingError](err); missing {
		err = nil
	}
	if err == nil && found.CrossSite(&r) {
		err = authz.ErrCrossSite
	}
	q.Target, q.Headers = places.Target(&r), places.Hidden(&r)
	return Presented{found.Raw, err}
}

// Explain explains a question of which the request itself has the credential, if it has one.
func (p Presented) Explain(set *policy.Set, q explain.Question, c *config.Config) (explain.Explanation, explain.Outcome) {
	malformed, _ := errors.AsType[*token.MalformedError](p.Fault)
	if malformed != nil {
		q.Token, q.TokenFault, q.Identity = policy.TokenInvalid, malformed.Reason, nil
	}
	e, out := explain.Explain(set, q)
	e.Response = Response(q, out, c)
	switch {
	case malformed != nil && out.Code == explain.InvalidToken:
		p.instead(&e, q, out, c, malformed.Reason)
	case p.Fault != nil && q.Token == policy.TokenValid && out.Match.Access() == policy.AccessToken:
		p.instead(&e, q, out, c, p.Fault.Error())
	}
	return e, out
}

// instead answers by the fault of the credential, in place of the policy's answer.
func (p Presented) instead(e *explain.Explanation, q explain.Question, out explain.Outcome, c *config.Config, reason string) {
	e.Response = respond(c, q, out.Match, policy.Decision{}, p.Fault)
	e.Code, e.Allowed, e.Reason = authz.CodeOf(p.Fault), false, reason
}
