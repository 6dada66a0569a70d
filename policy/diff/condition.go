package diff

import (
	"cmp"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"scopeward/policy"
	"scopeward/policy/condition"
	"scopeward/policy/pattern"
)

// maxParts bounds the parts of a condition that are looked at one by one; a larger
// one is taken as a whole.
const maxParts = 4096

// conditionNeed gives a rule's condition in normal form, where the matching
// pattern is pattern: path variables go by their places, operands that may change
// places are sorted, constants are evaluated.
func conditionNeed(rule *policy.Rule, pattern *policy.Pattern) *need {
	read := rule.Condition()
	if read == nil {
		return always()
	}
	n := &normalizer{keys: newKeys(read, pattern)}
	n.keys.Bool = n.boolean
	if whole := n.need(read.Root(), true); n.parts <= maxParts {
		return whole
	}
	n.keys.Bool = nil
	return needFact(fact{kind: holds, key: n.keys.Key(read.Root()), words: rule.When})
}

// steps gives what a condition that may exceed the cost limit evaluates, in order: the
// operands of its outermost &&, by keys that stand for their cost, too. It gives none
// for a condition that never costs so much.
func steps(rule *policy.Rule, pattern *policy.Pattern) []string {
	if !rule.MayExceed() {
		return nil
	}
	keys := newKeys(rule.Condition(), pattern)
	keys.Ordered = true
	var all []string
	var add func(e ast.Expr)
	add = func(e ast.Expr) {
		if args := condition.Call(e, operators.LogicalAnd); args != nil {
			add(args[0])
			add(args[1])
			return
		}
		all = append(all, keys.Key(e))
	}
	add(rule.Condition().Root())
	return all
}

// newKeys gives the keys of a condition whose path variables stand in pattern.
func newKeys(read *condition.Condition, pattern *policy.Pattern) condition.Keys {
	at := places(pattern)
	return condition.Keys{Condition: read, Rename: func(variable string) string {
		return cmp.Or(at[variable], variable)
	}}
}

// places names the variables for a pattern's wildcards by where these stand.
func places(p *policy.Pattern) map[string]string {
	names := map[string]string{}
	for i, segment := range p.Segments {
		if segment.Literal == "" {
			names["path."+segment.Name()] = "path[" + strconv.Itoa(i+1) + "]"
		}
	}
	if p.Rest != "" {
		names["path."+p.Rest] = "path[" + strconv.Itoa(len(p.Segments)+1) + "...]"
	}
	if name, _ := pattern.SplitHost(p.Host); name != "" {
		names["host."+name] = "host[0]"
	}
	return names
}

// normalizer turns CEL expressions into formulas.
type normalizer struct {
	keys  condition.Keys
	parts int
}

// need gives what it takes for e to be true, or false if want is. What fails is
// neither, and makes && and || fail unless the other side decides: `and` and `or`
// over both facts are just that.
func (n *normalizer) need(e ast.Expr, want bool) *need {
	if n.parts++; n.parts > maxParts {
		return never()
	}
	if value, ok := n.keys.Constant(e).(types.Bool); ok {
		if bool(value) == want {
			return always()
		}
		return never()
	}
	if e.Kind() == ast.CallKind {
		if found := n.logical(e.AsCall(), want); found != nil {
			return found
		}
	}
	return needFact(fact{kind: holds, key: n.keys.Key(e), words: n.keys.Source(e), not: !want})
}

func (n *normalizer) logical(call ast.CallExpr, want bool) *need {
	and, or := allOf, anyOf
	if !want {
		and, or = anyOf, allOf
	}
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalNot:
		return n.need(args[0], !want)
	case operators.LogicalAnd:
		return needParts(and, n.need(args[0], want), n.need(args[1], want))
	case operators.LogicalOr:
		return needParts(or, n.need(args[0], want), n.need(args[1], want))
	case operators.Conditional:
		return needParts(anyOf,
			needParts(allOf, n.need(args[0], true), n.need(args[1], want)),
			needParts(allOf, n.need(args[0], false), n.need(args[2], want)))
	case operators.NotEquals:
		return needFact(n.equality(args[0], args[1], want))
	case operators.Equals:
		return needFact(n.equality(args[0], args[1], !want))
	case operators.In:
		return n.membership(args[0], args[1], want, or)
	}
	return nil
}

func (n *normalizer) equality(a, b ast.Expr, not bool) fact {
	return fact{kind: holds, key: n.keys.Equal(a, b), words: n.keys.Source(a) + " == " + n.keys.Source(b), not: not}
}

// membership takes scopes as the rule's own scopes are taken, and a list of
// constants apart. It gives nil for other lists.
func (n *normalizer) membership(item, list ast.Expr, want bool, or op) *need {
	if scope, ok := n.keys.Constant(item).(types.String); ok && condition.Variable(list) == "identity.scopes" {
		return needFact(fact{kind: hasScope, key: string(scope), not: !want})
	}
	if list.Kind() != ast.ListKind || len(list.AsList().OptionalIndices()) > 0 {
		return nil
	}
	elements := list.AsList().Elements()
	if len(elements) == 0 || slices.ContainsFunc(elements, func(e ast.Expr) bool { return n.keys.Constant(e) == nil }) {
		return nil
	}
	var parts []*need
	for _, e := range elements {
		n.parts++
		parts = append(parts, needFact(n.equality(item, e, !want)))
	}
	return needParts(or, parts...)
}

// boolean gives the key of a logical expression: when it is true and when it is false
// together say all about a bool.
func (n *normalizer) boolean(call ast.CallExpr) string {
	if n.parts++; n.parts > maxParts {
		return ""
	}
	yes := n.logical(call, true)
	if yes == nil {
		return ""
	}
	return "bool(" + yes.key + "/" + n.logical(call, false).key + ")"
}
