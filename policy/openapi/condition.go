package openapi

import (
	"slices"
	"strings"

	"scopeward/policy"
)

// maxNegated bounds the scopes of a condition that are tried in all combinations.
const maxNegated = 8

// mayAllow reports whether the rule could let a token with some of these scopes pass.
// What its condition asks besides scopes, and the variables that settled names, is not
// known, so that a rule is never thought to be stricter than it is.
func mayAllow(match policy.Match, scopes []string, settled map[string]bool) bool {
	c := match.Rule().Condition()
	known := func(variable string) bool {
		return variable == "identity.scopes" || variable == "identity.provider" || settled[variable]
	}
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
		d, certain := match.DecidePartly(identity(choice), known)
		return d.Code == policy.Allowed || !certain
	})
}

// settled gives the variables that the condition of a match asks only as the guards of
// operations ask, so that one request stands for all that have them.
func settled(match policy.Match, operations []*Operation) map[string]bool {
	left, segments := match.Rule().When, match.Pattern().Segments
	var asked []string
	for _, op := range operations {
		for _, g := range op.guards() {
			switch {
			case g.pieces == nil:
				asked = append(asked, "request.query")
			case g.fromEnd > len(segments) || segments[len(segments)-g.fromEnd].Literal != "":
				continue
			default:
				asked = append(asked, "path."+segments[len(segments)-g.fromEnd].Name())
			}
			left = strings.ReplaceAll(left, g.condition(segments), "")
		}
	}
	only := map[string]bool{}
	for _, variable := range asked {
		only[variable] = !strings.Contains(left, variable)
	}
	return only
}

// scopesOf gives the scopes that the rule's condition names.
func scopesOf(r *policy.Rule) []string {
	if r.Condition() == nil {
		return nil
	}
	named, _ := r.Condition().Scopes()
	return named
}
