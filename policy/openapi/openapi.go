// Package openapi makes policies from OpenAPI documents (3.0 to 3.2, YAML or JSON), and
// compares policies with them.
//
// What a document asks for is taken as the specification has it (OpenAPI 3.1
// §4.8.30, Security Requirement Object): of the requirements in a list one is
// enough, all schemes in a requirement are needed, and all scopes in a scheme.
// `security: []` and a requirement `{}` ask for nothing. An operation's
// security replaces the document's.
//
// What a rule cannot check is never taken as given: API keys, Basic and mutual
// TLS without a provider for them, servers and paths that are no patterns, and documents
// that say nothing about security. Such operations are denied, and a Note says
// why and where. A request that may be for several operations must meet them all.
package openapi

import (
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

// Document is the part of an OpenAPI document that is about who may call what.
type Document struct {
	File           string
	Title, Version string // of the API
	Operations     []*Operation

	rules []*rule
}

// Operation is a method of a path.
type Operation struct {
	ID          string // operationId; may be empty
	Method      string // upper case
	Path        string // as the document writes it, without servers
	Pos         strictyaml.Pos
	Requirement Requirement
	Notes       []Note // what of it is not expressed by a rule

	targets []target
	closed  bool // denied, as a note says
}

// String gives the method and the path.
func (o *Operation) String() string { return o.Method + " " + o.Path }

// Requirement is what an operation asks of its callers. The zero value cannot
// be met.
type Requirement struct {
	// Public: nothing is asked for.
	Public bool

	// Silent: neither the operation nor the document has a security key.
	Silent bool

	// Alternatives are sets of scopes, sorted: a valid token with all scopes of
	// one of them is enough. None of them contains another, and an empty one
	// asks for any valid token. "provider NAME", which is no scope, stands for a token of
	// that provider.
	Alternatives [][]string
}

const ofProvider = "provider "

// String says in words what is asked for.
func (r Requirement) String() string {
	switch {
	case r.Public:
		return "nothing"
	case r.Silent:
		return "nothing that is written"
	case len(r.Alternatives) == 0:
		return "what no rule can check"
	}
	words := make([]string, len(r.Alternatives))
	for i, scopes := range r.Alternatives {
		words[i] = inWords(scopes)
	}
	return strings.Join(words, ", or ")
}

func inWords(scopes []string) string {
	var names, words []string
	for _, scope := range scopes {
		if provider, ok := strings.CutPrefix(scope, ofProvider); ok {
			words = append(words, "a token of the provider "+provider)
		} else {
			names = append(names, scope)
		}
	}
	switch len(names) {
	case 0:
		if len(words) == 0 {
			return "any valid token"
		}
	case 1:
		words = append(words, "the scope "+names[0])
	default:
		words = append(words, "the scopes "+strings.Join(names[:len(names)-1], ", ")+" and "+names[len(names)-1])
	}
	return strings.Join(words, " with ")
}

func containsAll(scopes, needed []string) bool {
	return !slices.ContainsFunc(needed, func(s string) bool { return !slices.Contains(scopes, s) })
}

// Note says what of a document a rule does not express, and where it stands.
type Note struct {
	Pos     strictyaml.Pos
	Message string
}

// minimal sorts alternatives and drops those that ask for more than another.
func minimal(alternatives [][]string) [][]string {
	slices.SortStableFunc(alternatives, func(a, b []string) int { return len(a) - len(b) })
	var kept [][]string
	for _, a := range alternatives {
		if !slices.ContainsFunc(kept, func(k []string) bool { return containsAll(a, k) }) {
			kept = append(kept, a)
		}
	}
	return kept
}
