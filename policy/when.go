package policy

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"scopeward/policy/strictyaml"
)

const (
	// maxCondition bounds the length of a condition, in characters.
	maxCondition = 16 << 10

	// maxCost bounds what an evaluation may do, in CEL's units: about a
	// comparison each. It is some milliseconds.
	maxCost = 100_000
)

// condition is a compiled `when`. It is safe for concurrent use.
type condition struct {
	text      string
	program   cel.Program
	wildcards []string // the path variables, in the order of their values
}

// holds evaluates the condition; values are those of its wildcards. Its errors
// have no value in them that is not in the condition itself.
func (c *condition) holds(r *Request, id *Identity, values []string) (bool, error) {
	out, _, err := c.program.Eval(&activation{request: r, identity: id, wildcards: c.wildcards, values: values})
	if err != nil {
		return false, c.redact(err)
	}
	if out == types.True {
		return true, nil
	}
	if out != types.False {
		return false, fmt.Errorf("the condition gives %s, not bool", out.Type().TypeName())
	}
	return false, nil
}

// valueInError finds where CEL and Go's parsers quote a value in an error.
var valueInError = regexp.MustCompile("\"(?:\\\\.|[^\"\\\\])*\"|`[^`]*`|no such key: .*")

// redact keeps out of an error what a request or token brought: it could be a
// secret, as in int(request.headers["x-api-key"]).
func (c *condition) redact(err error) error {
	return errors.New(valueInError.ReplaceAllStringFunc(oneLine(err.Error()), func(found string) string {
		value, isKey := strings.CutPrefix(found, "no such key: ")
		switch {
		case strings.Contains(c.text, strings.Trim(value, "\"`")):
			return found
		case isKey:
			return "no such key"
		default:
			return "a value"
		}
	}))
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
		return a.identity.Claims, true
	case "request.method":
		return a.request.Method, true
	case "request.host":
		return a.request.Host, true
	case "request.path":
		return a.request.Path.canonical, true
	case "request.client_ip":
		return a.request.ClientIP, true
	case "request.headers":
		return a.request.Headers, true
	case "request.query":
		query, err := url.ParseQuery(a.request.Query)
		if err != nil {
			return types.NewErr("the query of the request is malformed"), true
		}
		return map[string][]string(query), true
	}
	if wildcard, ok := strings.CutPrefix(name, "path."); ok {
		if i := slices.Index(a.wildcards, wildcard); i >= 0 {
			return a.values[i], true
		}
	}
	return nil, false
}

// variables are what every condition can ask for.
func variables() map[string]*cel.Type {
	return map[string]*cel.Type{
		"identity.subject":   cel.StringType,
		"identity.email":     cel.StringType,
		"identity.client_id": cel.StringType,
		"identity.issuer":    cel.StringType,
		"identity.provider":  cel.StringType,
		"identity.scopes":    cel.ListType(cel.StringType),
		"identity.claims":    cel.MapType(cel.StringType, cel.DynType),
		"request.method":     cel.StringType,
		"request.host":       cel.StringType,
		"request.path":       cel.StringType,
		"request.client_ip":  cel.StringType,
		"request.headers":    cel.MapType(cel.StringType, cel.StringType),
		"request.query":      cel.MapType(cel.StringType, cel.ListType(cel.StringType)),
	}
}

// compiler compiles conditions. It keeps the environments and the programs, as
// many rules ask for the same. It is for one goroutine.
type compiler struct {
	base       *cel.Env
	envs       map[string]*cel.Env
	conditions map[string]*condition
}

// compile checks a condition in which the wildcards are path variables.
func (c *compiler) compile(when strictyaml.Text, wildcards []string) (*condition, strictyaml.Problems) {
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
		return nil, explain(issues, when, env, wildcards)
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
		return nil, strictyaml.Problems{{Pos: when.At(0), Message: "condition: " + oneLine(err.Error())}}
	}
	compiled := &condition{text: when.Value, program: program, wildcards: wildcards}
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
			cel.CrossTypeNumericComparisons(true), // numbers of claims are doubles
			cel.ParserExpressionSizeLimit(maxCondition),
		}
		for name, t := range variables() {
			options = append(options, cel.Variable(name, t))
		}
		base, err := cel.NewEnv(options...)
		if err != nil {
			return nil, err
		}
		c.base, c.envs, c.conditions = base, map[string]*cel.Env{}, map[string]*condition{}
	}
	options := make([]cel.EnvOption, len(wildcards))
	for i, name := range wildcards {
		options[i] = cel.Variable("path."+name, cel.StringType)
	}
	env, err := c.base.Extend(options...)
	if err != nil {
		return nil, err
	}
	c.envs[names] = env
	return env, nil
}

