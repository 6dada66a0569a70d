package openapi

import (
	"slices"
	"strconv"
	"strings"

	"scopeward/policy"
)

// terms are what a rule asks for.
type terms struct {
	access            policy.Access
	scopes, anyScopes []string
	when              string
}

// maxCondition is how long a condition may be.
const maxCondition = 16 << 10

// terms gives what a request must meet that may be for any of the operations: what all of
// them ask for whose guards it has, and the guards of one.
func (r *rule) terms() terms {
	t := terms{access: policy.AccessPublic}
	var guards, asked []string
	met := false
	said := map[string]bool{}
	for _, op := range r.operations {
		g, here := conditions(op.guards(), r.patterns[0].Segments)
		if !here {
			continue
		}
		if !slices.Contains(guards, g) {
			guards = append(guards, g)
		}
		open := op.Requirement.Public && !op.closed
		if open && r.hasPlain() {
			continue // others ask for what they ask for
		}
		t.access = policy.AccessToken
		need, possible := express(op.Requirement.Alternatives)
		key := g + "\n" + op.Requirement.String()
		met = met || possible && !op.closed
		if open {
			op.note(op.Pos, "it is public, and only for a part of what its pattern is for: a public rule has no condition")
		}
		switch possible = possible && !op.closed; {
		case said[key]:
		case !possible && g == "":
			return terms{}
		case !possible:
			asked = append(asked, "!("+g+")")
		case g == "" || len(r.operations) == 1 || r.alike():
			t.join(need)
		default:
			if words := need.condition(); words != "" {
				asked = append(asked, "(!("+g+") || "+words+")")
			}
		}
		said[key] = true
	}
	switch {
	case t.access == policy.AccessPublic && len(guards) > 0:
		return t
	case !met:
		return terms{}
	}
	if !slices.Contains(guards, "") {
		asked = slices.Insert(asked, 0, alternative(guards))
	}
	if t.when != "" {
		asked = append(asked, t.when)
	}
	for i, words := range asked {
		if len(asked) > 1 && strings.Contains(words, " || ") && !isWrapped(words) {
			asked[i] = "(" + words + ")"
		}
	}
	t.when = strings.Join(asked, " && ")
	return t
}

// hasPlain reports whether one of the operations is for all requests of the patterns.
func (r *rule) hasPlain() bool {
	return slices.ContainsFunc(r.operations, func(op *Operation) bool { return len(op.guards()) == 0 })
}

// alike reports whether all operations ask for the same.
func (r *rule) alike() bool {
	return !slices.ContainsFunc(r.operations, func(op *Operation) bool { return !sameDemand(op, r.operations[0]) })
}

// alternative joins conditions of which one is enough.
func alternative(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	for i, words := range all {
		if strings.Contains(words, " && ") {
			all[i] = "(" + words + ")"
		}
	}
	return strings.Join(all, " || ")
}

// isWrapped reports whether a condition is in one pair of brackets.
func isWrapped(words string) bool {
	depth := 0
	for i, c := range words {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 && i < len(words)-1 {
			return false
		}
	}
	return strings.HasPrefix(words, "(")
}

// join adds what another need asks for.
func (t *terms) join(other terms) {
	for _, scope := range other.scopes {
		if !slices.Contains(t.scopes, scope) {
			t.scopes = append(t.scopes, scope)
		}
	}
	if len(other.anyScopes) > 0 && len(t.anyScopes) > 0 && !slices.Equal(t.anyScopes, other.anyScopes) {
		other.when, other.anyScopes = terms{anyScopes: other.anyScopes, when: other.when}.condition(), nil
	}
	if len(other.anyScopes) > 0 {
		t.anyScopes = other.anyScopes
	}
	if other.when != "" && other.when != t.when {
		if t.when != "" {
			t.when = "(" + t.when + ") && (" + other.when + ")"
		} else {
			t.when = other.when
		}
	}
}

// condition writes all of the terms in CEL; "" is true.
func (t terms) condition() string {
	var all []string
	for _, scope := range t.scopes {
		all = append(all, test(scope))
	}
	if len(t.anyScopes) > 0 {
		some := make([]string, len(t.anyScopes))
		for i, scope := range t.anyScopes {
			some[i] = test(scope)
		}
		all = append(all, "("+strings.Join(some, " || ")+")")
	}
	if t.when != "" {
		all = append(all, "("+t.when+")")
	}
	if len(all) > 1 {
		return "(" + strings.Join(all, " && ") + ")"
	}
	return strings.Join(all, "")
}

// test writes in CEL that a token has a scope, or is of a provider.
func test(scope string) string {
	if provider, ok := strings.CutPrefix(scope, ofProvider); ok {
		return "identity.provider == " + strconv.Quote(provider)
	}
	return strconv.Quote(scope) + " in identity.scopes"
}

// express puts alternatives into a rule's words, exactly: what all of them have
// in common into scopes, one of single scopes into any_scopes, and all else
// into a condition. It is false if there is no alternative.
func express(alternatives [][]string) (t terms, possible bool) {
	if len(alternatives) == 0 {
		return terms{}, false
	}
	var common []string // providers
	for _, scope := range alternatives[0] {
		switch {
		case slices.ContainsFunc(alternatives, func(a []string) bool { return !slices.Contains(a, scope) }):
		case strings.HasPrefix(scope, ofProvider):
			common = append(common, scope)
			t.when = test(scope)
		default:
			t.scopes = append(t.scopes, scope)
		}
	}
	single, some, tried := true, []string(nil), []string{}
	for _, alternative := range alternatives {
		var rest, tests []string
		for _, scope := range alternative {
			if !slices.Contains(t.scopes, scope) && !slices.Contains(common, scope) {
				rest = append(rest, scope)
				tests = append(tests, test(scope))
				single = single && !strings.HasPrefix(scope, ofProvider)
			}
		}
		if len(rest) == 0 {
			return t, true // alternatives are minimal: it is the only one
		}
		single = single && len(rest) == 1
		some = append(some, rest...)
		tried = append(tried, "("+strings.Join(tests, " && ")+")")
	}
	switch {
	case single:
		t.anyScopes = some
	case t.when != "":
		t.when += " && (" + strings.Join(tried, " || ") + ")"
	default:
		t.when = strings.Join(tried, " || ")
	}
	return t, true
}
