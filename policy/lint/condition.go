package lint

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"scopeward/internal/strictyaml"
)

// condition is a `when` as a tree.
type condition struct {
	expr ast.Expr
	ast  *ast.AST
	text strictyaml.Text
}

// newCondition parses the condition of r, nil if it can't be read.
func newCondition(env *cel.Env, r *rule) *condition {
	parsed, issues := env.Parse(r.When)
	if issues.Err() != nil {
		return nil
	}
	return &condition{expr: parsed.NativeRep().Expr(), ast: parsed.NativeRep(), text: r.written.When}
}

// at gives the place of an expression in the file.
func (c *condition) at(e ast.Expr) strictyaml.Pos {
	r, ok := c.ast.SourceInfo().GetOffsetRange(e.ID())
	if !ok {
		return c.text.Pos
	}
	at := 0
	for range r.Start {
		_, size := utf8.DecodeRuneInString(c.text.Value[at:])
		at += size
	}
	return c.text.At(at)
}

// walk calls f for each expression.
func (c *condition) walk(f func(ast.Expr)) {
	ast.PreOrderVisit(c.expr, ast.NewExprVisitor(f))
}

// uses reports whether the condition has one of the names.
func (c *condition) uses(names ...string) bool {
	found := false
	if c != nil {
		c.walk(func(e ast.Expr) { found = found || slices.Contains(names, dotted(e)) })
	}
	return found
}

// dotted gives the name that an expression is, such as identity.subject, else "".
func dotted(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() {
			if prefix := dotted(s.Operand()); prefix != "" {
				return prefix + "." + s.FieldName()
			}
		}
	}
	return ""
}

// call gives the arguments of a call of an operator, nil if it is none.
func call(e ast.Expr, operator string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operator || e.AsCall().IsMemberFunction() {
		return nil
	}
	return e.AsCall().Args()
}

// constant gives the text of a literal.
func constant(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// key gives a text that two expressions have in common only if they are the same.
func key(e ast.Expr) string {
	all := func(exprs ...ast.Expr) string {
		keys := make([]string, len(exprs))
		for i, x := range exprs {
			keys[i] = key(x)
		}
		return strings.Join(keys, ",")
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return fmt.Sprintf("%s:%q", e.AsLiteral().Type().TypeName(), fmt.Sprint(e.AsLiteral().Value()))
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		s := e.AsSelect()
		return fmt.Sprintf("%s.%s?%t", key(s.Operand()), s.FieldName(), s.IsTestOnly())
	case ast.CallKind:
		c := e.AsCall()
		if c.IsMemberFunction() {
			return fmt.Sprintf("%s.%s(%s)", key(c.Target()), c.FunctionName(), all(c.Args()...))
		}
		return fmt.Sprintf("%s(%s)", c.FunctionName(), all(c.Args()...))
	case ast.ListKind:
		return "[" + all(e.AsList().Elements()...) + "]"
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		return fmt.Sprintf("fold(%s,%s,%s,%s)", c.IterVar(), c.IterVar2(), c.AccuVar(), all(c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()))
	default: // its number is its own
		return fmt.Sprintf("#%d", e.ID())
	}
}

// outcomes is what a condition can come to, in the worst and the best case.
// Errors during evaluation count as false.
type outcomes struct{ canHold, canFail bool }

// maxAtoms bounds the parts of a condition that are tried in all combinations.
const maxAtoms = 12

// outcomes tries all combinations of truths that the parts of the condition can
// have beside each other, under facts. It may take combinations for possible
// that are not.
func (c *condition) outcomes(f facts) outcomes {
	s := &solver{facts: f, index: map[string]int{}}
	holds := s.formula(c.expr)
	if len(s.atoms) > maxAtoms {
		return outcomes{true, true}
	}
	var o outcomes
	for v := truths(0); v < 1<<len(s.atoms) && !(o.canHold && o.canFail); v++ {
		switch {
		case !s.consistent(v):
		case holds(v):
			o.canHold = true
		default:
			o.canFail = true
		}
	}
	return o
}

// facts are what is known of all requests and tokens that reach a condition.
type facts struct {
	equal  func(name, text string) (value, known bool) // of name == "text"
	scopes []string                                    // that the token has
}

// truths has a bit for each atom.
type truths uint

type formula func(truths) bool

// solver makes a formula of an expression, whose atoms are all that is not built
// by !, &&, || and ?:.
type solver struct {
	facts facts
	atoms []atom
	index map[string]int
}

// atom is a part that is true or false. If it is `subject == value`, two of one
// subject are not true together.
type atom struct{ subject, value string }

func (s *solver) consistent(v truths) bool {
	for i, a := range s.atoms {
		for j := range i {
			if a.subject != "" && a.subject == s.atoms[j].subject && v>>i&1 == 1 && v>>j&1 == 1 {
				return false
			}
		}
	}
	return true
}

func fixed(value bool) formula { return func(truths) bool { return value } }

func not(f formula) formula { return func(v truths) bool { return !f(v) } }

func (s *solver) formula(e ast.Expr) formula {
	if e.Kind() == ast.LiteralKind && e.AsLiteral().Type() == types.BoolType {
		return fixed(e.AsLiteral() == types.True)
	}
	if e.Kind() == ast.CallKind && !e.AsCall().IsMemberFunction() {
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.LogicalNot:
			return not(s.formula(args[0]))
		case operators.LogicalAnd:
			a, b := s.formula(args[0]), s.formula(args[1])
			return func(v truths) bool { return a(v) && b(v) }
		case operators.LogicalOr:
			a, b := s.formula(args[0]), s.formula(args[1])
			return func(v truths) bool { return a(v) || b(v) }
		case operators.Conditional:
			c, a, b := s.formula(args[0]), s.formula(args[1]), s.formula(args[2])
			return func(v truths) bool { return c(v) && a(v) || !c(v) && b(v) }
		case operators.Equals:
			return s.equal(args[0], args[1])
		case operators.NotEquals:
			return not(s.equal(args[0], args[1]))
		case operators.In:
			return s.in(e, args[0], args[1])
		}
	}
	return s.atom(atom{}, key(e))
}

