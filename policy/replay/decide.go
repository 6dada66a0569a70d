package replay

import (
	"net/http"
	"slices"
	"strings"

	"scopeward/policy"
)

// side is one of the two policies.
type side struct {
	set  *policy.Set
	name string
}

// verdict is what a policy says about an entry.
type verdict struct {
	outcome string
	match   policy.Match
	// preflights are the methods for which the request would pass if it were a preflight
	// request, which no log tells.
	preflights []string
}

const (
	allow       = "allow"
	public      = "public"
	denied      = "denied"
	anyToken    = "token"
	optional    = "nobody or token"
	condition   = "condition"
	invalidPath = "invalid_path"
)

func (v verdict) answer() Answer {
	a := Answer{Outcome: v.outcome, Rule: v.match.Action()}
	if rule := v.match.Rule(); rule != nil {
		a.Pos = rule.Pos.String()
		if v.outcome == anyToken || v.outcome == optional {
			a.Outcome += terms(rule)
		}
	}
	return a
}

// terms says what a rule asks of a token.
func terms(r *policy.Rule) string {
	var parts []string
	if len(r.Scopes) > 0 {
		parts = append(parts, "scopes "+strings.Join(r.Scopes, " "))
	}
	if len(r.AnyScopes) > 0 {
		parts = append(parts, "any of the scopes "+strings.Join(r.AnyScopes, " "))
	}
	for _, login := range []string{r.ACRWords(), r.MaxAgeWords()} {
		if login != "" {
			parts = append(parts, login)
		}
	}
	if r.When != "" {
		parts = append(parts, "the condition "+strings.Join(strings.Fields(r.When), " "))
	}
	if len(parts) == 0 {
		return ""
	}
	return " with " + strings.Join(parts, " and ")
}

func (s *side) decide(e *entry) verdict {
	if e.refused != nil {
		return verdict{outcome: invalidPath}
	}
	match, err := s.set.Match(s.name, &e.request)
	if err != nil {
		return verdict{outcome: invalidPath}
	}
	v := verdict{match: match, preflights: s.preflights(e, match)}
	if match.Rule() != nil && match.Rule().Audit { // it is not enforced
		v.outcome = allow
		return v
	}
	switch e.caller {
	case somebody:
		v.outcome = known(e, match)
	case nobody:
		v.outcome = withoutToken(e, match)
	default:
		v.outcome = kind(match)
	}
	return v
}

func (s *side) preflights(e *entry, match policy.Match) []string {
	if e.method != http.MethodOptions || match.Decide(nil).Code == policy.Allowed {
		return nil
	}
	return s.set.PreflightMethods(s.name, &e.request)
}

// kind is what a rule asks of an unknown caller.
func kind(match policy.Match) string {
	switch {
	case match.Decide(nil).Code == policy.Allowed:
		return public
	case match.Optional():
		return optional
	case match.Access() == policy.AccessToken:
		return anyToken
	default:
		return denied
	}
}

func withoutToken(e *entry, match policy.Match) string {
	switch {
	case match.Decide(nil).Code == policy.Allowed:
		return allow
	case match.Access() != policy.AccessToken:
		return "access_denied"
	case match.Optional() && e.code == "missing_token":
		return allow
	default:
		return e.code
	}
}

// known decides for a caller whose token was valid.
func known(e *entry, match policy.Match) string {
	d, certain := match.DecidePartly(&e.identity, e.knows)
	switch {
	case !certain:
		return condition
	case d.Code == policy.Allowed:
		return allow
	case d.Code == policy.InsufficientScope:
		return "insufficient_scope"
	case d.Code == policy.InsufficientAuthentication:
		return "insufficient_user_authentication"
	default:
		return "access_denied"
	}
}

// knows reports whether the log knows what a condition asks for.
func (e *entry) knows(variable string) bool {
	switch variable {
	case "identity.scopes", "request.method", "request.path":
		return true
	case "identity.subject":
		return e.identity.Subject != ""
	case "identity.provider":
		return e.identity.Provider != ""
	case "request.host":
		return e.host != ""
	case "request.query":
		return e.hasQuery
	case "request.client_ip":
		return e.hasIP
	default: // claims, headers, and what logs do not have
		return strings.HasPrefix(variable, "path.") || strings.HasPrefix(variable, "host.")
	}
}

// compare tells what changes for the request, which may have been a preflight request.
func compare(old, next verdict) Change {
	change := compareOutcomes(old, next)
	switch {
	case change != Opens && may(old.outcome) != always && lacks(old.preflights, next.preflights):
		return MayOpen
	case (change == Same || change == Differs) && may(next.outcome) != always && lacks(next.preflights, old.preflights):
		return MayClose
	}
	return change
}

func lacks(all, some []string) bool {
	return slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func compareOutcomes(old, next verdict) Change {
	a, b := may(old.outcome), may(next.outcome)
	switch {
	case a == never && b == never:
		if old.outcome == next.outcome {
			return Same
		}
		return Differs
	case a == always && b == always:
		return Same
	case a == never && b == always:
		return Opens
	case a == always && b == never:
		return Closes
	case a == never, b == always:
		return MayOpen
	case b == never, a == always:
		return MayClose
	}
	if old.outcome == condition { // the scopes are known, and enough for both
		if sameCondition(old.match.Rule(), next.match.Rule()) && sameLogin(old.match.Rule(), next.match.Rule()) {
			return Same
		}
		return MayOpen
	}
	return between(old.match.Rule(), next.match.Rule())
}

func sameCondition(a, b *policy.Rule) bool {
	return a.When == b.When && (!strings.Contains(a.When, "path.") && !strings.Contains(a.When, "host.") || samePaths(a, b))
}

func sameLogin(a, b *policy.Rule) bool { return a.MaxAge == b.MaxAge && sameScopes(a.ACR, b.ACR) }

// looserLogin reports whether next may take a login that old does not.
func looserLogin(old, next *policy.Rule) bool {
	return len(old.ACR) > 0 && !within(next.ACR, old.ACR) || old.MaxAge > 0 && (next.MaxAge == 0 || next.MaxAge > old.MaxAge)
}

// chance is whether an outcome lets the request pass.
type chance uint8

const (
	never chance = iota
	perhaps
	always
)

func may(outcome string) chance {
	switch outcome {
	case allow, public:
		return always
	case anyToken, optional, condition:
		return perhaps
	default:
		return never
	}
}

// between compares two rules for what a log does not know: a rule that asks for
// all that the other asks can't open anything.
func between(old, next *policy.Rule) Change {
	if next.Optional && !old.Optional {
		return MayOpen
	}
	if old.Optional == next.Optional && sameCondition(old, next) && sameScopes(old.Scopes, next.Scopes) && sameScopes(old.AnyScopes, next.AnyScopes) && sameLogin(old, next) {
		return Same
	}
	for _, scope := range old.Scopes {
		if !slices.Contains(next.Scopes, scope) {
			return MayOpen
		}
	}
	if len(old.AnyScopes) > 0 && !within(next.AnyScopes, old.AnyScopes) && !meet(next.Scopes, old.AnyScopes) {
		return MayOpen
	}
	if looserLogin(old, next) || old.When != "" && !sameCondition(old, next) {
		return MayOpen
	}
	return MayClose
}

// samePaths: the variables of the path and the host mean the same.
func samePaths(a, b *policy.Rule) bool {
	return slices.EqualFunc(a.Patterns, b.Patterns, func(p, q *policy.Pattern) bool { return p.Host+p.Path() == q.Host+q.Path() })
}

func sameScopes(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// within reports whether list has something, and nothing that all has not.
func within(list, all []string) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(all, s) })
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
