// Package condition reads compiled conditions for the tools that compare, check and
// explain policies. It looks at the expression as the type checker left it: a variable
// stands there under its full name, however it is written, and never for a variable of
// a macro that hides it.
package condition

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Condition is a compiled `when`, read only and safe for concurrent use.
type Condition struct {
	Text string // as written

	env     *cel.Env
	checked *cel.Ast
	ast     *ast.AST
}

// New reads a condition that env has compiled and type-checked.
func New(text string, env *cel.Env, checked *cel.Ast) *Condition {
	return &Condition{Text: text, env: env, checked: checked, ast: checked.NativeRep()}
}

// Root returns the whole expression.
func (c *Condition) Root() ast.Expr { return c.ast.Expr() }

// Walk calls f for each expression, the outer before the inner ones.
func (c *Condition) Walk(f func(ast.Expr)) {
	ast.PreOrderVisit(c.Root(), ast.NewExprVisitor(f))
}

// Variables returns the variables that the condition reads, sorted.
func (c *Condition) Variables() []string {
	var names []string
	c.Walk(func(e ast.Expr) {
		if name := Variable(e); name != "" {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Uses reports whether the condition reads one of the names, as Name gives them.
func (c *Condition) Uses(names ...string) bool {
	found := false
	if c != nil {
		c.Walk(func(e ast.Expr) { found = found || slices.Contains(names, Name(e)) })
	}
	return found
}

// Scopes returns the scopes that the condition asks about one by one, as in
// `"admin" in identity.scopes`, sorted. others reports whether it reads the scopes in
// any other way, such as their number.
func (c *Condition) Scopes() (named []string, others bool) {
	reads := 0
	c.Walk(func(e ast.Expr) {
		if Variable(e) == scopes {
			reads++
		}
		if scope, ok := Scope(e); ok {
			named = append(named, scope)
		}
	})
	others = reads != len(named)
	slices.Sort(named)
	return slices.Compact(named), others
}

const scopes = "identity.scopes"

// Scope recognises `"scope" in identity.scopes`.
func Scope(e ast.Expr) (scope string, ok bool) {
	args := Call(e, operators.In)
	if args == nil || Variable(args[1]) != scopes {
		return "", false
	}
	return Text(args[0])
}

// Start returns the byte at which an expression starts. CEL knows of an expression only
// where its operator stands: the last dot, the parenthesis.
func (c *Condition) Start(e ast.Expr) int {
	first := int32(math.MaxInt32)
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if r, ok := c.ast.SourceInfo().GetOffsetRange(e.ID()); ok {
			first = min(first, r.Start)
		}
	}))
	at := 0
	for ; first > 0 && at < len(c.Text); first-- {
		_, size := utf8.DecodeRuneInString(c.Text[at:])
		at += size
	}
	if at < len(c.Text) && (c.Text[at] == '.' || c.Text[at] == '(') {
		at = len(strings.TrimRightFunc(c.Text[:at], func(r rune) bool {
			return r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		}))
	}
	return at
}

// Source returns an expression as it is written, about, in one line.
func (c *Condition) Source(e ast.Expr) string {
	text, err := c.unparse(e)
	if err != nil {
		text = c.Text
	}
	return strings.Join(strings.Fields(text), " ")
}

func (c *Condition) unparse(e ast.Expr) (string, error) {
	return cel.ExprToString(e, c.ast.SourceInfo(), cel.FormatWrapOnColumn(math.MaxInt32))
}

// Variable returns the name of the variable that an expression is, "" if it is none.
// The names of all variables have a dot, and those of macros' variables cannot. Within
// a macro whose variable hides the first part of the name, a dot stands before it.
func Variable(e ast.Expr) string {
	if e.Kind() != ast.IdentKind {
		return ""
	}
	name := strings.TrimPrefix(e.AsIdent(), ".")
	if !strings.Contains(name, ".") {
		return ""
	}
	return name
}

// Name returns the name of a variable or of what is in it, such as
// identity.claims.org, however it is written: identity.claims["org"] is the same.
// It returns "" for any other expression.
func Name(e ast.Expr) string {
	if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() {
		return ""
	}
	return strings.Join(Path(e), ".")
}

// Path returns the variable that an expression looks into, and the names that lead to
// what it looks at or asks for; nil if it is no such expression.
func Path(e ast.Expr) []string {
	operand, field := e, ""
	if e.Kind() == ast.SelectKind {
		operand, field = e.AsSelect().Operand(), e.AsSelect().FieldName()
	} else if args := Call(e, operators.Index); args != nil {
		text, ok := Text(args[1])
		if !ok {
			return nil
		}
		operand, field = args[0], text
	} else if name := Variable(e); name != "" {
		return []string{name}
	} else {
		return nil
	}
	if path := Path(operand); path != nil {
		return append(path, field)
	}
	return nil
}

// Call returns the arguments of a call of an operator, nil if e is none.
func Call(e ast.Expr, operator string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operator || e.AsCall().IsMemberFunction() {
		return nil
	}
	return e.AsCall().Args()
}

// Text returns the text that a literal is.
func Text(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().(types.String)
	return string(text), ok
}

// plain returns a value that is its own key, else nil.
func plain(value ref.Val) ref.Val {
	switch value.(type) {
	case types.Bool, types.Int, types.Uint, types.Double, types.String, types.Bytes, types.Null:
		return value
	default:
		return nil
	}
}
