package policy

import (
	"slices"
	"strings"
	"time"

	"scopeward/internal/strictyaml"
)

// Rule is one rule of a policy file, read only. The zero value denies.
type Rule struct {
	Name      string // may be empty
	Patterns  []*Pattern
	Access    Access
	Optional  bool          // of AccessToken: without a credential the request passes as nobody
	Scopes    []string      // all of these
	AnyScopes []string      // and any of these
	ACR       []string      // and a login by any of these authentication contexts
	MaxAge    time.Duration // and one that is not older; 0: any
	When      string        // and this CEL expression
	Audit     bool          // not enforced yet: what it denies passes, and is recorded
	Policy    string        // the name of the policy that it belongs to, by the file's `name:`; empty: the default
	Pos       strictyaml.Pos

	condition *compiledCondition
	when      strictyaml.Text // of the condition, for positions within
	admits    pathForms       // by the rule's file
	preflight bool            // by the rule's file: lets preflight requests for its patterns pass

	// What the answers need, made at load.
	required          []string
	scopeText         string
	lackAll, lackSome string
	place             string
}

// Place is the rule's position as text, made once.
func (r *Rule) Place() string { return r.place }

// ScopeText gives the scopes, then the any_scopes, with a space between, as challenges
// have them; "" without a rule.
func (r *Rule) ScopeText() string {
	if r == nil {
		return ""
	}
	return r.scopeText
}

// prepare makes what Decide gives out, once.
func (r *Rule) prepare() {
	r.place = r.Pos.String()
	r.required = slices.Clip(slices.Concat(r.Scopes, r.AnyScopes))
	r.scopeText = strings.Join(r.required, " ")
	r.lackAll = "the token needs all of the scopes " + strings.Join(r.Scopes, " ")
	r.lackSome = "the token needs one of the scopes " + strings.Join(r.AnyScopes, " ")
}

// Optional reports whether the rule lets a request pass as nobody that brings no
// credential at all. One with a credential must meet the rule.
func (m Match) Optional() bool {
	return m.Access() == AccessToken && m.rule.Optional
}

// DecideNobody decides about a request without a credential. Where there is one that is
// not valid, Decide(nil) tells.
func (m Match) DecideNobody() Decision {
	if m.Optional() {
		return Decision{Code: Allowed}
	}
	return m.Decide(nil)
}

// Decide says whether id has what the rule asks for. id is nil if there is no
// valid token: only a public rule allows it.
func (m Match) Decide(id *Identity) Decision {
	switch {
	case m.needsSlash:
		return Decision{Reason: "no rule matches the request: a rule is for the path with a slash at its end, so more general ones do not apply"}
	case m.rule == nil:
		return Decision{Reason: "no rule matches the request"}
	case m.Access() == AccessPublic:
		return Decision{Code: Allowed}
	case m.rule.Access != AccessToken:
		return Decision{Reason: "the rule denies"}
	case id == nil:
		return Decision{Reason: "the rule asks for a valid token"}
	}
	return m.decideToken(id)
}

func (m Match) decideToken(id *Identity) Decision {
	r := m.rule
	for _, scope := range r.Scopes {
		if !slices.Contains(id.Scopes, scope) {
			return Decision{Code: InsufficientScope, Scopes: r.required, Reason: r.lackAll}
		}
	}
	if len(r.AnyScopes) > 0 && !slices.ContainsFunc(r.AnyScopes, func(scope string) bool { return slices.Contains(id.Scopes, scope) }) {
		return Decision{Code: InsufficientScope, Scopes: r.required, Reason: r.lackSome}
	}
	if r.StepUp() {
		acr, age := m.StepUp(id)
		switch {
		case acr != "":
			return Decision{Code: InsufficientAuthentication, Reason: "the rule asks for " + r.ACRWords() + ", and " + acr}
		case age != "":
			return Decision{Code: InsufficientAuthentication, Reason: "the rule asks for " + r.MaxAgeWords() + ", and " + age}
		}
	}
	if r.condition == nil {
		return Decision{Code: Allowed}
	}
	switch holds, err := r.condition.holds(m.request, id, m.values); {
	case err != nil:
		return Decision{Reason: "the condition of the rule could not be evaluated", Err: err}
	case !holds:
		return Decision{Reason: "the condition of the rule does not hold"}
	default:
		return Decision{Code: Allowed}
	}
}
