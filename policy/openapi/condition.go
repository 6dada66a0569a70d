package openapi

import (
	"slices"

	"scopeward/policy"
)

// maxNegated bounds the scopes of a condition that are tried in all combinations.
const maxNegated = 8

// mayAllow reports whether the rule could let a token with some of these scopes pass.
// What its condition asks besides scopes is not known, so that a rule is never thought
// to be stricter than it is.
func mayAllow(match policy.Match, scopes []string) bool {
	c := match.Rule().Condition()
	known := func(variable string) bool { return variable == "identity.scopes" }
	choices := [][]string{scopes}
	if c != nil {
		named, others := c.Scopes()
		if others || len(named) > maxNegated {
			known, named = func(string) bool { return false }, nil
		}
		for _, scope := range named { // a condition may ask that a scope is not there
			for _, choice := range choices {
				if i := slices.Index(choice, scope); i >= 0 {
					choices = append(choices, slices.Delete(slices.Clone(choice), i, i+1))
				}
			}
		}
	}
	return slices.ContainsFunc(choices, func(choice []string) bool {
		d, certain := match.DecidePartly(&policy.Identity{Scopes: choice}, known)
		return d.Code == policy.Allowed || !certain
	})
}

// scopesOf gives the scopes that the rule's condition names.
func scopesOf(r *policy.Rule) []string {
	if r.Condition() == nil {
		return nil
	}
	named, _ := r.Condition().Scopes()
	return named
}
