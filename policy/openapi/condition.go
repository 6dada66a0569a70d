package openapi

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"scopeward/policy"
)

// mayAllow reports whether the rule could let a token with these scopes pass.
// What its condition asks besides scopes is taken as given, so that a rule is
// never thought to be stricter than it is.
func mayAllow(r *policy.Rule, scopes []string) bool {
	if r.Access != policy.AccessToken || !containsAll(scopes, r.Scopes) {
		return r.Access == policy.AccessPublic
	}
	if len(r.AnyScopes) > 0 && !slices.ContainsFunc(r.AnyScopes, func(s string) bool { return slices.Contains(scopes, s) }) {
		return false
	}
	condition := parse(r.When)
	return condition == nil || mayHold(condition, scopes)
}

// scopesOf gives the scopes that a condition names.
func scopesOf(when string) []string {
	var scopes []string
	var visit func(e ast.Expr)
	visit = func(e ast.Expr) {
		if scope, ok := asksFor(e); ok {
			scopes = append(scopes, scope)
		} else if e.Kind() == ast.CallKind {
			for _, arg := range e.AsCall().Args() {
				visit(arg)
			}
		}
	}
	if condition := parse(when); condition != nil {
		visit(condition)
	}
	return scopes
}

// parse gives the syntax of a condition, nil if there is none.
func parse(when string) ast.Expr {
	if when == "" {
		return nil
	}
	env, err := cel.NewEnv()
	if err != nil {
		return nil
	}
	parsed, issues := env.Parse(when)
	if issues.Err() != nil {
		return nil
	}
	return parsed.NativeRep().Expr()
}

// mayHold evaluates what a condition says of scopes; all else may hold.
func mayHold(e ast.Expr, scopes []string) bool {
	if scope, ok := asksFor(e); ok {
		return slices.Contains(scopes, scope)
	}
	if e.Kind() != ast.CallKind {
		return true
	}
	holds := func(arg ast.Expr) bool { return mayHold(arg, scopes) }
	switch args := e.AsCall().Args(); e.AsCall().FunctionName() {
	case operators.LogicalAnd:
		return !slices.ContainsFunc(args, func(arg ast.Expr) bool { return !holds(arg) })
	case operators.LogicalOr:
		return slices.ContainsFunc(args, holds)
	default:
		return true
	}
}

// asksFor recognises "scope" in identity.scopes.
func asksFor(e ast.Expr) (scope string, ok bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.In {
		return "", false
	}
	args := e.AsCall().Args()
	if len(args) != 2 || args[0].Kind() != ast.LiteralKind || args[1].Kind() != ast.SelectKind {
		return "", false
	}
	text, isText := args[0].AsLiteral().(types.String)
	list := args[1].AsSelect()
	if !isText || list.FieldName() != "scopes" || list.IsTestOnly() || list.Operand().Kind() != ast.IdentKind || list.Operand().AsIdent() != "identity" {
		return "", false
	}
	return string(text), true
}
