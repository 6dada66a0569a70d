package diff

import (
	"fmt"
	"net/http"
	"strings"

	"scopeward/policy"
)

// String gives the requests of a pair as a pattern.
func (p pair) String() string {
	switch {
	case p.old == nil:
		return p.new.String()
	case p.new == nil:
		return p.old.String()
	}
	was, is := p.old.Pattern, p.new.Pattern
	if p.preflight { // of OPTIONS, and of another method
		was.Method, is.Method = http.MethodOptions, http.MethodOptions
	}
	both, _ := is.Meet(&was) // a request was found
	return both.String()
}

// String gives the example as people write requests.
func (e example) String() string { return e.method + " https://" + e.host + e.target }

// needs is Needs for a request that may pass by preflight: public.
func needs(r *policy.Rule, preflight bool) string {
	if preflight {
		return "public, by preflight: public"
	}
	return Needs(r)
}

// Needs says in words what a rule asks for; nil is no rule.
func Needs(r *policy.Rule) string {
	switch {
	case r == nil:
		return "denied (no rule)"
	case r.Audit:
		enforced := *r
		enforced.Audit = false
		return "not enforced (mode: audit), else " + Needs(&enforced)
	case r.Access == policy.AccessPublic:
		return "public"
	case r.Access != policy.AccessToken:
		return "denied"
	}
	words := "a valid token"
	if r.Optional {
		words = "nobody, or a valid token"
	}
	var with []string
	if len(r.Scopes) > 0 {
		with = append(with, scopes(r.Scopes))
	}
	if len(r.AnyScopes) > 0 {
		with = append(with, "one of "+strings.Join(r.AnyScopes, ", "))
	}
	if len(with) > 0 {
		words += " with " + strings.Join(with, " and ")
	}
	for _, login := range []string{r.ACRWords(), r.MaxAgeWords()} {
		if login != "" {
			words += ", " + login
		}
	}
	if r.When != "" {
		words += ", when " + strings.Join(strings.Fields(r.When), " ")
	}
	return words
}

func scopes(names []string) string {
	if len(names) == 1 {
		return "scope " + names[0]
	}
	return "scopes " + join(names)
}

func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// maxPeople bounds the groups that are told of one change.
const maxPeople = 8

// people says in words who brings the facts of some cube, or is denied by one of the
// two policies for the cost of its condition only.
func people(cubes []cube, costs bool, policy string) []string {
	var all []string
	if costs && len(cubes) == 0 {
		return []string{"requests for which the " + policy + " condition costs more than CEL may, which denies them"}
	}
	for i, c := range cubes {
		if i == maxPeople {
			return append(all, fmt.Sprintf("%d more combinations", len(cubes)-i))
		}
		all = append(all, c.String())
	}
	return all
}

// String says in words who brings these facts.
func (c cube) String() string {
	switch {
	case len(c) == 0 || c.has(fact{kind: noToken}):
		return "anyone, without a token"
	case c.has(fact{kind: badToken}):
		return "anyone with a token that is not valid"
	}
	var with, without, logins, when []string
	for _, f := range c {
		switch {
		case f.kind == hasScope && f.not:
			without = append(without, f.key)
		case f.kind == hasScope:
			with = append(with, f.key)
		case f.kind == hasACR, f.kind == signedIn:
			logins = append(logins, f.words)
		case f.kind == holds && f.not:
			when = append(when, "not ("+f.words+")")
		case f.kind == holds:
			when = append(when, f.words)
		}
	}
	words := "any valid token"
	if len(with) > 0 {
		words = "a token with " + scopes(with)
	}
	if len(without) > 0 {
		words += " without " + scopes(without)
	}
	if len(logins) > 0 {
		words += " of " + strings.Join(logins, " and ")
	}
	if len(when) > 0 {
		words += ", when " + strings.Join(when, " and ")
	}
	return strings.Join(strings.Fields(words), " ")
}
