package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"scopeward/internal/expression"
	"scopeward/internal/strictyaml"
	"scopeward/policy/condition"
)

const (
	// maxCondition bounds the length of a condition, in characters.
	maxCondition = 16 << 10

	// maxCost bounds what an evaluation may do, in CEL's units: about a
	// comparison each. It is some milliseconds.
	maxCost = 100_000
)

// compiledCondition is a compiled `when`. It is safe for concurrent use.
type compiledCondition struct {
	text      string
	env       *cel.Env // that it was compiled in, and as what: for Match.Explain
	ast       *cel.Ast
	program   cel.Program
	wildcards []string // the variables for wildcards, path.NAME and host.NAME, in the order of their values
	uses      []string // the variables that it asks for
	read      *condition.Condition
	partial   func() (cel.Program, error) // program, for what is not known of a request
}

// holds evaluates the condition; values are those of its wildcards. Its errors
// have no value in them that is not in the condition itself.
func (c *compiledCondition) holds(r *Request, id *Identity, values []string) (bool, error) {
	out, _, err := c.program.Eval(&activation{request: r, identity: id, wildcards: c.wildcards, values: values})
	if err != nil {
		return false, expression.Redact(c.text, err)
	}
	if out == types.True {
		return true, nil
	}
	if out != types.False {
		return false, fmt.Errorf("the condition gives %s, not bool", out.Type().TypeName())
	}
	return false, nil
}

// activation gives the variables of a condition, each when it is asked for.
type activation struct {
	request           *Request
	identity          *Identity
	wildcards, values []string
}

// Parent is nil: there are no other variables.
func (a *activation) Parent() cel.Activation { return nil }

// ResolveName gives the value of a variable. A value of type error makes the
// evaluation fail where the variable is used.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "identity.subject":
		return a.identity.Subject, true
	case "identity.email":
		return a.identity.Email, true
	case "identity.client_id":
		return a.identity.ClientID, true
	case "identity.issuer":
		return a.identity.Issuer, true
	case "identity.provider":
		return a.identity.Provider, true
	case "identity.scopes":
		return a.identity.Scopes, true
	case "identity.claims":
		return expression.JSON{}.NativeToValue(a.identity.Claims), true
	case "request.method":
		return a.request.Method, true
	case "request.host":
		return a.request.Host, true
	case "request.path":
		return a.request.Path.canonical, true
	case "request.client_ip":
		return known(a.request.ClientIP, "the client's address is not known"), true
	case "request.peer.principal":
		return known(a.request.Peer.Principal, "the principal of the request's peer is not known: did it show Envoy a certificate?"), true
	case "request.peer.address":
		return known(a.request.Peer.Address, "the address of the request's peer is not known"), true
	case "request.json":
		value, err := a.request.Body.JSON()
		if err != nil {
			return types.NewErr("the body of the request can't be read: %v", err), true
		}
		return expression.JSON{}.NativeToValue(value), true
	case "request.headers":
		return a.request.Headers, true
	case "request.query":
		query, err := url.ParseQuery(a.request.Query)
		if err != nil {
			return types.NewErr("the query of the request is malformed"), true
		}
		return map[string][]string(query), true
	}
	if i := slices.Index(a.wildcards, name); i >= 0 {
		return a.values[i], true
	}
	return nil, false
}

// known gives a text, or the error that it is not known.
func known(text, fault string) any {
	if text == "" {
		return types.NewErr("%s", fault)
	}
	return text
}

// variables are what every condition can ask for.
func variables() map[string]*cel.Type {
	return map[string]*cel.Type{
		"identity.subject":       cel.StringType,
		"identity.email":         cel.StringType,
		"identity.client_id":     cel.StringType,
		"identity.issuer":        cel.StringType,
		"identity.provider":      cel.StringType,
		"identity.scopes":        cel.ListType(cel.StringType),
		"identity.claims":        cel.MapType(cel.StringType, cel.DynType),
		"request.method":         cel.StringType,
		"request.host":           cel.StringType,
		"request.path":           cel.StringType,
		"request.client_ip":      cel.StringType,
		"request.peer.principal": cel.StringType,
		"request.peer.address":   cel.StringType,
		"request.json":           cel.DynType,
		"request.headers":        cel.MapType(cel.StringType, cel.StringType),
		"request.query":          cel.MapType(cel.StringType, cel.ListType(cel.StringType)),
	}
}

// compiler compiles conditions. It keeps the environments and the programs, as
// many rules ask for the same. It is for one goroutine.
type compiler struct {
	base       *cel.Env
	envs       map[string]*cel.Env
	conditions map[string]*compiledCondition
}

// compile checks a condition that has, besides, the variables of the wildcards.
func (c *compiler) compile(when strictyaml.Text, wildcards []string) (*compiledCondition, strictyaml.Problems) {
	names := strings.Join(wildcards, "/")
	key := names + " " + when.Value
	if known := c.conditions[key]; known != nil {
		return known, nil
	}
	env, err := c.env(names, wildcards)
	if err != nil {
		return nil, strictyaml.Problems{{Pos: when.Pos, Message: "condition: " + err.Error()}}
	}
	if utf8.RuneCountInString(when.Value) > maxCondition {
		return nil, strictyaml.Problems{{Pos: when.Pos, Message: fmt.Sprintf("condition: longer than %d characters", maxCondition)}}
	}
	ast, issues := env.Compile(when.Value)
	if issues.Err() != nil {
		return nil, expression.Problems(issues, "condition", when, env, func(name string) string { return unknownName(name, wildcards) })
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) {
		message := fmt.Sprintf("condition: gives %s, not bool: compare it with something", cel.FormatCELType(out))
		if out.IsExactType(cel.DynType) {
			message = "condition: may give any type, not only bool: compare it with something, such as == true"
		}
		return nil, strictyaml.Problems{{Pos: when.At(0), Message: message}}
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, strictyaml.Problems{{Pos: when.At(0), Message: "condition: " + expression.OneLine(err.Error())}}
	}
	read := condition.New(when.Value, env, ast)
	compiled := &compiledCondition{
		text: when.Value, env: env, ast: ast, program: program, wildcards: wildcards, uses: read.Variables(), read: read,
		partial: sync.OnceValues(func() (cel.Program, error) {
			return env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptPartialEval))
		}),
	}
	c.conditions[key] = compiled
	return compiled, nil
}

func (c *compiler) env(names string, wildcards []string) (*cel.Env, error) {
	if env := c.envs[names]; env != nil {
		return env, nil
	}
	if c.base == nil {
		options := []cel.EnvOption{
			ext.Strings(),
			cel.CrossTypeNumericComparisons(true), // a number of the claims may be int, uint or double
			cel.ParserExpressionSizeLimit(maxCondition),
			cel.EnableMacroCallTracking(), // for Match.Explain, to show them as they are written
		}
		for name, t := range variables() {
			options = append(options, cel.Variable(name, t))
		}
		base, err := cel.NewEnv(options...)
		if err != nil {
			return nil, err
		}
		c.base, c.envs, c.conditions = base, map[string]*cel.Env{}, map[string]*compiledCondition{}
	}
	options := make([]cel.EnvOption, len(wildcards))
	for i, name := range wildcards {
		options[i] = cel.Variable(name, cel.StringType)
	}
	env, err := c.base.Extend(options...)
	if err != nil {
		return nil, err
	}
	c.envs[names] = env
	return env, nil
}
