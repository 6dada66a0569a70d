package policy

import (
	"errors"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// DecidePartly decides as Decide does for a request and an identity of which only the
// variables that known admits are known. It reports false if the others, or the cost
// of the condition, could make a difference. It is for tools: Decide decides.
func (m Match) DecidePartly(id *Identity, known func(variable string) bool) (Decision, bool) {
	d := m.Decide(id)
	if m.rule.StepUp() && m.rule.Access == AccessToken && id != nil && d.Code != InsufficientScope && !known("identity.claims") {
		return Decision{Reason: "the rule asks for a login that is not known"}, false
	}
	if m.rule == nil || m.rule.condition == nil || m.rule.Access != AccessToken || id == nil || d.Code != Allowed && d.Code != AccessDenied {
		return d, true // the condition was not asked
	}
	unknown := slices.DeleteFunc(slices.Clone(m.rule.condition.uses), known)
	if len(unknown) == 0 {
		return d, true
	}
	switch holds, err := m.rule.condition.holdsPartly(m.request, id, m.values, unknown); {
	case err != nil:
		return Decision{Reason: "the condition of the rule depends on what is not known"}, false
	case !holds:
		return Decision{Reason: "the condition of the rule does not hold"}, true
	default:
		return Decision{Code: Allowed}, true
	}
}

var errUnknown = errors.New("not known")

// holdsPartly evaluates the condition without the unknown variables. An error is that
// its value is not known: with them, another part may fail, or exceed the cost.
func (c *compiledCondition) holdsPartly(r *Request, id *Identity, values, unknown []string) (bool, error) {
	program, err := c.partial()
	if err != nil {
		return false, err
	}
	patterns := make([]*cel.AttributePatternType, len(unknown))
	for i, name := range unknown {
		patterns[i] = cel.AttributePattern(name)
	}
	vars, err := cel.PartialVars(&activation{request: r, identity: id, wildcards: c.wildcards, values: values}, patterns...)
	if err != nil {
		return false, err
	}
	out, _, err := program.Eval(vars)
	switch {
	case err != nil:
		return false, err
	case out == types.False:
		return false, nil
	case out == types.True && !c.read.MayExceed(maxCost):
		return true, nil
	default:
		return false, errUnknown
	}
}
