package policytest

import (
	"fmt"

	"scopeward/policy"
	"scopeward/policy/explain"
)

// Coverage says which branches of the rules some test has taken. A public rule
// has one branch, allowed, one that denies has the other, all others have both.
type Coverage struct {
	Rules []*RuleCoverage

	byRule map[*policy.Rule]*RuleCoverage
}

// RuleCoverage is the coverage of one rule. That a test failed does not matter.
type RuleCoverage struct {
	Rule            *policy.Rule
	Allowed, Denied Branch

	// refused: a valid token was denied, so that the rule's conditions have shown
	// that they deny.
	refused bool
}

// Branch is whether a rule can end in an answer, and whether it has.
type Branch struct{ Exists, Taken bool }

func newCoverage(set *policy.Set) Coverage {
	c := Coverage{byRule: map[*policy.Rule]*RuleCoverage{}}
	for _, rule := range set.Rules() {
		covered := &RuleCoverage{Rule: rule}
		covered.Allowed.Exists = rule.Access == policy.AccessPublic || rule.Access == policy.AccessToken
		covered.Denied.Exists = rule.Access != policy.AccessPublic
		c.byRule[rule] = covered
		c.Rules = append(c.Rules, covered)
	}
	return c
}

// touch notes the branch that an outcome took. What mode: audit would deny counts
// as denied: that is what the rule says.
func (c *Coverage) touch(out explain.Outcome) {
	covered := c.byRule[out.Match.Rule()]
	if covered == nil || out.Match.ForPreflight() { // which tells nothing of the rule
		return
	}
	code := out.Code
	if out.WouldBe != "" {
		code = out.WouldBe
	}
	switch code {
	case explain.Allow:
		covered.Allowed.Taken = true
	case explain.InsufficientScope, explain.InsufficientLogin, explain.AccessDenied:
		covered.refused = true
		fallthrough
	default:
		covered.Denied.Taken = true
	}
}

// Untouched reports whether no test came to the rule.
func (r *RuleCoverage) Untouched() bool { return !r.Allowed.Taken && !r.Denied.Taken }

// Missing names the branches that no test took.
func (r *RuleCoverage) Missing() []string {
	var missing []string
	if r.Allowed.Exists && !r.Allowed.Taken {
		missing = append(missing, "allowed")
	}
	if r.Denied.Exists && !r.Denied.Taken {
		missing = append(missing, "denied")
	}
	return missing
}

// Hint says what the branches do not show: that the rule's conditions refuse any
// valid token. It is empty if there is nothing to say.
func (r *RuleCoverage) Hint() string {
	conditions := len(r.Rule.Scopes)+len(r.Rule.AnyScopes) > 0 || r.Rule.StepUp() || r.Rule.When != ""
	if !conditions || !r.Denied.Taken || r.refused {
		return ""
	}
	return "denied only without a valid token: no test shows that a token can lack what the rule asks for"
}

// Name gives the rule's name, else its first pattern.
func (r *RuleCoverage) Name() string {
	if r.Rule.Name != "" {
		return r.Rule.Name
	}
	name := r.Rule.Patterns[0].Text
	if more := len(r.Rule.Patterns) - 1; more > 0 {
		name += fmt.Sprintf(" and %d more", more)
	}
	return name
}

// Branches gives the number of branches that there are, and that tests took.
func (c Coverage) Branches() (all, taken int) {
	for _, r := range c.Rules {
		for _, b := range []Branch{r.Allowed, r.Denied} {
			if b.Exists {
				all++
			}
			if b.Taken {
				taken++
			}
		}
	}
	return all, taken
}

// Touched gives the number of rules that some test came to.
func (c Coverage) Touched() int {
	n := 0
	for _, r := range c.Rules {
		if !r.Untouched() {
			n++
		}
	}
	return n
}

// Percent is the share of the branches that tests took, from 0 to 100.
func (c Coverage) Percent() float64 {
	all, taken := c.Branches()
	if all == 0 {
		return 100
	}
	return 100 * float64(taken) / float64(all)
}
