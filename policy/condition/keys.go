package condition

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	// maxFolds bounds the constant expressions of a condition that are evaluated.
	maxFolds = 64

	// maxFold bounds the evaluation of a constant expression, in CEL's units.
	maxFold = 10_000
)

// Keys gives expressions keys: two expressions with one key have one value, also
// across conditions. It is for one goroutine.
type Keys struct {
	*Condition

	// Rename gives a variable its name in keys; nil leaves the names as they are.
	Rename func(variable string) string

	// Bool gives the key of a logical expression, or "" to have it taken as any
	// other; nil is "" for all.
	Bool func(call ast.CallExpr) string

	// Ordered keeps what is evaluated, and in which order: two expressions with one
	// key have one cost as well.
	Ordered bool

	bound []string // variables of the macros around, innermost last
	folds int
}

// Key returns the key of an expression.
func (k *Keys) Key(e ast.Expr) string {
	if value := k.Constant(e); value != nil {
		return value.Type().TypeName() + ":" + strconv.Quote(fmt.Sprint(value.Value()))
	}
	switch e.Kind() {
	case ast.IdentKind:
		return k.ident(e)
	case ast.SelectKind:
		s := e.AsSelect()
		verb := "get"
		if s.IsTestOnly() {
			verb = "has"
		}
		return verb + "(" + k.Key(s.Operand()) + "," + strconv.Quote(s.FieldName()) + ")"
	case ast.ListKind:
		return fmt.Sprintf("list%v(%s)", e.AsList().OptionalIndices(), k.keys(e.AsList().Elements()))
	case ast.MapKind:
		var entries strings.Builder
		for _, entry := range e.AsMap().Entries() {
			m := entry.AsMapEntry()
			fmt.Fprintf(&entries, "%s:%t:%s,", k.Key(m.Key()), m.IsOptional(), k.Key(m.Value()))
		}
		return "map(" + entries.String() + ")"
	case ast.StructKind:
		fields := strconv.Quote(e.AsStruct().TypeName())
		for _, field := range e.AsStruct().Fields() {
			f := field.AsStructField()
			fields += fmt.Sprintf(",%q:%t:%s", f.Name(), f.IsOptional(), k.Key(f.Value()))
		}
		return "struct(" + fields + ")"
	case ast.ComprehensionKind:
		return k.comprehension(e.AsComprehension())
	case ast.CallKind:
		return k.call(e)
	default: // no condition has such
		return fmt.Sprintf("unknown(%p,%d)", k.Condition, e.ID())
	}
}

func (k *Keys) keys(all []ast.Expr) string {
	var keys []string
	for _, e := range all {
		keys = append(keys, k.Key(e))
	}
	return strings.Join(keys, ",")
}

func (k *Keys) ident(e ast.Expr) string {
	for i, name := range slices.Backward(k.bound) { // the innermost counts
		if name == e.AsIdent() {
			return "$" + strconv.Itoa(i)
		}
	}
	name := cmp.Or(Variable(e), e.AsIdent())
	if k.Rename != nil {
		name = k.Rename(name)
	}
	return "var:" + strconv.Quote(name)
}

func (k *Keys) call(e ast.Expr) string {
	call := e.AsCall()
	args := call.Args()
	name := call.FunctionName()
	switch {
	case name == operators.Equals: // looks at both, in either order
		return k.Equal(args[0], args[1])
	case name == operators.Greater && !k.Ordered:
		return operators.Less + "(" + k.Key(args[1]) + "," + k.Key(args[0]) + ")"
	case name == operators.GreaterEquals && !k.Ordered:
		return operators.LessEquals + "(" + k.Key(args[1]) + "," + k.Key(args[0]) + ")"
	case name == operators.Index && !k.Ordered: // of a map: the same as a field
		if field, ok := k.Constant(args[1]).(types.String); ok {
			return "get(" + k.Key(args[0]) + "," + strconv.Quote(string(field)) + ")"
		}
	case k.Bool != nil && isLogical(name):
		if key := k.Bool(call); key != "" {
			return key
		}
	}
	target := ""
	if call.IsMemberFunction() {
		target = k.Key(call.Target()) + "."
	}
	return target + name + "(" + k.keys(args) + ")"
}

func isLogical(name string) bool {
	switch name {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.In, operators.NotEquals:
		return true
	}
	return false
}

// Equal returns the key of `a == b`.
func (k *Keys) Equal(a, b ast.Expr) string {
	x, y := k.Key(a), k.Key(b)
	return "eq(" + min(x, y) + "," + max(x, y) + ")"
}

// comprehension returns the key of a macro such as exists: its variables go by their
// depth.
func (k *Keys) comprehension(c ast.ComprehensionExpr) string {
	outer := k.Key(c.IterRange()) + ";" + k.Key(c.AccuInit())
	depth := len(k.bound)
	k.bound = append(k.bound, c.IterVar(), c.IterVar2(), c.AccuVar())
	inner := k.keys([]ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()})
	k.bound = k.bound[:depth]
	return fmt.Sprintf("fold(%d,%t;%s;%s)", depth, c.HasIterVar2(), outer, inner)
}

// Constant evaluates an expression without variables, by CEL itself. It returns nil
// for one that has variables or macros, that fails, or that is no plain value.
func (k *Keys) Constant(e ast.Expr) ref.Val {
	if e.Kind() == ast.LiteralKind {
		return plain(e.AsLiteral())
	}
	if e.Kind() != ast.CallKind || k.Ordered || k.folds == maxFolds || !closed(e) {
		return nil
	}
	k.folds++
	text, err := k.unparse(e)
	if err != nil {
		return nil
	}
	compiled, issues := k.env.Compile(text)
	if issues.Err() != nil {
		return nil
	}
	program, err := k.env.Program(compiled, cel.CostLimit(maxFold))
	if err != nil {
		return nil
	}
	value, _, err := program.Eval(cel.NoVars())
	if err != nil {
		return nil
	}
	return plain(value)
}

// closed reports whether e is made of constants, calls and lists only.
func closed(e ast.Expr) bool {
	open := func(e ast.Expr) bool { return !closed(e) }
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.ListKind:
		return !slices.ContainsFunc(e.AsList().Elements(), open)
	case ast.CallKind:
		call := e.AsCall()
		return (!call.IsMemberFunction() || closed(call.Target())) && !slices.ContainsFunc(call.Args(), open)
	default:
		return false
	}
}