func (s *solver) atom(a atom, key string) formula {
	i, known := s.index[key]
	if !known {
		i = len(s.atoms)
		s.index[key] = i
		s.atoms = append(s.atoms, a)
	}
	return func(v truths) bool { return v>>i&1 == 1 }
}

func (s *solver) equal(a, b ast.Expr) formula {
	if a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	left, right := key(a), key(b)
	if a.Kind() == ast.LiteralKind {
		// 1 == 1.0 holds: only texts and values of one type are told apart here.
		if left == right || a.AsLiteral().Type() == b.AsLiteral().Type() {
			return fixed(left == right)
		}
		return s.atom(atom{}, left+"=="+right)
	}
	if text, ok := constant(b); ok {
		if value, known := s.facts.equal(dotted(a), text); known {
			return fixed(value)
		}
		return s.atom(atom{left, right}, left+"=="+right)
	}
	if left == right && dotted(a) != "" {
		return fixed(true)
	}
	if left > right {
		left, right = right, left
	}
	return s.atom(atom{}, left+"=="+right)
}

// in reads `element in list`: a list that is written out is a row of ==.
func (s *solver) in(e, element, list ast.Expr) formula {
	if scope, ok := constant(element); ok && dotted(list) == "identity.scopes" {
		switch {
		case slices.Contains(s.facts.scopes, scope):
			return fixed(true)
		case strings.ContainsAny(scope, " \t\n\"\\") || scope == "":
			return fixed(false) // no scope is so (RFC 6749 §3.3)
		}
	}
	if list.Kind() != ast.ListKind || list.AsList().Size() > maxAtoms || len(list.AsList().OptionalIndices()) > 0 {
		return s.atom(atom{}, key(e))
	}
	any := fixed(false)
	for _, member := range list.AsList().Elements() {
		before, equal := any, s.equal(element, member)
		any = func(v truths) bool { return before(v) || equal(v) }
	}
	return any
}
