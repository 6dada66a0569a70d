package diff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"scopeward/policy"
)

const (
	// maxParts bounds the parts of a condition that are looked at one by one; a
	// larger one is taken as a whole.
	maxParts = 4096

	// maxFolds bounds the constant expressions of a condition that are evaluated.
	maxFolds = 64

	// maxFold bounds the evaluation of a constant expression, in CEL's units.
	maxFold = 10_000
)

// conditionNeed gives a rule's condition in normal form, where the matching
// pattern is pattern: path variables go by their places, operands that may change
// places are sorted, constants are evaluated.
func conditionNeed(rule *policy.Rule, pattern *policy.Pattern) *need {
	env, compiled := rule.Condition()
	if compiled == nil {
		return always()
	}
	native := compiled.NativeRep()
	n := &normalizer{env: env, ast: native, pattern: pattern, places: places(pattern)}
	if whole := n.need(native.Expr(), true); n.parts <= maxParts {
		return whole
	}
	n.whole = true
	return needFact(fact{kind: holds, key: n.term(native.Expr()), words: rule.When})
}

// places names the wildcards of a pattern by where they stand.
func places(p *policy.Pattern) map[string]string {
	names := map[string]string{}
	for i, segment := range strings.Split(p.Path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			if rest, ok := strings.CutSuffix(name, "..."); ok {
				names[rest] = "path[" + strconv.Itoa(i) + "...]"
			} else {
				names[name] = "path[" + strconv.Itoa(i) + "]"
			}
		}
	}
	return names
}

// normalizer turns CEL expressions into formulas, and their terms into keys
// that are equal only if the terms are.
type normalizer struct {
	env     *cel.Env
	ast     *ast.AST
	pattern *policy.Pattern
	places  map[string]string
	bound   []string // variables of the macros around, innermost last
	parts   int
	folds   int
	whole   bool // logical operators are terms too
}

// need gives what it takes for e to be true, or false if want is. What fails is
// neither, and makes && and || fail unless the other side decides: `and` and `or`
// over both facts are just that.
func (n *normalizer) need(e ast.Expr, want bool) *need {
	if n.parts++; n.parts > maxParts {
		return never()
	}
	if value, ok := n.constant(e).(types.Bool); ok {
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
	return needFact(fact{kind: holds, key: n.term(e), words: n.text(e), not: !want})
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
	return fact{kind: holds, key: n.equal(n.term(a), n.term(b)), words: n.text(a) + " == " + n.text(b), not: not}
}

func (n *normalizer) equal(a, b string) string {
	return "eq(" + min(a, b) + "," + max(a, b) + ")"
}

// membership takes scopes as the rule's own scopes are taken, and a list of
// constants apart. It gives nil for other lists.
func (n *normalizer) membership(item, list ast.Expr, want bool, or op) *need {
	if scope, ok := n.constant(item).(types.String); ok && list.Kind() == ast.IdentKind && n.variable(list) == "identity.scopes" {
		return needFact(fact{kind: hasScope, key: string(scope), not: !want})
	}
	if list.Kind() != ast.ListKind || len(list.AsList().OptionalIndices()) > 0 {
		return nil
	}
	elements := list.AsList().Elements()
	if len(elements) == 0 || slices.ContainsFunc(elements, func(e ast.Expr) bool { return n.constant(e) == nil }) {
		return nil
	}
	var parts []*need
	for _, e := range elements {
		n.parts++
		parts = append(parts, needFact(n.equality(item, e, !want)))
	}
	return needParts(or, parts...)
}

// variable gives the name of a variable as conditions know it, "" for one of a
// macro.
func (n *normalizer) variable(e ast.Expr) string {
	name := strings.TrimPrefix(e.AsIdent(), ".")
	if slices.Contains(n.bound, e.AsIdent()) {
		return ""
	}
	if r := n.ast.ReferenceMap()[e.ID()]; r != nil && r.Name != "" {
		name = strings.TrimPrefix(r.Name, ".")
	}
	return name
}

// term gives an expression's key.
func (n *normalizer) term(e ast.Expr) string {
	if value := n.constant(e); value != nil {
		return value.Type().TypeName() + ":" + strconv.Quote(fmt.Sprint(value.Value()))
	}
	switch e.Kind() {
	case ast.IdentKind:
		return n.identTerm(e)
	case ast.SelectKind:
		s := e.AsSelect()
		verb := "get"
		if s.IsTestOnly() {
			verb = "has"
		}
		return verb + "(" + n.term(s.Operand()) + "," + strconv.Quote(s.FieldName()) + ")"
	case ast.ListKind:
		return fmt.Sprintf("list%v(%s)", e.AsList().OptionalIndices(), n.terms(e.AsList().Elements()))
	case ast.MapKind:
		var entries strings.Builder
		for _, entry := range e.AsMap().Entries() {
			m := entry.AsMapEntry()
			fmt.Fprintf(&entries, "%s:%t:%s,", n.term(m.Key()), m.IsOptional(), n.term(m.Value()))
		}
		return "map(" + entries.String() + ")"
	case ast.ComprehensionKind:
		return n.comprehensionTerm(e.AsComprehension())
	case ast.CallKind:
		return n.callTerm(e)
	default: // no condition has such: equal to nothing else, by its place
		return fmt.Sprintf("unknown(%s,%d)", n.pattern.Pos, e.ID())
	}
}

func (n *normalizer) identTerm(e ast.Expr) string {
	if i := slices.Index(n.bound, e.AsIdent()); i >= 0 {
		for j := i; j < len(n.bound); j++ { // the innermost counts
			if n.bound[j] == e.AsIdent() {
				i = j
			}
		}
		return "$" + strconv.Itoa(i)
	}
	name := n.variable(e)
	if wildcard, ok := strings.CutPrefix(name, "path."); ok {
		if n.places[wildcard] == "" { // the parser lets no such name pass
			return fmt.Sprintf("unknown(%s,%q)", n.pattern.Pos, name)
		}
		return n.places[wildcard]
	}
	return "var:" + strconv.Quote(name)
}

func (n *normalizer) terms(all []ast.Expr) string {
	var keys []string
	for _, e := range all {
		keys = append(keys, n.term(e))
	}
	return strings.Join(keys, ",")
}

func (n *normalizer) callTerm(e ast.Expr) string {
	call := e.AsCall()
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.In, operators.NotEquals:
		if n.parts++; n.whole || n.parts > maxParts {
			break
		}
		// When it is true and when it is false together say all about a bool.
		if yes := n.logical(call, true); yes != nil {
			return "bool(" + yes.key + "/" + n.logical(call, false).key + ")"
		}
	case operators.Equals:
		return n.equal(n.term(args[0]), n.term(args[1]))
	case operators.Less, operators.LessEquals:
		return name + "(" + n.terms(args) + ")"
	case operators.Greater:
		return operators.Less + "(" + n.term(args[1]) + "," + n.term(args[0]) + ")"
	case operators.GreaterEquals:
		return operators.LessEquals + "(" + n.term(args[1]) + "," + n.term(args[0]) + ")"
	case operators.Index: // of a map: the same as a field
		if field, ok := n.constant(args[1]).(types.String); ok {
			return "get(" + n.term(args[0]) + "," + strconv.Quote(string(field)) + ")"
		}
	}
	target := ""
	if call.IsMemberFunction() {
		target = n.term(call.Target()) + "."
	}
	return target + call.FunctionName() + "(" + n.terms(args) + ")"
}

