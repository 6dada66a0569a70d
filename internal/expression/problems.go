package expression

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"scopeward/internal/strictyaml"
)

// Problems makes one line of each of CEL's issues with an expression, at its place in the
// file, after what the expression is. unknown says what is wrong with a name that is not
// known.
func Problems(issues *cel.Issues, what string, written strictyaml.Text, env *cel.Env, unknown func(name string) string) strictyaml.Problems {
	var problems strictyaml.Problems
	for _, issue := range issues.Errors() {
		at := offset(written.Value, issue.Location.Line(), issue.Location.Column())
		var message string
		name, text := undeclared.FindStringSubmatch(issue.Message), written.Value[at:]
		switch syntax, isSyntax := strings.CutPrefix(issue.Message, "Syntax error: "); {
		case isSyntax:
			message = "not CEL: " + syntaxWords(syntax, written.Value[:at], text)
		case name == nil:
			message = typeWords(issue.Message)
		case strings.HasPrefix(text, "("): // CEL points behind the name of a function
			at = before(written.Value, at, name[1])
			message = unknownFunction(name[1], env)
		default: // and at the last dot of a name
			at = before(written.Value, at, name[1][:max(0, strings.LastIndexByte(name[1], '.'))])
			message = unknown(wholeName(name[1], written.Value[at:]))
		}
		problems = append(problems, strictyaml.Problem{Pos: written.At(at), Message: what + ": " + OneLine(message)})
		if strings.HasPrefix(message, "not CEL") {
			break // what follows comes of it
		}
	}
	if len(problems) == 0 {
		problems = append(problems, strictyaml.Problem{Pos: written.Pos, Message: what + ": " + OneLine(issues.Err().Error())})
	}
	return problems
}

// wholeName gives the dotted name that text starts with, of which CEL may name
// the first part only, and without a function that is called on it.
func wholeName(name, text string) string {
	whole := dotted.FindString(text)
	if !strings.HasPrefix(whole, name) || strings.Contains(name, ".") {
		return name
	}
	if dot := strings.LastIndexByte(whole, '.'); dot > 0 && strings.HasPrefix(text[len(whole):], "(") {
		whole = whole[:dot]
	}
	return whole
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
	undeclared   = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	listContains = regexp.MustCompile(`^found no matching overload for '\w+' applied to 'list\(string\)\.\(string\)'`)
	noOverload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(?:[^'(]*\.)?\((.*)\)'`)
	notBefore    = regexp.MustCompile(`(^|[^.\w])not\s+$`)
	dotted       = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*`)
)

// typeWords says what CEL's type checker says as a person would.
func typeWords(message string) string {
	switch {
	case listContains.MatchString(message):
		return `a list has no such function; write "admin" in identity.scopes`
	case strings.HasPrefix(message, "found no matching overload for '_==_' applied to '(list(string), string)'"):
		return `== cannot be applied to (list(string), string); write "admin" in identity.scopes`
	}
	if strings.HasPrefix(message, "found no matching overload for '_-_' applied to '(string, ") {
		return `- cannot be applied to text; the name of a header that has a hyphen is written request.headers["x-tenant"]`
	}
	if m := noOverload.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("%s cannot be applied to (%s)", operator(m[1]), m[2])
	}
	return message
}

// syntaxWords does so for CEL's parser, which stopped between read and text.
func syntaxWords(message, read, text string) string {
	switch {
	case notBefore.MatchString(read):
		return "unexpected 'not'; did you mean !?"
	case strings.Contains(message, "'<EOF>'"):
		return "the expression ends too early"
	case strings.HasPrefix(text, "=") && !strings.HasPrefix(text, "=="):
		return "unexpected =; did you mean ==?"
	case strings.HasPrefix(text, "and "):
		return "unexpected 'and'; did you mean &&?"
	case strings.HasPrefix(text, "or "):
		return "unexpected 'or'; did you mean ||?"
	case strings.HasPrefix(text, "contains "):
		return `unexpected 'contains'; did you mean "admin" in identity.scopes?`
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
	if name == "not" {
		return "unknown function not; did you mean !?"
	}
	if near := strictyaml.Nearest(name, known); near != "" {
		return fmt.Sprintf("unknown function %s; did you mean %s?", name, near)
	}
	return "unknown function " + name
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

// OneLine joins the lines of a message.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
