package config

import (
	"fmt"
	"strings"

	"scopeward/authz/token"
	"scopeward/internal/strictyaml"
)

// scopeClaims reads where the provider's scopes stand. mistake is called for each place
// that is none, or that is there already.
func (p providerSection) scopeClaims(mistake func(at located, message string)) token.ScopeClaims {
	var all token.ScopeClaims
	seen := map[string]bool{}
	for _, joined := range p.ScopeClaims {
		var places []token.Place
		for _, written := range joined {
			place, err := token.ParsePlace(string(written.Value))
			switch {
			case err != nil:
				mistake(written, err.Error())
				continue
			case seen[place.String()]:
				mistake(written, fmt.Sprintf("%s is there twice: it counts where it stands first", place))
			}
			seen[place.String()] = true
			places = append(places, place)
		}
		if len(places) > 0 {
			all = append(all, places)
		}
	}
	return all
}

// scopePlaces checks scope_claims.
func (v *validator) scopePlaces(p providerSection, pos func(located) strictyaml.Pos) {
	if len(p.ScopeClaims) == 0 {
		v.add(pos(located{}), "provider %q has an empty list of scope_claims; leave it out for scope and scp", p.Name.Value)
	}
	for _, joined := range p.ScopeClaims {
		if len(joined) == 0 {
			v.add(pos(located{}), "provider %q has an empty list within scope_claims", p.Name.Value)
		}
	}
	p.scopeClaims(func(at located, message string) {
		v.add(pos(at), "provider %q: scope_claims: %s", p.Name.Value, message)
	})
}

// isPath reports whether the name of a claim reads like a path to a claim within another.
// A name that is a URL, as of custom claims at some providers, has dots too.
func isPath(claim string) bool {
	return strings.Contains(claim, ".") && !strings.ContainsAny(claim, ":/")
}

// isList reports whether an audience reads like several.
func isList(audience string) bool {
	return strings.ContainsAny(audience, ", ") || strings.HasPrefix(audience, "[") && strings.HasSuffix(audience, "]")
}

// doubts are settings that are allowed, and hardly what was meant.
func (d *document) doubts() (doubts strictyaml.Problems) {
	for _, p := range d.Providers {
		for _, audience := range p.Value.Audiences {
			if isList(string(audience)) {
				doubts = append(doubts, strictyaml.Problem{Pos: p.Pos, Message: fmt.Sprintf(
					"provider %q has the audience %q, which looks like a list in one text: write each audience as an element of its own", p.Value.Name.Value, audience)})
			}
		}
		for _, joined := range p.Value.ScopeClaims {
			for _, claim := range joined {
				if isPath(string(claim.Value)) {
					pointer := "/" + strings.ReplaceAll(string(claim.Value), ".", "/")
					doubts = append(doubts, strictyaml.Problem{Pos: claim.Pos, Message: fmt.Sprintf(
						"scope_claims names the claim %q, dots included, at the top of a token; write %s for a claim within another", claim.Value, pointer)})
				}
			}
		}
	}
	return doubts
}