// comprehensionTerm gives the key of a macro such as exists: its variables go by
// their depth.
func (n *normalizer) comprehensionTerm(c ast.ComprehensionExpr) string {
	outer := n.term(c.IterRange()) + ";" + n.term(c.AccuInit())
	depth := len(n.bound)
	n.bound = append(n.bound, c.IterVar(), c.IterVar2(), c.AccuVar())
	inner := n.terms([]ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()})
	n.bound = n.bound[:depth]
	return fmt.Sprintf("fold(%d,%t;%s;%s)", depth, c.HasIterVar2(), outer, inner)
}

// constant evaluates an expression without variables, by CEL itself. It gives
// nil for one that has variables or macros, that fails, or that is no plain value.
func (n *normalizer) constant(e ast.Expr) ref.Val {
	if e.Kind() == ast.LiteralKind {
		return plain(e.AsLiteral())
	}
	if e.Kind() != ast.CallKind || n.folds == maxFolds || !n.closed(e) {
		return nil
	}
	n.folds++
	text, err := cel.ExprToString(e, n.ast.SourceInfo())
	if err != nil {
		return nil
	}
	compiled, issues := n.env.Compile(text)
	if issues.Err() != nil {
		return nil
	}
	program, err := n.env.Program(compiled, cel.CostLimit(maxFold))
	if err != nil {
		return nil
	}
	value, _, err := program.Eval(cel.NoVars())
	if err != nil {
		return nil
	}
	return plain(value)
}

func plain(value ref.Val) ref.Val {
	switch value.(type) {
	case types.Bool, types.Int, types.Uint, types.Double, types.String, types.Bytes:
		return value
	default:
		return nil
	}
}

// closed reports whether e is made of constants, calls and lists only.
func (n *normalizer) closed(e ast.Expr) bool {
	open := func(e ast.Expr) bool { return !n.closed(e) }
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.ListKind:
		return !slices.ContainsFunc(e.AsList().Elements(), open)
	case ast.CallKind:
		call := e.AsCall()
		return (!call.IsMemberFunction() || n.closed(call.Target())) && !slices.ContainsFunc(call.Args(), open)
	default:
		return false
	}
}

// text gives an expression as it is written, about.
func (n *normalizer) text(e ast.Expr) string {
	text, err := cel.ExprToString(e, n.ast.SourceInfo())
	if err != nil {
		return "a part of the condition"
	}
	return text
}
