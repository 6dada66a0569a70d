package policy

import (
	"encoding/json"
	"errors"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
	"google.golang.org/protobuf/types/known/structpb"

	"scopeward/internal/expression"
	"scopeward/internal/strictyaml"
)

// Part is a part of a condition with the value that it has for a request.
type Part struct {
	Text  string
	Pos   strictyaml.Pos
	Op    Op
	Value any   // as encoding/json would give it; nil also if there is none
	Err   error // why there is no value
	Parts []Part
}

// Op says how a part is made of its parts. The zero value is any other way than
// the logical ones.
type Op string

const (
	OpAnd Op = "and"
	OpOr  Op = "or"
	OpNot Op = "not"
)

// Explain gives the rule's condition with the value of each of its parts for id,
// also of those that Decide has no need to look at. It reports false if the rule
// has no condition. It is for people: Decide decides.
func (m Match) Explain(id *Identity) (Part, bool) {
	if m.rule == nil || m.rule.condition == nil || id == nil {
		return Part{}, false
	}
	c := m.rule.condition
	x := explainer{
		condition: c, rule: m.rule, state: interpreter.NewEvalState(),
		values: &activation{request: m.request, identity: id, wildcards: c.wildcards, values: m.values},
	}
	program, err := c.env.Program(c.ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptExhaustiveEval))
	if err == nil {
		var details *cel.EvalDetails
		_, details, err = program.Eval(x.values)
		if details != nil && details.State() != nil {
			x.state = details.State()
		}
	}
	part := x.part(c.read.Root())
	if part.Err == errNotEvaluated && err != nil {
		part.Err = expression.Redact(c.text, err) // it ended before a value was there
	}
	return part, true
}

// explainer walks along a condition after its evaluation.
type explainer struct {
	condition *compiledCondition
	rule      *Rule
	state     interpreter.EvalState
	values    *activation
}

func (x *explainer) part(e ast.Expr) Part {
	p := Part{Text: x.condition.read.Source(e), Pos: x.rule.when.At(x.condition.read.Start(e))}
	p.Value, p.Err = x.value(e)
	for _, child := range x.operands(e, &p.Op) {
		if p.Op != "" || isTelling(child) {
			p.Parts = append(p.Parts, x.part(child))
		}
	}
	return p
}

// operands gives the expressions that a part is made of, as far as their values
// tell something: a value that is looked up somewhere stands for itself.
func (x *explainer) operands(e ast.Expr, op *Op) []ast.Expr {
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.LogicalAnd:
			*op = OpAnd
			return flatten(e, operators.LogicalAnd)
		case operators.LogicalOr:
			*op = OpOr
			return flatten(e, operators.LogicalOr)
		case operators.LogicalNot:
			*op = OpNot
		case operators.Index:
			return call.Args()[1:]
		}
		if call.IsMemberFunction() {
			return append([]ast.Expr{call.Target()}, call.Args()...)
		}
		return call.Args()
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.ComprehensionKind: // its steps have a value for each element
		return []ast.Expr{e.AsComprehension().IterRange()}
	}
	return nil
}

// flatten gives a, b and c of (a && b) && c.
func flatten(e ast.Expr, function string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != function {
		return []ast.Expr{e}
	}
	var all []ast.Expr
	for _, arg := range e.AsCall().Args() {
		all = append(all, flatten(arg, function)...)
	}
	return all
}

// isTelling reports whether an expression can have another value than what it
// is written as.
func isTelling(e ast.Expr) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		return false
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			if isTelling(element) {
				return true
			}
		}
		return false
	}
	return true
}

func (x *explainer) value(e ast.Expr) (any, error) {
	v, ok := x.state.Value(e.ID())
	if !ok && e.Kind() == ast.IdentKind { // as an index, it is not observed
		var native any
		if native, ok = x.values.ResolveName(e.AsIdent()); ok {
			v = types.DefaultTypeAdapter.NativeToValue(native)
		}
	}
	if !ok {
		return nil, errNotEvaluated
	}
	if err, isError := v.(*types.Err); isError {
		return nil, expression.Redact(x.condition.text, err)
	}
	return plain(v)
}

var (
	errNotEvaluated = errors.New("not evaluated")
	errNoJSON       = errors.New("the value cannot be shown")
)

// plain gives a value of CEL as encoding/json would.
func plain(v ref.Val) (any, error) {
	native, err := v.ConvertToNative(reflect.TypeFor[*structpb.Value]())
	if err != nil {
		return nil, errNoJSON
	}
	value, ok := native.(*structpb.Value)
	if !ok {
		return nil, errNoJSON
	}
	if _, err := json.Marshal(value.AsInterface()); err != nil {
		return nil, errNoJSON
	}
	return value.AsInterface(), nil
}
