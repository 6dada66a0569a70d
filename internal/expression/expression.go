package expression

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"scopeward/internal/strictyaml"
)

const (
	// maxLength bounds the length of an expression, in characters.
	maxLength = 16 << 10

	// maxCost bounds what an evaluation may do, in CEL's units: about a comparison each.
	maxCost = 100_000
)

// Expression is a compiled expression of scopeward.yaml. It is safe for concurrent use.
type Expression struct {
	text    string
	program cel.Program
}

// Compile checks an expression over variables, of which what it is begins the messages. It
// gives the wanted type, or may give any, which Eval then tells.
func Compile(what string, written strictyaml.Text, variables map[string]*cel.Type, wanted *cel.Type) (*Expression, strictyaml.Problems) {
	problem := func(format string, args ...any) strictyaml.Problems {
		return strictyaml.Problems{{Pos: written.At(0), Message: what + ": " + fmt.Sprintf(format, args...)}}
	}
	if utf8.RuneCountInString(written.Value) > maxLength {
		return nil, problem("longer than %d characters", maxLength)
	}
	options := []cel.EnvOption{
		ext.Strings(), cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true), // a number of JSON may be int, uint or double
		cel.ParserExpressionSizeLimit(maxLength),
	}
	for name, t := range variables {
		options = append(options, cel.Variable(name, t))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, problem("%v", err)
	}
	ast, issues := env.Compile(written.Value)
	if issues.Err() != nil {
		known := strings.Join(slices.Sorted(maps.Keys(variables)), ", ")
		return nil, Problems(issues, what, written, env, func(name string) string {
			return fmt.Sprintf("unknown name %s; known are %s; text stands in quotes", name, known)
		})
	}
	if out := ast.OutputType(); !wanted.IsExactType(cel.DynType) && !out.IsExactType(wanted) && !out.IsExactType(cel.DynType) {
		return nil, problem("gives %s, not %s", cel.FormatCELType(out), cel.FormatCELType(wanted))
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, problem("%s", OneLine(err.Error()))
	}
	return &Expression{written.Value, program}, nil
}

// Eval evaluates the expression, and gives what encoding/json would of the result; see
// [Native]. An optional value that is absent is not present. Errors have no value in them
// that is not in the expression itself.
func (e *Expression) Eval(variables map[string]any) (value any, present bool, err error) {
	out, _, err := e.program.Eval(variables)
	if err != nil {
		return nil, false, Redact(e.text, err)
	}
	if optional, ok := out.(*types.Optional); ok && !optional.HasValue() {
		return nil, false, nil
	}
	if value, err = Native(out); err != nil {
		return nil, false, Redact(e.text, err)
	}
	return value, true, nil
}
