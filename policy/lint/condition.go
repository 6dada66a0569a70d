package lint

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"scopeward/internal/strictyaml"
	"scopeward/policy/condition"
)

// when is the condition of a rule.
type when struct {
	*condition.Condition
	keys condition.Keys
	text strictyaml.Text
}

// newWhen returns the condition of r, nil if it has none.
func newWhen(r *rule) *when {
	c := r.Condition()
	if c == nil {
		return nil
	}
	return &when{Condition: c, keys: condition.Keys{Condition: c}, text: r.written.When}
}

// at gives the place of an expression in the file.
func (w *when) at(e ast.Expr) strictyaml.Pos { return w.text.At(w.Start(e)) }

// uses reports whether the condition reads one of the names.
func (w *when) uses(names ...string) bool { return w != nil && w.Uses(names...) }

// outcomes is what a condition can come to, in the worst and the best case.
// Errors during evaluation count as false.
type outcomes struct{ canHold, canFail bool }

// maxAtoms bounds the parts of a condition that are tried in all combinations.
const maxAtoms = 12

// outcomes tries all combinations of truths that the parts of the condition can
// have beside each other, under facts. It may take combinations for possible
// that are not.
func (w *when) outcomes(f facts) outcomes {
	s := &solver{keys: &w.keys, facts: f, index: map[string]int{}}
	holds := s.formula(w.Root())
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
	keys  *condition.Keys
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
	return s.atom(atom{}, s.keys.Key(e))
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
	left, right := s.keys.Key(a), s.keys.Key(b)
	if a.Kind() == ast.LiteralKind {
		// 1 == 1.0 holds: only texts and values of one type are told apart here.
		if left == right || a.AsLiteral().Type() == b.AsLiteral().Type() {
			return fixed(left == right)
		}
		return s.atom(atom{}, left+"=="+right)
	}
	if text, ok := condition.Text(b); ok {
		if value, known := s.facts.equal(condition.Name(a), text); known {
			return fixed(value)
		}
		return s.atom(atom{left, right}, left+"=="+right)
	}
	if left == right && condition.Name(a) != "" {
		return fixed(true)
	}
	if left > right {
		left, right = right, left
	}
	return s.atom(atom{}, left+"=="+right)
}

// in reads `element in list`: a list that is written out is a row of ==.
func (s *solver) in(e, element, list ast.Expr) formula {
	if scope, ok := condition.Text(element); ok && condition.Name(list) == "identity.scopes" {
		switch {
		case slices.Contains(s.facts.scopes, scope):
			return fixed(true)
		case strings.ContainsAny(scope, " \t\n\"\\") || scope == "":
			return fixed(false) // no scope is so (RFC 6749 §3.3)
		}
	}
	if list.Kind() != ast.ListKind || list.AsList().Size() > maxAtoms || len(list.AsList().OptionalIndices()) > 0 {
		return s.atom(atom{}, s.keys.Key(e))
	}
	any := fixed(false)
	for _, member := range list.AsList().Elements() {
		before, equal := any, s.equal(element, member)
		any = func(v truths) bool { return before(v) || equal(v) }
	}
	return any
}