// explain makes one line of each of CEL's issues, at its place in the file.
func explain(issues *cel.Issues, when strictyaml.Text, env *cel.Env, wildcards []string) strictyaml.Problems {
	var problems strictyaml.Problems
	for _, issue := range issues.Errors() {
		at := offset(when.Value, issue.Location.Line(), issue.Location.Column())
		var message string
		name, text := undeclared.FindStringSubmatch(issue.Message), when.Value[at:]
		switch syntax, isSyntax := strings.CutPrefix(issue.Message, "Syntax error: "); {
		case isSyntax:
			message = "not CEL: " + syntaxWords(syntax, text)
		case name == nil:
			message = typeWords(issue.Message)
		case strings.HasPrefix(text, "("): // CEL points behind the name of a function
			at = before(when.Value, at, name[1])
			message = unknownFunction(name[1], env)
		default: // and at the last dot of a name
			at = before(when.Value, at, name[1][:max(0, strings.LastIndexByte(name[1], '.'))])
			message = unknownName(dotted.FindString(when.Value[at:]), wildcards)
		}
		problems = append(problems, strictyaml.Problem{Pos: when.At(at), Message: "condition: " + oneLine(message)})
		if strings.HasPrefix(message, "not CEL") {
			break // what follows comes of it
		}
	}
	if len(problems) == 0 {
		problems = append(problems, strictyaml.Problem{Pos: when.Pos, Message: "condition: " + oneLine(issues.Err().Error())})
	}
	return problems
}

// before gives the place where word starts if it ends at a place, else that.
func before(text string, at int, word string) int {
	if strings.HasSuffix(text[:at], word) {
		return at - len(word)
	}
	return at
}

// offset gives the byte at CEL's line, from 1, and column, in characters from 0.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := strings.IndexByte(text[at:], '\n')
		if next < 0 {
			break
		}
		at += next + 1
	}
	for ; column > 0 && at < len(text); column-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(?:[^'(]*\.)?\((.*)\)'`)
	dotted     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*`)
)

// typeWords says what CEL's type checker says as a person would.
func typeWords(message string) string {
	if m := noOverload.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("%s cannot be applied to (%s)", operator(m[1]), m[2])
	}
	return message
}

// syntaxWords does so for CEL's parser; text is where it stopped.
func syntaxWords(message, text string) string {
	switch {
	case strings.Contains(message, "'<EOF>'"):
		return "the expression ends too early"
	case strings.HasPrefix(text, "=") && !strings.HasPrefix(text, "=="):
		return "unexpected =; did you mean ==?"
	}
	message, _, _ = strings.Cut(message, " expecting ")
	for _, prefix := range []string{"mismatched input ", "extraneous input ", "token recognition error at: ", "no viable alternative at input "} {
		if rest, ok := strings.CutPrefix(message, prefix); ok {
			return "unexpected " + rest
		}
	}
	return message
}

func unknownFunction(name string, env *cel.Env) string {
	var known []string
	for function := range env.Functions() {
		if dotted.FindString(function) == function {
			known = append(known, function)
		}
	}
	slices.Sort(known)
	if near := strictyaml.Nearest(name, known); near != "" {
		return fmt.Sprintf("unknown function %s; did you mean %s?", name, near)
	}
	return "unknown function " + name
}

func unknownName(name string, wildcards []string) string {
	known := make([]string, 0, len(wildcards)+16)
	for _, wildcard := range wildcards {
		known = append(known, "path."+wildcard)
	}
	if strings.HasPrefix(name, "path.") {
		if len(known) == 0 {
			return fmt.Sprintf("unknown name %s: the patterns of the rule have no wildcard in common", name)
		}
		return fmt.Sprintf("unknown name %s: the patterns of the rule have in common: %s", name, strings.Join(known, ", "))
	}
	for variable := range variables() {
		known = append(known, variable)
	}
	slices.Sort(known)
	// Only the last part can be a slip: the first decides what it is about.
	prefix, last := name[:strings.LastIndexByte(name, '.')+1], name[strings.LastIndexByte(name, '.')+1:]
	var parts []string
	for _, k := range known {
		if part, ok := strings.CutPrefix(k, prefix); ok && prefix != "" {
			parts = append(parts, part)
		}
	}
	if near := strictyaml.Nearest(last, parts); near != "" {
		return fmt.Sprintf("unknown name %s; did you mean %s%s?", name, prefix, near)
	}
	return fmt.Sprintf("unknown name %s; known are %s", name, strings.Join(known, ", "))
}

// operator gives CEL's name of a function as it is written: _==_ is ==.
func operator(name string) string {
	switch name {
	case "_[_]":
		return "index [ ]"
	case "_?_:_":
		return "? :"
	case "@in":
		return "in"
	}
	return strings.Trim(name, "_@")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
